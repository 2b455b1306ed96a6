#!/usr/bin/env bash
# A root folder of each Debian that the package is installed on, target/debian/NAME, which the tests copy and enter: the
# smallest that debootstrap makes, and runit. What is there is kept. Nothing on this host is changed.
set -euo pipefail
cd "$(dirname "$0")/../.."
roots=$(realpath -m "${CARGO_TARGET_DIR:-target}")/debian-roots
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

make_root() {
    local root=$roots/$1
    [ ! -d "$root" ] || return 0
    echo "Making for the tests: $root"
    mkdir -p "$roots"
    # A mirror may fail for a moment.
    for try in 1 2 3; do
        rm -rf "$root.new"
        timeout 600 debootstrap --variant=minbase --include=adduser,runit "$1" "$root.new" "$mirror" >"$root.log" 2>&1 &&
            break
        [ "$try" -lt 3 ] ||
            { tail -n 5 "$root.log" >&2; echo "debootstrap could not make $root: $root.log" >&2; return 1; }
    done
    rm -rf "$root.new"/var/cache/apt/archives/*.deb "$root.new"/var/lib/apt/lists/*
    mv "$root.new" "$root"
}

if [ "$(id -u)" != 0 ] && ! { [ -d "$roots/bookworm" ] && [ -d "$roots/trixie" ]; }; then
    echo "The tests of the Debian package need root, for debootstrap and chroot" >&2
    exit 1
fi
make_root bookworm &
make_root trixie
wait $!
