//! The sink, and the ideal server: this program, started anew.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::systems::starting::Starting;

/// Starts the sink; with the folder of the certificate, the ideal server.
pub(super) fn start(starting: &Starting<'_>, ideal: Option<&Path>) -> io::Result<SocketAddr> {
    let mut command = starting.group.command(std::env::current_exe()?);
    command.arg("--sink");
    if let Some(certificates) = ideal {
        command.arg("--ideal").arg(certificates);
    }
    let log = starting.spawn(&mut command, "log")?;
    starting.until_said(&log)
}
