# Every task of the kit. `make` alone lists the targets.
#
#   PYTHON=python3.12   the interpreter for `make setup` (default: the first supported one)
#   EXTRAS=and-cuda     optional dependencies to install too
#   PRESET=tutorial     the configuration to train (default: cpu)
#   DATA=FOLDER         images to train on: a folder, gs:// or tfds:NAME (default: what tools/find_data.py finds)
#   OUT=FOLDER          where a run writes (default: submission)
#   OPEN=1              local-train: show the run's page in a browser at the end
#   EPOCHS=60           epochs to train
#   ARGS="--mirror false"   any other settings, passed to python -m monet
# For the kernel on Kaggle:
#   ACCELERATOR=gpu     tpu, gpu (two T4s) or none (default: from kernel-metadata.json); also selects the default PRESET
#   RESUME=1            continue from the kernel's last output
#   SMOKE=1             kernel-push: only try everything, in five minutes
#   WATCH=1             kernel-status, kernel-log: until the kernel finishes
#   MSG="…"             description of a submission
#   YES=1, DRY_RUN=1    do not ask; show what would be sent, but send nothing

.DEFAULT_GOAL := help
SHELL := /bin/bash

VENV ?= .venv
TPU_VENV ?= .venv-tpu-check
KAGGLE_VENV ?= .venv-kaggle
BIN := $(VENV)/bin
# One stamp per interpreter and extras. A new interpreter rebuilds .venv, which removes the other stamps.
STAMP := $(VENV)/installed-$(subst /,_,$(PYTHON))-$(EXTRAS)
PEERS := .venv-peers
OUT ?= submission
DATA ?=
ARGS ?=
PRESET ?=
# A --config in ARGS replaces the default preset; beside PRESET it is refused.
PRESET_OPTION = $(if $(PRESET)$(if $(findstring --config,$(ARGS)),,cpu),--preset $(or $(PRESET),cpu))
OPEN ?=

ACCELERATOR ?=
EPOCHS ?=
RESUME ?=
SMOKE ?=
WATCH ?=
MSG ?=
YES ?=
DRY_RUN ?=
# $(call flag,--name,value): --name, unless the value is empty, 0, no or false.
flag = $(if $(filter-out 0 no false,$(2)),$(1))
EPOCHS_OPTION = $(if $(EPOCHS),--epochs $(EPOCHS))
BUNDLE = "$(BIN)/python" tools/bundle.py $(if $(ACCELERATOR),--accelerator $(ACCELERATOR)) \
	$(call flag,--resume-last,$(RESUME)) $(call flag,--smoke,$(SMOKE)) $(if $(PRESET),--preset $(PRESET)) \
	$(EPOCHS_OPTION) $(if $(DATA),--data "$(DATA)") $(ARGS)
KERNEL = "$(BIN)/python" tools/kaggle_kernel.py
ASKING = $(call flag,--dry-run,$(DRY_RUN)) $(call flag,--yes,$(YES))

# Which targets use a variable. One that none of the given targets uses is refused: it would be ignored in silence.
BUNDLING := kernel kernel-push
ON_KAGGLE := kernel-push kernel-status kernel-log kernel-output kernel-submit
USE_PRESET := local-train describe tpu-check $(BUNDLING)
USE_DATA := local-train describe mifid bench compare $(BUNDLING)
USE_OUT := local-train describe check mifid kernel-output
USE_OPEN := local-train
USE_ARGS := local-train describe mifid test test-all bench compare tpu-check kernel-status $(BUNDLING)
USE_EPOCHS := local-train describe $(BUNDLING)
USE_ACCELERATOR := $(BUNDLING)
USE_RESUME := $(BUNDLING)
USE_SMOKE := $(BUNDLING)
USE_WATCH := kernel-status kernel-log
USE_MSG := kernel-submit
USE_YES := $(ON_KAGGLE)
USE_DRY_RUN := data scores $(ON_KAGGLE)
CHECKED := PRESET DATA OUT OPEN ARGS EPOCHS ACCELERATOR RESUME SMOKE WATCH MSG YES DRY_RUN
OTHERS := PYTHON EXTRAS VENV TPU_VENV KAGGLE_VENV
$(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(if $(filter $(CHECKED) $(OTHERS),$(name)),,\
	$(error There is no variable $(name). Choose from: $(CHECKED) $(OTHERS)))))
# $(call given,NAME): whether it has a value from the command line.
given = $(and $(filter command,$(origin $(1))),$($(1)))
$(foreach name,$(if $(MAKECMDGOALS),$(CHECKED)),$(if $(call given,$(name)),\
	$(if $(filter $(USE_$(name)),$(MAKECMDGOALS)),,$(error make $(MAKECMDGOALS) does not use $(name). Leave it out, \
	or give the setting in ARGS. These use it: $(USE_$(name))))))

.PHONY: help setup local-train test test-all lint bench compare data check mifid describe lock clean tpu-env tpu-check
.PHONY: kernel kernel-push kernel-status kernel-log kernel-output kernel-submit scores tpu-wheels fid-weights peers kaggle-env

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP)  ## build .venv from requirements.txt, if that changed

$(STAMP): requirements.txt
	@PYTHON="$(PYTHON)" bash tools/environments/setup.sh "$(VENV)" "$(EXTRAS)"
	@touch "$@"

local-train: setup  ## train here; writes submission/images.zip and submission/report.html (OPEN=1 shows it)
	@data=$$("$(BIN)/python" tools/find_data.py "$(DATA)") && \
	"$(BIN)/python" -m monet run $(PRESET_OPTION) --data "$$data" --out "$(OUT)" $(EPOCHS_OPTION) \
		$(call flag,--open,$(OPEN)) $(ARGS)

describe: setup  ## show the settings, network sizes, device and data
	@data=$$("$(BIN)/python" tools/find_data.py "$(DATA)") && \
	"$(BIN)/python" -m monet describe $(PRESET_OPTION) --data "$$data" --out "$(OUT)" $(EPOCHS_OPTION) $(ARGS)

check: setup  ## check that Kaggle would accept submission/images.zip
	$(BIN)/python -m monet check "$(OUT)"

mifid: setup  ## estimate the score Kaggle would give (ARGS="--sample 1000 --report FILE.html --json …")
	@"$(BIN)/python" tools/mifid.py "$(OUT)" $(if $(DATA),--reference "$(DATA)") $(ARGS)

data: setup  ## download the competition's data with the kaggle client (needs an account)
	$(BIN)/python tools/find_data.py --download $(call flag,--dry-run,$(DRY_RUN))

kernel: setup  ## bundle src/monet/ into one file for Kaggle, kernel/monet_cyclegan.py
	@$(BUNDLE)

kernel-push: kernel  ## bundle it and run it on Kaggle
	@$(KERNEL) push $(ASKING)

kernel-status: setup  ## show the status of the kernel on Kaggle (WATCH=1: until it finishes)
	@$(KERNEL) status $(ASKING) $(call flag,--watch,$(WATCH)) $(ARGS)

kernel-log: setup  ## show what the kernel on Kaggle printed (WATCH=1: follow it)
	@$(KERNEL) log $(ASKING) $(call flag,--watch,$(WATCH))

kernel-output: setup  ## fetch images.zip and the files beside it from Kaggle
	@$(KERNEL) output $(ASKING) --out "$(OUT)"

kernel-submit: setup  ## submit the pushed kernel's images.zip (MSG="…" describes it), and wait for the score
	@$(KERNEL) submit $(ASKING) --message "$$MSG"

scores: setup  ## list what was submitted, with the scores, from submission/submissions.csv and Kaggle
	@$(KERNEL) scores $(call flag,--dry-run,$(DRY_RUN))

fid-weights: setup  ## collect the weights that score checkpoints in a kernel without internet, in kernel/fid-weights
	@"$(BIN)/python" tools/fid_weights.py

tpu-wheels: setup  ## collect what a TPU kernel without internet installs, in kernel/tpu-wheels
	@"$(BIN)/python" tools/tpu_wheels.py

test: setup  ## run the quick tests, about six minutes on two cores
	$(BIN)/python -m pytest -m "not lengthy" $(ARGS)

test-all: setup  ## run all tests, seventeen minutes on two cores
	$(BIN)/python -m pytest $(ARGS)

peers: $(PEERS)/installed  ## build .venv-peers, the PyTorch environment of tests and benchmarks

$(PEERS)/installed: tools/environments/peers.sh
	@bash tools/environments/peers.sh "$(PEERS)"
	@touch "$@"

kaggle-env: $(KAGGLE_VENV)/installed  ## build .venv-kaggle, which has the versions of Kaggle's own image (Python 3.12)

$(KAGGLE_VENV)/installed: tools/environments/kaggle.txt
	@bash tools/environments/pinned.sh "$(KAGGLE_VENV)" kaggle.txt
	@touch "$@"

lint: setup  ## check the code with ruff
	$(BIN)/ruff check .

bench: setup  ## measure the published figures (minutes; ARGS="ROW …" selects)
	"$(BIN)/python" tools/bench.py --data "$(DATA)" $(ARGS)

compare: setup  ## train presets side by side, a minute each, in runs/compare (ARGS="PRESET … --maps", or "--ablation FILE")
	"$(BIN)/python" tools/compare.py --data "$(DATA)" $(ARGS)

tpu-env: $(TPU_VENV)/installed  ## build .venv-tpu-check, the TPU compiler's environment (Python 3.12, 2.5 GB)

$(TPU_VENV)/installed: tools/environments/tpu_check.txt
	@bash tools/environments/pinned.sh "$(TPU_VENV)" tpu_check.txt
	@touch "$@"

tpu-check: tpu-env  ## check that PRESET fits Kaggle's TPU, and estimate its speed (minutes; ARGS="--compare PRESET …")
	@PYTHONPATH=src "$(TPU_VENV)/bin/python" tools/tpu_check.py $(or $(PRESET),tpu) $(ARGS)

lock: setup  ## compile requirements.txt from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --no-header --no-annotate \
		--no-emit-index-url --upgrade pyproject.toml -o requirements.txt

clean:  ## remove environments and caches (never data, submission or kernel)
	rm -rf .venv .venv-* .pytest_cache .ruff_cache
	find src tools tests -name __pycache__ -prune -exec rm -rf {} +
