# make demo: set up and run the main job.  make test: set up and run the suite.  Both work on a fresh machine with
# Python 3.10+, pip, venv and make.
PYTHON ?= python3
VENV ?= .venv
# A CPU build of PyTorch: make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
OUT ?= demo-output

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
EC := $(BIN)/edgechaos
APT_PACKAGES := gcc g++ libc6-dev gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm qemu-system-misc \
    gcc-riscv64-unknown-elf gcc-avr avr-libc
IN := --data mnist5k

.PHONY: demo check test nightly lint lines bench mutation apt clean
.DELETE_ON_ERROR:

$(VENV)/.python:
	$(PYTHON) -m venv $(VENV)
	@touch $@

# torch is installed alone and first, so that nothing else chooses its version.
$(VENV)/.torch: $(VENV)/.python constraints.txt
	@echo "installing PyTorch (once)"
	$(PIP) install -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	@touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	@echo "installing EdgeChaos (once)"
	$(PIP) install -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@echo "installing what the tests need (once)"
	$(PIP) install -c constraints.txt -e '.[dev,tvm,dask]'
	@touch $@

demo: $(VENV)/.demo
	$(EC) train --data mnist5k --hidden 64 --ticks 10 -o $(OUT)/pixels.safetensors
	$(EC) quantize $(OUT)/pixels.safetensors -o $(OUT)/pixels.ecm
	$(EC) inspect $(OUT)/pixels.ecm
	$(EC) export $(OUT)/pixels.ecm -o $(OUT)/pixels.onnx
	$(EC) build $(OUT)/pixels.ecm --board mps2-an386 -o $(OUT)/firmware
	$(EC) verify $(OUT)/pixels.ecm -o $(OUT)/verify.json
	$(EC) run $(OUT)/pixels.ecm --device unicorn --items 100
	$(EC) campaign examples/demo.toml --artifact $(OUT)/pixels.ecm -o $(OUT)/campaign --resume
	$(EC) report $(OUT) -o $(OUT)/report.html

# As root, Debian packages are installed; otherwise the one line to run is printed and the rest goes on.
apt:
	@missing=$$(for p in $(APT_PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ]; then apt-get update -q && apt-get install -qy --no-install-recommends $$missing; \
	else echo "to run every test: sudo apt-get install $$missing"; fi

# While you work: lint, types, and the tests that neither train nor take seconds.
check: lint
	$(BIN)/python -m pytest -n 2 -m "not slow and not trains"

test: apt $(VENV)/.dev
	$(BIN)/python -m pytest -n 2

# Every float path, one thread against two, other training seeds, logs and a summary in lanes/; models of every kind on every emulated board. Then kills, and what calibration costs
# every published form, three training seeds each, where $EDGECHAOS_DATA has the data sets: train-all/calibrated.json, an hour when new.
nightly: test
	.ci/lanes.sh nightly
	$(BIN)/python benchmarks/matrix.py --boards
	$(BIN)/python benchmarks/kills.py --kills 100 --seed 1 --seed 2 --seed 3
	$(BIN)/python benchmarks/kills.py --kills 50 --seed 4 --dask
	test -z "$$EDGECHAOS_DATA" || $(BIN)/python benchmarks/calibrated.py -o train-all --seeds 3

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy edgechaos tests benchmarks .ci/*.py

# Lines of code outside of tests, before the packages were rebuilt and now.
lines:
	@$(PYTHON) .ci/lines.py || true

# Small changes to the code, drawn by a seed, of which the tests must notice 95 %: make mutation SEED=3 COUNT=200
SEED ?= 1
COUNT ?= 200
mutation: apt $(VENV)/.dev
	PYTHONPATH=. $(BIN)/python -m tests.mutation --seed $(SEED) --count $(COUNT)

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/bench.py
	$(BIN)/python benchmarks/kernels.py

clean:
	rm -rf $(OUT) lanes train-all build dist *.egg-info
