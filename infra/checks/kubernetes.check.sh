#!/bin/sh
# infra/kubernetes: both overlays rendered, against the schemas of Kubernetes and the rules of kubernetes_rules.py.
set -eu
exec python -m infra.checks.kubernetes_render
