PYTHON ?= python3
UV ?= uv
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

RELEASE := $(VENV)/release/bin
RELEASE_STAMP := $(VENV)/release/.installed
DOCS := $(VENV)/docs/bin
DOCS_STAMP := $(VENV)/docs/.installed
DIST ?= dist
BUILD ?= build
# Built twice, equal bytes: what the archives say of time is the last commit's.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 1577836800)

.PHONY: run test unit plain compiled agent agree check format requirements bench mutate fuzz fuzz-long man dist bundle zipapp site deb image chart dashboard kubernetes release-check install uninstall clean

# The oldest and the newest kernel play the whole battery, those between a sample of it.
WHOLE := 5.10 7.3
SAMPLED := 6.1 6.12 6.18 6.19 7.0 7.1 7.2
SAMPLE := scattered-counts big-and-small limit-lowered

run: $(STAMP)  ## what this machine would kill next; exit status 1 is an answer, not a failure
	@$(BIN)/oomkit || [ $$? -eq 1 ]

$(STAMP): requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation --editable .
	@touch $@

# Tests start hundreds of commands, each of which would compile oomkit's modules anew.
unexport PYTHONDONTWRITEBYTECODE

WORKERS ?= auto
RERUNS ?= 0

test: check $(RELEASE_STAMP)  ## hermetic tests side by side, then guests, then those that need the machine to themselves
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --reruns $(RERUNS) -m "not alone"
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder --reruns $(RERUNS) -m guest
	$(BIN)/python -m pytest --reruns $(RERUNS) -m "alone and not guest"

unit: $(STAMP)  ## in a minute: worked examples of the pure parts, without processes, properties and long runs
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not alone and not large and not hypothesis" $(addprefix tests/,toml kernel scenario policy klog explain model records)

plain: $(STAMP)  ## the core's tests by the standard library alone
	OOMKIT_PLAIN=1 PYTHONPATH=$(CURDIR)/tests/without $(BIN)/python -m pytest -n $(WORKERS) --reruns $(RERUNS) -m "not alone" $(addprefix tests/,toml kernel scenario policy klog explain model lab)

compiled: $(STAMP)  ## a wheel in which mypyc compiled model, rules, policies' engine and the reader of logs, below build/, and their tests with it
	rm -rf $(BUILD)/compiled && mkdir -p $(BUILD)/compiled
	OOMKIT_COMPILE=1 $(BIN)/python -m hatchling build -t wheel -d $(BUILD)/compiled
	$(BIN)/python -m zipfile -e $(BUILD)/compiled/*.whl $(BUILD)/compiled/lib
	cd / && PYTHONPATH=$(abspath $(BUILD))/compiled/lib $(abspath $(BIN))/python -c "import oomkit.model.solve as m; assert m.__file__.endswith('.so'), m; import oomkit.klog.lines._needles"
	test -s $(BUILD)/compiled/lib/oomkit/real/agent/oomkit-agent
	PYTHONPATH=$(abspath $(BUILD))/compiled/lib $(BIN)/python -m pytest -n $(WORKERS) --reruns $(RERUNS) -m "not alone" tests/model tests/kernel tests/policy tests/klog tests/explain

agent: $(STAMP)  ## the workload agent as a static program, in the cache; runs build it as well when they need it
	@$(BIN)/python -c "from oomkit.real.static_agent import agent; a = agent(); print(a.path or a.why); raise SystemExit(not a.path)"

agree: $(STAMP)  ## the battery on real kernels beside the model; a miss is an answer: tests/model/test_battery.py holds the model
	$(BIN)/oomkit agree scenarios/battery --on cgroup --on qemu $(WHOLE:%=--kernel %) --guests 2 --skip-missing || [ $$? -eq 1 ]
	$(BIN)/oomkit agree $(SAMPLE:%=scenarios/battery/%.toml) --on qemu $(SAMPLED:%=--kernel %) --guests 2 --skip-missing || [ $$? -eq 1 ]

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(BIN)/python tools/man_pages.py --check

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)  ## the figures of docs/benchmarks.md
	$(BIN)/python benchmarks/scan.py
	$(BIN)/python benchmarks/records.py
	$(BIN)/python benchmarks/model.py
	$(BIN)/python benchmarks/klog.py
	$(BIN)/python benchmarks/guard.py
	$(BIN)/python benchmarks/recorder.py
	$(BIN)/python benchmarks/sweep.py
	$(BIN)/python benchmarks/policies.py
	$(BIN)/python benchmarks/real.py

$(RELEASE_STAMP): requirements/release.txt $(STAMP)
	$(PYTHON) -m venv $(VENV)/release
	$(RELEASE)/python -m pip install -q --require-hashes -r requirements/release.txt
	@touch $@

man: $(STAMP)  ## contrib/man, from the help texts
	$(BIN)/python tools/man_pages.py

dist: $(STAMP) $(RELEASE_STAMP)  ## wheel and sdist in dist/, checked as a package index would
	rm -f $(DIST)/oomkit-*.whl $(DIST)/oomkit-*.tar.gz
	$(BIN)/python -m hatchling build -d $(DIST)
	$(RELEASE)/twine check --strict $(DIST)/oomkit-*.whl $(DIST)/oomkit-*.tar.gz

bundle: dist  ## build/bundle: oomkit and what it needs, for several Pythons
	$(BIN)/python tools/bundle.py $(BUILD)/bundle $(DIST)/oomkit-*.whl

zipapp: bundle  ## dist/oomkit.pyz, which needs Python 3.11 or later and nothing else
	$(RELEASE)/python tools/single_file.py $(BUILD)/bundle $(DIST)/oomkit.pyz

deb: bundle  ## dist/oomkit_VERSION_ARCH.deb, for Debian 12 and 13; needs debhelper
	rm -f $(DIST)/oomkit_*.deb
	$(BIN)/python tools/debian_package.py $(BUILD)/bundle $(BUILD)/deb $(DIST)

image: bundle  ## dist/oomkit.oci, on BASE=IMAGE or a base of Debian's packages; needs buildah
	$(BIN)/python tools/image.py $(if $(BASE),--base $(BASE)) $(BUILD)/bundle $(BUILD)/image $(DIST)/oomkit.oci

site: $(STAMP) $(DOCS_STAMP)  ## build/site: the lab and the manual as static files; needs node and npm
	$(BIN)/python tools/lab.py $(BUILD)/site $(BUILD)/npm --zig $(DOCS)/python
	$(DOCS)/python tools/manual.py $(BUILD)/manual $(BUILD)/site/manual

$(DOCS_STAMP): requirements/docs.txt $(STAMP)
	$(PYTHON) -m venv $(VENV)/docs
	$(DOCS)/python -m pip install -q --require-hashes -r requirements/docs.txt
	echo $(CURDIR)/src > $$($(DOCS)/python -c "import site; print(site.getsitepackages()[0])")/oomkit.pth
	@touch $@

chart: $(RELEASE_STAMP)  ## the manifest and the Helm chart, checked; the chart packed into dist/
	$(RELEASE)/python tools/chart.py $(DIST)

dashboard: $(STAMP)  ## the Grafana dashboard, held to the types that Grafana publishes; needs node and npm
	$(BIN)/python tools/dashboard.py $(BUILD)/grafana

kubernetes: $(STAMP)  ## an API server, its controllers and a kubelet, built from Debian's packages into the cache: tests load the manifests with them
	$(BIN)/python tools/kubernetes.py

release-check: $(STAMP) $(RELEASE_STAMP)  ## what a release still lacks, and the tag to set
	@$(BIN)/python tools/release.py

PART ?= kernel policy guard model klog explain
N ?= 60
SEED ?= 1
MUTATE_WORKERS ?= 2

mutate: $(STAMP)  ## N small changes of each PART, one at a time: which ones does no test notice? docs/testing.md
	$(BIN)/python tools/mutate.py $(PART) --number $(N) --seed $(SEED) --workers $(MUTATE_WORKERS)

FUZZ_S ?= 120
FUZZ_LONG_S ?= 28800
FUZZED := klog policy state proc names

fuzz: $(STAMP)  ## hostile logs, policies, state files, /proc texts and names, FUZZ_S seconds over all
	$(BIN)/python -m pip install -q --require-hashes -r requirements/fuzz.txt
	@set -e; for one in $(FUZZED); do \
	  echo "== fuzz.$$one"; \
	  $(BIN)/python -m fuzz.$$one --seconds $$(( $(FUZZ_S) / $(words $(FUZZED)) )) $(FUZZ_OPTIONS); \
	done

fuzz-long:  ## the same for a night: FUZZ_LONG_S seconds over all
	$(MAKE) fuzz FUZZ_S=$(FUZZ_LONG_S)

requirements:  ## pin anew; needs uv
	$(UV) pip compile -q pyproject.toml --universal --python-version 3.11 --no-header --no-annotate --generate-hashes -o requirements/run.txt
	$(UV) pip compile -q pyproject.toml --group dev --universal --python-version 3.11 --no-header --no-annotate --generate-hashes -o requirements/dev.txt
	$(UV) pip compile -q --group fuzz --universal --python-version 3.11 --no-header --no-annotate --generate-hashes -o requirements/fuzz.txt
	$(UV) pip compile -q pyproject.toml --group docs --universal --python-version 3.11 --no-header --no-annotate --generate-hashes -o requirements/docs.txt
	$(UV) pip compile -q --group release --universal --python-version 3.11 --no-header --no-annotate --generate-hashes -o requirements/release.txt

PREFIX ?= /usr/local
OPT ?= /opt/oomkit
ETC ?= /etc
EXTRAS ?=

install:  ## for everybody on this machine: a venv of its own, a link to it, man page, completion, services
	$(PYTHON) -m venv $(OPT)
	$(OPT)/bin/python -m pip install -q '.$(if $(EXTRAS),[$(EXTRAS)])'
	install -d $(PREFIX)/bin $(PREFIX)/share/man/man1 $(PREFIX)/share/man/man8 $(PREFIX)/share/bash-completion/completions $(PREFIX)/share/zsh/site-functions $(PREFIX)/share/fish/vendor_completions.d
	ln -sfn $(OPT)/bin/oomkit $(PREFIX)/bin/oomkit
	install -m 644 contrib/man/*.1 $(PREFIX)/share/man/man1/
	install -m 644 contrib/man/*.8 $(PREFIX)/share/man/man8/
	install -m 644 contrib/completion/oomkit.bash $(PREFIX)/share/bash-completion/completions/oomkit
	install -m 644 contrib/completion/_oomkit $(PREFIX)/share/zsh/site-functions/_oomkit
	install -m 644 contrib/completion/oomkit.fish $(PREFIX)/share/fish/vendor_completions.d/oomkit.fish
	if [ -d $(ETC)/systemd/system ]; then \
	  sed 's,/usr/local/bin/oomkit,$(PREFIX)/bin/oomkit,' contrib/systemd/oomkit-guard.service > $(ETC)/systemd/system/oomkit-guard.service && \
	  install -d $(ETC)/default && \
	  { [ -e $(ETC)/default/oomkit-guard ] || install -m 644 contrib/systemd/oomkit-guard.default $(ETC)/default/oomkit-guard; }; \
	fi
	if [ -d $(ETC)/conf.d ]; then \
	  sed 's,/usr/local/bin/oomkit,$(PREFIX)/bin/oomkit,' contrib/openrc/oomkit-guard > $(ETC)/init.d/oomkit-guard && \
	  chmod 755 $(ETC)/init.d/oomkit-guard; \
	fi

uninstall:  ## what install made; settings, journal and history stay
	rm -rf $(OPT)
	rm -f $(PREFIX)/bin/oomkit $(PREFIX)/share/man/man1/oomkit.1 $(PREFIX)/share/man/man1/oomkit-*.1 $(PREFIX)/share/man/man8/oomkit-guard.8 $(PREFIX)/share/bash-completion/completions/oomkit $(PREFIX)/share/zsh/site-functions/_oomkit $(PREFIX)/share/fish/vendor_completions.d/oomkit.fish $(ETC)/systemd/system/oomkit-guard.service $(ETC)/init.d/oomkit-guard

clean:
	rm -rf $(VENV) $(BUILD) $(DIST) .mypy_cache .ruff_cache .pytest_cache .hypothesis
