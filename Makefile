# artifact: build, test, try. `make help` lists the targets.

SHELL := /bin/bash
SWIFT ?= swift
PYTHON ?= python3
PREFIX ?= /usr/local
ARCH ?=
BUILD := .build
RELEASE := $(BUILD)/release/artifact
RELEASE_FLAGS := -c release --static-swift-stdlib --scratch-path $(BUILD) $(if $(ARCH),-Xcc -march=$(ARCH))
TEST_VENV := .venv-test
INTEROP_VENV := .venv-interop

.DEFAULT_GOAL := help
.PHONY: help system build demo test interop fuzz fuzz-differential faults bench format lint docs install clean

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

system: ## Install the system packages that a build needs (apt, needs root)
	@scripts/system-packages

build: system ## Build the artifact command (release, Swift runtime linked in)
	$(SWIFT) build $(RELEASE_FLAGS) --product artifact
	@echo "built $(RELEASE)"

demo: build ## Export a sample checkpoint and verify the result
	@scripts/demo $(RELEASE)

test: system $(TEST_VENV)/ready ## Install what the tests need and run them all
	ARTIFACT_TEST_PYTHON=$(CURDIR)/$(TEST_VENV)/bin/python \
	    $(SWIFT) test --scratch-path $(BUILD)

$(TEST_VENV)/ready: Tests/requirements.txt
	@scripts/make-venv $(TEST_VENV) Tests/requirements.txt

interop: build $(INTEROP_VENV)/ready ## Let the real programs judge, all or ONLY="adapters outputs" (large downloads, builds llama.cpp)
	@scripts/interop $(INTEROP_VENV)/bin/python $(RELEASE) $(ONLY)

$(INTEROP_VENV)/ready: Tests/Interop/requirements.txt scripts/interop-extras
	@scripts/make-venv $(INTEROP_VENV) Tests/Interop/requirements.txt
	@scripts/interop-extras $(INTEROP_VENV)

fuzz: system ## Fuzz what reads untrusted bytes, SECONDS=60 an entry
	@scripts/fuzz $(or $(SECONDS),60)

fuzz-differential: system $(TEST_VENV)/ready ## Compare COUNT=1000000 mutated headers with the reference's verdicts
	$(SWIFT) build --package-path Fuzz --scratch-path .build-fuzz -c release --product differential
	$(TEST_VENV)/bin/python Fuzz/differential.py .build-fuzz/release/differential . \
	    --count $(or $(COUNT),1000000) --seed $(or $(SEED),1)

faults: build ## Meet every file operation of the command with errors and kills, then KILLS=100 of a large export
	mkdir -p $(BUILD)/faults
	$(CC) -shared -fPIC -O1 -Wall -Wextra -I Tests/FaultLayer/include -o $(BUILD)/faults/libFaultLayer.so \
	    Tests/FaultLayer/FaultLayer.c
	$(PYTHON) Tests/Faults/faults.py --artifact $(RELEASE) --layer $(BUILD)/faults/libFaultLayer.so
	$(PYTHON) Tests/Faults/kills.py --artifact $(RELEASE) --count $(or $(KILLS),100) \
	    $(if $(TORCH_PYTHON),--torch-python $(TORCH_PYTHON))

bench: build $(INTEROP_VENV)/ready ## Time the library beside the wheel, conversions beside memcpy, and an export beside torch and cp
	$(SWIFT) build --package-path Benchmarks --scratch-path .build-bench -c release
	$(INTEROP_VENV)/bin/python Benchmarks/safetensors_bench.py \
	    --swift .build-bench/release/safetensors-bench --size $(or $(SIZE),1GB)
	$(INTEROP_VENV)/bin/python Benchmarks/kernels_bench.py --swift .build-bench/release/kernels-bench
	$(INTEROP_VENV)/bin/python Benchmarks/export_vs_torch.py --artifact $(RELEASE) --size $(or $(SIZE),4GB)
	$(INTEROP_VENV)/bin/python Benchmarks/distributed_bench.py --artifact $(RELEASE) --size $(or $(SIZE),4GB)

format: ## Format the Swift sources
	$(SWIFT) format --in-place --recursive --parallel Package.swift Sources Tests Fuzz/Package.swift Fuzz/Sources \
	    Benchmarks/Package.swift Benchmarks/Sources

lint: ## Check the formatting and the documentation comments
	$(SWIFT) format lint --strict --recursive --parallel Package.swift Sources Tests Fuzz/Package.swift Fuzz/Sources \
	    Benchmarks/Package.swift Benchmarks/Sources

docs: ## Build the SafeTensors reference into .build/docs
	@scripts/docs SafeTensors $(BUILD)/docs

install: build ## Install the command, its man page and completions below PREFIX
	@scripts/install $(RELEASE) "$(DESTDIR)$(PREFIX)"

clean: ## Remove everything that was built
	rm -rf $(BUILD) .build-* $(TEST_VENV) $(INTEROP_VENV) demo-output
