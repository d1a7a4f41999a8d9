#!/usr/bin/env bash
# Bring the virtual environment $1 to exactly what requirements.lock says, with this checkout installed editable.
# Safe to run again: what is already right is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1

if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    "$(scripts/find_python.sh)" -m venv --clear "$venv"
fi
pip=("$venv/bin/python" -m pip --disable-pip-version-check -qq)

# torch first and by itself: a local CPU build is taken where one matches the exact pin, before anything else can
# ask for torch. Its own dependencies are resolved, because they differ between the CPU and the CUDA build.
torch=$(grep '^torch==' requirements.lock)
echo "installing $torch"
"${pip[@]}" install --constraint requirements.lock "$torch"
echo "installing the $(wc -l <requirements.lock) packages of requirements.lock"
"${pip[@]}" install --no-deps --requirement requirements.lock
"${pip[@]}" install --no-deps --no-build-isolation --editable .
"$venv/bin/python" -m pip check
