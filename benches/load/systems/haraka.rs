//! Haraka, where its command is in the path (npm install -g Haraka), with its own smtp_proxy and two plugins of ours,
//! which refuse the blocked sender and accept every recipient.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::host;
use crate::systems::starting;
use crate::systems::starting::Starting;
use crate::workload::LIMIT;
use crate::workload::STRANGER;

pub(super) fn missing() -> Option<String> {
    starting::program(PROGRAM).is_none().then(|| "it is not installed: npm install -g Haraka".to_owned())
}

pub(super) fn start(starting: &Starting<'_>, sink: SocketAddr, certificates: &Path) -> io::Result<SocketAddr> {
    let program = starting::program(PROGRAM).ok_or(io::ErrorKind::NotFound)?;
    let address = host::free_address()?;
    let (tls, limit) = (starting.setup.tls, if starting.setup.limited { LIMIT } else { 1_000_000_000 });
    starting.write("plugins/bench.js", &PLUGIN.replace("{stranger}", STRANGER))?;
    starting
        .write("config/plugins", if tls { "tls\nbench\nqueue/smtp_proxy\n" } else { "bench\nqueue/smtp_proxy\n" })?;
    starting.write("config/smtp.ini", &SERVER.replace("{listen}", &address.to_string()))?;
    starting.write("config/smtp_proxy.ini", &format!("host={}\nport={}\n", sink.ip(), sink.port()))?;
    starting.write("config/connection.ini", &CONNECTION.replace("{limit}", &limit.to_string()))?;
    starting.write("config/me", "haraka.example\n")?;
    starting.write("config/log.ini", "[main]\nlevel=error\nformat=default\n")?;
    if tls {
        let copy = |from: &str, to: &str| fs::copy(certificates.join(from), starting.folder.join("config").join(to));
        copy("key.pem", "tls_key.pem")?;
        copy("certificate.pem", "tls_cert.pem")?;
    }
    let log = starting.spawn(starting.group.command(program).arg("-c").arg(&starting.folder), "haraka.log")?;
    starting.until_greeting(&log, address)
}

const PROGRAM: &[&str] = &["/usr/bin/haraka", "/usr/local/bin/haraka"];

const PLUGIN: &str = "\
exports.hook_mail = (next, connection, params) =>
    `${params[0]}`.includes('{stranger}') ? next(DENY, 'not wanted') : next();
exports.hook_rcpt = (next) => next(OK);
";

const SERVER: &str = "\
listen={listen}
nodes=cpus
inactivity_timeout=600
daemonize=false
";

const CONNECTION: &str = "\
[max]
bytes={limit}
mime_parts=1000
line_length=512
data_line_length=992
[message]
helo=Haraka is at your service.
close=closing connection.
[uuid]
banner_chars=6
deny_chars=0
[headers]
max_lines=1000
max_received=100
";
