# Two commands do everything: `make demo` and `make test`.

CARGO ?= cargo

.PHONY: demo test lint fmt-check need

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
