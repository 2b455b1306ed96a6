#!/usr/bin/env bash
# Makes development certificates: a small CA (once) and a certificate of it for the given names. Not for production:
# the keys are unencrypted and the CA is trusted by nobody but you.
set -euo pipefail

usage() {
    echo "usage: certs/make.sh [-o FOLDER] [NAME|ADDRESS]...   (default: this folder; localhost 127.0.0.1 ::1)"
}

folder=$(cd "$(dirname "$0")" && pwd)
while getopts 'o:h' option; do
    case $option in
        o) folder=$OPTARG ;;
        h) usage; exit 0 ;;
        *) usage >&2; exit 64 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- localhost 127.0.0.1 ::1
command -v openssl >/dev/null || { echo "certs/make.sh: openssl is missing: apt-get install openssl" >&2; exit 1; }

names=
for name in "$@"; do
    case $name in
        *[!A-Za-z0-9.:*-]*) echo "certs/make.sh: $name is neither a host name nor an address" >&2; exit 64 ;;
        *:*) names+=,IP:$name ;;
        *[!0-9.]*) names+=,DNS:$name ;;
        *) names+=,IP:$name ;;
    esac
done

umask 077
mkdir -p "$folder"
cd "$folder"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

if [ ! -f ca.pem ] || [ ! -f ca-key.pem ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 3650 \
        -subj '/CN=Portcullis development CA' -addext 'basicConstraints=critical,CA:TRUE,pathlen:0' \
        -addext 'keyUsage=critical,keyCertSign,cRLSign' -keyout "$scratch/ca-key.pem" -out "$scratch/ca.pem" 2>/dev/null
    mv "$scratch/ca-key.pem" "$scratch/ca.pem" .
fi

cat > "$scratch/extensions" <<TEXT
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = ${names#,}
TEXT
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -subj "/CN=$1" \
    -keyout "$scratch/key.pem" -out "$scratch/request.pem" 2>/dev/null
openssl x509 -req -in "$scratch/request.pem" -CA ca.pem -CAkey ca-key.pem -sha256 -days 365 \
    -set_serial "0x$(openssl rand -hex 16)" -extfile "$scratch/extensions" -out "$scratch/leaf.pem" 2>/dev/null
cat "$scratch/leaf.pem" ca.pem > "$scratch/certificate.pem"
# The key first: a server that watches the certificate finds its key in place.
mv "$scratch/key.pem" key.pem
mv "$scratch/certificate.pem" certificate.pem
chmod 644 ca.pem certificate.pem
echo "$folder: certificate.pem key.pem for $* (trust ca.pem)"
