//! tcpserver and the real smtpfront-qmail (Debian's mailfront), with a qmail-queue that reads everything and keeps
//! nothing. It is started without Debian's wrapper, a shell script that doubles the cost.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use crate::systems::starting;
use crate::systems::starting::Starting;
use crate::workload::LIMIT;
use crate::workload::STRANGER;

pub(super) fn missing() -> Option<String> {
    starting::missing(TCPSERVER, "ucspi-tcp")
        .or_else(|| starting::missing(&[WRAPPER], "mailfront"))
        .or_else(|| starting::missing(&["/usr/bin/cc"], "gcc, for a static qmail-queue"))
        .or_else(|| words().is_none().then(|| format!("{WRAPPER} is not the script that was expected")))
}

pub(super) fn start(starting: &Starting<'_>) -> io::Result<SocketAddr> {
    let tcpserver = starting::program(TCPSERVER).ok_or(io::ErrorKind::NotFound)?;
    let home = home(starting)?;
    let mut command = starting.group.command(tcpserver);
    command.args(["-1", "-R", "-H", "-l", "smtpfront.example", "-b", "1000", "-c", "1000", "127.0.0.1", "0"]);
    command.args(words().ok_or(io::ErrorKind::NotFound)?);
    command.env_clear().env("PATH", PATH).envs(home.environment());
    let log = starting.spawn(&mut command, "tcpserver.log")?;
    // The first line has its port.
    let port: u16 = starting.until(&log, || fs::read_to_string(&log).ok()?.lines().next()?.trim().parse().ok())?;
    Ok(([127, 0, 0, 1], port).into())
}

/// The wrapper's command: `exec "$(dirname $0)"/mailfront smtp qmail … "$@"`.
pub(super) fn words() -> Option<Vec<String>> {
    let script = fs::read_to_string(WRAPPER).ok()?;
    let line = script.lines().find(|line| line.starts_with("exec "))?;
    let (_, rest) = line.split_once("/mailfront ")?;
    let program = Path::new(WRAPPER).with_file_name("mailfront").to_str()?.to_owned();
    let rest = rest.split_whitespace().filter(|word| *word != "\"$@\"").map(str::to_owned);
    Some(std::iter::once(program).chain(rest).collect())
}

/// The folder that smtpfront-qmail takes for /var/qmail.
pub(super) struct Home {
    folder: PathBuf,
    queue: PathBuf,
    limit: String,
}

pub(super) fn home(starting: &Starting<'_>) -> io::Result<Home> {
    starting.write("qmail/control/me", "smtpfront.example\n")?;
    starting.write("qmail/control/rcpthosts", "sink.example\n")?;
    starting.write("qmail/control/badmailfrom", &format!("{STRANGER}\n"))?;
    let (source, queue) = (starting.write("qmail-queue.c", QUEUE)?, starting.folder.join("qmail-queue"));
    let output = Command::new("/usr/bin/cc").args(["-O2", "-static", "-o"]).arg(&queue).arg(source).output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let limit = starting.setup.limited.then_some(LIMIT).map_or(String::new(), |limit| limit.to_string());
    Ok(Home { folder: starting.folder.join("qmail"), queue, limit })
}

impl Home {
    /// The qmail-queue that keeps nothing.
    pub(super) fn queue(&self) -> &Path {
        &self.queue
    }

    pub(super) fn environment(&self) -> [(&'static str, &OsStr); 3] {
        let (home, queue) = (self.folder.as_os_str(), self.queue.as_os_str());
        [("QMAILHOME", home), ("QMAILQUEUE", queue), ("DATABYTES", self.limit.as_ref())]
    }
}

const TCPSERVER: &[&str] = &["/usr/bin/tcpserver"];
const WRAPPER: &str = "/usr/sbin/smtpfront-qmail";
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The message is on descriptor 0, the envelope on 1.
const QUEUE: &str = "\
#include <unistd.h>

int main(void)
{
    static char octets[65536];
    for (int from = 0; from < 2; from++)
        while (read(from, octets, sizeof octets) > 0)
            ;
    return 0;
}
";
