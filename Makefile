# What people do with this repository, by name. `make` alone explains it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
# One after another, also under -j: a build needs its set-up done.
.NOTPARALLEL:

# A fresh root shell often lacks rustup's folder, and sbin holds tools of the tests.
export PATH := $(PATH):/usr/sbin:/sbin:$(HOME)/.cargo/bin

# Workspaces of their own: the kernel programs have another target and compiler, fuzzing another profile.
APART := $(wildcard ebpf/programs/Cargo.toml sources/fuzz/Cargo.toml dns/fuzz/Cargo.toml cni/protocol/fuzz/Cargo.toml)

# Tests that run in other kernels too: what they need of the machine is a kernel, and few programs beside Bowline's.
KERNEL_TESTS := sockets services endpoints full agent commands devices packets
# A command that prints the files of the test programs with these names.
tests_of = cargo test --workspace --no-run --message-format json $(1:%=--test %) 2>/dev/null \
	| sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | grep -E '/deps/' | sort -u

.PHONY: help setup build test test-long flannel demo cluster cluster-down kernels kernels-short bench bench-sources bench-dns bench-cni bench-rollouts fmt lint docs dependencies check clean
.DEFAULT_GOAL := help

help: ## Explain these commands
	@echo 'Bowline gives a node its Service addresses by eBPF, and its DNS. On Debian 12 with rustup (and Go, for tests), as root:'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1 \t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 24
	@echo
	@echo 'New here? Run `make demo`. Each command installs first what it needs (see scripts/setup).'

setup: ## Install what building, tests and benches need, and say what and why
	@scripts/setup bench

build: ## Build target/release/bowline and bowline-cni
	@scripts/setup build
	@echo 'Building bowline (a few minutes the first time, a moment after) ...'
	@cargo build --release
	@scripts/plugin

test: ## Run every test (loads eBPF programs, makes network namespaces; takes all away again)
	@scripts/setup test
	@scripts/test

test-long: ## The same, and those that take long whole: storms, big clusters, ten rollouts (an hour)
	@BOWLINE_TEST_LONG=1 $(MAKE) test

flannel: ## Move two nodes from the real flannel to Bowline, and one back, with a real API server
	@scripts/setup kubernetes
	@cargo build --bin bowline
	@cargo build -p bowline-cni-plugin
	@lab/flannel/run

demo: build ## Show it on this machine: the Kubernetes guestbook in containers on two nodes
	@scripts/setup demo
	@examples/guestbook/demo

cluster: build ## Start a real Kubernetes of two nodes on this machine, its network, Services and DNS by Bowline
	@scripts/setup kubernetes
	@cargo build --release -p bowline-lab
	@target/release/bowline-lab-cluster up

cluster-down: ## Remove that Kubernetes, without a trace
	@cargo build --release -p bowline-lab
	@target/release/bowline-lab-cluster down

kernels: ## Boot Debian's kernels 6.1 and 6.12, and run checks and the tests of sockets and the agent in them
	@scripts/setup kernels
	@cargo build --locked --features layout-next --bin bowline --target-dir target/layout-next
	@cargo test --workspace --no-run --test lab $(KERNEL_TESTS:%=--test %)
	@lab/kernels/run --next target/layout-next/debug/bowline --tests "$$($(call tests_of,$(KERNEL_TESTS)))"

kernels-short: ## The same, of the tests only those of SCTP's sockets (three minutes once `make test` has built what it needs)
	@scripts/setup kernels
	@cargo build --workspace --bins
	@cargo build --locked --features layout-next --bin bowline --target-dir target/layout-next
	@cargo test --workspace --no-run --test packets
	@lab/kernels/run --next target/layout-next/debug/bowline --only sockets_of_sctp --tests "$$($(call tests_of,packets))"

# Another build of `bowline`, to be measured in the same run: make bench BESIDE=FILE
beside := $(if $(BESIDE),--beside '$(BESIDE)')

bench: setup ## Measure every number that we claim, each beside its reference (BESIDE=FILE: and another build)
	@cargo build --release -p bowline -p bowline-bench
	@target/release/bowline-bench $(beside)

bench-sources: setup ## Measure Kubernetes and etcd as sources, beside kube-proxy (15 minutes)
	@cargo build --release -p bowline -p bowline-bench
	@target/release/bowline-bench sources

bench-dns: setup ## Measure the DNS server beside CoreDNS and unbound, knot as their upstream (10 minutes; BESIDE=FILE as for bench)
	@cargo build --release -p bowline -p bowline-bench
	@cargo build --release -p bowline-sys --examples
	@target/release/bowline-bench dns $(beside)

bench-cni: setup ## Measure pods' network beside CNI's reference plugins, and beside wires made by hand (10 minutes)
	@cargo build --release -p bowline -p bowline-bench -p bowline-net --bins --examples
	@scripts/plugin
	@target/release/bowline-bench cni

bench-rollouts: setup ## Count failed requests in rolling updates among 10,000 Services, beside kube-proxy (20 minutes)
	@BOWLINE_TEST_LONG=1 BOWLINE_TEST_PEER=kube-proxy cargo test --test cluster -- --nocapture rolling_updates_among

fmt: ## Format the code
	@cargo fmt --all
	@for manifest in $(APART); do cargo fmt --manifest-path $$manifest; done

lint: ## Check the format, and run clippy with warnings as errors
	@scripts/setup build
	@cargo fmt --all -- --check
	@for manifest in $(APART); do cargo fmt --manifest-path $$manifest -- --check; done
	@cargo clippy --workspace --all-targets -- -D warnings
	@# clippy has no target for kernel programs; for this host it reads the same code.
	@RUSTC_BOOTSTRAP=1 cargo clippy --manifest-path ebpf/programs/Cargo.toml -- -D warnings

docs: ## Build the documentation of the code, with warnings as errors
	@scripts/setup build
	@RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items

dependencies: ## Hold the crates we use against deny.toml: licences, sources, doubles
	@scripts/setup check
	@for manifest in Cargo.toml $(APART); do cargo deny --manifest-path $$manifest check -A unmatched-skip licenses bans sources; done

check: lint docs dependencies ## All that CI looks at before the tests

clean: ## Remove what was built (not what was installed)
	@cargo clean
	@for manifest in $(APART); do cargo clean --manifest-path $$manifest; done
