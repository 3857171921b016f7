# make demo   install into .venv and open napari on a simulated tissue (HEADLESS=1: write demo/)
# make test   install with the test tools, then lint, type-check and test
# make bench  measure speed and memory, write docs/benchmarks.md
# PYTHON=/path/to/python chooses the interpreter; it must be 3.11 or later.

VENV := .venv
BIN := $(VENV)/bin
BENCHMARKS = $(sort $(shell grep -l -e '"--write"' benchmarks/*.py))
DISPLAYED = $(if $(DISPLAY),,$(shell command -v xvfb-run && echo -a))

.PHONY: demo test bench
.DELETE_ON_ERROR:

demo: $(VENV)/installed-app
	@$(BIN)/virtues demo $(if $(filter-out 0,$(HEADLESS)),--headless demo)

test: $(VENV)/installed-app,test
	@$(BIN)/python scripts/run_tests.py $(ARGS)

bench: $(VENV)/installed-app
	@for file in $(BENCHMARKS); do \
	    echo "-- $$file"; $(DISPLAYED) $(BIN)/python $$file --write || exit 1; \
	done

$(VENV)/installed-%: pyproject.toml constraints.txt
	@PYTHON="$(PYTHON)" sh scripts/make_venv.sh $(VENV)
	@echo "Installing napari-virtues[$*] into $(VENV): several minutes the first time."
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[$*]"
	@touch "$@"
