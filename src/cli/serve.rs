//! `serve`: runs the proxy. It must not print to standard output.

use std::process::ExitCode;

use clap::Args;

use crate::cli::BAD_CONFIGURATION;
use crate::cli::INTERNAL;
use crate::cli::Source;
use crate::cli::count;
use crate::daemon::fault::StartFault;
use crate::daemon::serve;

/// Run the proxy
///
/// Without a configuration it listens on 127.0.0.1:2525 and keeps accepted mail in the Maildir ./portcullis-mail. TERM
/// stops it once running transactions have finished, a second TERM at once; HUP reads the configuration and all lists again,
/// which also happens by itself within a second of a change.
///
/// Exit code 0 after a stop, 78 when the configuration has errors (a restart does not help), 1 when it cannot start for
/// another reason, such as a port in use, 70 when the system refuses a resource.
#[derive(Args, Debug)]
pub(super) struct Serve {
    #[command(flatten)]
    source: Source,
    /// Listen here, in place of server.listen; may be repeated
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// The backend: tcp://HOST:PORT, lmtp://HOST:PORT, lmtp:unix:/SOCKET, spawn:/PROGRAM, maildir:FOLDER, or
    /// queue:/PROGRAM, such as queue:/var/qmail/bin/qmail-queue
    #[arg(long, value_name = "URL")]
    backend: Option<String>,
    /// Write a newline to this open descriptor once the ports are open, for s6's notification-fd
    #[arg(long, value_name = "N", value_parser = count::<u32>)]
    notify_fd: Option<u32>,
}

impl Serve {
    pub(super) fn run(&self) -> ExitCode {
        match serve::serve(self.source.origin(&self.listen, self.backend.as_deref()), self.notify_fd) {
            Ok(()) => ExitCode::SUCCESS,
            Err(fault) => {
                fault.report();
                match fault {
                    StartFault::System(..) => ExitCode::from(INTERNAL),
                    StartFault::Files(_) => ExitCode::from(BAD_CONFIGURATION),
                    StartFault::Bind(..)
                    | StartFault::Admin(_)
                    | StartFault::Notification(..)
                    | StartFault::State(_)
                    | StartFault::Unnamed(_)
                    | StartFault::User(_) => ExitCode::FAILURE,
                }
            }
        }
    }
}
