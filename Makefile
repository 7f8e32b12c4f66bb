# An index of commands: `make` lists it. What grows beyond three lines becomes a verb of anemos.

PACKAGES = qemu-system-x86 qemu-utils ovmf mmdebstrap debian-archive-keyring uidmap zstd xz-utils \
	cpio fdisk dosfstools e2fsprogs util-linux busybox-static kmod openssh-client initramfs-tools-core \
	apt-utils patch gpg dpkg-dev arch-install-scripts pacman-package-manager makepkg libarchive-tools \
	openssl python3-pip
MISSING = $(strip $(shell for package in $(PACKAGES); do dpkg-query -W -f='$${Status}' $$package \
	2>/dev/null | grep -q 'ok installed' || echo $$package; done))
# What runs the tests also travels into guests: `guest` in Cargo.toml says how it is built.
PROFILE = dev
CHECKS = 'cargo fmt --all --check' \
	'cargo clippy --profile $(PROFILE) --workspace --all-targets -- -D warnings' \
	'RUSTDOCFLAGS="-D warnings" cargo doc --profile $(PROFILE) --workspace --no-deps --document-private-items' \
	'for f in .ci/run payloads/*/build payloads/*/deploy fixtures/*/build fixtures/served/*/build $$(grep -ld skip "^\#!" fixtures/served/arch/*) fixtures/served/arch/adjust/*; do sh -n $$f || exit; done'
TARGET = target/x86_64-unknown-linux-gnu
ANEMOS = $(TARGET)/release/anemos
TESTED = $(TARGET)/guest/anemos

help: ## Lists these commands
	@sed -n 's/^\([a-z-]*\):.*## /  \1	/p' Makefile

# Twice: a package that is there may be one that conflicts with a missing one, and be removed for it.
setup: ## Installs the Debian packages that are missing; needs root only for that
	@$(MAKE) --no-print-directory packages
	@$(MAKE) --no-print-directory packages
	@{ cargo clippy --version && cargo fmt --version; } >/dev/null 2>&1 || rustup component add clippy rustfmt

packages:
	@echo "setup: $(if $(MISSING),installing $(MISSING),every package is there)"
	@test -z "$(MISSING)" || test "$$(id -u)" = 0 || { echo "setup: not root; run: sudo make setup" >&2; exit 1; }
	@test -z "$(MISSING)" || { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(MISSING); }

build: ## Builds the binary for development
	cargo build --workspace

release: ## Builds the binary for servers
	cargo build --release

demo: demo-says setup release target/payloads/debian.tar.zst ## Carries a real Debian onto a simulated VPS, on two disk buses
	$(ANEMOS) fixture build debian-12
	$(ANEMOS) test target/payloads/debian.tar.zst --bus virtio-blk
	$(ANEMOS) test target/payloads/debian.tar.zst --bus nvme

demo-says:
	@echo "demo: 1. builds anemos (about 5 min)  2. makes a payload from Debian packages (about 2 min)"
	@echo "demo: 3. builds a simulated VPS with Debian 12, once (about 6 min without KVM)"
	@echo "demo: 4. deploys the payload onto a virtio disk, then onto an NVMe disk (about 4 min each without KVM)"

demo-arch: setup release ## Turns a simulated Debian VPS into Arch Linux, from a mirror of its own
	$(ANEMOS) fixture build debian-12 served/base served/arch
	$(ANEMOS) conformance imgbuild/arch --jobs 1

imgbuild: setup release ## Installs an IMGBUILD inside a simulated VPS, from a mirror of its own
	$(ANEMOS) conformance imgbuild/debian --jobs 1

test: setup ## Checks everything, runs every test, then each kind of scenario once
	@echo "test: $$(date +%T) 1. build"
	cargo build --profile guest --workspace
	@echo "test: $$(date +%T) 2. simulated machines and scenarios; meanwhile lints, documentation and the other tests"
	@$(MAKE) --no-print-directory -j3 test-each test-run
	@echo "test: $$(date +%T) passed"

# The parts of `make test`, several at a time, because one alone often leaves a core idle.
test-fixture:
	$(TESTED) fixture build debian-12
	@echo "test: $$(date +%T) the simulated machine is ready"

test-served:
	$(TESTED) fixture build served/arch
	-$(TESTED) fixture build served/alpine
	@echo "test: $$(date +%T) the mirrors are ready"

test-each: test-fixture test-served
	$(TESTED) conformance --tag each
	@echo "test: $$(date +%T) each kind of scenario passed"

test-build:
	@$(MAKE) --no-print-directory check PROFILE=guest
	cargo test --profile guest --workspace --no-run
	@echo "test: $$(date +%T) everything is checked, and the tests are built"

test-run: test-build test-fixture test-served
	ANEMOS_TEST_KERNEL="$$($(TESTED) fixture list | sed -n 's/^debian-12 .*built.* in //p')/vmlinuz" \
	ANEMOS_TEST_SERVED="$$($(TESTED) fixture list | sed -n 's/^served.*built.* in //p' | paste -sd:)" \
		cargo test --profile guest --workspace
	@echo "test: $$(date +%T) every test without guests passed"

conformance: setup ## Runs every scenario, then machines drawn from a seed; builds every fixture
	cargo build --profile guest --workspace
	$(TESTED) conformance
	$(TESTED) conformance --generate 6 --seed 1 --payload payloads/minimal

campaign: setup ## Lets every fault strike a deployment at every moment; two hours without KVM
	cargo build --profile guest --workspace
	$(TESTED) conformance --campaign 96 --seed 1 --payload payloads/minimal --evidence target/campaign
	cp target/campaign/campaign.json scenarios/campaign.json

sabotage: ## Breaks the product on purpose, and checks that its tests notice; ONLY=name tries a part
	cargo run --package harness --example sabotage -- $(ONLY)

check: ## Formatting, lints, documentation, shell syntax; names every failure
	@failed=0; for check in $(CHECKS); do echo "check: $$check"; sh -c "$$check" || { failed=1; \
		echo "check: FAILED: $$check" >&2; }; done; exit $$failed

bench: setup ## Measures generating the final initramfs against the shell way
	cargo bench --package anemos --bench initramfs

target/payloads/%.tar.zst: payloads/%/build payloads/%/deploy | release
	rm -rf target/payloads/$*
	payloads/$*/build target/payloads/$*
	$(ANEMOS) pack target/payloads/$* -o $@

.PHONY: help setup packages build release demo demo-says demo-arch imgbuild test test-fixture test-served test-each test-build \
	test-run conformance campaign sabotage check bench
