#!/bin/sh
# Before the tests: what they need beyond .venv is Java. It is installed where we may; where we may not, the tests
# that need it are listed as not run (tests/conftest.py), and with CI=true that fails.
command -v "${JAVA_HOME:+$JAVA_HOME/bin/}java" >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing Java, which Apache Spark runs on"
    apt-get update -qq && apt-get install -y -qq openjdk-17-jre-headless
fi
exit 0
