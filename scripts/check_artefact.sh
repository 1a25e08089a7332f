#!/usr/bin/env bash
# Builds the collection, installs it into an empty collections path and reads its documentation from there.
set -euo pipefail
cd "$(dirname "$0")/.."
installed="$PWD/build/installed"
rm -rf build/artefact "$installed"

ansible-galaxy collection build --output-path build/artefact
export ANSIBLE_COLLECTIONS_PATH="$installed"
ansible-galaxy collection install --offline --no-deps -p "$installed" build/artefact/*.tar.gz

cd "$installed/ansible_collections/linuxvirtualserver/lvs"
for stray in .venv .collections .git tests molecule bench build; do
    [ ! -e "$stray" ] || { echo "$stray does not belong in the artefact: see build_ignore in galaxy.yml"; exit 1; }
done

count() { find . -path "./$1" -not -name '_*' | wc -l; }
listed() { ansible-doc -t "$1" --list --json linuxvirtualserver.lvs | python3 -c 'import json, sys; print(len(json.load(sys.stdin)))'; }
for kind in module:plugins/modules/*.py role:roles/*/meta/argument_specs.yml; do
    have=$(listed "${kind%%:*}") want=$(count "${kind#*:}")
    echo "${kind%%:*}s documented: $have of $want"
    [ "$have" = "$want" ] && [ "$want" -gt 0 ]
done
for playbook in playbooks/*.yml; do
    ansible-playbook --syntax-check -i localhost, "linuxvirtualserver.lvs.$(basename "$playbook" .yml)"
done
