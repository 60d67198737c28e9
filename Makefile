# Two commands do everything: `make demo` and `make test`.

CARGO ?= cargo

.PHONY: demo test lint fmt-check generated in-step need

demo: need ## build, start on a private Postgres with a sample city, and show what to try
	$(CARGO) run --release -- demo

test: need ## all tests, on a private Postgres that they start themselves
	$(CARGO) test

lint: in-step
	$(CARGO) clippy --all-targets -- -D warnings

# The program writes these itself: openapi.json by `rosterhub openapi`, and so on.
GENERATED = openapi.json openapi-hub.json schema.graphql
openapi.json_BY = openapi
openapi-hub.json_BY = openapi --hub
schema.graphql_BY = schema

generated: ## rewrite what is generated from the code
	$(CARGO) build
	set -e; $(foreach file,$(GENERATED),$(CARGO) run -q -- $($(file)_BY) > $(file).new; mv $(file).new $(file);)

in-step: ## fail when a generated file is not what the code says
	$(CARGO) build
	@set -e; $(foreach file,$(GENERATED),$(CARGO) run -q -- $($(file)_BY) | cmp -s - $(file) || \
		{ echo "$(file) is out of step with the code. Run 'make generated' and commit the result." >&2; exit 1; };)

fmt-check:
	$(CARGO) fmt --check

need: ## what is missing is installed where that is possible, else named
	@sh deploy/need.sh
