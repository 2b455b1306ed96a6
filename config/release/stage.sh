#!/usr/bin/env bash
# Makes in the folder $2 what is installed of the program $1: the program without symbols; share/ with manual pages and
# completions, which the program writes itself, the changelog, the notices of its crates and its bill of materials; and
# Debian's changelog. It must not build.
set -euo pipefail
program=$(realpath "$1")
folder=$2
here=$(dirname "$0")
export PYTHONDONTWRITEBYTECODE=1

rm -rf "$folder"
share=$folder/share
mkdir -p "$share"/{bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d,doc/portcullis}
strip --strip-all --remove-section=.comment -o "$folder/portcullis" "$program"
"$program" man --to "$folder/man"
for page in "$folder"/man/*; do
    install -D -m 644 "$page" "$share/man/man${page##*.}/${page##*/}"
done
"$program" completions bash >"$share/bash-completion/completions/portcullis"
"$program" completions zsh >"$share/zsh/vendor-completions/_portcullis"
"$program" completions fish >"$share/fish/vendor_completions.d/portcullis.fish"
"$program" check --schema >"$share/doc/portcullis/portcullis.schema.json"
gzip -9n <CHANGELOG.md >"$share/doc/portcullis/changelog.gz"
"$here/notices.py" | gzip -9n >"$share/doc/portcullis/NOTICES.gz"
"$here/sbom.py" | gzip -9n >"$share/doc/portcullis/portcullis.cdx.json.gz"
"$here/changelog.py" >"$folder/changelog"
