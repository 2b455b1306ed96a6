//! The sink, and the ideal server: this program, started anew.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::systems::starting::Starting;

/// A form of the sink.
pub(super) enum Kind<'a> {
    Plain,
    /// It offers CHUNKING.
    Chunking,
    /// The ideal server, with the folder of its certificate.
    Ideal(&'a Path),
}

/// Starts the sink.
pub(super) fn start(starting: &Starting<'_>, kind: &Kind<'_>) -> io::Result<SocketAddr> {
    let mut command = starting.group.command(std::env::current_exe()?);
    command.arg("--sink");
    match kind {
        Kind::Plain => {}
        Kind::Chunking => drop(command.arg("--chunking")),
        Kind::Ideal(certificates) => drop(command.arg("--ideal").arg(certificates)),
    }
    let log = starting.spawn(&mut command, "log")?;
    starting.until_said(&log)
}
