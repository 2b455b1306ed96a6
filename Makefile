# The commands of this repository; `make` alone lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.PHONY: help run test check packages spelling fmt clippy doc build-benches build-fuzz doctest tests picture pictures deny bench bench-quick instructions abuse fuzz api-fuzz cert deb static image reproducible release

FUZZ_TARGETS := command config data list log message queue reply run_script session tcprules
FUZZ_SECONDS ?= 60

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

run: ## the proxy on 127.0.0.1:2525, mail kept in ./portcullis-mail
	cargo run --release -- serve

# The tests come last, so that their summary is what one sees.
test: ## everything that has to pass: form, lints, docs, builds of benches and fuzz targets, tests
	@$(MAKE) --no-print-directory packages
	$(MAKE) --no-print-directory fmt clippy doc build-benches build-fuzz doctest instructions
	$(MAKE) --no-print-directory tests

check: spelling fmt clippy doc ## the fast part of `test`

packages: ## the programs that the tests run against, from Debian's packages
	@tests/support/packages.sh

spelling:
	@if command -v typos >/dev/null; then typos; fi

fmt:
	cargo fmt --check

clippy:
	cargo clippy --locked --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --document-private-items

# Unoptimised: it shares what the tests need anyway. `make bench` builds the real ones.
build-benches:
	cargo bench --locked --no-run --profile dev

build-fuzz:
	cargo check --locked --manifest-path fuzz/Cargo.toml

doctest:
	cargo test --locked --doc

# tests/corpus.rs is one of them: it replays the fuzz corpora.
tests: ## the tests only
	@if cargo nextest --version >/dev/null 2>&1; then
		cargo nextest run --locked
	else
		cargo test --locked --lib --bins --tests
	fi

pictures: ## docs/images/page.png and page-dark.png anew: the page in a browser while a storm is played
	BLESS=1 cargo test --locked --test browser -- the_pictures

picture: ## docs/images/storm.svg anew, from a storm that is played
	BLESS=1 cargo test --locked --test pages -- the_picture

deny: ## licences, banned and doubled crates, sources; advisories where the network allows
	@cargo deny --version >/dev/null 2>&1 || { echo "make deny needs cargo-deny: cargo install cargo-deny --locked" >&2; exit 1; }
	cargo deny check licenses bans sources
	cargo deny check advisories || echo "advisories: not clean, or the database was not reachable; see above"

# The picture of the documents is of all workloads; a part of them is drawn beside its samples.
bench: ## all benches: criterion, then the load through Portcullis and its peers (half an hour); LOAD="--workloads W1 …"
	cargo bench --locked --bench micro
	cargo bench --locked --bench queue
	cargo bench --locked --bench load -- --json target/bench.json --picture target/bench.svg $(LOAD)
	$(if $(findstring --workloads,$(LOAD))$(findstring --systems,$(LOAD)),,cp target/bench.svg docs/images/bench.svg)

bench-quick: ## the load in three minutes, for a first look
	cargo bench --locked --bench load -- --quick $(LOAD)

instructions: ## instructions of a command, a reject, a transaction, by valgrind, against the committed counts
	@command -v valgrind >/dev/null || { echo "make instructions needs valgrind: apt-get install valgrind" >&2; exit 1; }
	cargo bench --locked --bench instructions

# tests/abuse.rs in large: it needs some 20,000 descriptors, and an hour.
abuse: ## a million resets, 17,000 slow clients, an hour of bad backends; says what it measures
	ulimit -n $$(ulimit -Hn)
	ABUSE_RESETS=$${ABUSE_RESETS:-1000000} ABUSE_IDLE=$${ABUSE_IDLE:-15000} ABUSE_DRIBBLING=$${ABUSE_DRIBBLING:-2000} \
	ABUSE_TRANSACTIONS=$${ABUSE_TRANSACTIONS:-500} ABUSE_MINUTES=$${ABUSE_MINUTES:-60} \
		cargo test --locked --release --test abuse -- --nocapture --test-threads 1

# The sanitizers need a nightly feature; RUSTC_BOOTSTRAP lends it to the pinned compiler.
fuzz: ## every fuzz target for FUZZ_SECONDS (60) seconds; needs cargo-fuzz
	@cargo fuzz --version >/dev/null 2>&1 || { echo "make fuzz needs cargo-fuzz: cargo install cargo-fuzz --locked" >&2; exit 1; }
	for target in $(FUZZ_TARGETS); do
		mkdir -p fuzz/found/$$target
		RUSTC_BOOTSTRAP=1 cargo fuzz run $$target fuzz/found/$$target fuzz/corpus/$$target -- -max_total_time=$(FUZZ_SECONDS)
	done

# tests/schemathesis.rs for longer, each time with other requests; SCHEMATHESIS_SEED=N repeats one of them.
api-fuzz: ## ten minutes of requests that schemathesis makes of the description of the admin API
	tests/support/schemathesis.sh >/dev/null
	SCHEMATHESIS_SECONDS=$${SCHEMATHESIS_SECONDS:-600} SCHEMATHESIS_SEED=$${SCHEMATHESIS_SEED:-$$RANDOM} \
		cargo test --locked --test schemathesis -- --nocapture

# PROFILE=dev packages what the tests have built.
deb: ## a Debian package in target/debian; needs cargo-deb
	@cargo deb --version >/dev/null 2>&1 || { echo "make deb needs cargo-deb: cargo install cargo-deb --locked" >&2; exit 1; }
	profile=$${PROFILE:-release}
	cargo build --locked --profile "$$profile"
	config/release/stage.sh "$${CARGO_TARGET_DIR:-target}/$${profile/dev/debug}/portcullis" target/package
	cargo deb --locked --no-build --no-strip $${FAST:+--fast} --output "$${OUTPUT:-target/debian/}"

# By musl: a static program of glibc loads the services of nsswitch.conf at run time all the same, and crashes in them.
static: ## a program that needs no library, in target/package, with its manual pages; needs musl
	@triple=$$(uname -m)-unknown-linux-musl
	[ -d "$$(rustc --print sysroot)/lib/rustlib/$$triple" ] || { echo "make static needs: rustup target add $$triple" >&2; exit 1; }
	command -v musl-gcc >/dev/null || { echo "make static needs musl-gcc: apt-get install musl-tools" >&2; exit 1; }
	cargo build --locked --release --target "$$triple"
	config/release/stage.sh "$${CARGO_TARGET_DIR:-target}/$$triple/release/portcullis" target/package

image: static ## a container image, target/portcullis-oci.tar
	config/release/image.py target/package/portcullis --to target/portcullis-oci.tar

reproducible: ## everything of a release, built twice in two folders and compared
	config/release/reproducible.sh

release: ## the release of the version in Cargo.toml, in target/VERSION, with its tag; publishes nothing
	config/release/release.sh

cert: ## development certificates in certs/
	certs/make.sh
