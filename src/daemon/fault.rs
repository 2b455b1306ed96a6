//! The reasons not to start, in words for the operator. It must not decide how the process ends.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::admin::AdminFault;
use crate::daemon::assemble::Finding;
use crate::store::state::StateFault;

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

impl fmt::Display for StartFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(faults) => {
                let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
            Self::Bind(address, error) => {
                write!(f, "cannot listen on {address}: {error}")?;
                match error.kind() {
                    io::ErrorKind::AddrInUse => write!(f, "; stop what listens there, or set another server.listen"),
                    io::ErrorKind::PermissionDenied => write!(f, "; start as root and set server.user"),
                    _ => Ok(()),
                }
            }
            Self::Unnamed(address) => {
                write!(f, "the supervisor hands over a listener on {address}, which is not in server.listen")?;
                f.write_str(" nor in server.listen_tls; name it in one of them")
            }
            Self::Admin(fault) => write!(f, "{fault}"),
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
