#!/usr/bin/env bash
# Makes .venv from the pinned lock file and installs this tree's distributions into it, editable.
# Needs Python 3.11 or newer with venv, and whatever package index pip is set up to use. Never asks for root.
#
#   PYTHON=/path/to/python scripts/setup.sh     uses that interpreter instead of searching for one
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VENV=.venv
readonly LOCK=requirements/dev.lock
readonly DISTRIBUTIONS=(shared cli services/gateway services/scheduler services/profiler services/node_manager simulator)
readonly CANDIDATES=(python3 python3.14 python3.13 python3.12 python3.11)

say() { printf 'setup: %s\n' "$*"; }
fail() {
    local line
    for line in "$@"; do printf 'setup: %s\n' "$line" >&2; done
    exit 1
}

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
has_venv() { "$1" -c 'import venv, ensurepip; ensurepip.version()' >/dev/null 2>&1; }

# Prints the interpreter to build the environment from: new enough, and able to make one.
# A machine may have several; one that lacks venv does not hide another that has it.
find_python() {
    local candidate new_enough=""
    if [[ -n ${PYTHON:-} ]]; then
        is_new_enough "$PYTHON" || fail "PYTHON=$PYTHON is not a working Python 3.11 or newer."
        has_venv "$PYTHON" || fail_without_venv "$PYTHON"
        echo "$PYTHON"
        return
    fi
    for candidate in "${CANDIDATES[@]}"; do
        is_new_enough "$candidate" || continue
        if has_venv "$candidate"; then
            echo "$candidate"
            return
        fi
        new_enough=${new_enough:-$candidate}
    done
    [[ -z $new_enough ]] || fail_without_venv "$new_enough"
    fail "Python 3.11 or newer is needed and none was found (tried: ${CANDIDATES[*]})." \
        "On Debian or Ubuntu:  sudo apt-get install python3 python3-venv" \
        "An interpreter elsewhere:  PYTHON=/path/to/python make setup"
}

fail_without_venv() {
    local version
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    fail "$1 (Python $version) cannot make virtual environments: its venv or ensurepip module is missing." \
        "On Debian or Ubuntu:  sudo apt-get install python3-venv   (or python$version-venv for this very version)"
}

# An environment counts only when its own pip runs: one left half made by an earlier failure is made again.
venv_works() { [[ -x $VENV/bin/python ]] && is_new_enough "$VENV/bin/python" && "$VENV/bin/python" -m pip --version >/dev/null 2>&1; }

make_venv() {
    local python
    python=$(find_python)
    say "making $VENV with $python ($("$python" --version 2>&1))"
    rm -rf "$VENV"
    "$python" -m venv "$VENV" || {
        rm -rf "$VENV"
        fail_without_venv "$python"
    }
}

pip_install() { "$VENV/bin/python" -m pip --disable-pip-version-check --no-input install --quiet "$@"; }

install_locked() {
    say "installing the pinned packages of $LOCK (some minutes on a slow line)"
    pip_install --require-hashes --requirement "$LOCK" || fail \
        "pip could not install the pinned packages; its own words are above." \
        "If it could not reach its package index: check the network, or name a mirror with PIP_INDEX_URL, then run this again." \
        "What was done so far is kept."
}

install_tree() {
    local distribution editable=()
    for distribution in "${DISTRIBUTIONS[@]}"; do editable+=(--editable "./$distribution"); done
    say "installing ${DISTRIBUTIONS[*]} from this tree"
    pip_install --no-deps --no-build-isolation "${editable[@]}" || fail "pip could not install this tree's distributions; its own words are above."
}

venv_works || make_venv
install_locked
install_tree
say "ready: $VENV/bin/fastgshare --help"
