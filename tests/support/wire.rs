//! Two network namespaces with a wire between them that loses, delays, reorders and cuts (tests/support/wire.py), the
//! proxy at one end and clients at the other. All of it is removed when dropped. It needs root and /dev/net/tun.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::ChildStdin;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc::Receiver;

use crate::proxy::PORTCULLIS;
use crate::proxy::Proxy;
use crate::proxy::Site;
use crate::proxy::host::LONG;
use crate::proxy::lines_of;
use crate::stage::Ended;
use crate::stage::letter;
use crate::ways::Network;
use crate::ways::Tls;
use crate::ways::script;

pub(crate) struct Wire {
    proxy: Option<Proxy>,
    site: Site,
    child: Child,
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
    ends: [Namespace; 2],
}

/// A namespace, removed when dropped.
struct Namespace(String);

impl Namespace {
    fn new(name: String) -> Result<Self, String> {
        let output = Command::new("ip").args(["netns", "add", &name]).output().unwrap();
        let made = output.status.success().then_some(Self(name));
        made.ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, program]);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

impl Wire {
    /// Sets everything up; the error says why the kernel does not allow it.
    pub(crate) fn new() -> Result<Self, String> {
        if !Path::new("/dev/net/tun").exists() {
            return Err("there is no /dev/net/tun".to_owned());
        }
        let site = Site::new("", "");
        let folder = site.path("").file_name().unwrap().to_str().unwrap().to_owned();
        let name = |end: &str| format!("portcullis-{end}{folder}");
        let ends = [Namespace::new(name("a"))?, Namespace::new(name("b"))?];
        let mut command = Command::new("python3");
        command.arg(script("wire.py")).args([&ends[0].0, &ends[1].0]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let answers = lines_of(child.stdout.take().unwrap());
        let orders = child.stdin.take();
        let text = crate::proxy::configuration("", "maildir = \"mail\"", "").replace("throttle = []\n", "");
        site.write("portcullis.toml", &text.replace("127.0.0.1:0", "10.213.0.2:0"));
        let mut wire = Self { proxy: None, site, child, orders, answers, ends };
        assert_eq!(wire.answers.recv_timeout(LONG).unwrap(), "ready");
        let mut command = wire.ends[1].command(PORTCULLIS);
        command.args(["serve", "-c", "portcullis.toml"]).current_dir(wire.site.path(""));
        wire.proxy = Some(Proxy::launch(&mut command, 1));
        Ok(wire)
    }

    /// Changes the wire's behaviour. Gives the packets lost and cut until now.
    pub(crate) fn order(&mut self, line: &str) -> usize {
        self.orders.as_ref().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
        self.answers.recv_timeout(LONG).unwrap().parse().unwrap()
    }

    /// Makes so many letters; gives their folder.
    pub(crate) fn letters(&self, count: usize) -> PathBuf {
        let folder = self.site.path("letters");
        fs::create_dir(&folder).unwrap();
        for number in 0..count {
            let id = format!("letter-{number:02}");
            fs::write(folder.join(&id), letter(&id, 5_000)).unwrap();
        }
        folder
    }

    /// Sends so many letters, each so many times on purpose.
    pub(crate) fn client(&self, letters: usize, copies: usize) -> Child {
        let folder = self.letters(letters);
        let address = self.proxy.as_ref().unwrap().addresses[0].to_string();
        let mut command = self.ends[0].command("python3");
        command.arg(script("smtplib_persistent.py")).arg(address).arg(folder).arg(copies.to_string());
        command.spawn().unwrap()
    }

    pub(crate) fn network(&self) -> Network {
        let proxy = self.proxy.as_ref().unwrap().addresses[0];
        // Nobody listens for bounces here.
        Network { proxy, bounces: proxy, tls: Tls::Clear, within: Some(self.ends[0].0.clone()) }
    }

    pub(crate) fn wait_for(&mut self, line: &str) {
        self.proxy.as_mut().unwrap().wait_for(line);
    }

    /// Stops the proxy; gives the number of copies of each letter, in order.
    pub(crate) fn end(mut self) -> (Ended, Vec<usize>) {
        let harmed = self.order("quiet");
        assert!(harmed > 0, "the wire was good");
        let log = self.proxy.take().unwrap().stop().join("\n");
        let mails = fs::read_dir(self.site.path("mail/new")).unwrap();
        let mails: Vec<String> = mails.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
        let count = |number| mails.iter().filter(|mail| mail.contains(&format!("<letter-{number:02}@"))).count();
        let counts = (0..fs::read_dir(self.site.path("letters")).unwrap().count()).map(count).collect();
        (Ended { log, kept: mails.len() }, counts)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.orders.take());
        let _ = self.child.wait();
    }
}
