#!/bin/sh
# Print the name of a Python that can make .venv, or say in one sentence why there is none.
# $PYTHON, when set, is the only candidate. A candidate that is on PATH but does not run
# (a version manager's shim, the Windows store's stub) is passed over.

if [ -n "$PYTHON" ]; then
    set -- "$PYTHON"
else
    set -- python3 python3.14 python3.13 python3.12 python3.11 python py
fi

check='import sys; print("%d.%d" % sys.version_info[:2]); sys.exit(sys.version_info < (3, 11))'
too_old=
for python in "$@"; do
    if version=$("$python" -c "$check" 2>/dev/null); then
        echo "$python"
        exit 0
    fi
    case $version in
        [0-9]*.[0-9]*) too_old=${too_old:-$python is Python $version} ;;
    esac
done

if [ -n "$too_old" ]; then
    echo "Python 3.11 or newer is needed, but $too_old: install a newer one, or name it with PYTHON=..." >&2
elif [ -n "$PYTHON" ]; then
    echo "PYTHON=$PYTHON does not run: name a Python 3.11 or newer, or leave PYTHON unset." >&2
else
    echo "No Python was found: install Python 3.11 or newer, or name one with PYTHON=..." >&2
fi
exit 1
