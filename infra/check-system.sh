#!/bin/sh
# Before the tests: everything they need beyond .venv. Today that is Java, which `make install` has checked.
# Where the machine lacks something that apt-get can bring, it is installed when we may; else it is named.
command -v "${JAVA_HOME:+$JAVA_HOME/bin/}java" >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq && apt-get install -y -qq openjdk-17-jre-headless && exit 0
fi
echo "not run: every test marked spark; install Java first: apt-get install openjdk-17-jre-headless" >&2
[ "$CI" = true ] && exit 1
exit 0
