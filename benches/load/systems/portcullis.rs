//! This crate, with the configuration of all figures. The program is the one that cargo built for the bench.

use std::fmt::Write;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::host;
use crate::systems::Site;
use crate::systems::System;
use crate::systems::smtpfront;
use crate::systems::starting::Starting;
use crate::workload::STRANGER;

pub(super) fn start(starting: &Starting<'_>, system: System, sink: SocketAddr, site: &Site) -> io::Result<SocketAddr> {
    let address = host::free_address()?;
    let mut values = vec![("listen", address.to_string()), ("backend", format!("tcp = \"{sink}\""))];
    let mut more = String::new();
    match system {
        System::PortcullisKeepalive => values.push(("backend", format!("tcp = \"{sink}\"\nkeepalive = 100"))),
        System::PortcullisStreamed => values.push(("message", "hold = false".to_owned())),
        System::PortcullisInMemory => values.push(("message", "hold_memory = \"64MiB\"".to_owned())),
        System::PortcullisQueue => {
            values.push(("backend", format!("queue = {:?}", smtpfront::home(starting)?.queue())));
        }
        System::PortcullisSmtpfront => values.push(("backend", spawning(starting)?)),
        System::PortcullisWithoutLedger => values.push(("repeat", "unacknowledged = \"deliver\"".to_owned())),
        System::PortcullisTwoWorkers => values.push(("workers", "\nworkers = 2".to_owned())),
        System::PortcullisFourWorkers => values.push(("workers", "\nworkers = 4".to_owned())),
        _ => {}
    }
    if starting.setup.limited {
        values.push(("limit", "10MiB".to_owned()));
    }
    if starting.setup.tls {
        let folder = site.certificates.display();
        let _ = write!(more, "[tls]\ncertificate = \"{folder}/certificate.pem\"\nkey = \"{folder}/key.pem\"\n");
    }
    if system == System::PortcullisLoaded {
        let loaded = site.loaded()?;
        fs::copy(&loaded.state, starting.folder.join("state.redb"))?;
        values.push(("blocked", loaded.senders.display().to_string()));
    }
    values.push(("folder", starting.folder.display().to_string()));
    fs::create_dir_all(starting.folder.join("log"))?;
    fs::create_dir_all(starting.folder.join("spool"))?;
    // As below /etc: this folder and its parents are watched, so files written all the time must not be in them.
    starting.write("etc/portcullis/blocked", &blocked())?;
    let file = starting.write("etc/portcullis/portcullis.toml", &(text(&values) + &more))?;
    let mut command = starting.group.command(PathBuf::from(env!("CARGO_BIN_EXE_portcullis")));
    let log = starting.spawn(command.arg("serve").arg("-c").arg(&file), "log/portcullis.log")?;
    starting.until_greeting(&log, address)
}

/// The configuration with these values; the last value of a name counts, the others keep their default.
pub(crate) fn text(values: &[(&str, String)]) -> String {
    let usual = [
        ("listen", "127.0.0.1:2525"),
        ("backend", "tcp = \"127.0.0.1:2526\""),
        ("blocked", "blocked"),
        ("limit", "0"),
        ("message", "hold = true"),
        ("repeat", "unacknowledged = \"absorb\""),
        ("folder", "/var/lib/portcullis"),
        ("workers", ""),
    ];
    let values = values.iter().rev().map(|(name, value)| (*name, value.as_str()));
    values
        .chain(usual)
        .fold(CONFIGURATION.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

/// A session's command, as tcpserver would start it.
fn spawning(starting: &Starting<'_>) -> io::Result<String> {
    let words = smtpfront::words().ok_or(io::ErrorKind::NotFound)?;
    let home = smtpfront::home(starting)?;
    let environment = home.environment().map(|(name, path)| format!("{name} = {path:?}"));
    Ok(format!("spawn = {words:?}\nenv = {{ {} }}", environment.join(", ")))
}

fn blocked() -> String {
    (0..1000).fold(format!("{STRANGER}\n"), |text, number| text + &format!("blocked{number}@list.example\n"))
}

// An operator's configuration, with limits raised for one client that sends everything.
const CONFIGURATION: &str = "\
[server]
listen = [\"{listen}\"]
hostname = \"portcullis.example\"
max_connections = 9000
max_connections_per_client = 9000
max_errors = 100000{workers}
timeout = { greeting = \"10m\", command = \"10m\" }
[backend]
{backend}
max = 5000
[senders]
blocked = [\"{blocked}\"]
[size]
limit = \"{limit}\"
[message]
{message}
spool = \"{folder}/spool\"
[repeat]
{repeat}
limit = 0
[[throttle]]
name = \"asked\"
count = \"mails\"
per = [\"client\"]
limit = \"1000000000/day\"
[state]
url = \"redb:{folder}/state.redb\"
[admin]
listen = \"unix:{folder}/admin\"
";
