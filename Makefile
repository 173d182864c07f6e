# make train [ARGS='--params params/ppo_classic.py']   install if needed, train
# make test                                            install if needed, run the tests
# make docs                                            install if needed, build the site: docs/_build/html/index.html
PYTHON ?= python3
BIN := .venv/bin
# To compile all that is installed would take as long as installing it; what is imported is compiled then.
PIP := $(BIN)/python -m pip install --no-compile --disable-pip-version-check -c constraints.txt
# Images of containers often forbid Python to write bytecode: each start would then compile torch anew, which takes 2 s.
export PYTHONDONTWRITEBYTECODE :=
QUIET := --quiet
ARGS ?=

# The first recipe, unless the arguments say what to run.
ANOTHER := --params --params=% --resume --resume=% --load-checkpoint --load-checkpoint=% --help
RECIPE := $(if $(filter $(ANOTHER),$(ARGS)),,--params params/ppo_mujoco.py)
# JSON without quotes around it, such as ARGS='--cpanel {"seed":1}', would lose its own to the shell.
WORDS := $(if $(findstring ',$(ARGS))$(findstring \,$(ARGS)),$(ARGS),$(foreach word,$(ARGS),'$(word)'))

.PHONY: train test learning check format docs bench bench-compare bench-ceiling bench-collection bench-startup visdom clean

train: .venv/installed .venv/tried-visdom
	$(BIN)/python main.py $(RECIPE) $(WORDS)

# Three, as tests wait for disks, servers and each other's signals too.
test: .venv/installed-test
	$(BIN)/python -m pytest -n 3 --dist worksteal

# Trains for minutes, until published levels are reached.
learning: .venv/installed-test
	$(BIN)/python -m pytest -m learning

# Speed, memory and start-up beside stable-baselines3, SBX and others, in an environment of their own; 25 to 70 minutes.
# Run nothing else meanwhile. make bench-compare BENCH_ARGS='--only sac-halfcheetah --runs 5' measures a part.
bench: bench-compare bench-ceiling bench-collection bench-startup

bench-compare bench-startup: .venv-bench/installed
bench-compare bench-ceiling bench-collection bench-startup: .venv/installed-bench
	$(BIN)/python -m benchmarks.$(@:bench-%=%) $(BENCH_ARGS)

.venv/installed-bench: .venv/installed
	$(PIP) $(QUIET) -e '.[atari]'
	touch $@

.venv-bench/installed: constraints.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch \
		'gymnasium[mujoco]' mujoco stable-baselines3 sb3-contrib sbx-rl jax ale-py opencv-python-headless \
		skrl rl-games envpool gym
	touch $@

check: .venv/installed-check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m tests.bad_input

format: .venv/installed-check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/installed-docs
	$(BIN)/python -m sphinx -j auto -W --keep-going -q -b html docs docs/_build/html

.venv/bin/python:
	@echo 'Making an environment in .venv: some seconds.'
	@$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	@echo 'Installing Digideep and what it needs into .venv: one minute, or some more where torch (200 MB to 3 GB) loads slowly.'
	@$(PIP) $(INSTALL_FLAGS) -e .
	@touch $@

# visdom comes as source only, and its build needs the pkg_resources that setuptools 82 dropped. Its page needs scripts
# that are not in the package: they are fetched here, once, and not while something trains.
visdom: .venv/installed-visdom
	$(BIN)/python -c 'import socket; socket.setdefaulttimeout(10); \
		from visdom.server.build import download_scripts, get_visdom_path; download_scripts(); \
		from digideep.telemetry.visdom import require_scripts; require_scripts(get_visdom_path())'

# Training needs no visdom: a set-up that cannot have it goes on without.
.venv/tried-visdom: .venv/installed
	@echo 'Adding visdom, for --visdom: half a minute.'
	@$(MAKE) --no-print-directory visdom > .venv/visdom.log 2>&1 \
		|| echo "It could not be added (see .venv/visdom.log), which only --visdom needs: 'make visdom' tries again."
	@touch $@

.venv/installed-visdom: .venv/installed
	$(PIP) $(QUIET) 'setuptools<82' wheel
	$(PIP) $(QUIET) --no-build-isolation visdom
	touch $@

.venv/installed-test: .venv/installed-visdom
	$(PIP) $(QUIET) -e '.[test]'
	touch $@

.venv/installed-check: .venv/installed-test
	$(PIP) $(QUIET) -e '.[check]'
	touch $@

.venv/installed-docs: .venv/installed
	$(PIP) $(QUIET) -e '.[docs]'
	touch $@

# What test, check and docs need, in one turn of pip instead of three.
.venv/installed-all: .venv/installed-visdom
	$(PIP) $(QUIET) -e '.[test,check,docs]'
	touch .venv/installed-test .venv/installed-check .venv/installed-docs $@

clean:
	rm -rf .venv build dist docs/_build *.egg-info
