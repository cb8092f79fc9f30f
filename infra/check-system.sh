#!/bin/sh
# Before the tests: what they need beyond .venv is Java, SoftHSM2, Chromium, and Pango for PDF. They are installed where we may; where we may
# not, the tests that need them are listed as not run (tests/conftest.py), and with CI=true that fails.
wanted=
command -v "${JAVA_HOME:+$JAVA_HOME/bin/}java" >/dev/null 2>&1 || wanted="$wanted openjdk-17-jre-headless"
if ! command -v softhsm2-util >/dev/null 2>&1 || ! [ -e "${SOFTHSM2_MODULE:-/usr/lib/softhsm/libsofthsm2.so}" ]; then
    wanted="$wanted softhsm2"
fi
command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 || wanted="$wanted chromium"
ldconfig -p 2>/dev/null | grep -q libpangoft2-1.0 || wanted="$wanted libpango-1.0-0 libpangoft2-1.0-0"
[ -n "$wanted" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing what tests need:$wanted"
    # one by one, so that a package that can't be had doesn't keep the other away
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && for package in $wanted; do apt-get install -y -qq "$package"; done
fi
exit 0
