//! HAProxy in TCP mode, with a thread a core as it is by default.

use std::io;
use std::net::SocketAddr;

use crate::host;
use crate::systems::starting;
use crate::systems::starting::Starting;

pub(super) fn missing() -> Option<String> {
    starting::missing(PROGRAM, "haproxy")
}

pub(super) fn start(starting: &Starting<'_>, backend: SocketAddr, splice: bool) -> io::Result<SocketAddr> {
    let program = starting::program(PROGRAM).ok_or(io::ErrorKind::NotFound)?;
    let address = host::free_address()?;
    let text = CONFIGURATION
        .replace("{splice}", if splice { "    option splice-auto\n" } else { "" })
        // Each connection may need a pipe, and descriptors are few.
        .replace("{most}", if splice { "1000" } else { "9000" })
        .replace("{listen}", &address.to_string())
        .replace("{backend}", &backend.to_string());
    let file = starting.write("haproxy.cfg", &text)?;
    // -db: no fork, so that our child is the process that works.
    let log = starting.spawn(starting.group.command(program).arg("-db").arg("-f").arg(file), "haproxy.log")?;
    starting.until_greeting(&log, address)
}

const PROGRAM: &[&str] = &["/usr/sbin/haproxy"];

const CONFIGURATION: &str = "\
global
    no strict-limits
    maxconn {most}
defaults
    mode tcp
    maxconn {most}
    timeout connect 10s
    timeout client 10m
    timeout server 10m
{splice}listen smtp
    bind {listen}
    server backend {backend}
";
