#!/usr/bin/env bash
# Resolve pyproject.toml afresh and write requirements.lock: one "name==version" a line, sorted, no local version
# labels (torch's +cpu), no hosts, no hashes, so that the same file serves any index and either build of torch.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$(scripts/find_python.sh)" -m venv "$scratch/venv"
python=$scratch/venv/bin/python

"$python" -m pip --disable-pip-version-check install --quiet torch==2.13.0
"$python" -m pip --disable-pip-version-check install --quiet '.[dev]'
"$python" -m pip --disable-pip-version-check freeze --all --exclude pip --exclude tradekit |
    sed -e 's/ @ .*torch-\([0-9.]*\).*/==\1/' -e 's/+[a-z0-9.]*$//' |
    LC_ALL=C sort --ignore-case >"$scratch/lock"

if grep -vE '^[A-Za-z0-9._-]+==[A-Za-z0-9.!]+$' "$scratch/lock"; then
    echo "the lines above are not name==version; requirements.lock was left as it was" >&2
    exit 1
fi
mv "$scratch/lock" requirements.lock
echo "requirements.lock: $(wc -l <requirements.lock) packages"
