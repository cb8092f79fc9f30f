#!/bin/sh
# Builds the three images and tells their digests. Nothing has a default: name what is built upon.
#
#     PYTHON_DIGEST=... DISTROLESS_DIGEST=... DEBIAN_SNAPSHOT=20261101T000000Z \
#         sh infra/images/build.sh registry.example/cloakhouse
#
# The digests (64 hexadecimal digits) are those that your registry tells and you have looked at:
#     docker buildx imagetools inspect python:3.11-slim-bookworm
#     docker buildx imagetools inspect gcr.io/distroless/python3-debian12:nonroot
set -eu
registry=${1:?a registry and a path: registry.example/cloakhouse}
cd "$(dirname "$0")/../.."
for digest in "${PYTHON_DIGEST:?}" "${DISTROLESS_DIGEST:?}"; do
    case $digest in *[!0-9a-f]*) echo "a digest is 64 hexadecimal digits" >&2; exit 2 ;; esac
    [ ${#digest} -eq 64 ] || { echo "a digest is 64 hexadecimal digits" >&2; exit 2; }
done
if [ -n "$(git status --porcelain)" ]; then
    echo "the checkout has changes that are not committed: no revision would name what is built" >&2
    exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
revision=$(git rev-parse HEAD)
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
for target in airflow spark client; do
    docker buildx build --file infra/images/Dockerfile --target "$target" \
        --build-arg "PYTHON_DIGEST=$PYTHON_DIGEST" --build-arg "DISTROLESS_DIGEST=$DISTROLESS_DIGEST" \
        --build-arg "DEBIAN_SNAPSHOT=${DEBIAN_SNAPSHOT:?}" --build-arg "VERSION=$version" \
        --build-arg "REVISION=$revision" --build-arg "SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)" \
        --provenance mode=max --sbom true --metadata-file "$work/$target.json" \
        --tag "$registry/$target:$version" --push .
    echo "$registry/$target@$(sed -n 's/.*"containerimage.digest": "\(sha256:[0-9a-f]*\)".*/\1/p' "$work/$target.json")"
done
