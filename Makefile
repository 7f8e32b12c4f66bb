# An index of commands: `make` lists it. What grows beyond three lines becomes a verb of anemos.

PACKAGES = qemu-system-x86 qemu-utils ovmf mmdebstrap debian-archive-keyring uidmap zstd xz-utils \
	cpio fdisk dosfstools e2fsprogs util-linux busybox-static kmod openssh-client initramfs-tools-core \
	apt-utils patch gpg dpkg-dev arch-install-scripts pacman-package-manager makepkg libarchive-tools \
	openssl python3-pip
MISSING = $(strip $(shell for package in $(PACKAGES); do dpkg-query -W -f='$${Status}' $$package \
	2>/dev/null | grep -q 'ok installed' || echo $$package; done))
CHECKS = 'cargo fmt --all --check' 'cargo clippy --workspace --all-targets -- -D warnings' \
	'RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items' \
	'for f in .ci/run payloads/*/build payloads/*/deploy fixtures/*/build fixtures/served/*/build $$(grep -ld skip "^\#!" fixtures/served/arch/*) fixtures/served/arch/adjust/*; do sh -n $$f || exit; done'
ANEMOS = cargo run --release --quiet --

help: ## Lists these commands
	@sed -n 's/^\([a-z-]*\):.*## /  \1	/p' Makefile

# Twice: a package that is there may be one that conflicts with a missing one, and be removed for it.
setup: ## Installs the Debian packages that are missing; needs root only for that
	@$(MAKE) --no-print-directory packages
	@$(MAKE) --no-print-directory packages

packages:
	@echo "setup: $(if $(MISSING),installing $(MISSING),every package is there)"
	@test -z "$(MISSING)" || test "$$(id -u)" = 0 || { echo "setup: not root; run: sudo make setup" >&2; exit 1; }
	@test -z "$(MISSING)" || { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(MISSING); }

build: ## Builds the binary for development
	cargo build --workspace

demo: setup target/payloads/debian.tar.zst ## Carries a real Debian onto a simulated VPS, on two disk buses
	$(ANEMOS) fixture build debian-12
	$(ANEMOS) test target/payloads/debian.tar.zst --disk virtio-blk
	$(ANEMOS) test target/payloads/debian.tar.zst --disk nvme

demo-arch: setup ## Turns a simulated Debian VPS into Arch Linux, from a mirror of its own
	$(ANEMOS) fixture build debian-12 served/base served/arch
	$(ANEMOS) conformance imgbuild/arch --jobs 1

imgbuild: setup ## Has an IMGBUILD installed inside of a simulated VPS, from a mirror of its own
	$(ANEMOS) conformance imgbuild/debian --jobs 1

test: setup build ## Runs every test, then each kind of scenario once
	cargo run --quiet -- fixture build debian-12 served/arch
	-cargo run --quiet -- fixture build served/alpine
	ANEMOS_TEST_KERNEL="$$(cargo run --quiet -- fixture list | sed -n 's/^debian-12 .*built, //p')/vmlinuz" \
	ANEMOS_TEST_SERVED="$$(cargo run --quiet -- fixture list | sed -n 's/^served.*built, //p' | paste -sd:)" \
		cargo test --workspace
	cargo run --quiet -- conformance --tag each

conformance: setup build ## Runs every scenario, then machines drawn from a seed; builds every fixture
	cargo run --quiet -- conformance
	cargo run --quiet -- conformance --generate 6 --seed 1 --payload payloads/minimal

campaign: setup ## Has every fault strike a deployment at every stage; half an hour
	$(ANEMOS) conformance --campaign 64 --seed 1 --payload payloads/minimal

check: ## Formatting, lints, documentation, shell syntax; names every failure
	@failed=0; for check in $(CHECKS); do echo "check: $$check"; sh -c "$$check" || { failed=1; \
		echo "check: FAILED: $$check" >&2; }; done; exit $$failed

bench: setup ## Measures generating the final initramfs against the shell way
	cargo bench --package anemos --bench initramfs

target/payloads/%.tar.zst: payloads/%/build payloads/%/deploy
	rm -rf target/payloads/$*
	payloads/$*/build target/payloads/$*
	$(ANEMOS) pack target/payloads/$* -o $@

.PHONY: help setup packages build demo demo-arch imgbuild test conformance campaign check bench
