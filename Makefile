# `make` is what CI runs. A stamp in .make/ marks an installed environment, so that the second run
# of anything starts at once and needs no network.

PYTHON ?= python3
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
METADATA := setup.cfg pyproject.toml

BIN := .venv/bin
DEMO := .venv-demo/bin
GOLDEN := .venv-tflite-runtime/bin
# More than cores: a test waits for a process or a clock half of its time. Each takes up to 1.5 GB.
TEST_PROCESSES ?= 4

.DEFAULT_GOAL := check
.PHONY: check help demo install lint format types imports test image bench monitoring namespaces
.PHONY: chaos models dist wheelhouse test-arm64 test-ansible test-card constraints clean

check: lint types imports test  ## all of what CI checks (default)

help:  ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: .make/demo  ## read 500 freshly drawn images with a fleet of two workers, here
	@$(DEMO)/pifleet demo

install: .make/dev  ## make .venv with everything that development needs

lint: .make/dev  ## ruff and yamllint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/yamllint --strict .

format: .make/dev  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: .make/dev  ## mypy --strict
	$(BIN)/mypy

imports: .make/dev  ## who may import whom
	$(BIN)/lint-imports

test: .make/dev .make/tflite-runtime  ## the whole suite, on a real Redis that it starts itself
	PIFLEET_TFLITE_RUNTIME_PYTHON="$$(cat .make/tflite-runtime)" \
	    $(BIN)/pytest -n $(TEST_PROCESSES)

image: .make/dev  ## build the container image with buildah, and read a folder with it
	PIFLEET_TEST_IMAGE=1 $(BIN)/pytest tests/infra/test_image.py

bench: .make/dev  ## the fleet against one task an image and against a script by hand
	$(BIN)/python -m benchmarks.throughput --json benchmarks/results/throughput.json

monitoring: .make/dev  ## every panel's query before a real Prometheus that watches a job
	$(BIN)/python -m benchmarks.monitoring

namespaces: .make/dev  ## a fleet of unequal hosts on this machine; as root
	$(BIN)/python -m benchmarks.namespaces --chart docs/fleet-namespaces.png \
	    --json benchmarks/results/namespaces.json

chaos: .make/dev  ## a job under faults of every kind, and plain Celery under the same
	$(BIN)/python -m benchmarks.chaos

models: .make/dev  ## the shipped models again, in hours; REHEARSAL=1: two minutes; EMNIST=file
	$(BIN)/python -m training.make_models $(if $(EMNIST),--emnist $(EMNIST)) \
	    $(if $(REHEARSAL),--rehearsal --out runs/rehearsal,--out runs/models)

dist: .make/dev  ## the last commit as wheel and sdist, in dist/
	rm -rf build/release dist
	mkdir -p build/release
	git archive HEAD | tar -x -C build/release
	$(BIN)/python -m build --outdir dist build/release
	$(BIN)/twine check --strict dist/*

wheelhouse: dist  ## all wheels that any machine of a fleet installs, in wheelhouse/
	$(BIN)/pifleet wheelhouse wheelhouse

test-arm64: .make/dev  ## a job read in a Debian arm64 root under qemu (as root; minutes)
	infra/proof/arm64.sh

test-ansible: .make/dev .make/ansible  ## the playbooks, on three machines with systemd (as root)
	PATH="$(CURDIR)/.venv-ansible/bin:$$PATH" infra/proof/ansible.sh

test-card: .make/dev  ## cards, in machines that boot with cloud-init (as root; minutes)
	infra/proof/card.sh

constraints: .make/folder  ## write constraints.txt anew, from the newest releases
	$(PYTHON) -m venv --clear .venv-constraints
	.venv-constraints/bin/python $(PIP_INSTALL) \
    -e '.[producer,worker,demo,training,page,dashboard,metrics,tracing,control,dev,fuzz]'
	{ sed '/^#/!d' constraints.txt; \
	  .venv-constraints/bin/python -m pip freeze --exclude-editable; } > .make/constraints
	mv .make/constraints constraints.txt

clean:  ## remove the environments and what tools left behind
	rm -rf .make .venv-demo .venv-tflite-runtime .venv-constraints .venv-ansible
	rm -rf build dist wheelhouse ./*.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.make/folder:
	@mkdir -p .make
	@touch $@

.make/dev: $(METADATA) constraints.txt | .make/folder
	@echo "Installing what development needs into .venv (TensorFlow included; some minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python $(PIP_INSTALL) -c constraints.txt \
	    -e '.[producer,worker,demo,training,page,dashboard,metrics,tracing,control,dev]'
	@touch $@

.make/ansible: | .make/folder
	@echo "Installing Ansible into .venv-ansible (once)"
	@test -x .venv-ansible/bin/python || $(PYTHON) -m venv .venv-ansible
	@.venv-ansible/bin/python $(PIP_INSTALL) ansible-core==2.19.14 ansible-lint==26.10.1
	@cd infra/ansible && PATH="$(CURDIR)/.venv-ansible/bin:$$PATH" \
	    ANSIBLE_INVENTORY=inventory.example.yml ansible-lint --offline -q
	@touch $@

.make/demo: $(METADATA) constraints.txt | .make/folder
	@echo "Installing pifleet into .venv-demo (once; no TensorFlow)"
	@test -x $(DEMO)/python || $(PYTHON) -m venv .venv-demo
	@$(DEMO)/python $(PIP_INSTALL) -c constraints.txt -e '.[producer,worker,demo]'
	@touch $@

# The golden images are read by tflite-runtime too. It has no wheel beyond Python 3.11: where it
# cannot be installed the stamp stays empty, and those tests say that they were skipped.
.make/tflite-runtime: constraints-tflite-runtime.txt | .make/folder
	@echo "Installing tflite-runtime into .venv-tflite-runtime (once)"
	@test -x $(GOLDEN)/python || $(PYTHON) -m venv .venv-tflite-runtime
	@$(GOLDEN)/python $(PIP_INSTALL) -r constraints-tflite-runtime.txt \
	    && echo "$(CURDIR)/$(GOLDEN)/python" > $@ \
	    || { echo "tflite-runtime cannot be installed here: its tests are skipped"; : > $@; }
