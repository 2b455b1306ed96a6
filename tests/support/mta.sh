#!/usr/bin/env bash
# Debian's MTAs conflict with each other. So each is unpacked, with the libraries that it needs, into a root folder of its
# own, target/mta/NAME, which the tests copy and enter. Nothing is installed by this; what is there is kept.
set -Eeuo pipefail
cd "$(dirname "$0")/../.."
roots=$(realpath -m "${CARGO_TARGET_DIR:-target}")/mta

# A root folder, and the packages in it.
wanted=(
    "dovecot dovecot-core dovecot-lmtpd"
    "exim exim4-base exim4-daemon-light"
    "msmtp msmtp"
    "nullmailer nullmailer"
    "opensmtpd opensmtpd"
)

# As if nothing were installed: a version that is may be one that no mirror has.
apt=(-o Dir::State::status=/dev/null -o APT::Sandbox::User=root -o Acquire::Retries=2 -o Acquire::http::Timeout=20)

# The packages, and every library that one of them depends on.
with_libraries() {
    local new=("$@")
    local -A known=()
    while [ ${#new[@]} -gt 0 ]; do
        for package in "${new[@]}"; do known[$package]=1; done
        local found
        found=$(apt-cache "${apt[@]}" depends --important --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "${new[@]}" |
            sed -n 's/^ *|\?\(Pre\)\?Depends: \(z\?lib[^ <>]*\)$/\2/p' | sort -u)
        new=()
        for package in $found; do [ -n "${known[$package]:-}" ] || new+=("$package"); done
    done
    printf '%s\n' "${!known[@]}"
}

unpack() {
    local root=$1
    local packages
    mapfile -t packages < <(with_libraries "${@:2}")
    [ ${#packages[@]} -gt "$#" ] || return 1
    echo "Unpacking for the tests: $root"
    rm -rf "$roots/$root" "$roots/$root.new"
    mkdir -p "$roots/$root.new/debs"
    cd "$roots/$root.new"
    (cd debs && timeout 180 apt-get -qq "${apt[@]}" download "${packages[@]}" 2>../errors) ||
        { grep '^E:' errors | head -n 3 >&2 || true; return 1; }
    rm errors
    for folder in bin sbin lib lib64; do mkdir -p "usr/$folder" && ln -s "usr/$folder" "$folder"; done
    for package in debs/*.deb; do
        dpkg-deb --fsys-tarfile "$package" |
            tar -x --keep-directory-symlink --no-same-owner --exclude='./usr/share/*' --exclude='./etc/*'
    done
    rm -rf debs
    mkdir -p dev etc run tmp var/lib var/log var/spool
    cd "$roots"
    mv "$root.new" "$root"
}

missing=()
for line in "${wanted[@]}"; do [ -d "$roots/${line%% *}" ] || missing+=("$line"); done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "The tests with other people's MTAs need root on Debian, and in $roots: ${missing[*]%% *}" >&2
    exit 1
fi
# A fresh machine has no package lists yet, or those of the day that its image was made, whose files are gone.
timeout 180 apt-get update -qq || apt-cache policy msmtp | grep -q ://
for line in "${missing[@]}"; do
    read -ra words <<<"$line"
    trap '[ "$BASH_SUBSHELL" -gt 0 ] || echo "could not unpack Debian'"'"'s ${words[*]:1} into $roots/${words[0]}" >&2' ERR
    unpack "${words[@]}"
done
