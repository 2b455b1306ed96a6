#!/usr/bin/env bash
# Looks for the programs that the tests run against and installs Debian's packages for the missing ones when it may;
# otherwise says what to install and fails.
set -euo pipefail

needed=(
    "c++ g++"
    "cdbmake freecdb"
    "chromedriver chromium-driver"
    "chromium chromium"
    "curl curl"
    "debootstrap debootstrap"
    "fail2ban-regex fail2ban"
    "haproxy haproxy"
    "ip iproute2"
    "lintian lintian"
    "multilog daemontools"
    "npm npm"
    "openssl openssl"
    "postconf postfix"
    "prometheus prometheus"
    "python3 python3"
    "rsyslogd rsyslog"
    "runsv runit"
    "s6-supervise s6"
    "smtpfront-qmail mailfront"
    "swaks swaks"
    "systemd-analyze systemd"
    "tcpserver ucspi-tcp"
    "umoci umoci"
    "valgrind valgrind"
)
# Where Debian keeps daemons; an ordinary user's PATH may lack it.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

missing() {
    for pair in "${needed[@]}"; do
        command -v "${pair% *}" >/dev/null || echo "${pair#* }"
    done
    # It lies in no PATH.
    test -x /lib/systemd/systemd-journal-remote || echo systemd-journal-remote
    # It judges files by the schema of the configuration; the first python3 of PATH may not be Debian's.
    validates='import jsonschema, tomllib'
    python3 -c "$validates" 2>/dev/null || /usr/bin/python3 -c "$validates" 2>/dev/null || echo python3-jsonschema
    # swaks needs it for TLS.
    perl -MNet::SSLeay -e 1 2>/dev/null || echo libnet-ssleay-perl
}

# Those that cannot be installed beside each other.
"$(dirname "$0")/mta.sh"

# For the Debian package.
cargo deb --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-deb

# It makes requests of the admin API's description.
"$(dirname "$0")/schemathesis.sh" >/dev/null

# What judges the page, and root folders of Debian with what is installed now.
roots() { "$(dirname "$0")/axe.sh" && "$(dirname "$0")/debian.sh"; }

mapfile -t packages < <(missing)
[ ${#packages[@]} -gt 0 ] || { roots; exit; }

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "The tests need programs that are not installed here. On Debian, as root:" >&2
    echo "    apt-get install --no-install-recommends ${packages[*]}" >&2
    exit 1
fi

echo "Installing for the tests: ${packages[*]}"
install() { DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}"; }
# A fresh machine has no package lists yet.
install >/dev/null 2>&1 || { apt-get update -qq && install; }

mapfile -t packages < <(missing)
[ ${#packages[@]} -eq 0 ] || { echo "still missing: ${packages[*]}" >&2; exit 1; }
roots
