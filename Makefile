# Python 3.11 or later and git are all that must be there; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
COLLECT := .venv-collect
LIBTPU := .venv-libtpu
PIP := -m pip --quiet --disable-pip-version-check --no-input

# Tests and what they start find this `python` first.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1

# A stamp named by what is asked for: changed requirements give another name, so they are installed. The old stamp
# goes, so that going back installs again.
stamp = $(1)/.installed-$(shell cat $(2) | cksum | tr ' ' '-')
RUN := $(call stamp,$(VENV),requirements.txt)
DEV := $(call stamp,$(VENV),requirements.txt requirements-dev.txt requirements-cluster.txt)-dev
CLUSTER := $(call stamp,$(VENV),requirements.txt requirements-cluster.txt)-cluster
MEASURE := $(call stamp,$(COLLECT),requirements-libtpu.txt requirements-collect.txt)
TUNE := $(call stamp,$(COLLECT),requirements.txt requirements-libtpu.txt requirements-collect.txt)-tune
COMPILE := $(call stamp,$(LIBTPU),requirements-libtpu.txt)

# Pages that show what is no result of the pipeline.
PAGES := collect times recipes ablation

.DEFAULT_GOAL := help
.SILENT:
.PHONY: help repro rank bundle cluster tune recipe ablate test lint lab bench data collect libtpu check clean

help: ## list what can be made
	sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

repro: $(RUN) ## run the pipeline to data/leaderboard/submission.csv and reports/
	why=$$(git rev-parse --git-dir 2>&1 >/dev/null) || { echo "DVC needs a git clone, and git says:" $$why >&2; exit 1; }
	$(VENV)/bin/python -m stages.repro
	for page in $(PAGES); do $(VENV)/bin/python -m stages.run $$page || exit 1; done

rank: $(RUN) ## rank the configurations of your files by the trained models: FILES="a.npz b.pb" ARGS="--out ranks.csv"
	[ -n "$(strip $(FILES))" ] || { echo 'name what is to be ranked: make rank FILES="a.npz b.pb"' >&2; exit 1; }
	$(VENV)/bin/python -m stages.rank $(FILES) $(ARGS)

bundle: $(RUN) ## put the trained models into one file, data/bundle.zip, which needs no pipeline; ARGS="--out FILE"
	$(VENV)/bin/python -m stages.bundle $(ARGS)

tune: $(TUNE) ## search the layouts of your JAX program: PROGRAM=net.py:f ARGS='--shapes "f32[32,784]" --compile 50'
	[ -n "$(strip $(PROGRAM))" ] || { echo 'name what is to be tuned: make tune PROGRAM=net.py:f ARGS=...' >&2; exit 1; }
	$(COLLECT)/bin/python -m stages.tune $(PROGRAM) $(ARGS)

recipe: $(RUN) ## train a winner's networks to a submission: NAME=first-place SIZE=full; NETWORK=ours has its ideas in ours
	$(VENV)/bin/python -m stages.studies.recipes $(NAME) $(SIZE:%=--size %) $(NETWORK:%=--network %) $(ARGS)

ablate: $(RUN) ## what each choice is worth on valid, three seeds each; goes on where it was; writes reports/ablation.csv
	$(VENV)/bin/python -m benchmarks.ablate $(ARGS)

test: $(DEV) ## run the tests; TPUGRAPHS_DIR=FOLDER adds real TpuGraphs files
	$(VENV)/bin/python -m pytest

lint: $(DEV) ## check style and format
	$(VENV)/bin/ruff check && $(VENV)/bin/ruff format --check

cluster: $(CLUSTER) ## install what engine.kind: ray needs, on each machine of the cluster

lab: $(RUN) ## open the notebooks in Jupyter
	$(VENV)/bin/jupyter lab --notebook-dir=. notebooks

bench: $(RUN) ## time the network against the first place's, the trees, prune; writes reports/benchmarks.json
	$(VENV)/bin/python -m benchmarks.gnn $(ARGS)
	$(VENV)/bin/python -m benchmarks.gst $(ARGS)
	$(VENV)/bin/python -m benchmarks.trees $(ARGS)
	$(VENV)/bin/python -m benchmarks.prune $(ARGS)

data: $(RUN) ## fetch the competition's data; ARGS="FOLDER", or ARGS="FOLDER --zip FILE" for Kaggle's zip
	$(VENV)/bin/python -m stages.download $(ARGS)

collect: $(MEASURE) ## make a data set by the TPU compiler; ARGS="--dry-run", ARGS="--target cpu" for times of this machine
	$(COLLECT)/bin/python -m stages.collect $(ARGS)

libtpu: $(COMPILE) ## install Google's TPU compiler alone, which make check needs

check: $(COMPILE) ## make a program and a kernel of the sample anew and compare; ARGS="NAME --check N"
	$(LIBTPU)/bin/python -m stages.collect $(or $(ARGS),--check 1)

clean: ## remove what the pipeline made; the environments and DVC's cache stay
	rm -rf data/prune data/pad data/states data/checkpoints data/trained data/gnn data/gbdt data/blend data/leaderboard data/times data/bundle.zip .pytest_cache .ruff_cache .hypothesis
	find reports -name '*.html' ! -name leaderboard.html -delete
	find reports -name '*.failed.ipynb' -delete

$(VENV)/bin/python $(COLLECT)/bin/python $(LIBTPU)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "$(PYTHON) is not Python 3.11 or later: give another, make PYTHON=python3.12" >&2; exit 1; }
	echo "making $(@:/bin/python=)"
	$(PYTHON) -m venv $(@:/bin/python=) || \
		{ rm -rf $(@:/bin/python=); echo "$(PYTHON) cannot make environments: install its venv module" >&2; exit 1; }

# torch first and by itself: with the rest, pip may settle on another build of it.
$(RUN): | $(VENV)/bin/python
	echo "installing torch into $(VENV)"
	$(VENV)/bin/python $(PIP) install torch==2.13.0
	echo "installing requirements.txt into $(VENV)"
	$(VENV)/bin/python $(PIP) install -r requirements.txt
	rm -f $(VENV)/.installed-*
	touch $@

$(DEV): $(RUN)
	echo "installing requirements-dev.txt and requirements-cluster.txt into $(VENV)"
	$(VENV)/bin/python $(PIP) install -r requirements-dev.txt -r requirements-cluster.txt
	rm -f $(VENV)/.installed-*-dev
	touch $@

$(CLUSTER): $(RUN)
	echo "installing requirements-cluster.txt into $(VENV)"
	$(VENV)/bin/python $(PIP) install -r requirements-cluster.txt
	rm -f $(VENV)/.installed-*-cluster
	touch $@

$(MEASURE): | $(COLLECT)/bin/python
	echo "installing requirements-collect.txt into $(COLLECT)"
	$(COLLECT)/bin/python $(PIP) install -r requirements-collect.txt
	rm -f $(COLLECT)/.installed-*
	touch $@

# What ranks and what compiles, together: their pins agree. torch first and by itself, as above.
$(TUNE): $(MEASURE)
	echo "installing torch and requirements.txt into $(COLLECT)"
	$(COLLECT)/bin/python $(PIP) install torch==2.13.0
	$(COLLECT)/bin/python $(PIP) install -r requirements.txt -r requirements-collect.txt
	rm -f $(COLLECT)/.installed-*-tune
	touch $@

$(COMPILE): | $(LIBTPU)/bin/python
	echo "installing requirements-libtpu.txt into $(LIBTPU)"
	$(LIBTPU)/bin/python $(PIP) install -r requirements-libtpu.txt
	rm -f $(LIBTPU)/.installed-*
	touch $@
