# Everything needs python3 3.11 or newer with venv; each target that runs something makes .venv first.
# Settings: DATA=folder ARGS="..." for run; TESTS="tests/wire -k name" for test; FRAMES=n for fuzz; SCHEDULES=n for soak; PYTHON=python3.12 for all.
# Of images: BOARD=name; DEV=/dev/sdX for flash; the rest is in image/README.md and goes through the environment.

SHELL   := /bin/bash
VENV    := .venv
BIN     := $(VENV)/bin
DATA    ?= ./data
ARGS    ?=
TESTS   ?=
FRAMES  ?= 1000000
SCHEDULES ?= 5000
BOARD   ?= rpi
DEV     ?=
PARTS   ?=

# The first python that is new enough and can make a virtual environment; empty when there is none.
FIND_PYTHON = for p in $(PYTHON) python3 python3.13 python3.12 python3.11 /usr/bin/python3; do \
	    "$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; exit; }; done

# The environment is as good as what it was made from: the content of pyproject.toml and the place of this folder.
MADE_FROM := $(shell { cat pyproject.toml; pwd; } | sha256sum | cut -c1-16)
STAMP     := $(VENV)/made-from-$(MADE_FROM)

BOARDS    := $(sort $(basename $(notdir $(wildcard image/boards/*.toml))))

.DEFAULT_GOAL := help
.PHONY: help run venv test check bench fuzz soak image flash boot image-test image-test-power image-test-update image-repro clean

help:
	@echo 'make run      serve on 0.0.0.0:4433 with the data in $(DATA); ARGS="--name Home" are given to pocket serve'
	@echo 'make venv     make $(VENV) with the pocket command in it'
	@echo 'make test     run all tests, several at a time; TESTS="tests/wire -k split" runs some, one by one'
	@echo 'make check    ruff, mypy and the import rules'
	@echo 'make bench    measure throughput, latency, memory and writes'
	@echo 'make fuzz     feed $(FRAMES) damaged frames to the wire code; FRAMES=n'
	@echo 'make soak     let $(SCHEDULES) random schedules happen to several boxes, then kill and part real ones for long;'
	@echo '              SCHEDULES=n'
	@echo 'make image    build the firmware for BOARD=$(BOARD); there are: $(BOARDS)'
	@echo 'make flash    write it to a card: DEV=/dev/sdX, and WIFI_SSID= WIFI_PSK= SITE_NAME= SSH_KEY= as you like'
	@echo 'make boot     start it in QEMU, BOARD=virt-amd64 or virt-arm64; PORT=4433 on this machine leads to it'
	@echo 'make image-test, make image-repro    try it in QEMU, PARTS="box wifi peers"; build it twice and compare'
	@echo 'make image-test-power                  pull the plug CUTS=50 times while it works (hours)'
	@echo 'make image-test-update                 install good, bad and interrupted updates in it (an hour and more)'
	@echo 'make clean    remove what make built (never the data)'

run: $(STAMP)
	@exec $(BIN)/pocket serve --data "$(DATA)" $(ARGS)

venv: $(STAMP)
	@echo 'ready: $(BIN)/pocket'

test: $(STAMP)
	@$(BIN)/python -m tests $(TESTS)

check: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(STAMP)
	@$(BIN)/python -m tests.bench $(ARGS)

fuzz: $(STAMP)
	@$(BIN)/python -m tests.wire.fuzz --frames $(FRAMES) $(ARGS)

soak: $(STAMP)
	@$(BIN)/python -m tests.sim --schedules $(SCHEDULES) $(ARGS)
	@POCKET_SOAK=10 POCKET_KILLS=20 POCKET_APART_S=60 $(BIN)/python -m pytest tests/failover -s
	@POCKET_KILLS=30 POCKET_CUT_S=60 POCKET_LARGE_MIB=1024 $(BIN)/python -m pytest tests/e2e/relay -s

# All of these need root (sudo make ...), but for writing an image to a file without presets. FRESH=1: image takes the packages
# of today, boot a new disk.
image: $(STAMP)
	@$(BIN)/python -m image build $(BOARD)

flash: $(STAMP)
	@$(BIN)/python -m image flash $(BOARD) $(DEV)

boot: $(STAMP)
	@$(BIN)/python -m image boot $(BOARD)

image-test: $(STAMP)
	@$(BIN)/python -m tests.image.trial $(BOARD) $(PARTS)

image-test-power: $(STAMP)
	@$(BIN)/python -m tests.image.power_trial $(BOARD)

image-test-update: $(STAMP)
	@$(BIN)/python -m tests.image.update_trial $(BOARD)

image-repro: $(STAMP)
	@$(BIN)/python -m image repro $(BOARD)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find appliance tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP):
	@python="$$($(FIND_PYTHON))"; \
	if [ -z "$$python" ]; then \
	    found="$$(python3 --version 2>/dev/null || echo 'no python3')"; \
	    echo "pocket needs python3 3.11 or newer with venv; this machine has: $$found." >&2; \
	    echo "On Debian 12 or 13 and Raspberry Pi OS:  sudo apt-get install python3 python3-venv" >&2; \
	    echo "With another python3 at hand:            make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; \
	    exit 1; \
	fi; \
	echo "making $(VENV) with $$("$$python" --version) (a minute or so, once)" >&2; \
	rm -rf $(VENV) && "$$python" -m venv $(VENV) && \
	$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[dev]' </dev/null || \
	    { echo "That did not work. pip needs to reach PyPI once; then run make again." >&2; rm -rf $(VENV); exit 1; }
	@touch $@
