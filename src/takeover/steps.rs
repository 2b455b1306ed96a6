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
        Some(service) => format!("Portcullis in place of {}", path(service)),
        None => "Portcullis; no service to take over was found".to_owned(),
    };
    let _ = writeln!(text, "{title}\n{}\n", "=".repeat(title.chars().count()));
    if !findings.plan.complete {
        text.push_str(
            "The configuration is NOT complete: do not switch before these and its commented keys are settled.\n\n",
        );
        findings.plan.errors.iter().for_each(|error| _ = writeln!(text, "   error: {}", shown(error)));
        text.push_str(if findings.plan.errors.is_empty() { "" } else { "\n" });
    }
    let (program, configuration) = (path(&site.program), path(&site.configuration()));
    let _ = writeln!(
        text,
        "1. Check. The first line makes the folders that the users write in; nothing else is changed.\n"
    );
    command(&mut text, &prepare(site));
    command(&mut text, &format!("{program} check --no-ports -c {configuration}"));
    command(&mut text, &format!("{program} drill -c {configuration}"));
    text.push_str("\n   To try it beside what runs now, with real delivery, until you press ^C:\n\n");
    command(&mut text, &format!("{program} serve -c {configuration} --listen 127.0.0.1:2525"));
    text.push_str("\n2. Switch.\n\n");
    let [link, switch, back, later] = moves(site);
    command(&mut text, &link);
    command(&mut text, &switch);
    text.push_str(CLOSED);
    text.push_str("3. Confirm.\n\n");
    command(&mut text, &format!("{program} status -c {configuration}"));
    command(&mut text, &format!("{program} explain -c {configuration} --sender someone@example.com --recipient YOU"));
    command(&mut text, &log_command(site));
    text.push_str("\nTo switch back, at any time, in one line:\n\n");
    command(&mut text, &back);
    text.push_str(
        "\n   The port is closed as shortly; messages under way are finished (at most server.drain, 30s), and nothing that\n   \
         was accepted is lost: it is in qmail's queue.\n\n4. When it shall stay, also after a reboot:\n\n",
    );
    command(&mut text, &later);
    text
}

/// The folders of the state and of the log, and whose they are.
fn prepare(site: &Site) -> String {
    let state = path(&site.folder.join("state"));
    let mut commands = Vec::new();
    if let Some(user) = &site.user {
        commands.push(format!("chown {}: {state}", shell::word(user)));
    }
    if site.is_supervised() {
        let log = path(&site.logger.folder);
        commands.push(format!("mkdir -p {log}"));
        commands.extend(site.logger.user.as_ref().map(|user| format!("chown {}: {log}", shell::word(user))));
    }
    commands.join(" && ")
}

/// Link, switch, switch back, make it stay.
fn moves(site: &Site) -> [String; 4] {
    let (service, link) = (path(&site.folder.join("service")), path(&site.link()));
    let old = site.service.as_deref().map(path);
    let [down, up] = match site.supervisor {
        Supervisor::Runit => ["sv down", "sv up"],
        Supervisor::S6 => ["s6-svc -d", "s6-svc -u"],
        _ => ["svc -d", "svc -u"],
    };
    if site.supervisor == Supervisor::Systemd {
        return systemd(site);
    }
    let scan = match site.supervisor {
        Supervisor::S6 => "   # then s6-svscanctl -a on the scanned folder",
        _ => "   # its supervisor finds it within 5 seconds, and does not start it yet",
    };
    let (stop_old, start_old, keep) = match (&old, site.service.as_deref().filter(|_| site.is_supervised())) {
        (Some(old), Some(file)) if !is_file_of_internet(file) => {
            (format!("{down} {old}; "), format!("; {up} {old}"), format!(" && touch {old}/down"))
        }
        (Some(old), _) => (
            format!("(take the service out of {old} and send its server HUP); "),
            format!("; (put it into {old} again and send its server HUP)"),
            String::new(),
        ),
        (None, _) => (String::new(), String::new(), String::new()),
    };
    [
        format!("ln -s {service} {link}{scan}"),
        format!("{stop_old}{up} {link}"),
        format!("{down} {link}{start_old}"),
        format!("rm {service}/down{keep}"),
    ]
}

fn is_file_of_internet(file: &Path) -> bool {
    file.starts_with("/etc/xinetd.d") || file == Path::new("/etc/xinetd.conf") || file == Path::new("/etc/inetd.conf")
}

fn systemd(site: &Site) -> [String; 4] {
    let unit = path(&site.folder.join("systemd/portcullis.service"));
    let old = site.service.as_deref().and_then(Path::file_name).map(|name| shell::word(&name.to_string_lossy()));
    let is_unit = site.service.as_deref().is_some_and(|file| file.extension().is_some_and(|it| it == "service"));
    let before = |verb: &str| match &old {
        Some(old) if is_unit => format!("systemctl {verb} {old}; "),
        Some(_) => format!("({verb} the old service); "),
        None => String::new(),
    };
    let after = before("start");
    [
        format!("cp {unit} /etc/systemd/system/ && systemctl daemon-reload"),
        format!("{}systemctl start portcullis", before("stop")),
        format!("systemctl stop portcullis; {}", after.trim_end_matches("; ")).trim_end_matches("; ").to_owned(),
        format!("{}systemctl enable portcullis", before("disable")),
    ]
}

fn log_command(site: &Site) -> String {
    let current = path(&site.logger.folder.join("current"));
    match site.supervisor {
        Supervisor::Systemd => "journalctl -u portcullis -f".to_owned(),
        Supervisor::Runit => format!("tail -F {current}"),
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

const CLOSED: &str = "
   The port is closed between the two: well under a second, in which a client is refused the connection and comes back.
   Sessions of the old server end by themselves. If the port was not free in time, the supervisor tries again every second.

";
