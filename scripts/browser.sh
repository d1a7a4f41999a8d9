#!/usr/bin/env bash
# The report's page is looked at in chromium. Install Debian's when it is missing and this user may; else say so:
# those tests are then skipped.
set -euo pipefail
if command -v chromium >/dev/null; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing chromium for the tests of the report"
    export DEBIAN_FRONTEND=noninteractive
    if apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; then
        exit 0
    fi
fi
echo "no chromium here, so the tests that open the report in a browser will be skipped"
