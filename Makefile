# Root on Debian 12 or 13; apt and pip fetch what is missing, from wherever they are configured to.
SHELL := /bin/bash
VENV := $(CURDIR)/.venv
COLLECTION := .collections/ansible_collections/linuxvirtualserver/lvs
# What the targets below need. The lab installs what it needs itself.
PACKAGES := git iproute2 iptables keepalived ldirectord nftables openssh-client python3-venv shellcheck
# Where the lab of examples/demo/lab.yml leaves its inventory.
LAB := /var/lib/lvs-lab/demo

export PATH := $(VENV)/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.collections
export MOLECULE_GLOB := molecule/*/molecule.yml

.DEFAULT_GOAL := help
.PHONY: help packages setup demo lab lab-down test lint sanity unit molecule soak bench clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

# keepalived and ldirectord are here to read what is written for them; a policy keeps their daemons from being started.
packages:
	@missing=$$(for p in $(PACKAGES); do \
	    [ "$$(dpkg-query -W -f='$${db:Status-Status}' $$p 2>/dev/null)" = installed ] || echo $$p; done); \
	[ -z "$$missing" ] || { export DEBIAN_FRONTEND=noninteractive; policy=/usr/sbin/policy-rc.d; \
	    [ -e $$policy ] || { trap "rm $$policy" EXIT; printf '#!/bin/sh\nexit 101\n' > $$policy; chmod +x $$policy; }; \
	    apt-get install -qy --no-install-recommends $$missing 2>/dev/null || \
	    { apt-get update -q && apt-get install -qy --no-install-recommends $$missing; }; }

# /usr/bin/python3 by name: shims of version managers do not survive what ansible-test does to the environment.
$(VENV)/.complete: tests/requirements.txt | packages
	/usr/bin/python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

$(COLLECTION):
	mkdir -p $(@D)
	ln -sfn ../../.. $@

setup: packages $(VENV)/.complete | $(COLLECTION) ## install what the other targets need

demo: lab ## an LVS in the lab: machines, site.yml, and a client being balanced
	ansible-playbook -i $(LAB)/hosts.yml -i examples/demo/inventory.yml playbooks/site.yml
	ansible-playbook -i $(LAB)/hosts.yml -i examples/demo/inventory.yml examples/demo/show.yml

lab: setup ## the demo's machines, without an LVS on them
	ansible-playbook playbooks/lab_up.yml -e @examples/demo/lab.yml

lab-down: setup ## take the lab away: machines, networks, files
	ansible-playbook playbooks/lab_down.yml -e @examples/demo/lab.yml

bench: setup ## figures measured in the demo's lab, some ten minutes: one line each, name value unit
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --upgrade --target build/pyroute2 pyroute2==0.9.7
	python -m zipfile -c build/pyroute2.zip build/pyroute2/pyroute2
	ansible-playbook playbooks/lab_up.yml -e @examples/demo/lab.yml -e @bench/lab.yml
	ansible-playbook -i $(LAB)/hosts.yml -i examples/demo/inventory.yml bench/bench.yml
	@cat build/results/bench.txt
	python bench/plot.py build/results/bench.txt docs/figures.svg

test: setup ## all that follows; ends with one line `N passed, N failed`
	scripts/run_tests.py

lint: setup ## linters, type checks, documentation and the artefact
	scripts/run_tests.py lint

sanity: setup ## ansible-test sanity, without docker
	scripts/run_tests.py sanity

unit: setup ## unit and property tests
	scripts/run_tests.py unit

molecule: setup ## scenarios on virtual machines; SCENARIO=dr for one, KEEP=1 to use and leave the lab that is up
	scripts/run_tests.py molecule $(SCENARIO:%=--scenario %) $(if $(KEEP),--keep)

soak: setup ## on demand, about two hours: faults and long series of changes in a lab of their own; KEEP=1 as above
	scripts/run_tests.py soak $(if $(KEEP),--keep)

clean: ## remove what the targets made, but .venv; lab-down comes first
	rm -rf build .cache tests/output .ansible .hypothesis
