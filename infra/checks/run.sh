#!/bin/sh
# Runs every check of infra/ that needs tools beside .venv. They are in .venv-infra, from infra/checks/requirements.txt.
#
#     sh infra/checks/run.sh [NAME ...]      NAME.check.sh alone, e.g. terraform; all without a name
#
# Each check is infra/checks/NAME.check.sh. It is run from the checkout's root with .venv-infra/bin first on PATH, may
# take CHECK_SECONDS (default 120), and fails with any exit code but 0. All are run, then the result is told.
set -u
cd "$(dirname "$0")/../.." || exit 1
PATH="$PWD/.venv-infra/bin:$PATH"
export PATH

if [ $# -eq 0 ]; then
    set -- infra/checks/*.check.sh
else
    names=$*
    set --
    for name in $names; do set -- "$@" "infra/checks/$name.check.sh"; done
fi

failed=""
for check in "$@"; do
    name=$(basename "$check" .check.sh)
    if [ ! -f "$check" ]; then
        echo "== $name: there is no $check"
        failed="$failed $name"
        continue
    fi
    echo "== $name"
    timeout --kill-after=10 "${CHECK_SECONDS:-120}" sh "$check" || failed="$failed $name"
done

if [ -n "$failed" ]; then
    echo "failed:$failed" >&2
    exit 1
fi
echo "all checks passed: $#"
