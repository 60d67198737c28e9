// Receives webhooks and verifies them with the npm package standardwebhooks; those that are signed by a key pair with
// Node's own cryptography.
//
// node receiver.mjs <port> <secret or public key>

import { createPublicKey, verify } from "node:crypto";
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const [port, secret] = process.argv.slice(2);

/** What stands before the 32 bytes of an Ed25519 public key in DER. */
const DER = Buffer.from("302a300506032b6570032100", "hex");

function byKeyPair(publicKey) {
  const raw = Buffer.from(publicKey.slice("whpk_".length), "base64");
  const key = createPublicKey({ key: Buffer.concat([DER, raw]), format: "der", type: "spki" });
  return (body, headers) => {
    const text = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`;
    const signatures = headers["webhook-signature"].split(" ").filter((one) => one.startsWith("v1a,"));
    const fits = (one) => verify(null, Buffer.from(text), key, Buffer.from(one.slice("v1a,".length), "base64"));
    if (!signatures.some(fits)) throw new Error("No matching signature found");
    const age = Math.abs(Date.now() / 1000 - Number(headers["webhook-timestamp"]));
    if (!(age < 300)) throw new Error("Message timestamp too old or too new");
    return JSON.parse(body);
  };
}

function bySecret(secret) {
  const webhook = new Webhook(secret);
  return (body, headers) => webhook.verify(body, headers);
}

const check = secret.startsWith("whpk_") ? byKeyPair(secret) : bySecret(secret);

createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  const answer = (status, value) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(value));
  };
  try {
    // The text as it came: JSON that was read and written again would have another signature.
    const message = check(Buffer.concat(parts).toString(), request.headers);
    console.log("verified:", message.type, message.id, message.sequence);
    answer(200, { challenge: message.data.challenge });
  } catch (error) {
    console.log("refused:", error.message);
    answer(400, { error: error.message });
  }
}).listen(Number(port), "127.0.0.1");
