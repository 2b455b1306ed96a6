//! The table of clients: how each is started, sends a letter, and shows its queue and log. Programs without a queue
//! have sent when they end.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::ops::Deref;
use std::ops::DerefMut;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use crate::mta;
use crate::mta::Root;
use crate::piped::Piped;
use crate::qmail_remote::QmailRemote;

pub(crate) const FROM: &str = "ann@client.example";
pub(crate) const TO: &str = "joe@example.org";

/// The addresses and network of a test.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) proxy: SocketAddr,
    /// The address for mail to the sender.
    pub(crate) bounces: SocketAddr,
    pub(crate) tls: Tls,
    /// The network namespace of the client; `None` is ours.
    pub(crate) within: Option<String>,
}

impl Network {
    pub(crate) fn fill(&self, text: &str) -> String {
        let tls = if self.tls == Tls::Starttls { "encrypt" } else { "none" };
        let text = text.replace("HOST", &self.proxy.ip().to_string()).replace("PROXY", &self.proxy.port().to_string());
        text.replace("BOUNCES", &self.bounces.port().to_string()).replace("= TLS", &format!("= {tls}"))
    }
}

/// A started client; ended when dropped.
pub(crate) trait Sender {
    fn send(&mut self, letter: &Path);

    /// Number of messages in its own queue.
    fn waiting(&self) -> usize;

    /// Retries waiting messages now; a daemon does so by itself.
    fn try_again(&mut self) {}

    /// The output so far.
    fn log(&self) -> String;

    /// Whether it tells the sender of a letter that was refused.
    fn bounces(&self) -> bool {
        false
    }
}

/// One row of the table.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    start: fn(&Network) -> Box<dyn Sender>,
    /// The TLS modes it can be told. Under STARTTLS it takes a certificate of our own making.
    pub(crate) does: &'static [Tls],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    Clear,
    Starttls,
}

const CLEAR: &[Tls] = &[Tls::Clear];
const BOTH: &[Tls] = &[Tls::Clear, Tls::Starttls];

pub(crate) const WAYS: &[Way] = &[
    Way { name: "exim", start: mta::exim, does: BOTH },
    Way { name: "postfix", start: mta::postfix, does: BOTH },
    Way { name: "opensmtpd", start: mta::opensmtpd, does: BOTH },
    Way { name: "nullmailer", start: mta::nullmailer, does: CLEAR },
    Way { name: "qmail-remote", start: |network| Box::new(QmailRemote::new(network)), does: CLEAR },
    Way { name: "msmtp", start: msmtp, does: BOTH },
    Way { name: "curl", start: |network| Program::start(network, CURL, &[]), does: BOTH },
    Way { name: "swaks", start: |network| Program::start(network, SWAKS, &[]), does: BOTH },
    Way { name: "swaks without QUIT", start: swaks_without_quit, does: BOTH },
    Way { name: "smtplib", start: |network| smtplib(network, "quit"), does: BOTH },
    Way { name: "smtplib without QUIT", start: |network| smtplib(network, "close"), does: BOTH },
    Way { name: "nc", start: |network| Box::new(Piped::new(network, "QUIT\r\n")), does: CLEAR },
    Way { name: "nc without QUIT", start: |network| Box::new(Piped::new(network, "")), does: CLEAR },
    Way { name: "openssl", start: openssl, does: &[Tls::Starttls] },
];

impl Way {
    pub(crate) fn start(&self, network: &Network) -> Started {
        Started((self.start)(network), self.name)
    }
}

/// Shows the client's output when a test fails.
pub(crate) struct Started(Box<dyn Sender>, &'static str);

impl Deref for Started {
    type Target = Box<dyn Sender>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Started {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {}, {} waiting ---\n{}", self.1, self.0.waiting(), self.0.log());
        }
    }
}

pub(crate) fn way(name: &str) -> &'static Way {
    WAYS.iter().find(|way| way.name == name).unwrap()
}

/// A program that is called once a letter.
struct Program {
    /// The root folder to run it in; `None` is the system's.
    root: Option<Root>,
    arguments: Vec<String>,
    said: String,
}

const CURL: &str = "curl --silent --show-error --verbose --max-time 60 smtp://127.0.0.1:PROXY/client.example \
    --mail-from ann@client.example --mail-rcpt joe@example.org --crlf --upload-file LETTER";
const SWAKS: &str = "swaks --server 127.0.0.1:PROXY --helo client.example --from ann@client.example --to joe@example.org \
    --timeout 60 --data @LETTER";
const MSMTP: &str = "/usr/bin/msmtp --host=127.0.0.1 --port=PROXY --domain=client.example --from=ann@client.example \
    --timeout=60 --debug joe@example.org";

impl Program {
    /// Starts it; LETTER in `line` is replaced by the letter's path.
    fn start(network: &Network, line: &str, more: &[&str]) -> Box<dyn Sender> {
        let line = network.fill(line);
        let tls: &[&str] = match line.split(' ').next().unwrap() {
            "curl" if network.tls == Tls::Starttls => &["--ssl-reqd", "--insecure"],
            "swaks" if network.tls == Tls::Starttls => &["--tls"],
            _ => &[],
        };
        let words = line.split_whitespace().chain(tls.iter().copied()).chain(more.iter().copied());
        Box::new(Self { root: None, arguments: words.map(str::to_owned).collect(), said: String::new() })
    }
}

impl Sender for Program {
    fn send(&mut self, letter: &Path) {
        let arguments = self.arguments.iter().map(|word| word.replace("LETTER", letter.to_str().unwrap()));
        let words: Vec<String> = arguments.collect();
        let mut command = match &self.root {
            Some(root) => root.command(&words[0]),
            None => Command::new(&words[0]),
        };
        let output = command.args(&words[1..]).stdin(File::open(letter).unwrap()).output().unwrap();
        for octets in [&output.stdout, &output.stderr] {
            self.said += &String::from_utf8_lossy(octets);
        }
        self.said += &format!("{:?}\n", output.status);
    }

    fn waiting(&self) -> usize {
        0
    }

    fn log(&self) -> String {
        self.said.clone()
    }
}

fn msmtp(network: &Network) -> Box<dyn Sender> {
    let tls = if network.tls == Tls::Starttls { "--tls=on --tls-certcheck=off" } else { "--tls=off" };
    let line = network.fill(MSMTP).replace("--debug", &format!("--debug {tls}"));
    let arguments = line.split_whitespace().map(str::to_owned).collect();
    Box::new(Program { root: Some(Root::new("msmtp", network)), arguments, said: String::new() })
}

/// A client that stops reading after the 250.
fn swaks_without_quit(network: &Network) -> Box<dyn Sender> {
    Program::start(network, SWAKS, &["--drop-after", "DOT"])
}

/// Python's smtplib; `close` closes the socket after the 250 was read.
pub(crate) fn smtplib(network: &Network, end: &str) -> Box<dyn Sender> {
    let script = script("smtplib_client.py");
    let tls = if network.tls == Tls::Starttls { "starttls" } else { "clear" };
    let line = format!("python3 {} 127.0.0.1:PROXY LETTER {end} {tls}", script.display());
    Program::start(network, &line, &[])
}

/// A client that has sent its dot and reads nothing.
pub(crate) struct Held(Child);

pub(crate) fn held(network: &Network, letter: &Path) -> Held {
    let mut command = Command::new("python3");
    command.arg(script("smtplib_client.py")).arg(network.proxy.to_string()).arg(letter);
    let tls = if network.tls == Tls::Starttls { "starttls" } else { "clear" };
    Held(command.args(["hold", tls]).stdin(Stdio::piped()).spawn().unwrap())
}

impl Held {
    pub(crate) fn begin(&mut self, how: &str) {
        writeln!(self.0.stdin.as_ref().unwrap(), "{how}").unwrap();
    }

    /// Tells it how to end, and waits until it has.
    pub(crate) fn tell(&mut self, how: &str) {
        self.begin(how);
        assert!(self.0.wait().unwrap().success());
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The path of a file beside this one.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support").join(name)
}

/// `openssl s_client -starttls smtp`, with all input piped into it at once.
fn openssl(network: &Network) -> Box<dyn Sender> {
    let script = script("piped.sh");
    Program::start(network, &format!("bash {} PROXY LETTER", script.display()), &[])
}
