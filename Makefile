# Two commands: `make demo` and `make test`. Each sets up what it needs, once.
#
#   make demo                        install, then run egs/mini: classical, emotion2vec, Vesper
#   make test                        install, then run the tests
#   make test ARGS="-m slow"         the longer proofs
#   make install PIP_ARGS="..."      hand options to pip, for instance PyTorch's index of CPU builds
#
# PYTHON is the interpreter that makes the virtual environment, VENV the folder that holds it.
PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
PIP_ARGS ?=

PY    := "$(abspath $(VENV))/bin/python"
# The stamp's name holds a checksum of what is installed, so a changed requirement installs again.
READY := $(VENV)/.ready-$(shell cat requirements.txt setup.py | cksum | cut -d' ' -f1)

.PHONY: demo test install lint doctor
# Threads wait idly here: those that spin take ten times as long where others share the cores.
demo: export OMP_WAIT_POLICY ?= PASSIVE
demo: install
	@echo '--- 1 of 5: a synthetic corpus, and the floor: acoustic statistics with an SVM'
	cd egs/mini && $(PY) run.py hparams/classical.yaml
	@echo '--- 2 of 5: emotion2vec learns from the audio without labels; a head on its frozen layers'
	cd egs/mini && $(PY) run.py hparams/emotion2vec.yaml
	@echo '--- 3 of 5: Vesper keeps a third of its blocks and learns from it; the same head, frozen'
	cd egs/mini && $(PY) run.py hparams/vesper.yaml
	@echo '--- 4 of 5: the Vesper student fine-tuned end to end'
	cd egs/mini && $(PY) run.py hparams/vesper_finetune.yaml
	@echo '--- 5 of 5: every score with its interval and its chance level'
	$(PY) utils/show_results.py $(addprefix egs/mini/exp/,classical emotion2vec vesper vesper_finetune)

test: install
	$(PY) -m pytest $(ARGS)

lint: install
	$(PY) -m ruff check .

doctor: install
	$(PY) -m sertools doctor

install: $(READY)

$(READY): requirements.txt setup.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sertools needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -r requirements.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	rm -f $(VENV)/.ready-* && touch $@
