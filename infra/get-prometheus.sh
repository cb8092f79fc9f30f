#!/bin/sh
# Unpacks Debian's Prometheus (19 MB; its server and promtool, which tests of the metrics need) into .venv/prometheus.
# It isn't installed, so that no service starts and nothing listens. Where there is no apt, those tests
# are listed as not run, and with CI=true that fails.
cd "$(dirname "$0")/.." || exit 1
command -v promtool >/dev/null 2>&1 && command -v prometheus >/dev/null 2>&1 && exit 0
[ -x .venv/prometheus/usr/bin/promtool ] && exit 0
command -v apt-get >/dev/null 2>&1 || exit 0
mkdir -p .venv/prometheus.new && cd .venv/prometheus.new || exit 0
apt-get download -qq prometheus >/dev/null 2>&1 || { apt-get update -qq && apt-get download -qq prometheus; }
for package in prometheus_*.deb; do dpkg -x "$package" . ; done
rm -f prometheus_*.deb
cd ../.. && rm -rf .venv/prometheus && mv .venv/prometheus.new .venv/prometheus
exit 0
