//! The operator's settings for the backend: what it is, and how it is reached. Values only; it must not look whether it is
//! there.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The server or program behind us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An LMTP server (RFC 2033).
    Lmtp(Endpoint),
    /// Our own delivery into this Maildir.
    Maildir(PathBuf),
    /// One process a message: this qmail-queue, or a program that does its work.
    Queue(PathBuf),
    /// One process a session: program and arguments.
    Spawn(Vec<OsString>),
    /// An SMTP server: `host:port`.
    Tcp(String),
}

impl fmt::Display for Target {
    /// As `--backend` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lmtp(Endpoint::Tcp(address)) => write!(f, "lmtp://{address}"),
            Self::Lmtp(socket) => write!(f, "lmtp:{socket}"),
            Self::Maildir(path) => write!(f, "maildir:{}", path.display()),
            Self::Queue(program) => write!(f, "queue:{}", program.display()),
            Self::Spawn(words) => {
                let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
                write!(f, "spawn:{}", words.join(" "))
            }
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// The place of an LMTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `host:port`
    Tcp(String),
    /// A unix socket with this path.
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    /// As `backend.lmtp` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(server) => f.write_str(server),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The way in which a tcp or lmtp backend hears of the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// None; a Received line tells it.
    #[default]
    None,
    /// By a PROXY header before the first octet.
    Proxy,
    /// By XCLIENT behind its EHLO.
    Xclient,
}

/// TLS to a tcp or lmtp backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// From the first octet.
    Implicit,
    /// None.
    #[default]
    Off,
    /// After STARTTLS.
    Starttls,
}

/// The section `[backend]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The server or program behind us.
    pub target: Target,
    /// The way in which a tcp or lmtp backend hears of the client.
    pub identity: Identity,
    /// TLS to a tcp or lmtp backend.
    pub tls: Tls,
    /// The certificate of a tcp or lmtp backend is verified.
    pub verify: bool,
    /// Our own name, for the Maildir's Received line and TCPLOCALHOST.
    pub hostname: String,
    /// Sessions with the backend at one time.
    pub max: usize,
    /// Sessions of a tcp or lmtp backend that are kept for the next client; 0 for none.
    pub keepalive: usize,
    /// Time limit of the wait for a permit, and again of the connection, and again of the greeting.
    pub connect: Duration,
    /// Time limit of a program's work on one message.
    pub reply: Duration,
}
