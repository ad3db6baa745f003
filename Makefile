# A thin front for scripts/ and the CMake presets. `make` alone lists the targets.
.DEFAULT_GOAL := help
PREFIX ?= /usr/local
BUILD := build

.PHONY: help setup build build-all test test-kernels test-emulated demo format lint tidy asan tsan fuzz install deb clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what building and testing needs, and only what is missing
	@scripts/setup

$(BUILD)/build.ninja:
	cmake --preset release

build: setup $(BUILD)/build.ninja ## Build the program: build/lathe
	cmake --build --preset release --target product

build-all: setup $(BUILD)/build.ninja ## Build the program and the tests
	cmake --build --preset release

test: build-all ## Run all tests; ends with "N passed, N failed"
	scripts/test

test-kernels: setup $(BUILD)/build.ninja ## Compile the matrix of CUDA kernels (NVRTC, no GPU; many minutes)
	cmake --build --preset release --target cuda_kernel_matrix_test
	$(BUILD)/tests/cuda_kernel_matrix_test --gtest_brief=1

test-emulated: setup $(BUILD)/build.ninja ## Run all tests of the GPU's kernels on an emulated GPU (NVRTC; minutes)
	cmake --build --preset release --target cuda_lower_test cuda_session_test cuda_models_test emulated_gpu
	scripts/test emulated-all

demo: build ## Build a plan from a bundled model, classify, fill masks, compare, measure
	scripts/demo

format: ## Let clang-format rewrite the sources
	scripts/check_format --fix

lint: ## Check the floors, lengths and formatting
	scripts/check_floors
	scripts/check_format

tidy: $(BUILD)/build.ninja ## Run clang-tidy over src/
	scripts/test tidy

asan: ## Build and run the unit tests with AddressSanitizer and UndefinedBehaviorSanitizer
	scripts/test asan

tsan: ## Build and run the tests of threaded code with ThreadSanitizer
	scripts/test tsan

fuzz: ## Run every fuzz target for FUZZ_SECONDS (60) seconds
	cmake --preset fuzz
	cmake --build --preset fuzz
	scripts/fuzz build-fuzz $(or $(FUZZ_SECONDS),60)

install: build ## Install under PREFIX (/usr/local)
	cmake --install $(BUILD) --prefix $(PREFIX) --strip

deb: build ## Make Debian packages in build/packages
	cd $(BUILD) && cpack

clean: ## Remove everything that was built
	rm -rf build build-*
