#!/bin/sh
# Make a virtual environment with Python 3.11 or later, unless a working one is there.
#   PYTHON=... scripts/make_venv.sh FOLDER
set -eu
venv=$1

fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

if fits "$venv/bin/python" && "$venv/bin/python" -c 'import pip' 2>/dev/null; then
    exit 0
fi

python=
for candidate in ${PYTHON:-python3 python python3.14 python3.13 python3.12 python3.11}; do
    if fits "$candidate"; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    wanted=${PYTHON:-python3}
    found=$("$wanted" --version 2>&1 || true)
    echo "Python 3.11 or later is needed; found ${found:-none} ($wanted). Install python3.11 or later, or name one: make PYTHON=/path/to/python3.11" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "$python cannot make virtual environments; install its venv module (Debian, Ubuntu: apt-get install python$version-venv)." >&2
    exit 1
fi

if [ -e "$venv" ]; then  # half made, or made by another Python
    if [ ! -e "$venv/pyvenv.cfg" ]; then
        echo "$venv is in the way and is no virtual environment; move it, then run again." >&2
        exit 1
    fi
    rm -rf "$venv"
fi
echo "Making $venv with $("$python" --version)."
"$python" -m venv "$venv"
