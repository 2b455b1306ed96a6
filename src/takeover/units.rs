//! Units of systemd, and services of xinetd and inetd, written as the run script that would do the same, line by line,
//! so that one reader is enough for all of them. Pure. It must not open files.

use std::fmt::Write;

use crate::takeover::script::Remark;

/// A run script, and what of the file it does not do.
pub(super) struct Translated {
    pub(super) script: String,
    pub(super) remarks: Vec<Remark>,
}

/// A unit of systemd with its drop-ins: `Environment=` and `ExecStart=`; each at the line where it stands, those of a drop-in
/// at the line of the command. With a `socket` unit that accepts, the command is what is started for each connection.
pub(super) fn systemd(text: &str, drop_ins: &[String], socket: Option<&str>) -> Translated {
    let mut assignments = assignments(text);
    let main = assignments.iter().find(|it| it.key == "ExecStart").map_or(0, |it| it.line);
    for drop_in in drop_ins.iter().map(String::as_str).flat_map(self::assignments) {
        assignments.push(Assignment { line: main, ..drop_in });
    }
    // An empty value takes back those before it.
    let taken_back = |at: usize, it: &Assignment| {
        assignments[at..].iter().any(|later| later.key == it.key && later.value.is_empty())
    };
    let kept: Vec<&Assignment> =
        assignments.iter().enumerate().filter(|(at, it)| !taken_back(*at, it)).map(|(_, it)| it).collect();
    let last = |key: &str| kept.iter().rev().find(|it| it.key == key).map(|it| it.value.trim());
    let server = server(last("User").filter(|user| *user != "root"), last("Group"), socket);
    let mut lines: Vec<Option<String>> = vec![Some(String::new()); text.lines().count().max(main + 1)];
    // What is set behind the command counts too.
    let statements = kept.iter().filter_map(|it| Some((it.line.min(main), statement(it)?)));
    for (line, statement) in statements {
        lines[line].get_or_insert_default().push_str(&statement);
    }
    if let Some(command) = kept.iter().find(|it| it.key == "ExecStart") {
        let written = command.value.trim_start_matches(['-', '@', ':', '+', '!']);
        lines[main].get_or_insert_default().push_str(&format!("exec {server}{written}"));
        // The words of a command that goes on are in it.
        let more = command.value.lines().count().saturating_sub(1);
        lines.drain((main + 1).min(lines.len())..(main + 1 + more).min(lines.len()));
    }
    let script = lines.into_iter().map(|line| line.unwrap_or_default() + "\n").collect();
    Translated { script, remarks: kept.iter().filter_map(|it| remark(it)).collect() }
}

/// `Key=value` of a unit; the line is counted from 0.
struct Assignment {
    line: usize,
    key: String,
    /// With the lines that go on.
    value: String,
}

fn assignments(text: &str) -> Vec<Assignment> {
    let mut found: Vec<Assignment> = Vec::new();
    let mut goes_on = false;
    for (line, written) in text.lines().enumerate() {
        if goes_on {
            found.iter_mut().last().into_iter().for_each(|it| it.value += &format!("\n{written}"));
            goes_on = written.ends_with('\\');
        } else if let Some((key, value)) =
            written.trim().split_once('=').filter(|(key, _)| !key.starts_with(['#', ';']))
        {
            found.push(Assignment { line, key: key.trim_end().to_owned(), value: value.trim_start().to_owned() });
            goes_on = value.ends_with('\\');
        }
    }
    found
}

/// The statement of a shell that sets the same variables, or changes to the same folder.
fn statement(assignment: &Assignment) -> Option<String> {
    let value = &assignment.value;
    match assignment.key.as_str() {
        "Environment" => Some(format!("export {value}; ")),
        "EnvironmentFile" => Some(sourced(value)),
        "WorkingDirectory" => {
            Some(value.trim_start_matches('-')).filter(|folder| folder.starts_with('/')).map(|it| format!("cd {it}; "))
        }
        _ => None,
    }
}

/// What decides about mail and cannot be carried over, or only limits.
fn remark(assignment: &Assignment) -> Option<Remark> {
    let Assignment { line, key, value } = assignment;
    let line = u32::try_from(line + 1).unwrap_or(u32::MAX);
    let read =
        matches!(key.as_str(), "Environment" | "EnvironmentFile" | "ExecStart" | "User" | "Group" | "WorkingDirectory");
    if read && value.replace("%%", "").contains('%') {
        return Some(Remark::error(line, format!("{key}={value}: specifiers of systemd are not understood")));
    }
    let what = format!("{key}={value} is not carried over");
    match key.as_str() {
        "IPAddressAllow" | "IPAddressDeny" | "PassEnvironment" | "RootDirectory" | "RootImage" | "UnsetEnvironment" => {
            Some(Remark::error(line, what))
        }
        "MemoryMax" | "Nice" | "SupplementaryGroups" | "UMask" => Some(Remark::mind(line, what)),
        _ if key.starts_with("Limit") => Some(Remark::mind(line, what)),
        _ => None,
    }
}

/// What stands before the command: the user, and with a socket who listens.
fn server(user: Option<&str>, group: Option<&str>, socket: Option<&str>) -> String {
    match (socket, user, group) {
        (Some(socket), user, group) => listening(socket, user, group),
        (None, Some(user), Some(group)) => format!("chpst -u {user}:{group} "),
        (None, Some(user), None) => format!("setuidgid {user} "),
        (None, None, _) => String::new(),
    }
}

/// The first value of a key that is not empty.
fn value_of<'t>(text: &'t str, wanted: &str) -> Option<&'t str> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(wanted)?.trim_start().strip_prefix('='));
    line.map(str::trim).filter(|value| !value.is_empty())
}

/// A file of variables, all of them exported; with a minus it may be missing.
fn sourced(value: &str) -> String {
    match value.strip_prefix('-') {
        Some(file) => format!("if [ -e {file} ]; then set -a; . {file}; set +a; fi; "),
        None => format!("set -a; . {value}; set +a; "),
    }
}

/// `ListenStream=25` and its kind, as tcpserver would do it.
fn listening(socket: &str, user: Option<&str>, group: Option<&str>) -> String {
    let stream = value_of(socket, "ListenStream").unwrap_or_default();
    let (address, port) = match stream.rsplit_once(':') {
        Some(("" | "*", port)) => ("::", port),
        Some((address, port)) => (address.trim_matches(['[', ']']), port),
        None => ("::", stream),
    };
    let number = |key: &str| value_of(socket, key).filter(|value| value.parse::<u32>().is_ok());
    let mut command = format!("tcpserver -R -c {}", number("MaxConnections").unwrap_or("64"));
    if let Some(user) = user {
        let _ = write!(command, " -u {user}");
    }
    if let Some(group) = group {
        let _ = write!(command, " -g {group}");
    }
    let _ = write!(command, " {address} {port} ");
    command
}

/// Whether a socket unit starts one process for each connection.
pub(super) fn accepts(socket: &str) -> bool {
    value_of(socket, "Accept").is_some_and(|value| matches!(value, "yes" | "true" | "1" | "on"))
}

/// The service of port 25 in a file of xinetd, if there is one; `defaults` is the text of xinetd.conf.
pub(super) fn xinetd(text: &str, defaults: &str) -> Option<Translated> {
    let block = block(text, is_smtp)?;
    let value = |wanted: &str| block.iter().find(|(_, key, _)| *key == wanted).map(|(.., value)| *value);
    let (line, ..) = block.iter().find(|(_, key, _)| *key == "server")?;
    let mut command = String::from("exec tcpserver -R");
    if let Some(user) = value("user").filter(|user| *user != "root") {
        let _ = write!(command, " -u {user}");
    }
    if let Some(group) = value("group") {
        let _ = write!(command, " -g {group}");
    }
    if let Some(instances) = value("instances").filter(|number| number.parse::<u32>().is_ok()) {
        let _ = write!(command, " -c {instances}");
    }
    let bound = value("bind").or_else(|| value("interface")).unwrap_or("0");
    let _ = write!(command, " {bound} 25 {}", value("server")?);
    let _ = write!(command, " {}", value("server_args").unwrap_or_default());
    let mut lines = vec![String::new(); text.lines().count().max(*line + 1)];
    // Assignments after the command would not be seen.
    for (at, _, value) in block.iter().filter(|(_, key, _)| *key == "env") {
        lines[(*at).min(*line)] += &format!("export {value}; ");
    }
    lines[*line] += &command;
    let of_all = self::block(defaults, |words| words.first() == Some(&"defaults")).unwrap_or_default();
    let of_all = of_all.iter().map(|(_, key, value)| (*line, *key, *value));
    let remarks = block.iter().copied().chain(of_all).filter_map(attribute_remark).collect();
    Some(Translated { script: lines.join("\n"), remarks })
}

/// Whether the service of port 25 is disabled in a file of xinetd.
pub(super) fn is_disabled(text: &str) -> bool {
    block(text, is_smtp).is_some_and(|block| block.iter().any(|(_, key, value)| (*key, *value) == ("disable", "yes")))
}

fn is_smtp(words: &[&str]) -> bool {
    matches!(words, ["service", "smtp" | "25", ..])
}

/// The attributes of the first block whose first line is so: the line counted from 0, the name, and the value.
fn block(text: &str, is_wanted: impl Fn(&[&str]) -> bool) -> Option<Vec<(usize, &str, &str)>> {
    let words = |line: &str| is_wanted(&line.split_whitespace().collect::<Vec<_>>());
    let at = text.lines().position(words)?;
    let lines = text.lines().enumerate().skip(at).take_while(|(_, line)| line.trim() != "}");
    let attributes = lines.filter_map(|(number, line)| {
        let (key, value) = line.split_once('=').filter(|_| !line.trim_start().starts_with('#'))?;
        Some((number, key.trim().trim_end_matches(['+', '-']).trim_end(), value.trim()))
    });
    Some(attributes.collect())
}

/// What xinetd keeps from the server, or only limits.
fn attribute_remark((line, key, value): (usize, &str, &str)) -> Option<Remark> {
    let line = u32::try_from(line + 1).unwrap_or(u32::MAX);
    match key {
        "only_from" | "no_access" if !ALL.contains(&value) => {
            let what = format!("{key} = {value} is not carried over: write it as tcprules");
            Some(Remark::error(line, what))
        }
        "access_times" | "passenv" => Some(Remark::error(line, format!("{key} = {value} is not carried over"))),
        "banner" | "cps" | "groups" | "nice" | "per_source" | "umask" => {
            Some(Remark::mind(line, format!("{key} = {value} is not carried over")))
        }
        _ if key.starts_with("rlimit_") => Some(Remark::mind(line, format!("{key} = {value} is not carried over"))),
        _ => None,
    }
}

/// The service of port 25 in inetd.conf, if there is one.
pub(super) fn inetd(text: &str) -> Option<Translated> {
    let mut script = String::new();
    let mut remarks = Vec::new();
    let mut first = None;
    for (at, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [service, "stream", _, _, user, program, _, arguments @ ..] = words.as_slice()
            && let Some(address) = inetd_address(service)
        {
            let command = (*user, *program, arguments.to_vec());
            if first.as_ref().is_some_and(|first| *first != command) {
                let line = u32::try_from(at + 1).unwrap_or(u32::MAX);
                remarks.push(Remark::error(
                    line,
                    "a second service of port 25, which is another, is not carried over".to_owned(),
                ));
            }
            if first.is_none() {
                let (user, group) = user.split_once(['.', ':']).unwrap_or((user, ""));
                let group = if group.is_empty() { String::new() } else { format!(" -g {group}") };
                let _ =
                    write!(script, "exec tcpserver -R -u {user}{group} {address} 25 {program} {}", arguments.join(" "));
                first = Some(command);
            }
        }
        script.push('\n');
    }
    first.map(|_| Translated { script, remarks })
}

/// The address of `smtp`, `25` or `127.0.0.1:smtp`.
fn inetd_address(service: &str) -> Option<&str> {
    let (address, name) = service.rsplit_once(':').unwrap_or(("0", service));
    let address = if address == "*" { "0" } else { address.trim_matches(['[', ']']) };
    matches!(name, "smtp" | "25").then_some(address)
}

/// Values of `only_from` that keep nobody away.
const ALL: [&str; 4] = ["0.0.0.0", "0.0.0.0/0", "::/0", "0"];

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn each_becomes_a_script_with_its_lines() {
        let unit = "[Service]\nUser=qmaild\nEnvironment=A=b \"C=d e\"\nEnvironmentFile=-/etc/default/x\n\
                    ExecStart=-/usr/bin/tcpserver 0 25 \\\n  /x\nRestart=always";
        let script = "\n\nexport A=b \"C=d e\"; \nif [ -e /etc/default/x ]; then set -a; . /etc/default/x; set +a; fi; \nexec setuidgid qmaild /usr/bin/tcpserver 0 25 \\\n  /x\n\n";
        assert_eq!(systemd(unit, &[], None).script, script);
        for (stream, command) in [
            ("25\nMaxConnections=9", "exec tcpserver -R -c 9 -u q :: 25 /x"),
            ("127.0.0.1:25", "exec tcpserver -R -c 64 -u q 127.0.0.1 25 /x"),
            ("[::1]:smtp", "exec tcpserver -R -c 64 -u q ::1 smtp /x"),
        ] {
            let socket = format!("[Socket]\nListenStream={stream}\nAccept=yes\n");
            assert!(accepts(&socket));
            assert_eq!(systemd("ExecStart=-/x\nUser=q", &[], Some(&socket)).script, format!("{command}\n\n"));
        }
        let file = "service smtp\n{\n  user = qmaild\n  server = /x/tcp-env\n  server_args = /y/qmail-smtpd\n  env = A=b\n\
                    instances = 30\n}\n";
        let script = "\n\n\nexport A=b; exec tcpserver -R -u qmaild -c 30 0 25 /x/tcp-env /y/qmail-smtpd\n\n\n\n";
        assert_eq!(xinetd(file, "").unwrap().script, script);
        let file = "# smtp\nsmtp stream tcp nowait qmaild.nofiles /x/tcp-env tcp-env /y/qmail-smtpd -v\n";
        let script = "\nexec tcpserver -R -u qmaild -g nofiles 0 25 /x/tcp-env tcp-env /y/qmail-smtpd -v\n";
        assert_eq!(inetd(file).unwrap().script, script.replace(" tcp-env /y", " /y"));
        assert!(xinetd("service ftp\n{\n}\n", "").is_none() && inetd("ftp stream tcp nowait root /x x").is_none());
    }
}
