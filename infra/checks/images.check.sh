#!/bin/sh
# infra/images: hadolint on the Dockerfile, checkov's rules for Dockerfiles, and the scripts' syntax.
set -eu
hadolint infra/images/Dockerfile infra/images/emr.Dockerfile
for script in infra/images/*.sh; do sh -n "$script"; done
checkov --framework dockerfile --file infra/images/Dockerfile infra/images/emr.Dockerfile --config-file infra/checks/checkov.yaml --skip-download --compact --quiet
