#!/bin/sh
# infra/compose: the form of the Compose specification and the rules of compose_rules.py; the script's syntax.
set -eu
sh -n infra/compose/secrets.sh
exec python -m infra.checks.compose_form
