#!/bin/sh
# Says plainly what this machine lacks: Python 3.11-3.13 with venv and git to install the platform, and with
# the second word `java` Java 17+ to run it.
# usage: check-machine.sh PYTHON [java]
python=$1
missing=0

say() {
    echo "missing: $1" >&2
    echo "  install it: $2" >&2
    missing=1
}

if ! command -v "$python" >/dev/null 2>&1; then
    say "Python 3.11, 3.12 or 3.13 (looked for \`$python\`)" "apt-get install python3 python3-venv, or PYTHON=/path make ..."
elif ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'; then
    say "Python 3.11, 3.12 or 3.13 (\`$python\` is $("$python" -V 2>&1))" "PYTHON=python3.11 make ..."
elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    say "Python's venv and ensurepip" "apt-get install python3-venv"
fi

java=${JAVA_HOME:+$JAVA_HOME/bin/}java
if [ "$2" != java ]; then
    :
elif ! command -v "$java" >/dev/null 2>&1; then
    say "Java 17 or newer (Apache Spark runs on it)" "apt-get install openjdk-17-jre-headless"
else
    major=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
    if [ "${major:-0}" -lt 17 ]; then
        say "Java 17 or newer (found ${major:-a java that tells no version})" "apt-get install openjdk-17-jre-headless"
    fi
fi

command -v git >/dev/null 2>&1 || say "git" "apt-get install git"
exit $missing
