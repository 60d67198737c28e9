# Two commands do everything: `make demo` and `make test`.

CARGO ?= cargo

.PHONY: demo test lint fmt-check generated in-step fuzz need

demo: need ## build, start on a private Postgres with a sample city, and show what to try
	$(CARGO) run --release -- demo

test: need ## all tests, on a private Postgres that they start themselves
	$(CARGO) test

lint: in-step
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --manifest-path fuzz/Cargo.toml --target-dir target -- -D warnings

# The program writes these itself: openapi.json by `rosterhub openapi`, and so on.
GENERATED = openapi.json openapi-hub.json schema.graphql docs/errors.md docs/errors.ja.md docs/event-types.md
openapi.json_BY = openapi
openapi-hub.json_BY = openapi --hub
schema.graphql_BY = schema
docs/errors.md_BY = errors
docs/errors.ja.md_BY = errors --ja
docs/event-types.md_BY = event-types

generated: ## rewrite what is generated from the code
	$(CARGO) build
	set -e; $(foreach file,$(GENERATED),$(CARGO) run -q -- $($(file)_BY) > $(file).new; mv $(file).new $(file);)

in-step: ## fail when a generated file is not what the code says
	$(CARGO) build
	@set -e; $(foreach file,$(GENERATED),$(CARGO) run -q -- $($(file)_BY) | cmp -s - $(file) || \
		{ echo "$(file) is out of step with the code. Run 'make generated' and commit the result." >&2; exit 1; };)

fmt-check:
	$(CARGO) fmt --check

# Seconds for each target. The flags are those of cargo-fuzz without a sanitizer, which the stable compiler takes.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS = filter request
FUZZ_FLAGS = --cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module $(addprefix -Cllvm-args=-sanitizer-coverage-,\
	level=4 inline-8bit-counters pc-table trace-compares)
HOST = $(shell rustc -vV | sed -n 's/^host: //p')

fuzz: ## feed random input to the readers of requests; ends at the first fault
	RUSTFLAGS="$(FUZZ_FLAGS)" $(CARGO) build --release --manifest-path fuzz/Cargo.toml --target $(HOST)
	set -e; $(foreach target,$(FUZZ_TARGETS),mkdir -p fuzz/target/corpus/$(target); \
		fuzz/target/$(HOST)/release/$(target) -max_total_time=$(FUZZ_SECONDS) -max_len=1024 \
			-artifact_prefix=fuzz/target/$(target)- fuzz/target/corpus/$(target) fuzz/corpus/$(target);)

need: ## what is missing is installed where that is possible, else named
	@sh deploy/need.sh
