//! What stands in a file that should be a certificate or a key: the PEM, or in plain words why it cannot be used and what
//! to do. It must not say anything of a key's contents.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// The certificates of a file, the host's own first.
///
/// # Errors
/// The reason why there are none, and what to do.
pub(super) fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let octets = read(file)?;
    let chain = CertificateDer::pem_slice_iter(&octets).collect::<Result<Vec<_>, _>>();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(instead_of("a certificate", &octets)),
        Err(_) => Err(format!("is damaged PEM; {RENEW}")),
    }
}

/// The key of a file.
///
/// # Errors
/// The reason why there is none, and what to do.
pub(super) fn key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let octets = read(file)?;
    if is_encrypted(&octets) {
        let remedy = "decrypt it for server.user alone: openssl pkey -in FILE -out NEW";
        return Err(format!("is encrypted with a passphrase, which the proxy cannot ask for; {remedy}"));
    }
    PrivateKeyDer::from_pem_slice(&octets).map_err(|_| match has(&octets, "PRIVATE KEY-----") {
        true => {
            format!("is damaged PEM, or a key of a kind that is not supported (RSA, ECDSA and Ed25519 are); {RENEW}")
        }
        false => instead_of("a private key", &octets),
    })
}

/// Whether a file has a private key in it, readable or not.
pub(super) fn has_key(file: &Path) -> bool {
    read(file).is_ok_and(|octets| has(&octets, "PRIVATE KEY-----"))
}

/// Whether a file has a certificate in it.
pub(super) fn has_certificate(file: &Path) -> bool {
    read(file).is_ok_and(|octets| has(&octets, "BEGIN CERTIFICATE-----"))
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let mut octets = Vec::new();
    let read = File::open(file).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut octets));
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err("not found; write the path of a PEM file".into())
        }
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err("permission denied; run this as root or as server.user".into())
        }
        Err(error) => Err(format!("cannot be read ({error}); write the path of a PEM file")),
        Ok(_) if octets.len() as u64 > LARGEST => Err("is over 1 MiB; write the path of a PEM file".into()),
        Ok(_) => Ok(octets),
    }
}

/// The words for a file in which there is no `wanted`.
fn instead_of(wanted: &str, octets: &[u8]) -> String {
    let told = |what: &str, remedy: &str| format!("is {what}, not {wanted}; {remedy}");
    match () {
        () if octets.trim_ascii().is_empty() => format!("is empty; {RENEW}"),
        // ASN.1's SEQUENCE, with an INTEGER in it.
        () if octets.starts_with(&[0x30]) && octets.contains(&0x02) => {
            let remedy = "convert it to PEM: openssl x509 -inform DER (a certificate), openssl pkey -inform DER (a key), \
                          or openssl pkcs12 -nodes (both in one)";
            format!("is DER or PKCS #12, not PEM; {remedy}")
        }
        () if has(octets, "BEGIN CERTIFICATE REQUEST") => {
            told("a certificate request", "write the certificate that came back")
        }
        () if has(octets, "BEGIN TRUSTED CERTIFICATE") => {
            told("a certificate in a form of OpenSSL's own", "convert it: openssl x509 -in FILE -out NEW")
        }
        () if has(octets, "OPENSSH PRIVATE KEY-----") => told("a key of OpenSSH", "write the key of the certificate"),
        () if has(octets, "PRIVATE KEY-----") => told("a private key", "write the path of the certificate"),
        () if has(octets, "PUBLIC KEY-----") => told("a public key", "write the private key of the certificate"),
        () if has(octets, "BEGIN CERTIFICATE-----") => told("a certificate", "write the path of its key"),
        () if has(octets, "-----BEGIN ") => format!("has no {} in it; {RENEW}", wanted.trim_start_matches("a ")),
        () => format!("is not PEM: no line begins with -----BEGIN; {RENEW}"),
    }
}

/// PKCS #8 says it in its first line, the older form of OpenSSL below it (RFC 1421).
fn is_encrypted(octets: &[u8]) -> bool {
    has(octets, "BEGIN ENCRYPTED PRIVATE KEY") || has(octets, "Proc-Type: 4,ENCRYPTED")
}

fn has(octets: &[u8], what: &str) -> bool {
    memchr::memmem::find(octets, what.as_bytes()).is_some()
}

const RENEW: &str = "write the path of another file, or restore this one";
/// Octets of a file.
const LARGEST: u64 = 1 << 20;
