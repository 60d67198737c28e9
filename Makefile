# Two commands do everything: `make demo` and `make test`.

CARGO ?= cargo

.PHONY: demo test lint fmt-check generated in-step need

demo: need ## build, start on a private Postgres with a sample city, and show what to try
	$(CARGO) run --release -- demo

test: need ## all tests, on a private Postgres that they start themselves
	$(CARGO) test

lint:
	$(CARGO) clippy --all-targets -- -D warnings

fmt-check:
	$(CARGO) fmt --check

need: ## what is missing is installed where that is possible, else named
	@sh deploy/need.sh

generated: ## writes the files that follow from the code
	$(CARGO) run -q -- openapi > openapi.json
	$(CARGO) run -q -- openapi --hub > openapi-hub.json

in-step: generated ## fails when those files were not what the code says
	@git diff --exit-code --stat -- openapi.json openapi-hub.json || { echo "openapi.json or openapi-hub.json was out of step with the code; commit what 'make generated' has written" >&2; exit 1; }
