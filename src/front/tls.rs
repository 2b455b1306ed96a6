//! TLS with rustls: certificates by name, the handshake under its limit. It must not touch octets that were read before.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::Timestamp;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::Error;
use tokio_rustls::rustls::InconsistentKeys;
use tokio_rustls::rustls::ProtocolVersion;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::server::ClientHello;
use tokio_rustls::rustls::server::ResolvesServerCert;
use tokio_rustls::rustls::sign::CertifiedKey;
use utoipa::ToSchema;

use crate::front::exchange::Side;
use crate::front::pem;
use crate::front::settings::Pair;
use crate::front::stream::ClientStream;
use crate::front::validity;

/// A file that cannot be used, or will not be much longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFault {
    /// The pair, counted from 0.
    pub pair: usize,
    /// Which of its files.
    pub part: Part,
    /// The file, the reason, and the remedy.
    pub what: String,
}

/// One of the two files of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The chain.
    Certificate,
    /// The private key.
    Key,
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for TlsFault {}

/// The acceptor with these pairs, read from their files; the first is for clients that name no host, or an unknown one.
/// `None`: there is no pair.
///
/// # Errors
/// Every file that cannot be read, or that does not belong to its pair.
pub fn acceptor(pairs: &[Pair]) -> Result<Option<TlsAcceptor>, Vec<TlsFault>> {
    if pairs.is_empty() {
        return Ok(None);
    }
    let (mut keys, mut faults) = (Vec::new(), Vec::new());
    for (index, pair) in pairs.iter().enumerate() {
        match load(pair) {
            Ok(key) => keys.push(key),
            Err(found) => faults.extend(found.into_iter().map(|(part, what)| TlsFault { pair: index, part, what })),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let unusable = |error: Error| vec![TlsFault { pair: 0, part: Part::Certificate, what: error.to_string() }];
    let mut config = builder.map_err(unusable)?.with_no_client_auth().with_cert_resolver(Arc::new(ByName { keys }));
    // Tickets spare the next session of the same client half of the handshake.
    if let Ok(ticketer) = ring::Ticketer::new() {
        config.ticketer = ticketer;
    }
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

/// Certificates that are out of date at `now`, or will be within a week: senders that verify them go away, others do not.
pub fn out_of_date(pairs: &[Pair], now: Timestamp) -> Vec<TlsFault> {
    let day = |time: Timestamp| time.strftime("%Y-%m-%d %H:%M UTC");
    let told = |(index, pair): (usize, &Pair)| {
        let (first, last) = validity::of(pem::chain(&pair.certificate).ok()?.first()?)?;
        let what = match () {
            () if last < now => format!("expired at {}; renew it", day(last)),
            () if now < first => format!("is not valid before {}; is this host's clock right?", day(first)),
            () if last.duration_since(now) < SOON => format!("expires at {}; renew it", day(last)),
            () => return None,
        };
        let what = format!("{} {what}", pair.certificate.display());
        Some(TlsFault { pair: index, part: Part::Certificate, what })
    };
    pairs.iter().enumerate().filter_map(told).collect()
}

/// A certificate that clients are shown.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, ToSchema)]
pub struct Certificate {
    /// The file of its chain.
    pub file: String,
    /// The names that it is for.
    pub names: Vec<String>,
    /// Its last second, in seconds since the epoch.
    pub until: u32,
}

/// The certificates of these pairs, as far as they can be read.
pub fn certificates(pairs: &[Pair]) -> Vec<Certificate> {
    let read = |pair: &Pair| {
        let chain = pem::chain(&pair.certificate).ok()?;
        let first = chain.first()?;
        let (_, last) = validity::of(first)?;
        let parsed = webpki::EndEntityCert::try_from(first).ok();
        let names = parsed.map(|it| it.valid_dns_names().map(str::to_owned).collect()).unwrap_or_default();
        let until = u32::try_from(last.as_second()).unwrap_or(u32::MAX);
        Some(Certificate { file: pair.certificate.display().to_string(), names, until })
    };
    pairs.iter().filter_map(read).collect()
}

/// The handshake of a client that begins with TLS. `None`: it failed, or took too long.
pub(super) async fn accept(client: ClientStream, acceptor: &TlsAcceptor, limit: Duration) -> Option<ClientStream> {
    let ClientStream::Plain(stream) = client else { return None };
    let secured = timeout(limit, acceptor.accept(stream)).await.ok()?.ok()?;
    Some(ClientStream::Tls(Box::new(secured)))
}

/// STARTTLS: the outbox goes out in the clear, then the handshake. `None`: it failed, or took too long.
pub(super) async fn upgrade(client: Side<ClientStream>, acceptor: &TlsAcceptor) -> Option<ClientStream> {
    let Side { stream: mut client, outbox: mut owed, .. } = client;
    timeout(HANDSHAKE, client.write_all_buf(&mut owed)).await.ok()?.ok()?;
    accept(client, acceptor, HANDSHAKE).await
}

/// The version of TLS, for the log and the Received line; empty in the clear.
pub(super) fn version(client: &ClientStream) -> &'static str {
    match client {
        ClientStream::Tls(stream) => match stream.get_ref().1.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLS",
        },
        ClientStream::Gone(_) | ClientStream::Plain(_) | ClientStream::Pipe(_) => "",
    }
}

#[derive(Debug)]
struct ByName {
    keys: Vec<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.keys.iter().find(|key| is_for(key, name)));
        named.or(self.keys.first()).cloned()
    }
}

fn is_for(key: &CertifiedKey, name: &str) -> bool {
    let (Ok(certificate), Ok(name)) = (key.end_entity_cert(), ServerName::try_from(name)) else { return false };
    webpki::EndEntityCert::try_from(certificate)
        .is_ok_and(|certificate| certificate.verify_is_valid_for_subject_name(&name).is_ok())
}

fn load(pair: &Pair) -> Result<Arc<CertifiedKey>, Vec<(Part, String)>> {
    let Pair { certificate, key } = pair;
    if pem::has_key(certificate)
        && !pem::has_certificate(certificate)
        && !pem::has_key(key)
        && pem::has_certificate(key)
    {
        let what = format!(
            "certificate and key are swapped: {} has the key, {} the certificate; exchange them",
            certificate.display(),
            key.display()
        );
        return Err(vec![(Part::Certificate, what)]);
    }
    let named = |part, file: &Path, what: String| (part, format!("{} {what}", file.display()));
    let chain = pem::chain(certificate).map_err(|what| named(Part::Certificate, certificate, what));
    let private = pem::key(key).map_err(|what| named(Part::Key, key, what));
    match (chain, private) {
        (Ok(chain), Ok(private)) => together(chain, private).map_err(|(part, what)| match part {
            Part::Certificate => vec![named(part, certificate, what)],
            Part::Key => vec![named(part, key, what.replace("CERTIFICATE", &certificate.display().to_string()))],
        }),
        (chain, private) => Err(chain.err().into_iter().chain(private.err()).collect()),
    }
}

/// The pair, or the part that does not fit and why; `CERTIFICATE` stands for the other file.
fn together(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, (Part, String)> {
    let signing = ring::default_provider().key_provider.load_private_key(key).map_err(|_| {
        let what =
            "is a key of a kind that is not supported; use RSA of 2048 bits or more, ECDSA P-256 or P-384, or Ed25519";
        (Part::Key, what.to_owned())
    })?;
    let mut certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Arc::new(certified)),
        Err(Error::InconsistentKeys(_)) => {
            let others = certified.cert.split_off(1);
            let fits = |other: &CertificateDer<'static>| {
                CertifiedKey::new(vec![other.clone()], certified.key.clone()).keys_match().is_ok()
            };
            match others.iter().any(fits) {
                true => {
                    let what =
                        "has its certificates in the wrong order: put the one of this key first, then its issuers";
                    Err((Part::Certificate, what.to_owned()))
                }
                false => {
                    Err((Part::Key, "is not the key of CERTIFICATE; write the two that belong together".to_owned()))
                }
            }
        }
        Err(_) => {
            let what = "has a first certificate that cannot be used; it has to be of X.509 version 3, with a name in \
                        subjectAltName";
            Err((Part::Certificate, what.to_owned()))
        }
    }
}

/// Time limit of a STARTTLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// A certificate that ends sooner is warned of.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);
