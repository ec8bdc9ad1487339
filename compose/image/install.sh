#!/bin/sh
# Runs inside an image's build stage, for every service the same way; what it makes is copied into the image.
#
#   install.sh packages LOCK [with-pip]
#                               a virtual environment in /opt/fastgshare with the packages of LOCK, each by its hash
#   install.sh tree DIR...      these distributions into it, built with the pinned back end and nothing else
#
# Behind a proxy that signs for every host, give its certificate authority as the build secret `ca`.
set -eu
[ ! -s /run/secrets/ca ] || export PIP_CERT=/run/secrets/ca
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore PIP_PROGRESS_BAR=off
tools=/build/tools

case $1 in
packages)
    python -m venv "$tools"
    "$tools/bin/pip" install --quiet --require-hashes --requirement /build/build.lock
    # Only the command fetches wheels, when it deploys what lies in one.
    without=--without-pip
    [ "${3-}" != with-pip ] || without=
    python -m venv $without /opt/fastgshare
    "$tools/bin/pip" --python /opt/fastgshare/bin/python install --quiet --require-hashes --only-binary :all: --requirement "$2"
    # A fifth of numpy's size are its own tests.
    find /opt/fastgshare/lib -path '*/site-packages/numpy/*' -type d -name tests -prune -exec rm -rf {} +
    ;;
tree)
    shift
    "$tools/bin/pip" wheel --quiet --no-deps --no-build-isolation --wheel-dir /build/wheels "$@"
    "$tools/bin/pip" --python /opt/fastgshare/bin/python install --quiet --no-deps --no-index /build/wheels/*.whl
    ;;
esac
