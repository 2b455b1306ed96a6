//! The sink, and the ideal server: this program, started anew.

use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::systems::starting::Starting;

/// Starts the sink; with the folder of the certificate, the ideal server.
pub(super) fn start(starting: &Starting<'_>, ideal: Option<&Path>) -> io::Result<SocketAddr> {
    let ideal = ideal.map(|certificates| ["--ideal".as_ref(), certificates.as_os_str()]);
    start_with(starting, ideal.as_ref().map_or(&[], |arguments| arguments.as_slice()))
}

/// Starts a sink that offers CHUNKING.
pub(super) fn start_chunking(starting: &Starting<'_>) -> io::Result<SocketAddr> {
    start_with(starting, &["--chunking".as_ref()])
}

fn start_with(starting: &Starting<'_>, arguments: &[&OsStr]) -> io::Result<SocketAddr> {
    let mut command = starting.group.command(std::env::current_exe()?);
    command.arg("--sink").args(arguments);
    let log = starting.spawn(&mut command, "log")?;
    starting.until_said(&log)
}
