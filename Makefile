# make demo | make ablations | make deep-clustering | make figures; needs Python 3.11+ and make, nothing else.
# For developers: make test | make test-slow | make test-slurm | make test-storage | make test-gpu
# | make benchmark | make campaign | make audit | make schema | make lock.
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv pip install --python $(BIN)/python --compile-bytecode
CORES ?= all

.PHONY: demo ablations deep-clustering figures test test-slow test-slurm test-storage test-gpu benchmark campaign audit schema lock

# The output of Snakemake goes to a file: the summary is what to look at, and of a failure the end.
DEMO_LOG := results/logs/demo.log
demo: .venv/installed
	@mkdir -p results/logs
	@echo "About 2 minutes on 2 cores; to look on: tail -f $(DEMO_LOG)"
	@$(BIN)/snakemake --cores $(CORES) > $(DEMO_LOG) 2>&1 || { tail -n 60 $(DEMO_LOG); exit 1; }
	@grep "^Warning: this run replaces" $(DEMO_LOG) || true
	@cat results/tables/summary.md

ablations: .venv/installed
	$(BIN)/snakemake --cores $(CORES) ablations
	@echo "results/tables/ablations/*.md, results/figures/ablations/*.svg"

deep-clustering: .venv/installed
	$(BIN)/snakemake --cores $(CORES) deep_clustering
	@cat results/tables/deep_clustering.md results/tables/multiple_classes.md

# Make what the documentation's numbers and pictures are from, and compare. To renew them:
# .venv/bin/python tests/figures.py --write
figures: demo deep-clustering
	$(BIN)/python tests/figures.py --all

test: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal --ignore tests/slurm --ignore tests/storage

# The workflow on a real SLURM on this machine, about 10 minutes on 2 cores; -k 'queue or memory' takes one.
# Where SLURM cannot be installed or started, the tests are skipped and say why.
test-slurm: .venv/installed-dev
	@command -v slurmctld >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  apt-get update && apt-get install --yes --no-install-recommends slurm-wlm munge; } >/dev/null 2>&1 || true
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rs --durations 9 tests/slurm $(ARGS)

# The tests that take minutes and guard what seldom changes.
test-slow: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

# Whole runs with the results in a storage: jobs in empty folders, and S3. What
# speaks S3 stays apart: it wants an older python-dateutil.
S3 := $(CURDIR)/.venv/s3
test-storage: .venv/installed-dev
	test -d "$(S3)" || $(UV) --target "$(S3)" "snakemake-storage-plugin-s3>=0.3.6,<0.4" "moto[s3]>=5" flask flask-cors
	PYTHONPATH="$(S3)" OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rs --durations 9 tests/storage $(ARGS)

# The tests that need a graphics card.
test-gpu: .venv/installed-dev
	$(BIN)/python -m pytest -m gpu

# Times and memory beside peers; what it said last is in tests/benchmarks/README.md.
benchmark: .venv-benchmark/installed
	for script in tests/benchmarks/*.py; do \
	  TQDM_DISABLE=1 OMP_NUM_THREADS=1 .venv-benchmark/bin/python $$script || exit 1; done

.venv-benchmark/installed: tests/benchmarks/requirements.txt envs/requirements.txt | .venv/bin/uv
	$(BIN)/uv venv --quiet --allow-existing .venv-benchmark
	$(BIN)/uv pip install --quiet --python .venv-benchmark/bin/python \
	  --requirement envs/requirements.txt --requirement tests/benchmarks/requirements.txt
	touch $@

# Kills, faults, bad input and more, in full, hours of them; what came of it is the table in the README.
# `make -j2 campaign` runs two at a time, and one of them by itself is e.g. `make campaign-kills`.
SCRIPTS := $(basename $(notdir $(wildcard tests/campaigns/*.py)))
campaign: $(addprefix campaign-,$(filter-out campaign table,$(SCRIPTS)))
	$(BIN)/python tests/campaigns/table.py --write

campaign-%: .venv/installed-dev
	-OMP_NUM_THREADS=1 $(BIN)/python tests/campaigns/$*.py

# Renew the JSON schema for editors after a change of the config's models.
schema: .venv/installed
	$(BIN)/python -m workflow_scripts.lib.config.schema

.venv/bin/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement envs/uv.txt

.venv/installed: envs/requirements.txt | .venv/bin/uv
	$(UV) --require-hashes --requirement envs/requirements.txt
	touch $@

.venv/installed-dev: envs/requirements-dev.txt .venv/installed
	$(UV) --require-hashes --requirement envs/requirements-dev.txt
	touch $@

# Known vulnerabilities of the locked packages; needs a network, as it asks PyPI's advisory service.
audit: .venv/bin/uv
	$(BIN)/uv tool run pip-audit --strict --disable-pip --require-hashes --requirement envs/requirements-dev.txt

# Renew the lock files, with the hash of every file, after a change of pyproject.toml.
lock: .venv/bin/uv
	echo uv | $(BIN)/uv pip compile --universal --fork-strategy fewest --python-version 3.11 --generate-hashes --no-header \
	  --quiet - --output-file envs/uv.txt
	$(BIN)/uv pip compile --universal --fork-strategy fewest --python-version 3.11 --generate-hashes \
	  --quiet pyproject.toml --output-file envs/requirements.txt
	$(BIN)/uv pip compile --universal --fork-strategy fewest --python-version 3.11 --generate-hashes \
	  --quiet --extra dev --constraint envs/requirements.txt pyproject.toml \
	  --output-file envs/requirements-dev.txt
