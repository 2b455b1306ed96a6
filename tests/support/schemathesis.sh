#!/usr/bin/env bash
# schemathesis in a folder of its own below target; prints the path of its program. Once installed it needs no network.
set -euo pipefail

version=4.32.5
folder=${CARGO_TARGET_DIR:-$(dirname "$0")/../../target}/schemathesis
if [ ! -x "$folder/$version" ]; then
    python3 -m venv "$folder" >&2
    "$folder/bin/pip" install --quiet "schemathesis==$version" >&2
    ln -s bin/schemathesis "$folder/$version"
fi
realpath --no-symlinks "$folder/bin/schemathesis"
