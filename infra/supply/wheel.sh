#!/bin/sh
# Builds the wheel of a commit, the same bytes each time: its files as git has them (modes too), times of the commit.
#
#     sh infra/supply/wheel.sh FOLDER [COMMIT]        # tells the SHA-256
#
# Needs .venv (make install). The version of setuptools is part of what makes the bytes: requirements.txt pins it.
set -eu
umask 022
target=${1:?the folder that the wheel is put into}
commit=${2:-HEAD}
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$target"
target=$(cd "$target" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git -C "$root" -c tar.umask=0022 archive "$commit" pyproject.toml README.md plugins/cloakhouse > "$work/source.tar"
mkdir "$work/source" "$work/made"
tar -x -p -f "$work/source.tar" -C "$work/source"
SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct "$commit")
export SOURCE_DATE_EPOCH PYTHONHASHSEED=0
"$root/.venv/bin/python" -m pip wheel --quiet --disable-pip-version-check --no-deps --no-index --no-build-isolation \
    --wheel-dir "$work/made" "$work/source"
for wheel in "$work"/made/*.whl; do
    mv "$wheel" "$target/"
    (cd "$target" && sha256sum "$(basename "$wheel")")
done
