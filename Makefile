# Two commands: `make demo` and `make test`. Each sets up what it needs, once.
#
#   make demo                        install, then run egs/mini end to end
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
demo: install
	cd egs/mini && $(PY) run.py hparams/classical.yaml
	cd egs/mini && $(PY) run.py hparams/scratch.yaml
	$(PY) utils/show_results.py egs/mini

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
