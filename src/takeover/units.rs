//! Units of systemd, and services of xinetd and inetd, written as the run script that would do the same, line by line,
//! so that one reader is enough for all of them. Pure. It must not open files.

use std::fmt::Write;

/// A unit of systemd: `Environment=` and `ExecStart=`; each at the line where it stands. With a `socket` unit that accepts,
/// the command is what is started for each connection.
pub(super) fn systemd(text: &str, socket: Option<&str>) -> String {
    let user = value_of(text, "User").filter(|user| *user != "root");
    let server = match socket {
        Some(socket) => listening(socket, user),
        None => user.map_or_else(String::new, |user| format!("setuidgid {user} ")),
    };
    let mut script = String::new();
    let mut joined = false;
    for line in text.lines() {
        let (key, value) = line.trim().split_once('=').unwrap_or_default();
        let value = value.trim_start();
        let written = match key.trim_end() {
            // A command or a list that goes on.
            _ if joined => line.to_owned(),
            "Environment" => format!("export {value}"),
            "EnvironmentFile" => sourced(value),
            "ExecStart" => {
                let command = value.trim_start_matches(['-', '@', ':', '+', '!']);
                format!("exec {server}{command}")
            }
            _ => String::new(),
        };
        joined = !written.is_empty() && written.ends_with('\\');
        script.push_str(&written);
        script.push('\n');
    }
    script
}

/// The first value of a key that is not empty.
fn value_of<'t>(text: &'t str, wanted: &str) -> Option<&'t str> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(wanted)?.trim_start().strip_prefix('='));
    line.map(str::trim).filter(|value| !value.is_empty())
}

/// A file of variables, all of them exported; with a minus it may be missing.
fn sourced(value: &str) -> String {
    match value.strip_prefix('-') {
        Some(file) => format!("if [ -e {file} ]; then set -a; . {file}; set +a; fi"),
        None => format!("set -a; . {value}; set +a"),
    }
}

/// `ListenStream=25` and its kind, as tcpserver would do it.
fn listening(socket: &str, user: Option<&str>) -> String {
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
    let _ = write!(command, " {address} {port} ");
    command
}

/// Whether a socket unit starts one process for each connection.
pub(super) fn accepts(socket: &str) -> bool {
    value_of(socket, "Accept").is_some_and(|value| matches!(value, "yes" | "true" | "1" | "on"))
}

/// The service of port 25 in a file of xinetd, if there is one.
pub(super) fn xinetd(text: &str) -> Option<String> {
    let (at, _) = text.lines().enumerate().find(|(_, line)| {
        let words: Vec<&str> = line.split_whitespace().collect();
        matches!(words.as_slice(), ["service", "smtp" | "25", ..])
    })?;
    let block = text.lines().skip(at).take_while(|line| line.trim() != "}");
    let mut attributes = Vec::new();
    let mut environment = Vec::new();
    for (number, line) in block.enumerate() {
        let Some((key, value)) = line.split_once('=') else { continue };
        let (key, value) = (key.trim().trim_end_matches(['+', '-']).trim_end(), value.trim());
        match key {
            "env" => environment.push((at + number, value)),
            _ => attributes.push((at + number, key, value)),
        }
    }
    let value = |wanted: &str| attributes.iter().find(|(_, key, _)| *key == wanted).map(|(.., value)| *value);
    let (line, ..) = attributes.iter().find(|(_, key, _)| *key == "server")?;
    let mut command = String::from("exec tcpserver -R");
    if let Some(user) = value("user").filter(|user| *user != "root") {
        let _ = write!(command, " -u {user}");
    }
    if let Some(instances) = value("instances").filter(|number| number.parse::<u32>().is_ok()) {
        let _ = write!(command, " -c {instances}");
    }
    let bound = value("bind").or_else(|| value("interface")).unwrap_or("0");
    let _ = write!(command, " {bound} 25 {}", value("server")?);
    let _ = write!(command, " {}", value("server_args").unwrap_or_default());
    let mut lines = vec![String::new(); text.lines().count().max(*line + 1)];
    // Assignments after the command would not be seen.
    for (at, value) in environment {
        lines[at.min(*line)] += &format!("export {value}; ");
    }
    lines[*line] += &command;
    Some(lines.join("\n"))
}

/// The service of port 25 in inetd.conf, if there is one.
pub(super) fn inetd(text: &str) -> Option<String> {
    let mut script = String::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [service, "stream", _, _, user, program, _, arguments @ ..] = words.as_slice()
            && let Some(address) = inetd_address(service)
        {
            let user = user.split(['.', ':']).next().unwrap_or_default();
            let _ = write!(script, "exec tcpserver -R -u {user} {address} 25 {program} {}", arguments.join(" "));
            return Some(script);
        }
        script.push('\n');
    }
    None
}

/// The address of `smtp`, `25` or `127.0.0.1:smtp`.
fn inetd_address(service: &str) -> Option<&str> {
    let (address, name) = service.rsplit_once(':').unwrap_or(("0", service));
    let address = if address == "*" { "0" } else { address.trim_matches(['[', ']']) };
    matches!(name, "smtp" | "25").then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_becomes_a_script_with_its_lines() {
        let unit = "[Service]\nUser=qmaild\nEnvironment=A=b \"C=d e\"\nEnvironmentFile=-/etc/default/x\n\
                    ExecStart=-/usr/bin/tcpserver 0 25 \\\n  /x\nRestart=always";
        let script = "\n\nexport A=b \"C=d e\"\nif [ -e /etc/default/x ]; then set -a; . /etc/default/x; set +a; fi\nexec setuidgid qmaild /usr/bin/tcpserver 0 25 \\\n  /x\n\n";
        assert_eq!(systemd(unit, None), script);
        for (stream, command) in [
            ("25\nMaxConnections=9", "exec tcpserver -R -c 9 -u q :: 25 /x"),
            ("127.0.0.1:25", "exec tcpserver -R -c 64 -u q 127.0.0.1 25 /x"),
            ("[::1]:smtp", "exec tcpserver -R -c 64 -u q ::1 smtp /x"),
        ] {
            let socket = format!("[Socket]\nListenStream={stream}\nAccept=yes\n");
            assert!(accepts(&socket));
            assert_eq!(systemd("ExecStart=-/x\nUser=q", Some(&socket)), format!("{command}\n\n"));
        }
        let file = "service smtp\n{\n  user = qmaild\n  server = /x/tcp-env\n  server_args = /y/qmail-smtpd\n  env = A=b\n\
                    instances = 30\n}\n";
        let script = "\n\n\nexport A=b; exec tcpserver -R -u qmaild -c 30 0 25 /x/tcp-env /y/qmail-smtpd\n\n\n\n";
        assert_eq!(xinetd(file).as_deref(), Some(script));
        let file = "# smtp\nsmtp stream tcp nowait qmaild.nofiles /x/tcp-env tcp-env /y/qmail-smtpd -v\n";
        assert_eq!(inetd(file).as_deref(), Some("\nexec tcpserver -R -u qmaild 0 25 /x/tcp-env /y/qmail-smtpd -v"));
        assert_eq!((xinetd("service ftp\n{\n}\n"), inetd("ftp stream tcp nowait root /x x")), (None, None));
    }
}
