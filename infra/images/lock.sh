#!/bin/sh
# Writes the requirements of the images, every file with its SHA-256: the versions of requirements.txt, asked of the
# package index with pip's own settings. Run it after `make requirements`; it takes a few minutes.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
compile="$root/.venv/bin/pip-compile"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/plugins/cloakhouse"
touch "$work/plugins/cloakhouse/__init__.py"
cp "$root/pyproject.toml" "$root/README.md" "$work/"
printf 'setuptools>=77\nwheel\n' > "$work/build.in"
cd "$work"
export CUSTOM_COMPILE_COMMAND="sh infra/images/lock.sh"
common="--quiet --strip-extras --generate-hashes --allow-unsafe --no-annotate --no-emit-index-url --no-emit-find-links
    --no-emit-trusted-host"
for extra in client platform; do
    # shellcheck disable=SC2086  # words of their own
    "$compile" $common --constraint "$root/requirements.txt" --extra "$extra" --output-file "$extra.txt" pyproject.toml
done
# shellcheck disable=SC2086
"$compile" $common --output-file build.txt build.in
for name in client platform build; do
    cp "$name.txt" "$root/infra/images/requirements-$name.txt.new"
    mv "$root/infra/images/requirements-$name.txt.new" "$root/infra/images/requirements-$name.txt"
done
