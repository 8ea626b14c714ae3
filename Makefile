# SPDX-License-Identifier: Apache-2.0
# `make help` lists the targets. Every recipe that needs the environment sources env.sh.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help bootstrap deps build check-video demo test soak test-analytics test-hybrid bench check deny models-verify install uninstall

PREFIX ?= /usr/local
# The directory GStreamer reads on this machine; `make install PLUGINDIR=...` overrides it.
PLUGINDIR ?= $(shell pkg-config --variable=pluginsdir gstreamer-1.0 2>/dev/null || echo $(PREFIX)/lib/gstreamer-1.0)
# Where GStreamer looks for presets of elements.
PRESETDIR ?= $(shell pkg-config --variable=datadir gstreamer-1.0 2>/dev/null || echo $(PREFIX)/share)/gstreamer-1.0/presets
DEMO_OUT ?= demo-out
PLUGINS := aivideo aitransport aifx aimeta

help: ## this list
	@echo "make TARGET"
	@awk -F ':.*## ' '/^[a-z -]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "variables: VIDEO=clip (demo), DEMO_OUT=dir (demo), SOAK=\"--minutes 60\", PREFIX=, PLUGINDIR=, DESTDIR= (install)"

bootstrap deps: ## install what is missing: apt packages, Rust, ONNX Runtime, ffmpeg, clips
	@scripts/bootstrap.sh

build: bootstrap ## compile the plugins and the command-line program
	@set -e; . ./env.sh; \
	echo "build: cargo build --release --workspace"; \
	cargo build --release --workspace; \
	scripts/link-plugins.sh $(PLUGINS)

# Said before minutes of compiling, not after.
check-video:
	@[ -z "$(VIDEO)" ] || [ -r "$(VIDEO)" ] || { echo "demo: cannot read the clip: $(VIDEO)" >&2; exit 1; }

demo: check-video build ## the main job on a real clip (VIDEO=path for your own): table and HTML report
	@set -e; . ./env.sh; \
	target/release/aivideo demo --out "$(DEMO_OUT)" $(if $(VIDEO),--video "$(VIDEO)")

test: build ## every test that needs nothing but this clone
	@set -e; . ./env.sh; scripts/test.sh

soak: build ## eight RTSP cameras that drop and return, ten minutes: does anything hang or leak?
	@set -e; . ./env.sh; target/release/aivideo-cameras soak --clip "$${AIVIDEO_DEPS:-.deps}/clips/bikes.mp4" $(SOAK)

test-analytics: bootstrap ## the feature `analytics` (needs GStreamer 1.24): plugins and tests
	@set -e; . ./env.sh; scripts/test-analytics.sh

test-hybrid: bootstrap ## the hybrid profile with svtav1enc (needs GStreamer 1.24); AIVIDEO_RD_DATA=DIR for its table
	@set -e; . ./env.sh; scripts/test-hybrid.sh

bench: build ## speed of each element, and its overhead over the bare call
	@set -e; . ./env.sh; target/release/aivideo bench

check: bootstrap ## formatting and lints, warnings denied; the fuzz targets compile
	@set -e; . ./env.sh; \
	cargo fmt --all --check; \
	cargo clippy --release --workspace --all-targets -- -D warnings; \
	cargo check --manifest-path fuzz/Cargo.toml --bins

deny: bootstrap ## licences and advisories of the dependencies (needs cargo-deny)
	@set -e; . ./env.sh; \
	command -v cargo-deny >/dev/null 2>&1 || { echo "cargo-deny is not installed: cargo install --locked cargo-deny" >&2; exit 1; }; \
	cargo deny check

models-verify: build ## compare the shipped models with the hashes in their manifests
	@set -e; . ./env.sh; target/release/aivideo models verify

install: build ## copy plugins, program and ONNX Runtime (PREFIX, PLUGINDIR, DESTDIR)
	@set -e; \
	install -d "$(DESTDIR)$(PLUGINDIR)" "$(DESTDIR)$(PREFIX)/bin"; \
	for name in $(PLUGINS); do \
	  install -m 755 "target/release/libgst$$name.so" "$(DESTDIR)$(PLUGINDIR)/"; \
	done; \
	install -m 755 target/release/aivideo target/release/aivideo-cameras "$(DESTDIR)$(PREFIX)/bin/"; \
	install -d "$(DESTDIR)$(PRESETDIR)"; \
	install -m 644 plugins/*/presets/*.prs "$(DESTDIR)$(PRESETDIR)/"; \
	. ./env.sh; \
	: "the name ends in .1 because GStreamer tries every *.so here as a plugin"; \
	install -m 755 "$$ORT_DYLIB_PATH" "$(DESTDIR)$(PLUGINDIR)/libonnxruntime.so.1"; \
	echo "installed into $(DESTDIR)$(PLUGINDIR) and $(DESTDIR)$(PREFIX)/bin"

uninstall: ## remove what install copied
	@for name in $(PLUGINS); do rm -f "$(DESTDIR)$(PLUGINDIR)/libgst$$name.so"; done; \
	for file in plugins/*/presets/*.prs; do rm -f "$(DESTDIR)$(PRESETDIR)/$$(basename $$file)"; done; \
	rm -f "$(DESTDIR)$(PLUGINDIR)/libonnxruntime.so.1" "$(DESTDIR)$(PREFIX)/bin/aivideo" "$(DESTDIR)$(PREFIX)/bin/aivideo-cameras"
