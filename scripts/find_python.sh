#!/usr/bin/env bash
# Print an interpreter that can run tradekit: $PYTHON if it is set, else the first that answers.
# 3.11 comes first because requirements.lock was resolved with it, and some of what it names asks for 3.11.5.
set -euo pipefail

suits() {
    "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11, 5))' >/dev/null 2>&1
}

for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3.14 python3 python}; do
    if suits "$candidate"; then
        command -v "$candidate"
        exit 0
    fi
done

if [ -n "${PYTHON:-}" ]; then
    echo "PYTHON=$PYTHON is not a Python 3.11.5 or later with the venv module: name another interpreter." >&2
else
    echo "tradekit needs Python 3.11.5 or later with the venv module; found $(python3 -V 2>&1 || true)." \
        "Install one, or name it: make setup PYTHON=/path/to/python3.11" >&2
fi
exit 1
