#!/usr/bin/env bash
# axe-core, which finds what a screen reader or a keyboard cannot use, in target/npm: the version that
# tests/browser/package-lock.json has.
set -euo pipefail

cd "$(dirname "$0")/../.."
lock=tests/browser/package-lock.json
cmp -s "$lock" target/npm/package-lock.json && [ -e target/npm/node_modules/axe-core ] && exit
mkdir -p target/npm
cp tests/browser/package.json target/npm/
cp "$lock" target/npm/
(cd target/npm && npm ci --ignore-scripts --no-audit --no-fund >/dev/null)
