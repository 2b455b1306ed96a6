//! TLS with rustls: certificates by name, the handshake under its limit. It must not touch octets that were read before.

use std::fmt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ProtocolVersion;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::server::ClientHello;
use tokio_rustls::rustls::server::ResolvesServerCert;
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::front::exchange::Side;
use crate::front::settings::Pair;
use crate::front::stream::ClientStream;

/// A file that cannot be used.
#[derive(Debug)]
pub struct TlsFault {
    /// The file.
    pub file: PathBuf,
    /// The reason, and the remedy.
    pub what: String,
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.what)
    }
}

impl std::error::Error for TlsFault {}

/// The acceptor with these pairs, read from their files; the first is for clients that name no host, or an unknown one.
/// `None`: there is no pair.
///
/// # Errors
/// A file that cannot be read, or a pair that does not belong together.
pub fn acceptor(pairs: &[Pair]) -> Result<Option<TlsAcceptor>, TlsFault> {
    if pairs.is_empty() {
        return Ok(None);
    }
    let keys = pairs.iter().map(load).collect::<Result<Vec<_>, _>>()?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsFault { file: pairs[0].certificate.clone(), what: error.to_string() })?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(ByName { keys }));
    // Tickets spare the next session of the same client half of the handshake.
    if let Ok(ticketer) = ring::Ticketer::new() {
        config.ticketer = ticketer;
    }
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
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

fn load(pair: &Pair) -> Result<Arc<CertifiedKey>, TlsFault> {
    let chain = CertificateDer::pem_file_iter(&pair.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(&pair.certificate, &error))?;
    if chain.is_empty() {
        return Err(TlsFault {
            file: pair.certificate.clone(),
            what: "no certificate in it, write a PEM chain".into(),
        });
    }
    let key = PrivateKeyDer::from_pem_file(&pair.key).map_err(|error| unreadable(&pair.key, &error))?;
    let certified = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| TlsFault {
        file: pair.key.clone(),
        what: format!("not the key of {}: {error}", pair.certificate.display()),
    })?;
    Ok(Arc::new(certified))
}

fn unreadable(file: &Path, error: &impl fmt::Display) -> TlsFault {
    TlsFault { file: file.to_owned(), what: format!("cannot be read as PEM: {error}") }
}

/// Time limit of a STARTTLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(30);
