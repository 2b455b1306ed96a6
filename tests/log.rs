//! `portcullis log` as it is built, on logs that real programs wrote: what it prints stands beside them. And on a log that
//! grows while it is read, rotated by the real multilog, renamed and cut as logrotate does.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;

use std::fs;
use std::fs::File;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::ChildStdin;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use std::time::Instant;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use proxy::PORTCULLIS;
use proxy::host::LONG;

#[test]
fn what_it_prints_of_real_logs() {
    let (smtp, queue) = ("multilog-smtpfront", "multilog-qmail-send");
    let table: [(&str, &[&str], i32); 13] = [
        ("smtpfront", &[smtp], 0),
        ("all", &[smtp, queue, "--top", "3"], 0),
        ("ours", &["ours.log"], 0),
        ("sender", &[smtp, "--sender", "@SILLYPLACE.com"], 0),
        ("since", &[smtp, "--since", "2026-11-23 01:10", "--until", "2026-11-23T01:11:30Z"], 0),
        ("rotated", &["multilog-qmail-smtpd", "--lines", "--since", "2026-11-23 01:12:39"], 0),
        ("message", &[smtp, "qmail-send.current", "--message", "17294"], 0),
        ("message-of-the-queue", &["qmail-send.current", smtp, "--message", "10051875"], 0),
        ("message-id", &["ours.log", "qmail-send.current", "--message", "<one@sillyplace.com>"], 0),
        ("session", &["ours.log", "--session", "b2", "--json"], 0),
        ("refused", &[smtp, "ours.log", "--lines", "--verdict", "reject", "--reason", "blocked_sender"], 0),
        ("recipient", &["qmail-send.current", "--lines", "--recipient", "Fail@remote.example"], 0),
        ("nobody", &[smtp, "--lines", "--sender", "nobody@example.org"], 1),
    ];
    for (name, arguments, code) in table {
        let output = log().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{name}: {output:?}");
        compare(&format!("{name}.txt"), &String::from_utf8(output.stdout).unwrap());
    }
}

#[test]
fn the_stamps_of_real_loggers_are_now() {
    let table: [(&str, &[&str]); 6] = [
        ("multilog", &["t"]),
        ("svlogd", &["-t"]),
        ("svlogd", &["-tt"]),
        ("svlogd", &["-ttt"]),
        ("s6-log", &["t"]),
        ("s6-log", &["T"]),
    ];
    for (program, options) in table {
        let site = tempfile::tempdir().unwrap();
        let folder = site.path().join("log");
        fs::create_dir(&folder).unwrap();
        let before = jiff::Timestamp::now();
        let mut logger = Command::new(program);
        logger.args(options).arg(&folder).env("TZ", "UTC").stdin(Stdio::piped());
        let mut logger = logger.spawn().expect(program);
        let mut input = logger.stdin.take().unwrap();
        for number in 0..50 {
            writeln!(input, "mail session={number} verdict=accept sender=<a@b.example>").unwrap();
        }
        drop(input);
        assert!(logger.wait().unwrap().success(), "{program} {options:?}");
        // One true nanosecond of a thousand looks like daemontools', so auto could be wrong about the first line.
        let tai = if program == "s6-log" { "s6" } else { "daemontools" };
        let output = log().arg(&folder).args(["--json", "--sender", "@b.example", "--tai", tai]).output().unwrap();
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told["messages"]["accepted"], 50, "{program} {options:?}: {told}");
        let moment = |name: &str| told[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        // svlogd's dates have five digits of a second's fraction.
        let (first, last) = (moment("first"), moment("last"));
        let before = before - jiff::SignedDuration::from_millis(1);
        assert!(before <= first && first <= last && last <= jiff::Timestamp::now(), "{program} {options:?}: {told}");
    }
}

/// What everybody pipes: the real tai64nlocal, and a multilog that was patched to write such times.
#[test]
fn readable_times_are_the_same_times() {
    let stamped = fs::read(data().join("multilog-smtpfront/current")).unwrap();
    for zone in ["UTC", "CET-1CEST,M3.5.0,M10.5.0/3"] {
        let mut local = Command::new("tai64nlocal");
        local.env("TZ", zone).stdin(Stdio::piped()).stdout(Stdio::piped());
        let readable = piped(&mut local, &stamped).stdout;
        assert_ne!(readable, stamped);
        let told: Vec<String> = [&stamped, &readable]
            .iter()
            .map(|text| {
                let output = piped(log().env("TZ", zone).stdin(Stdio::piped()).stdout(Stdio::piped()), text);
                assert_eq!(output.status.code(), Some(0), "{output:?}");
                String::from_utf8(output.stdout).unwrap()
            })
            .collect();
        assert_eq!(told[0], told[1], "{zone}");
        let shown = if zone == "UTC" { "2026-11-23 01:05:21 UTC to" } else { "2026-11-23 02:05:21 CET to" };
        assert!(told[0].starts_with(shown), "{}", told[0]);
        let site = tempfile::tempdir().unwrap();
        let half = readable.len() / 2;
        let half = half + readable[half..].iter().position(|octet| *octet == b'\n').unwrap() + 1;
        fs::write(site.path().join("2026-11-23 02:10:00.501278543.s"), &readable[..half]).unwrap();
        fs::write(site.path().join("current"), &readable[half..]).unwrap();
        let output = log().env("TZ", zone).arg(site.path()).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), told[0], "{zone}, rotated");
    }
}

#[test]
fn lines_of_other_programs_are_counted_by_name() {
    let text = "rblsmtpd: 192.0.2.1 pid 29029: 451 Blocked\nspamdyke[7]: ALLOWED from: a@b.example\n\
                spamdyke[8]: DENIED_OTHER from: a@b.example\nnew msg 7 queue5\nstarting delivery 1: msg 7 to local joe@x.example queue5\n\
                nobody knows\n";
    let output = piped(log().stdin(Stdio::piped()).stdout(Stdio::piped()), text.as_bytes());
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.starts_with("6 lines, of other programs: spamdyke 2, rblsmtpd 1, 1 in no known format\n"), "{told}");
    let output = piped(log().arg("--json").stdin(Stdio::piped()).stdout(Stdio::piped()), text.as_bytes());
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["lines_of_other_programs"], serde_json::json!({ "rblsmtpd": 1, "spamdyke": 2 }));
    let recipient = ["--recipient", "joe@x.example", "--lines"];
    let output = piped(log().args(recipient).stdin(Stdio::piped()).stdout(Stdio::piped()), text.as_bytes());
    assert!(String::from_utf8(output.stdout).unwrap().contains("joe@x.example queue5"));
}

#[test]
fn a_folder_of_logs_is_all_of_them() {
    let site = tempfile::tempdir().unwrap();
    for (name, from) in [("smtpd", "multilog-smtpfront/current"), ("send", "qmail-send.current")] {
        fs::create_dir(site.path().join(name)).unwrap();
        fs::copy(data().join(from), site.path().join(name).join("current")).unwrap();
    }
    let output = log().arg(site.path()).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains(" accepted (") && told.contains("queue: "), "{told}");
}

/// The real journal, and the real rsyslogd in the two forms that it writes on Debian.
#[test]
fn what_syslogd_and_journald_put_in_front_is_a_time() {
    let site = tempfile::tempdir().unwrap();
    let before = jiff::Timestamp::now();
    let journal = journal(site.path());
    let mut logs: Vec<(String, Vec<u8>)> = ["short", "short-precise", "short-iso", "short-iso-precise"]
        .into_iter()
        .map(|form| {
            let mut command = Command::new("journalctl");
            command.arg("--file").arg(&journal).args(["--no-pager", "-o", form]).env("TZ", "UTC");
            (form.to_owned(), command.output().unwrap().stdout)
        })
        .collect();
    logs.extend(["RSYSLOG_TraditionalFileFormat", "RSYSLOG_FileFormat"].map(|form| (form.to_owned(), rsyslog(form))));
    for (form, text) in logs {
        let path = site.path().join(&form);
        fs::write(&path, &text).unwrap();
        let told: serde_json::Value =
            serde_json::from_slice(&log().arg(&path).args(["--json", "--since", "1h"]).output().unwrap().stdout)
                .unwrap();
        assert_eq!(told["messages"]["accepted"], 3, "{form}: {told} of {}", String::from_utf8_lossy(&text));
        let moment = |name: &str| told[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        // Some forms have whole seconds.
        let before = before - jiff::SignedDuration::from_secs(1);
        assert!(before <= moment("first") && moment("last") <= jiff::Timestamp::now(), "{form}: {told}");
    }
}

const ACCEPTED: [&str; 3] = [
    "mail session=a verdict=accept sender=<a@b.example>",
    "mail session=b verdict=accept sender=<a@b.example>",
    "mail session=c verdict=accept sender=<>",
];

/// A journal of its own with three lines.
fn journal(folder: &Path) -> PathBuf {
    let path = folder.join("portcullis.journal");
    let mut command = Command::new("/lib/systemd/systemd-journal-remote");
    command.arg("-o").arg(&path).arg("-").stdin(Stdio::piped()).stderr(Stdio::null());
    let mut remote = command.spawn().unwrap();
    let (mut input, id) = (remote.stdin.take().unwrap(), "0123456789abcdef0123456789abcdef");
    for (at, line) in (0_i64..).zip(ACCEPTED) {
        let time = jiff::Timestamp::now().as_microsecond() + at;
        writeln!(input, "__REALTIME_TIMESTAMP={time}\n__MONOTONIC_TIMESTAMP={at}\n_BOOT_ID={id}\n_MACHINE_ID={id}")
            .unwrap();
        writeln!(input, "_HOSTNAME=mx\nSYSLOG_IDENTIFIER=portcullis\n_PID=71\nMESSAGE={line}\n").unwrap();
    }
    drop(input);
    assert!(remote.wait().unwrap().success());
    path
}

/// The same lines through rsyslogd.
fn rsyslog(template: &str) -> Vec<u8> {
    let site = tempfile::tempdir().unwrap();
    let at = |name: &str| site.path().join(name);
    let (socket, file, settings) = (at("socket"), at("file"), at("rsyslog.conf"));
    let text = format!(
        "module(load=\"imuxsock\" SysSock.Use=\"off\")\ninput(type=\"imuxsock\" Socket=\"{}\")\n\
         action(type=\"omfile\" file=\"{}\" template=\"{template}\")\n",
        socket.display(),
        file.display()
    );
    fs::write(&settings, text).unwrap();
    let mut command = Command::new("rsyslogd");
    command.arg("-n").arg("-f").arg(&settings).arg("-i").arg(at("pid")).env("TZ", "UTC");
    let mut syslogd = command.spawn().unwrap();
    wait_for(|| socket.exists());
    for line in ACCEPTED {
        let sent = Command::new("logger").arg("-u").arg(&socket).args(["-t", "portcullis", "--id=7", line]).status();
        assert!(sent.unwrap().success());
    }
    wait_for(|| {
        fs::read(&file).is_ok_and(|text| text.iter().filter(|octet| **octet == b'\n').count() == ACCEPTED.len())
    });
    kill(Pid::from_raw(syslogd.id().cast_signed()), Signal::SIGTERM).unwrap();
    syslogd.wait().unwrap();
    fs::read(&file).unwrap()
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let table: [(&[&str], &str); 5] = [
        (&["--since", "1h", "--until", "2h"], "is not before --until"),
        (&["--since", "2026-11-25", "--until", "2026-11-25"], "no line can match"),
        (&["--sender", ""], "the null sender is written <>"),
        (&["--recipient", "*@example.org"], "there are no globs"),
        (&["--top", "many"], "write a number, such as 20"),
    ];
    for (arguments, told) in table {
        let output = log().arg("multilog-smtpfront").args(arguments).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {err}");
        assert!(err.contains(told), "{arguments:?}: {err}");
    }
}

#[test]
fn the_summary_as_json() {
    let output = log().args(["multilog-smtpfront", "multilog-qmail-send", "--json", "--top", "2"]).output().unwrap();
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["messages"]["accepted"], 7);
    assert_eq!(value["messages"]["reasons"]["blocked_sender"], 2);
    assert_eq!(value["senders"].as_array().unwrap().len(), 3, "two and the others");
    assert_eq!(value["senders"][1]["sender"], "newsletter@sillyplace.com");
    assert_eq!(value["senders"][1]["refused_in_a_row"], 2);
    assert_eq!(value["senders"][2]["sender"], serde_json::Value::Null);
    assert_eq!(value["queue"]["messages"], 10);
    assert_eq!(value["first"], "2026-11-23T01:05:21.5643955Z");
}

#[test]
fn what_is_no_log_is_told() {
    let output = log().arg("/etc/passwd").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no line is in a known format"), "{output:?}");
}

#[test]
fn standard_input_is_read_and_nothing_in_it_obeyed() {
    let hostile = b"@400000006b03915b21a3fdec mailfront[7]: MAIL FROM:<a\x1b]0;x\x07@b.example>\r\xff\n\
                    @400000006b03915b21a3fdeC upper case\n{\"message\":\"mail\",\"verdict\":\"accept\",\
                    \"sender\":\"<c\\u001b\\u009b@d.example>\"}\nno end";
    for arguments in [&["--lines"][..], &["--lines", "--json"], &[], &["--json"], &["-", "--follow"]] {
        let mut child = log().args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(hostile).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!text.contains(|it: char| it.is_control() && it != '\n'), "{arguments:?}: {text:?}");
        if arguments.contains(&"--lines") {
            assert_eq!(text.lines().count(), 4, "{text}");
            assert!(text.contains("@400000006b03915b21a3fdeC upper case"), "{text}");
        }
    }
}

#[test]
fn bad_usage() {
    let folder = tempfile::tempdir().unwrap();
    let table: &[(&[&str], i32, &str)] = &[
        (&["--since", "yesterday", "x"], 64, "--since: \"yesterday\" is not a valid time"),
        (
            &["--sender", "sillyplace.com", "x"],
            64,
            "--sender: \"sillyplace.com\" matches nothing: write \"@sillyplace.com\"",
        ),
        (&["--verdict", "refused", "x"], 64, "reject"),
        (&["--reason", "nonsense", "x"], 64, "blocked_sender"),
        (&["--tai", "utc", "x"], 64, "daemontools"),
        (&["absent"], 1, "absent: No such file"),
        (&["."], 1, "there is no log in this folder: name a file"),
        (&["--follow", "absent"], 1, "absent: No such file"),
        (&["--follow", "-", "x"], 1, "standard input"),
    ];
    for (arguments, code, told) in table {
        let output = log().current_dir(folder.path()).args(*arguments).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {err}");
        assert!(err.contains(told), "{arguments:?}: {err}");
    }
    if !["portcullis", "smtpfront-qmail"].iter().any(|name| Path::new("/var/log").join(name).is_dir()) {
        let output = log().output().unwrap();
        assert_eq!(output.status.code(), Some(64));
        assert!(String::from_utf8(output.stderr).unwrap().contains("name the log's folder"));
    }
}

#[test]
fn a_service_folder_leads_to_its_log() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("log/main")).unwrap();
    fs::copy(data().join("multilog-smtpfront/current"), folder.path().join("log/main/current")).unwrap();
    let output = log().arg(folder.path()).output().unwrap();
    compare("smtpfront.txt", &String::from_utf8(output.stdout).unwrap());
}

#[test]
fn every_line_through_the_rotations_of_multilog() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("main");
    let mut multilog = Multilog::start(&main);
    multilog.write("mail session=old verdict=accept sender=<a@b.example>");
    let mut followed = Followed::start(&main, &["--sender", "a@b.example"]);
    followed.begins(&mut multilog);
    // Each file has 2096 octets; some are rotated between two looks.
    for number in 0..1000 {
        let padding = "x".repeat(60);
        multilog.write(&format!("mail session=n{number} verdict=accept sender=<a@b.example> helo={padding}"));
        multilog.write(&format!("mail session=o{number} verdict=accept sender=<c@d.example>"));
    }
    multilog.alarm();
    multilog.write("mail session=last verdict=reject sender=<a@b.example>");
    let seen = followed.until("session=last ");
    let expected: Vec<String> = (0..1000).map(|number| format!("session=n{number} ")).collect();
    let found: Vec<&String> = seen.iter().filter(|line| line.contains("session=n")).collect();
    assert_eq!(found.len(), 1000, "each once");
    assert!(found.iter().zip(&expected).all(|(line, expected)| line.contains(expected)), "in their order");
    assert!(!seen.iter().any(|line| line.contains("c@d.example") || line.contains("session=old ")));
    let files = fs::read_dir(&main).unwrap().count();
    assert!(files > 100, "it was rotated: {files} files");
    // Killed, it leaves a .u file behind when it comes back.
    multilog.restart(&main);
    multilog.write("mail session=back verdict=accept sender=<a@b.example>");
    followed.until("session=back ");
}

#[test]
fn renamed_and_cut_files_are_followed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mail.log");
    let append = |text: &str| File::options().append(true).create(true).open(&path).unwrap().write_all(text.as_bytes());
    append("before\n").unwrap();
    let mut followed = Followed::start(&path, &["--since", "2000-01-01"]);
    append("2026-11-23T01:27:12.746Z one\n2026-11-23T01:27:12.746Z two").unwrap();
    followed.until("one");
    fs::rename(&path, folder.path().join("mail.log.1")).unwrap();
    append("2026-11-23T01:27:13.746Z three\n").unwrap();
    assert!(followed.until("three").iter().any(|line| line.ends_with("two")), "the line without its end");
    // As copytruncate does.
    File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    append("2026-11-23T01:27:14.746Z 4\n").unwrap();
    followed.until(" 4");
}

/// Times as in UTC, in the folder of the samples.
fn log() -> Command {
    let mut command = Command::new(PORTCULLIS);
    command.arg("log").env("TZ", "UTC").env_remove("PORTCULLIS_CONFIG").current_dir(data()).stdin(Stdio::null());
    command
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/log")
}

/// With `UPDATE_EXPECTED` set the file is written instead, to be looked at before it is committed.
fn compare(name: &str, text: &str) {
    let path = data().join("expected").join(name);
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&path, text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(&path).unwrap_or_default(), "{}", path.display());
}

fn piped(command: &mut Command, input: &[u8]) -> std::process::Output {
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn({
        let input = input.to_vec();
        move || stdin.write_all(&input)
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output
}

fn wait_for(mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LONG, "it never came");
        std::thread::yield_now();
    }
}

struct Multilog {
    child: Child,
    input: Option<ChildStdin>,
}

impl Multilog {
    fn start(folder: &Path) -> Self {
        let mut command = Command::new("multilog");
        command.args(["t", "s4096", "n1000"]).arg(folder).stdin(Stdio::piped());
        let mut child = command.spawn().expect("multilog, of Debian's package daemontools");
        let input = child.stdin.take();
        wait_for(|| folder.join("current").exists());
        Self { child, input }
    }

    fn write(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Rotates now.
    fn alarm(&self) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGALRM).unwrap();
    }

    fn restart(&mut self, folder: &Path) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        *self = Self::start(folder);
    }
}

impl Drop for Multilog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `log --follow`, and the lines that it prints.
struct Followed {
    child: Child,
    lines: Receiver<String>,
}

impl Followed {
    fn start(path: &Path, arguments: &[&str]) -> Self {
        let mut child = log().arg("--follow").arg(path).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = sync_channel(100_000);
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)).ok();
        });
        Self { child, lines }
    }

    /// It follows from the moment when it began; until then lines are written for it to see.
    fn begins(&self, multilog: &mut Multilog) {
        let began = Instant::now();
        loop {
            multilog.write("mail session=begin verdict=accept sender=<a@b.example>");
            if self.lines.recv_timeout(Duration::from_millis(20)).is_ok() {
                break;
            }
            assert!(began.elapsed() < LONG, "it never began");
        }
    }

    fn until(&mut self, text: &str) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            let line = self.lines.recv_timeout(LONG).unwrap_or_else(|_| panic!("never: {text}, but {seen:#?}"));
            let is_last = line.contains(text);
            seen.push(line);
            if is_last {
                return seen;
            }
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
