#!/bin/sh
# Asks the advisory service of PyPI about every locked package. Ends with 0 when it was asked about all of them and knows
# of nothing, else with 1: also when it couldn't be asked, or didn't know a package.
set -u
cd "$(dirname "$0")/../.." || exit 1
timeout 600 .venv-supply/bin/pip-audit --strict --disable-pip --no-deps --progress-spinner off --timeout 30 \
    --requirement requirements.txt
ended=$?
if [ "$ended" -ne 0 ]; then
    echo "make audit: not clean, or the advisory service couldn't be asked about every package (see above)" >&2
    exit 1
fi
