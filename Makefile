# The developer's commands. `make demo` shows the program at work, in a small environment of its
# own; all others first make .venv, with everything that they need.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	2>/dev/null && echo $$p && break; done)
BIN = .venv/bin
# Made last, so that an installation that was cut off is done again.
VENV = .venv/complete
DEMO = .demo/complete
# Programs that tests start, each with the Debian package that has it.
SYSTEM_TOOLS = git:git strace:strace bash:bash zsh:zsh fish:fish dash:dash tmux:tmux man:man-db groff:groff-base unshare:util-linux setfacl:acl gpg:gnupg \
	gpgconf:gpgconf pinentry-curses:pinentry-curses pass:pass age:age age-keygen:age \
	openssl:openssl rclone:rclone ssh-keygen:openssh-client node:nodejs npm:npm systemd-creds:systemd \
	systemd-analyze:systemd chromium:chromium valgrind:valgrind
TOOL_NAMES = $(foreach tool,$(SYSTEM_TOOLS),$(firstword $(subst :, ,$(tool))))
# Two for each processor: half of the time a test waits for a process.
WORKERS ?= $(shell echo $$((2 * $$(nproc))))

.PHONY: help demo test test-debian13 check fmt bench torture dist clean tools man screenshots

help:
	@echo "make demo     a tour of half a minute, against a local AWS stand-in"
	@echo "make test     install what the tests need, run them all"
	@echo "make test-debian13   the same in Debian 13 (root: debootstrap and chroot)"
	@echo "make check    lint, types, layers"
	@echo "make bench    whole-process times beside the AWS CLI"
	@echo "make torture  the long crash and fuzz campaigns"
	@echo "make man      write the man pages, from the same source as --help"
	@echo "make dist     wheel, sdist, SBOM and checksums, from the last commit"
	@echo "make screenshots   write the pictures of the pages, from real runs"
	@echo "make fmt, make clean"

define need-python
	@test -n "$(PYTHON)" || { echo "filevault needs Python 3.11 or later" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ test "$$(id -u)" = 0 && apt-get -q update && apt-get install -y -q python3-venv; } || \
		{ echo "install the venv module of $(PYTHON), e.g. apt-get install python3-venv" >&2; exit 1; }
endef

$(VENV): pyproject.toml
	$(need-python)
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(VENV)

# Only what filevault itself needs, beside the checkout and its script: no build, no test tools.
$(DEMO): pyproject.toml bin/filevault
	$(need-python)
	@echo "Making .demo, an environment with the packages that filevault needs (once, ten seconds)."
	@$(PYTHON) -m venv --clear --without-pip .demo
	@$(PYTHON) -c 'import tomllib; \
		print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
		> .demo/requirements
	@if $(PYTHON) -m pip --version >/dev/null 2>&1; then pip="$(PYTHON) -m pip --python .demo/bin/python"; \
		else $(PYTHON) -m venv .demo; pip=".demo/bin/python -m pip"; fi; \
		$$pip install --quiet --disable-pip-version-check --no-compile --requirement .demo/requirements
	@.demo/bin/python -c 'import os, sysconfig; \
		open(sysconfig.get_path("purelib") + "/filevault.pth", "w").write(os.getcwd() + "\n")'
	@{ echo "#!$(CURDIR)/.demo/bin/python"; tail -n +2 bin/filevault; } > .demo/bin/filevault
	@chmod +x .demo/bin/filevault
	@touch $(DEMO)

# Where they cannot be installed their tests say so and are skipped; a run that has CI set fails
# instead.
tools:
	@missing=""; for each in $(SYSTEM_TOOLS); do \
		command -v "$${each%%:*}" >/dev/null || missing="$$missing $${each#*:}"; done; \
	test -z "$$missing" && exit 0; \
	if command -v apt-get >/dev/null && test "$$(id -u)" = 0; then \
		apt-get -q update >/dev/null && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
			$$missing >/dev/null; \
	else echo "not installed:$$missing (their tests are skipped)"; fi

demo: $(DEMO)
	@.demo/bin/python tests/demo.py

test: $(VENV) tools
	$(if $(FRESH),FRESH=1) PYTHONDONTWRITEBYTECODE= REQUIRE_TOOLS="$${CI:+$(TOOL_NAMES)}" $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m "not torture" $(PYTEST_ARGS)

# The same tests in Debian 13; needs root. FOLDER says where the system is kept.
test-debian13:
	@tests/debian13.sh $(PYTEST_ARGS)

torture: $(VENV) tools $(if $(filter 0,$(shell id -u)),test-debian13)
	FILEVAULT_TORTURE=1 $(BIN)/python -m pytest -q -n $(WORKERS) -m "torture and not timed" --timeout 3600
	FILEVAULT_TORTURE=1 $(BIN)/python -m pytest -q -m timed

check: $(VENV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(VENV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

man: $(VENV)
	$(BIN)/python -m tests.man_pages

screenshots: $(VENV)
	$(BIN)/python -m tests.screenshots

bench: $(VENV)
	@$(BIN)/python tests/bench/run.py

dist: $(VENV)
	@$(BIN)/python -m tests.release

clean:
	rm -rf --one-file-system .debian13
	rm -rf .venv .demo dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
