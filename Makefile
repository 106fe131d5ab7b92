# `make` lists what there is.

.DEFAULT_GOAL := help
.PHONY: help setup build demo test screenshots dashboards servers chaos fuzz mutants check bench moves pace failover operate overload soak plots rules image test-image sbom deb licences release clean

# The release that `make image` labels the image with.
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
REVISION := $(shell git describe --always --abbrev=40 --dirty --exclude='*' 2>/dev/null || echo unknown)
# When that commit was made, which its bill of materials names as its own time.
COMMITTED := $(shell git log -1 --format=%ct 2>/dev/null || echo 1767225600)

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what the other targets need (Debian and its kin)
	.ci/setup

build: ## the release binary, target/release/mutt-remediation
	cargo build --release --locked

demo: ## thousands of dead letters, an outage and a recovery; KEEP=1 goes on and serves the console
	@.ci/setup demo
	cargo build --release --locked
	@cargo run --release --locked --quiet -- demo $(if $(KEEP),--keep)

# Most tests wait for servers, so that twice as many as there are cores run side by side.
test: ## all tests, on real Redis servers that they start themselves
	@.ci/setup test
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$(( $$(nproc) * 2 ))} cargo test --locked

screenshots: ## docs/console/*.png, each page of the console as Chromium shows it
	@.ci/setup test screenshots
	SCREENSHOTS=write cargo test --locked --test it every_page_can_be_used
	pngquant --nofs --strip --force --ext .png 128 docs/console/*.png

dashboards: ## docs/grafana/*.svg, the dashboards drawn from what a real Prometheus answers
	@.ci/setup test
	DASHBOARDS=write cargo test --locked --test it every_query_of_the_dashboards

servers: ## the integration tests on Redis 8, Valkey 8 and Valkey 9, fetched from Debian's archive
	.ci/servers

chaos: ## everything goes wrong at once for CHAOS_SECONDS, or by one CHAOS_SEED for CHAOS_ROUNDS, at CHAOS_PLACE
	@.ci/setup test
	CHAOS_SECONDS=$${CHAOS_SECONDS:-300} cargo test --locked --test it fresh_seed -- --nocapture

# A sanitizer needs features of the compiler that are not stable, but no other compiler.
fuzz: ## each fuzz target for FUZZ_SECONDS, with the address sanitizer
	@.ci/setup fuzz
	set -e; for target in envelope config settings slot; do \
		mkdir -p target/fuzz/corpus/$$target; \
		PATH="$$PWD/target/ci/tools/bin:$$PATH" RUSTC_BOOTSTRAP=1 \
		cargo fuzz run --fuzz-dir tests/fuzz --target-dir target/fuzz $$target \
			target/fuzz/corpus/$$target tests/fuzz/corpus/$$target -- \
			-dict=tests/fuzz/$$target.dict -max_len=2048 -print_final_stats=1 \
			-max_total_time=$${FUZZ_SECONDS:-600}; \
	done

mutants: ## whether the tests notice each small change of the rules, plans, envelopes and configuration
	@.ci/setup mutants
	PATH="$$PWD/target/ci/tools/bin:$$PATH" FUZZ_FACTOR=0.05 cargo mutants --in-place --output target

check: ## format, lints, documentation, dependencies, manifests, links
	.ci/check

bench: ## messages a second, beside the Python worker's way
	@.ci/setup bench
	BENCH_PYTHON=target/ci/bench/bin/python cargo bench --locked --bench drain

pace: ## what the adaptive pace does after an outage, and what it costs
	@.ci/setup test
	cargo bench --locked --bench pace

moves: ## the ways in which a batch could move, beside the one that was chosen
	@.ci/setup test
	cargo bench --locked --bench moves

failover: ## what a failover brings back, and what waiting for replicas costs
	@.ci/setup test
	cargo bench --locked --bench failover

operate: ## what the operator's side costs, over a queue of a million (needs 5 GB)
	@.ci/setup test
	cargo bench --locked --bench operate

overload: ## what a crowd, a mountain of letters and bounces cost the drain (needs 3 GB)
	@.ci/setup test
	cargo bench --locked --bench overload

soak: ## a week of passes in SOAK_SECONDS (600), with all that may happen; PLOTS=write draws docs/soak/week.svg
	@.ci/setup test
	cargo bench --locked --bench soak

rules: ## docs/prometheus/*.yml and the PrometheusRules in k8s, from the objectives and the alerts of the worker
	for file in slo-recording slo-alerts worker-alerts; do \
		cargo run --locked --quiet -- rules $$file > docs/prometheus/$$file.yml || exit; \
	done
	python3 .ci/k8s/prometheus_rule.py

plots: ## docs/pace/*.svg and the tables of docs/pace.md, from the simulator
	PLOTS=write cargo test --locked --test pure plots_and_their_figures

image: ## the container image, mutt-remediation:VERSION
	docker build --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) \
		--build-arg SOURCE_DATE_EPOCH=$(COMMITTED) --tag mutt-remediation:$(VERSION) .

test-image: ## builds the image, runs docker-compose.yml and tries both; KEEP=1, REPRODUCE=1
	@.ci/setup image
	python3 .ci/image

sbom: ## what the binary is made of, as CycloneDX, target/sbom/mutt-remediation.cdx.json
	.ci/sbom

deb: ## a Debian package of the release binary and its unit, below target/debian
	@.ci/setup deb
	python3 .ci/licences.py
	PATH="$$PWD/target/ci/tools/bin:$$PATH" cargo deb --locked --output target/debian/

licences: ## what the binary is made of and under which licences, target/licences/THIRD-PARTY.txt
	python3 .ci/licences.py

release: ## builds, tests, packs into target/dist and writes the checksums; signs and sends nothing
	.ci/release

clean: ## remove everything that was built
	cargo clean
