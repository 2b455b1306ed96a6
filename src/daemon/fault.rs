//! The reasons not to start, in words for the operator. It must not decide how the process ends.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::admin::AdminFault;
use crate::daemon::holder::Holder;
use crate::report::log::start;
use crate::store::state::StateFault;
use crate::text::finding::Finding;

/// The reason why the proxy did not start.
#[derive(Debug)]
pub enum StartFault {
    /// Faults in the configuration, or in files that it names.
    Files(Vec<Finding>),
    /// A listener cannot be bound.
    Bind(SocketAddr, io::Error),
    /// The supervisor hands over a listener that the configuration does not name.
    Unnamed(SocketAddr),
    /// The admin interface cannot start.
    Admin(AdminFault),
    /// The descriptor of `--notify-fd` cannot be used.
    Notification(u32, io::Error),
    /// The state cannot be opened.
    State(StateFault),
    /// The process cannot become `server.user`.
    User(String),
    /// The system refused something else, which the text names.
    System(&'static str, io::Error),
}

impl StartFault {
    /// Writes it to stderr, for people or for the journal.
    pub fn report(&self) {
        start::report_error(&self.to_string());
    }
}

/// The words for an address of `key` that cannot be listened on, with the remedy.
pub(super) fn not_bound(address: SocketAddr, error: &io::Error, holder: Option<&Holder>, key: &str) -> String {
    let told = format!("cannot listen on {address}");
    match (error.kind(), holder) {
        (io::ErrorKind::AddrInUse, Some(holder)) => {
            format!("{told}: the port is in use by {holder}; stop that process, or write another {key}")
        }
        (io::ErrorKind::AddrInUse, None) => format!("{told}: the port is in use; write another {key}"),
        (io::ErrorKind::AddrNotAvailable, _) => {
            let all = if address.is_ipv4() { "0.0.0.0" } else { "[::]" };
            format!(
                "{told}: this host has no such address; write one that `ip address` lists, or {all} for all of them"
            )
        }
        (io::ErrorKind::PermissionDenied, _) => {
            format!("{told}: permission denied; start as root and set server.user, or write a port above 1023")
        }
        _ => format!("{told}: {error}; write another {key}"),
    }
}

impl fmt::Display for StartFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(faults) => {
                let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
            Self::Bind(address, error) => {
                let holder = Holder::of_error(*address, error);
                f.write_str(&not_bound(*address, error, holder.as_ref(), "server.listen"))
            }
            Self::Unnamed(address) => {
                write!(f, "the supervisor hands over a listener on {address}, which is not in server.listen")?;
                f.write_str(" nor in server.listen_tls; name it in one of them")
            }
            Self::Admin(AdminFault::Bind(address, error)) => {
                let holder = Holder::of_error(*address, error);
                f.write_str(&not_bound(*address, error, holder.as_ref(), "admin.listen"))
            }
            Self::Admin(AdminFault::Other(what)) => f.write_str(what),
            Self::Notification(number, error) => {
                write!(f, "--notify-fd {number}: {error}; the file notification-fd of s6 has to have the same number")
            }
            Self::State(fault) => write!(f, "state {fault}"),
            Self::User(what) => f.write_str(what),
            Self::System(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for StartFault {}
