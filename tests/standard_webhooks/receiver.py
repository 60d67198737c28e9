"""Receives webhooks and verifies them with the PyPI package standardwebhooks.

python receiver.py <port> <secret>
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        # The bytes as they came: JSON that was read and written again would have another signature.
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            message = webhook.verify(body, dict(self.headers))
        except WebhookVerificationError as error:
            print("refused:", error, flush=True)
            return self.answer(400, {"error": str(error)})
        print("verified:", message["type"], message["id"], message["sequence"], flush=True)
        self.answer(200, {"challenge": message["data"].get("challenge")})

    def answer(self, status, value):
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


port, secret = sys.argv[1:]
webhook = Webhook(secret)
ThreadingHTTPServer(("127.0.0.1", int(port)), Receiver).serve_forever()
