//! The commands that README.md and the playbook show, typed one after the other on a throwaway copy of this host, and what it says they
//! print. A copy is an overlay of the whole file system in namespaces of its own: nothing of the host is changed, and
//! ports and paths are those of the page. `BLESS=1` also draws the picture anew. It must not judge the words between.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/host.rs"]
mod host;
#[path = "support/picture.rs"]
mod picture;
#[path = "support/queue.rs"]
mod queue;

use std::fs;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::SystemTime;

use queue::GOOD;
use queue::Mail;
use queue::STORM;
use queue::TestQueue;
use tempfile::TempDir;

const PORTCULLIS: &str = env!("CARGO_BIN_EXE_portcullis");

/// A command line of a page, with a document behind `<<` if it has one, and the lines that the page shows below.
struct Step {
    line: usize,
    command: String,
    shown: Vec<String>,
}

#[test]
fn every_command_of_the_readme_prints_what_it_shows() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let steps = steps(&text);
    assert!(steps.len() > 12, "{}", steps.len());
    let mut host = Host::new();
    host.prepare.push_str(QMAIL_SEND_RUNS);
    let printed = host.type_all(&steps);
    let mut wrong = String::new();
    for (step, printed) in steps.iter().zip(printed) {
        if !is_as_shown(&step.shown, &printed) {
            wrong.push_str(&format!("README.md:{}: {}\nprinted:\n{}\n\n", step.line, step.command, printed.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The incident, cleared as the playbook does it, with a qmail-send that is supervised.
#[test]
fn every_command_of_the_playbook_prints_what_it_shows() {
    let text = fs::read_to_string(root().join("docs/playbook.md")).unwrap();
    let (host, oldest) = Host::of_the_playbook();
    let shown_id = "10289303";
    let mut steps = steps(&text);
    assert!(steps.len() > 15, "{}", steps.len());
    for step in &mut steps {
        step.command = step.command.replace(shown_id, &oldest.to_string());
        match step.command.as_str() {
            "portcullis status" => step.command.insert_str(0, SEVEN_COPIES),
            command if command.starts_with("svc ") => step.command.push_str(UNTIL_IT_HAS_TRIED),
            _ => {}
        }
    }
    let mut wrong = String::new();
    for (step, printed) in steps.iter().zip(host.type_all(&steps)) {
        let printed: Vec<String> = printed.iter().map(|line| line.replace(&oldest.to_string(), shown_id)).collect();
        if !is_as_shown(&step.shown, &printed) {
            let (line, command) = (step.line, &step.command);
            wrong.push_str(&format!("docs/playbook.md:{line}: {command}\nprinted:\n{}\n\n", printed.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    // From the question who it is to the last bounce; what only shows more is left out.
    let needed =
        ["list --summary", "block ", "quarantine --sender", "svc ", "status", "explain --sender n", "delete --sender"];
    let count = |word: &&str| {
        let is = |step: &&Step| step.command.contains(*word) && !step.command.contains("dry-run");
        steps.iter().filter(is).count()
    };
    let commands: usize = needed.iter().map(count).sum();
    assert!(commands <= 10, "{commands}");
}

/// From the first refusal to the trial beside what is running; the slip is made where the page speaks of one.
#[test]
fn every_command_of_the_first_steps_prints_what_it_shows() {
    let text = fs::read_to_string(root().join("docs/getting-started.md")).unwrap();
    let (_, text) = text.split_once("## A first refusal").unwrap();
    let (_, configuration) = text.split_once("```toml\n").unwrap();
    let configuration = configuration.split("```").next().unwrap();
    let mut host = Host::new();
    fs::remove_file(host.queue.home().join("control/databytes")).unwrap();
    fs::write(host.queue.home().join("control/badmailfrom"), "newsletter@sillyplace.com\n").unwrap();
    host.prepare.push_str("echo qmaild:x:64011:65534::/var/qmail:/bin/false >> /etc/passwd\n");
    host.prepare.push_str(&format!("cat > /etc/portcullis.toml.page <<'END'\n{configuration}END\n"));
    let mut steps = steps(text);
    assert!(steps.len() > 14, "{}", steps.len());
    for step in &mut steps {
        let makes_a_slip = step.shown.iter().any(|line| line.contains("serevr"));
        match step.command.as_str() {
            "portcullis check" if makes_a_slip => step.command.insert_str(0, MAKE_A_SLIP),
            "portcullis check" => step.command.insert_str(0, "cp /etc/portcullis.toml.page /etc/portcullis.toml\n"),
            command if command.starts_with("portcullis explain") => {
                step.command.insert_str(0, "cp /etc/portcullis.toml.page /etc/portcullis.toml\n");
            }
            _ => {}
        }
    }
    let mut wrong = String::new();
    for (step, printed) in steps.iter().zip(host.type_all(&steps)) {
        if !is_as_shown(&step.shown, &printed) {
            wrong.push_str(&format!("{}\nprinted:\n{}\n\n", step.command, printed.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Line 18 becomes `[serevr]`.
const MAKE_A_SLIP: &str =
    "head -17 /etc/portcullis.toml.page > /etc/portcullis.toml; echo '[serevr]' >> /etc/portcullis.toml\n";

/// The drill's numbers that README.md gives for 34 MB, here with a message that is smaller.
#[test]
fn the_table_of_the_readme_is_what_the_drill_says() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("portcullis.toml"), "[backend]\nmaildir = \"mail\"\n").unwrap();
    let mut drill = Command::new(PORTCULLIS);
    let output = drill.args(["drill", "--size", "1100kB", "--json"]).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let drill: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let scenarios = drill["incident"].as_array().unwrap();
    assert_eq!(scenarios.len(), 3);
    for scenario in scenarios {
        let (name, delivered) = (scenario["scenario"].as_str().unwrap(), &scenario["delivered"]);
        let row =
            text.lines().find(|line| line.starts_with(&format!("| {name} |"))).unwrap_or_else(|| panic!("{name}"));
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells[2], scenario["copies"].to_string(), "{row}");
        assert_eq!(cells[4], format!("**{delivered}**"), "{row}");
    }
    let habits = drill["honest"].as_array().unwrap();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(habits.len() == 20 && text.contains("twenty habits of honest senders"), "{}", habits.len());
}

/// A storm against the proxy, and its `status` as a picture.
#[test]
fn the_picture_is_of_a_real_storm() {
    let host = Host::new();
    let printed = host.type_all(&[
        step(STORM_CONFIGURATION),
        step("portcullis serve 2>/dev/null &"),
        step(STORM_CLIENT),
        step("portcullis status"),
    ]);
    let status = &printed[3];
    let path = root().join("docs/images/storm.svg");
    let drawn = picture::terminal("portcullis status", status);
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &drawn).unwrap();
    }
    let shown = fs::read_to_string(&path).expect("`make picture` draws it");
    assert_eq!(picture::shape(&shown), picture::shape(&drawn), "`make picture` draws it anew");
}

const STORM_CONFIGURATION: &str =
    "cat > portcullis.toml <<END\n[backend]\nmaildir = \"./mail\"\n[repeat]\nmin_size = \"1kB\"\nEND\n";

/// Sixty copies whose acknowledgement is not read, and some mail of other people.
const STORM_CLIENT: &str = r#"cat > client.py <<'END'
import email.utils, socket
date = email.utils.formatdate()
def send(sender, number, octets, takes):
    with socket.create_connection(("127.0.0.1", 2525)) as client:
        replies = client.makefile("rb")
        def say(line):
            client.sendall(line.encode() + b"\r\n")
            while True:
                reply = replies.readline()
                if reply[3:4] != b"-":
                    return reply
        replies.readline()
        for line in ["EHLO mail.example", f"MAIL FROM:<{sender}>", "RCPT TO:<joe@example.org>", "DATA"]:
            reply = say(line)
            if reply[:1] not in b"23":
                return
        client.sendall(f"Message-ID: <{number}@{sender}>\r\nDate: {date}\r\n\r\n".encode())
        client.sendall((("x" * 74 + "\r\n") * (octets // 76)).encode())
        client.sendall(b".\r\n")
        if takes:
            replies.readline()
            say("QUIT")
        else:
            client.recv(1, socket.MSG_PEEK)
for number in range(5):
    send("alice@good.example", number, 3000, True)
    send("bob@shop.example", number, 40000, True)
for _ in range(60):
    send("newsletter@sillyplace.com", 1, 340000, False)
END
python3 client.py
"#;

/// A host with qmail: a queue after a storm, a service on port 25, and a log.
struct Host {
    folder: TempDir,
    queue: TestQueue,
    /// What is typed before the page's commands.
    prepare: String,
}

impl Host {
    fn new() -> Self {
        let (folder, queue) = (tempfile::tempdir().unwrap(), TestQueue::new());
        for copy in 0..30 {
            aged(&queue, &Mail { octets: 100_000, ..STORM }, 580 - copy * 19);
        }
        (0..5).for_each(|_| _ = aged(&queue, &Mail { sender: "alice@good.example", ..GOOD }, 310));
        aged(&queue, &Mail { sender: "", subject: "failure notice", ..GOOD }, 125);
        let control = queue.home().join("control");
        for (file, text) in [("me", "mx.example.org\n"), ("rcpthosts", "example.org\n"), ("databytes", "25000000\n")] {
            fs::write(control.join(file), text).unwrap();
        }
        for name in ["qmail-queue", "qmail-smtpd"] {
            let program = queue.home().join("bin").join(name);
            fs::write(&program, "#!/bin/sh\nexit 0\n").unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder, queue, prepare: PREPARE.to_owned() }
    }

    /// The host of the playbook, and its oldest message: 41 copies, 26 bounces, three others; qmail-send and the proxy run.
    fn of_the_playbook() -> (Self, u64) {
        let queue = TestQueue::new();
        let make = |sender: &str, octets: u64, remote: &str, minutes: u64| {
            let (local, subject): (&[&str], _) = match sender {
                "newsletter@sillyplace.com" => (&["Djoe@mx.example.org"], "Silly news"),
                _ => (&[], "Lunch?"),
            };
            let mail = Mail { sender, subject, octets: 300, local, remote: &[remote], bounce: "" };
            let id = aged(&queue, &mail, minutes);
            let whole = File::options().write(true).open(queue.file("mess", id)).unwrap();
            let born = whole.metadata().unwrap().modified().unwrap();
            whole.set_len(octets).unwrap();
            whole.set_modified(born).unwrap();
            id
        };
        let oldest = make("newsletter@sillyplace.com", 35_130_000, "Tjoe.home@provider.example", 815);
        for copy in 1..41 {
            make("newsletter@sillyplace.com", 35_130_000, "Tjoe.home@provider.example", 815 - copy * 20);
        }
        (0..26).for_each(|copy| _ = make("", 35_130_000, "Tnewsletter@sillyplace.com", 808 - copy * 20));
        make("ann@partner.example", 48_210, "Tbob@x.example", 86);
        make("shop@example.org", 9_120, "Tbob@x.example", 75);
        make("bob@example.org", 2_310, "Tbob@x.example", 70);
        let (mut host, others) = (Self::new(), queue);
        fs::remove_file(host.queue.home().join("control/databytes")).unwrap();
        for folder in ["control", "bin"] {
            fs::remove_dir(others.home().join(folder)).unwrap();
            fs::rename(host.queue.home().join(folder), others.home().join(folder)).unwrap();
        }
        others.own();
        host.queue = others;
        host.prepare.push_str(PREPARE_PLAYBOOK);
        (host, oldest)
    }

    /// Types the commands in one shell; gives the lines that each printed.
    fn type_all(&self, steps: &[Step]) -> Vec<Vec<String>> {
        let mut script = self.prepare.clone();
        for (at, step) in steps.iter().enumerate() {
            // The log is written by a thread of its own.
            if step.command.starts_with("grep ") {
                script.push_str(&format!("until {} > /dev/null; do :; done\n", step.command));
            }
            script.push_str(&format!("echo '{MARK}{at}'\n{}\n", step.command));
            // Where the page shows the log, a connection that only looks would stand in it.
            if step.command.ends_with("2> log &") {
                script.push_str("until grep -qs ' started ' log; do :; done\n");
            } else if step.command.trim_end().ends_with('&') {
                script.push_str(UNTIL_IT_LISTENS);
            }
        }
        fs::write(self.folder.path().join("typed"), script).unwrap();
        let mut enter = Command::new("unshare");
        enter.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--ipc", "bash", "-euc", ENTER]);
        enter.arg("enter").arg(self.folder.path()).arg(self.queue.home()).arg(PORTCULLIS).arg(samples());
        let output = enter.stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(MARK), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let parts = text.split(MARK).skip(1).map(|part| part.lines().skip(1).map(str::to_owned).collect());
        parts.collect()
    }
}

/// A message in delivery since so many minutes; gives its number.
fn aged(queue: &TestQueue, mail: &Mail<'_>, minutes: u64) -> u64 {
    let id = queue.in_delivery(mail);
    let born = SystemTime::now() - Duration::from_secs(minutes * 60 + 10);
    let files = ["mess", "info", "local", "remote"].map(|kind| queue.file(kind, id));
    for file in files.into_iter().filter(|file| file.exists()) {
        File::options().write(true).open(file).unwrap().set_modified(born).unwrap();
    }
    id
}

const MARK: &str = "@@ step ";

/// The copy of the host: $1 is a folder for it, $2 becomes /var/qmail, $3 is the program, $4 the samples.
const ENTER: &str = r#"
mount --make-rprivate /
mkdir -p "$1/copy"
mount -t tmpfs tmpfs "$1/copy"
cd "$1/copy"
mkdir upper work host
mount -t overlay overlay -o "lowerdir=/,upperdir=$PWD/upper,workdir=$PWD/work" host
mount -t proc proc host/proc
mount --rbind /dev host/dev
mkdir -p host/var/qmail host/var/log/smtpfront-qmail
mount --bind "$2" host/var/qmail
cp -r "$4"/multilog-smtpfront/. host/var/log/smtpfront-qmail
cp "$1/typed" host/typed
touch host/usr/local/bin/portcullis
mount --bind "$3" host/usr/local/bin/portcullis
ip link set lo up
exec chroot host env -i HOME=/root PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TZ=UTC bash /typed 2>&1
"#;

/// A service of qmail, tcprules, and an empty folder to work in. `cargo` is not run: what it would install is there.
const PREPARE: &str = r#"
cargo() { test "$*" = "install --locked --path ." && test -x /usr/local/bin/portcullis; }
mkdir -p /service/smtpfront-qmail/log /etc/tcprules /root/try
printf '127.:allow,RELAYCLIENT=""\n:allow\n' > /etc/tcp.smtp
tcprules /etc/tcp.smtp.cdb /etc/tcp.smtp.tmp < /etc/tcp.smtp
cat > /service/smtpfront-qmail/run <<'END'
#!/bin/sh
exec 2>&1
exec envuidgid daemon softlimit -m 50000000 tcpserver -v -R -H -l 0 -x /etc/tcp.smtp.cdb -U 0 25 /usr/sbin/smtpfront-qmail
END
printf '#!/bin/sh\nexec setuidgid daemon multilog t /var/log/smtpfront-qmail\n' > /service/smtpfront-qmail/log/run
chmod +x /service/smtpfront-qmail/run /service/smtpfront-qmail/log/run
cd /root/try
"#;

/// A qmail-send that does nothing but end messages with nothing left to do, when it is told to try all; and the proxy.
const PREPARE_PLAYBOOK: &str = r#"
mkdir -p /service/qmail-send /etc/portcullis /var/log/portcullis /var/lib/portcullis
cat > /var/qmail/bin/qmail-send <<'END'
#!/usr/bin/perl
use Fcntl ':flock';
open(my $lock, '>>', '/var/qmail/queue/lock/sendmutex') or die;
flock($lock, LOCK_EX) or die;
sub slurp { open(my $file, '<', $_[0]) or return ''; local $/; <$file> }
$SIG{ALRM} = sub {
    for my $info (glob('/var/qmail/queue/info/*/*')) {
        my ($place) = $info =~ m{info/(.*)};
        my @files = map { "/var/qmail/queue/$_/$place" } qw(local remote info mess);
        unlink @files unless grep { /^T/ } map { split /\0/, slurp($_) } @files[0, 1];
    }
    open(my $done, '>', '/tried'); close $done;
};
open(my $ready, '>', '/ready'); close $ready;
sleep 1 while 1;
END
chmod +x /var/qmail/bin/qmail-send
printf '#!/bin/sh\nexec /var/qmail/bin/qmail-send\n' > /service/qmail-send/run
chmod +x /service/qmail-send/run
supervise /service/qmail-send > /dev/null 2>&1 &
until test -e /ready; do :; done
cat > /etc/portcullis/portcullis.toml <<'END'
[server]
listen = ["127.0.0.1:2525"]
[backend]
maildir = "/var/lib/portcullis/mail"
[qmail]
control = "/var/qmail/control"
tcprules = "/etc/tcp.smtp.cdb"
[state]
url = "redb:/var/lib/portcullis/state.redb"
[admin]
listen = "unix:/var/lib/portcullis/admin.sock"
END
portcullis serve > /var/log/portcullis/current 2>&1 &
until (exec 3<>/dev/tcp/127.0.0.1/2525) 2>/dev/null; do :; done
"#;

const UNTIL_IT_HAS_TRIED: &str = "\nuntil test -e /tried; do :; done";

/// What the storm sends while it is blocked; then all of its connections have ended.
const SEVEN_COPIES: &str = r#"python3 - <<'END'
import socket
for _ in range(7):
    with socket.create_connection(("127.0.0.1", 2525)) as client:
        replies = client.makefile("rb")
        for line in [b"", b"EHLO mail.example\r\n", b"MAIL FROM:<newsletter@sillyplace.com>\r\n", b"QUIT\r\n"]:
            client.sendall(line)
            while replies.readline()[3:4] == b"-":
                pass
END
until portcullis status | grep -qx "connections    0"; do :; done
"#;

/// Not as a job: those of the page begin with %1.
const QMAIL_SEND_RUNS: &str = "(flock /var/qmail/queue/lock/sendmutex -c 'touch /running; exec sleep infinity' &)\n\
                               until [ -e /running ]; do :; done\n";

const UNTIL_IT_LISTENS: &str = "until (exec 3<>/dev/tcp/127.0.0.1/2525) 2>/dev/null; do :; done\n";

fn samples() -> PathBuf {
    root().join("tests/data/log")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn step(command: &str) -> Step {
    Step { line: 0, command: command.to_owned(), shown: Vec::new() }
}

/// The lines with a prompt in the blocks `console` of a page.
fn steps(text: &str) -> Vec<Step> {
    let (mut steps, mut within, mut until) = (Vec::<Step>::new(), false, None::<String>);
    for (at, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            within = line == "```console";
        } else if !within {
            continue;
        } else if let Some(end) = &until {
            steps.last_mut().unwrap().command.push_str(&format!("\n{line}"));
            if line == end {
                until = None;
            }
        } else if let Some(command) = line.strip_prefix("$ ").or(line.strip_prefix("# ")) {
            until = command.split_once("<<").map(|(_, end)| end.trim_matches('\'').to_owned());
            steps.push(Step { line: at + 1, command: command.to_owned(), shown: Vec::new() });
        } else {
            steps.last_mut().unwrap().shown.push(line.to_owned());
        }
    }
    steps
}

/// Whether lines were printed as a page shows them: `...` alone stands for any lines, behind words for the rest of the
/// line; numbers of sessions and messages, times and the host's name differ from one run to the next.
fn is_as_shown(shown: &[String], printed: &[String]) -> bool {
    let Some((first, rest)) = shown.split_first() else { return printed.is_empty() };
    if first == "..." {
        return (0..=printed.len()).any(|at| is_as_shown(rest, &printed[at..]));
    }
    let Some((line, others)) = printed.split_first() else { return false };
    let same = match first.strip_suffix(" ...") {
        Some(start) => constant(line).starts_with(&constant(start)),
        None => constant(line) == constant(first),
    };
    same && is_as_shown(rest, others)
}

/// A line without what differs from run to run.
fn constant(line: &str) -> String {
    let line = &without_number(line);
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    let words = line.split(' ').map(|word| word.replace(&host, "vm")).map(|word| match word {
        word if word.contains(".vm,S=") => "MESSAGE".to_owned(),
        word if is_volatile(&word) => word.chars().filter(|c| !c.is_ascii_alphanumeric()).collect(),
        word => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A row of a queue without its number and age.
fn without_number(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        [number, state, _, rest @ ..] if number.len() > 4 && number.bytes().all(|octet| octet.is_ascii_digit()) => {
            format!("NUMBER {state} AGE {}", rest.join(" "))
        }
        _ => line.to_owned(),
    }
}

/// Whether a word has a session's id or a time in it.
fn is_volatile(word: &str) -> bool {
    let is_id = |part: &str| part.len() == 12 && part.chars().all(|c| c.is_ascii_hexdigit());
    let word = word.trim_end_matches(',');
    let is_time = word.chars().all(|c| c.is_ascii_digit() || "-:.TZ".contains(c)) && word.contains(['-', ':']);
    word.split(|c: char| !c.is_ascii_alphanumeric()).any(is_id) || is_time || word.starts_with("ms=")
}

#[test]
fn lines_are_compared_without_what_differs() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    for (shown, printed, same) in [
        ("a\n...\nb", "a\nx\ny\nb", true),
        ("a\n...\nb", "a\nx\ny", false),
        ("...\nb", "b", true),
        ("refused [6b041b230001]", "refused [6b041b23000f]", true),
        ("refused [6b041b230001]", "refused (6b041b23000f)", false),
        ("until 2026-11-26 12:00:00 by operator", "until 2026-12-01 08:15:09 by operator", true),
        ("until 2026-11-26 12:00:00 by operator", "until 2026-12-01 08:15:09 by throttle", false),
        ("30 messages", "31 messages", false),
        ("one two ...", "one two three", true),
        ("one two ...", "one three", false),
    ] {
        assert_eq!(is_as_shown(&lines(shown), &lines(printed)), same, "{shown:?} {printed:?}");
    }
}
