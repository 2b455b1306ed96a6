//! How to switch to Portcullis and back, for the supervisor that this host has, as a text for the operator. It must not
//! carry out a step.

use std::fmt::Write;
use std::path::Path;

use crate::takeover::Findings;
use crate::takeover::services::Supervisor;
use crate::takeover::site::Site;
use crate::text::readable::shown;
use crate::text::shell;

/// The text of `STEPS`.
pub(super) fn text(site: &Site, findings: &Findings) -> String {
    let mut text = String::new();
    let title = match &site.service {
        Some((service, _)) => format!("Portcullis in place of {}", path(service)),
        None => "Portcullis; no service to take over was found".to_owned(),
    };
    let _ = writeln!(text, "{title}\n{}\n", "=".repeat(title.chars().count()));
    if !findings.plan.complete {
        incomplete(&mut text, findings);
    }
    let (program, configuration) = (path(&site.program), path(&site.configuration()));
    text.push_str("1. Check. The first line makes the folders that the users write in; nothing else is changed.\n\n");
    command(&mut text, &prepare(site));
    command(&mut text, &format!("{program} check --no-ports -c {configuration}"));
    command(&mut text, &format!("{program} drill -c {configuration}"));
    text.push_str("\n   To try it beside the running server, with real delivery, until you press ^C:\n\n");
    command(&mut text, &format!("{program} serve -c {configuration} --listen 127.0.0.1:2525"));
    text.push_str("\n2. Switch.\n\n");
    if site.has_run_script() && site.link.is_none() {
        text.push_str(NOTHING_SCANS);
    }
    let old = Old::of(site);
    let new = New::of(site);
    command(&mut text, &new.announce);
    command(&mut text, &join(&[&old.stop, &new.start]));
    text.push_str(CLOSED);
    text.push_str("3. Confirm.\n\n");
    command(&mut text, &format!("{program} status -c {configuration}"));
    command(&mut text, &format!("{program} explain -c {configuration} --sender someone@example.com --recipient YOU"));
    command(&mut text, &log_command(site));
    text.push_str("\nTo switch back at any time, in one line:\n\n");
    command(&mut text, &join(&[&new.stop, &old.start]));
    text.push_str(BACK);
    command(&mut text, &join(&[&new.keep, &old.keep]));
    if new.keep.is_empty() {
        text.push_str("   Start service/run from the host's start-up scripts; it stays in the foreground.\n");
    }
    text
}

fn incomplete(text: &mut String, findings: &Findings) {
    text.push_str(
        "The configuration is NOT complete. Before you switch, settle the errors at its beginning, and write the\n",
    );
    text.push_str("values of its commented keys.\n\n");
    for error in &findings.plan.errors {
        let _ = writeln!(text, "   error: {}", shown(error));
    }
    text.push_str(if findings.plan.errors.is_empty() { "" } else { "\n" });
}

/// The folders of the state and of the log, and whose they are.
fn prepare(site: &Site) -> String {
    let state = path(&site.folder.join("state"));
    let mut commands = Vec::new();
    if let Some(user) = &site.user {
        commands.push(format!("chown {}: {state}", shell::word(user)));
    }
    if site.has_run_script() {
        let log = path(&site.logger.folder);
        commands.push(format!("mkdir -p {log}"));
        commands.extend(site.logger.user.as_ref().map(|user| format!("chown {}: {log}", shell::word(user))));
    }
    commands.join(" && ")
}

/// Commands about the old service; empty where there is none.
#[derive(Default)]
struct Old {
    stop: String,
    start: String,
    /// So that it does not start with the host.
    keep: String,
}

impl Old {
    fn of(site: &Site) -> Self {
        let Some((service, supervisor)) = &site.service else { return Self::default() };
        let old = path(service);
        match supervisor {
            Supervisor::Daemontools | Supervisor::Runit | Supervisor::S6 => {
                let [down, up] = verbs(*supervisor);
                Self { stop: format!("{down} {old}"), start: format!("{up} {old}"), keep: format!("touch {old}/down") }
            }
            Supervisor::Systemd | Supervisor::Socket => {
                let name = service.file_name().map(|name| shell::word(&name.to_string_lossy())).unwrap_or_default();
                let systemctl = |verb: &str| format!("systemctl {verb} {name}");
                Self { stop: systemctl("stop"), start: systemctl("start"), keep: systemctl("disable") }
            }
            Supervisor::Xinetd => Self::xinetd(&old),
            Supervisor::Inetd => Self::inetd(&old),
        }
    }

    /// xinetd reads its files again at HUP, and closes what is disabled.
    fn xinetd(file: &str) -> Self {
        let block = r"/^[[:space:]]*service[[:space:]]\{1,\}\(smtp\|25\)\([[:space:]{#]\|$\)/,/}/";
        let again = "kill -HUP $(pidof xinetd)";
        Self {
            stop: format!(
                r"sed -i '{block}{{/^[[:space:]]*disable[[:space:]]*=/d;s/{{/{{\n\tdisable = yes/;}}' {file} && {again}"
            ),
            start: format!(r"sed -i '{block}s/disable = yes/disable = no/' {file} && {again}"),
            keep: String::new(),
        }
    }

    /// inetd has one service a line.
    fn inetd(file: &str) -> Self {
        let line = r"^\([^[:space:]#]*:\)\{0,1\}\(smtp\|25\)[[:space:]]";
        let again = "kill -HUP $(pidof inetd inetutils-inetd)";
        Self {
            stop: format!(r"sed -i '/{line}/s/^/#portcullis# /' {file} && {again}"),
            start: format!(r"sed -i 's/^#portcullis# //' {file} && {again}"),
            keep: String::new(),
        }
    }
}

/// Commands about the new service.
struct New {
    /// So that the supervisor knows it.
    announce: String,
    start: String,
    stop: String,
    /// So that it starts with the host.
    keep: String,
}

impl New {
    fn of(site: &Site) -> Self {
        if site.supervisor == Supervisor::Systemd {
            let unit = path(&site.folder.join("systemd/portcullis.service"));
            return Self {
                announce: format!("cp {unit} /etc/systemd/system/ && systemctl daemon-reload"),
                start: "systemctl start portcullis".to_owned(),
                stop: "systemctl stop portcullis".to_owned(),
                keep: "systemctl enable portcullis".to_owned(),
            };
        }
        let service = path(&site.folder.join("service"));
        let Some(link) = site.link.as_deref() else { return Self::by_hand(site, &service) };
        let scan = match (site.supervisor, link.parent()) {
            (Supervisor::S6, Some(folder)) => format!(" && s6-svscanctl -a {}", path(folder)),
            _ => "   # the supervisor finds it within 5 seconds, and does not start it yet".to_owned(),
        };
        let link = path(link);
        let [down, up] = verbs(site.supervisor);
        Self {
            announce: format!("ln -s {service} {link}{scan}"),
            start: format!("{up} {link}"),
            stop: format!("{down} {link}"),
            keep: format!("rm {service}/down"),
        }
    }

    /// A process in the background, whose log is a file.
    fn by_hand(site: &Site, service: &str) -> Self {
        let log = path(&site.logger.folder.join("current"));
        Self {
            announce: String::new(),
            start: format!("setsid {service}/run </dev/null >>{log} 2>&1 &"),
            stop: "kill $(pidof portcullis)".to_owned(),
            keep: String::new(),
        }
    }
}

/// Down and up.
fn verbs(supervisor: Supervisor) -> [&'static str; 2] {
    match supervisor {
        Supervisor::Runit => ["sv down", "sv up"],
        Supervisor::S6 => ["s6-svc -d", "s6-svc -u"],
        _ => ["svc -d", "svc -u"],
    }
}

/// Commands of one line, without those that are empty.
fn join(commands: &[&str]) -> String {
    commands.iter().filter(|command| !command.is_empty()).copied().collect::<Vec<_>>().join("; ")
}

fn log_command(site: &Site) -> String {
    let current = path(&site.logger.folder.join("current"));
    match site.supervisor {
        Supervisor::Systemd => "journalctl -u portcullis -f".to_owned(),
        Supervisor::Runit => format!("tail -F {current}"),
        _ if site.link.is_none() => format!("tail -F {current}"),
        _ => format!("tail -F {current} | tai64nlocal"),
    }
}

fn command(text: &mut String, line: &str) {
    if !line.is_empty() {
        let _ = writeln!(text, "       {}", shown(line));
    }
}

fn path(path: &Path) -> String {
    shell::word(&path.to_string_lossy())
}

const NOTHING_SCANS: &str = "   No folder of services that a supervisor watches was found on this host (/service, \
/etc/service, ...), so that\n   Portcullis is started by hand, in the background. Under a supervisor it is started again \
when it ends.\n\n";
const CLOSED: &str = "
   The port is closed in between for well under a second: a client that connects then is refused and tries again.
   Sessions of the old server run to their end. If the port is not free in time, Portcullis is started again every second.

";
const BACK: &str = "
   Again the port is closed for less than a second. Transactions under way are finished (within server.drain, 30s).
   Nothing that was accepted is lost: it is in qmail's queue.

4. To make it permanent, so that it also survives a reboot:

";
