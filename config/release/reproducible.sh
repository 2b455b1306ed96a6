#!/usr/bin/env bash
# Builds the last commit twice, in two folders, and compares every octet. The result is in target/reproducible/first.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$PWD/target/reproducible
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
PORTCULLIS_COMMIT=$(git rev-parse HEAD)
export SOURCE_DATE_EPOCH PORTCULLIS_COMMIT
# As from an archive: there is no repository above the sources.
export GIT_CEILING_DIRECTORIES=$work

rm -rf "$work"
for place in first second/in-another-place; do
    mkdir -p "$work/$place/sources"
    git archive "$PORTCULLIS_COMMIT" | tar -x -C "$work/$place/sources"
    "$work/$place/sources/config/release/build.sh" "$work/$place/made"
    rm -rf "$work/$place/sources"
done
diff -r "$work/first/made" "$work/second/in-another-place/made"
rm -r "$work/second"
echo "Built twice, the same octet for octet:"
ls -sh "$work/first/made"
