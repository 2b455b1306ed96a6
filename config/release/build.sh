#!/usr/bin/env bash
# Builds what a release has besides its sources into the folder $1, from the sources around it: Debian package, image,
# static program, bill of materials. The same sources, compiler, crates and SOURCE_DATE_EPOCH give the same octets in
# whatever folder. PORTCULLIS_COMMIT names the commit where there is no repository. It must not look at a repository.
set -euo pipefail
cd "$(dirname "$0")/../.."
output=$(realpath -m "$1")
: "${SOURCE_DATE_EPOCH:?the time of the commit, in seconds}"
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
name=portcullis-$version

# What one machine has and another has not: paths, locale, zone, modes.
umask 022
export LC_ALL=C TZ=UTC SOURCE_DATE_EPOCH PORTCULLIS_COMMIT=${PORTCULLIS_COMMIT:-} CARGO_TARGET_DIR=$PWD/target
cargo_home=${CARGO_HOME:-$HOME/.cargo}
export RUSTFLAGS="--remap-path-prefix=$PWD=/usr/src/portcullis --remap-path-prefix=$cargo_home=/usr/src/cargo"
export CFLAGS="-ffile-prefix-map=$PWD=/usr/src/portcullis -ffile-prefix-map=$cargo_home=/usr/src/cargo"

mkdir -p "$output"
make deb OUTPUT="$output/"
make static
config/release/image.py target/package/portcullis --to "$output/$name-oci.tar" --revision "$PORTCULLIS_COMMIT"
zcat target/package/share/doc/portcullis/portcullis.cdx.json.gz >"$output/$name.cdx.json"

tree=target/tree/$name
rm -rf "$tree"
mkdir -p "$tree/bin"
cp target/package/portcullis "$tree/bin/"
cp -r target/package/share config docs LICENSE* README.md SECURITY.md CHANGELOG.md "$tree/"
rm -r "$tree/config/release" "$tree/config/debian"
tar -C target/tree --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --format=ustar \
    -c "$name" | gzip -9n >"$output/$name-$(uname -m)-linux.tar.gz"
