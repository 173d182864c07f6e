# make train [ARGS='--params params/ppo_classic.py']   install if needed, train
# make test                                            install if needed, run the tests
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
ARGS ?= --params params/ppo_mujoco.py

.PHONY: train test learning check format bench visdom clean

train: .venv/installed
	$(BIN)/python main.py $(ARGS)

test: .venv/installed-test
	$(BIN)/python -m pytest -n 2

# Trains for minutes, until published levels are reached.
learning: .venv/installed-test
	$(BIN)/python -m pytest -m learning

# Speed beside stable-baselines3, which gets an environment of its own. Run nothing else meanwhile.
bench: .venv/installed .venv-bench/installed
	$(BIN)/python -m benchmarks.ppo_speed

.venv-bench/installed: constraints.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet -c constraints.txt torch 'gymnasium[mujoco]' 'mujoco<4' stable-baselines3
	touch $@

check: .venv/installed-check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/installed-check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# visdom comes as source only, and its build needs the pkg_resources that setuptools 82 dropped.
visdom: .venv/installed
	$(PIP) 'setuptools<82' wheel
	$(PIP) --no-build-isolation -e '.[visdom]'
	touch .venv/installed-visdom

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -e .
	touch $@

.venv/installed-test: .venv/installed
	$(PIP) -e '.[test]'
	touch $@

.venv/installed-check: .venv/installed
	$(PIP) -e '.[test,check]'
	touch $@

clean:
	rm -rf .venv build dist *.egg-info
