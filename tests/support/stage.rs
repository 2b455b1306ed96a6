//! The running proxy at its defaults, with a Maildir or with the real smtpfront-qmail behind, a second one where the
//! clients' bounces go, and letters to send.

use std::fs;
use std::path::PathBuf;

use crate::proxy::Proxy;
use crate::proxy::Site;
use crate::proxy::host::make_certificate;
use crate::qmail::Gate;
use crate::qmail::QmailHome;
use crate::ways::FROM;
use crate::ways::Network;
use crate::ways::TO;
use crate::ways::Tls;

pub(crate) struct Stage {
    pub(crate) proxy: Proxy,
    pub(crate) site: Site,
    /// The qmail home behind smtpfront-qmail.
    pub(crate) qmail: Option<QmailHome>,
    bounces: (Proxy, Site),
    tls: Tls,
}

/// The result of a proxy that was stopped in order: each connection has ended.
pub(crate) struct Ended {
    pub(crate) log: String,
    /// Messages that the backend has.
    pub(crate) kept: usize,
}

impl Stage {
    /// A proxy with a Maildir; `rest` are sections of the configuration.
    pub(crate) fn maildir(rest: &str) -> Self {
        Self::new("maildir = \"mail\"", rest, None, Tls::Clear)
    }

    pub(crate) fn smtpfront() -> Self {
        Self::before(QmailHome::new(), Tls::Clear)
    }

    /// A proxy whose messages wait for the gate after the dot; the start of qmail-queue shows that.
    pub(crate) fn gated(tls: Tls) -> (Self, Gate) {
        let qmail = QmailHome::new();
        let gate = qmail.gate();
        qmail.script("qmail-queue", QMAIL_QUEUE);
        (Self::before(qmail, tls), gate)
    }

    fn before(qmail: QmailHome, tls: Tls) -> Self {
        let (program, home, queue) = (qmail.path("smtpfront"), qmail.path(""), qmail.path("qmail-queue"));
        let backend = format!("spawn = [{program:?}]\nenv = {{ QMAILHOME = {home:?}, QMAILQUEUE = {queue:?} }}");
        Self::new(&backend, "", Some(qmail), tls)
    }

    /// A proxy with a certificate, and clients that insist on TLS.
    pub(crate) fn tls() -> Self {
        Self::new("maildir = \"mail\"", "", None, Tls::Starttls)
    }

    fn new(backend: &str, rest: &str, qmail: Option<QmailHome>, tls: Tls) -> Self {
        let rest = if tls == Tls::Starttls { format!("{rest}{TLS}") } else { rest.to_owned() };
        let site = site("example.org", backend, &rest);
        if tls == Tls::Starttls {
            make_certificate(&site.path("tls"), &["127.0.0.1"]).unwrap();
        }
        let own = crate::stage::site("client.example", "maildir = \"mail\"", "");
        Self { proxy: Proxy::start(&site), qmail, site, bounces: (Proxy::start(&own), own), tls }
    }

    pub(crate) fn network(&self) -> Network {
        Network { proxy: self.proxy.addresses[0], bounces: self.bounces.0.addresses[0], tls: self.tls, within: None }
    }

    /// A letter of about this many octets whose copy is recognizable: with a Message-ID and today's Date.
    pub(crate) fn letter(&self, id: &str, octets: usize) -> PathBuf {
        let path = self.site.path(&format!("letter-{id}"));
        fs::write(&path, letter(id, octets)).unwrap();
        path
    }

    /// Waits for so many transactions to end.
    pub(crate) fn transactions(&mut self, count: usize) {
        for _ in 0..count {
            self.proxy.wait_for("mail session=");
        }
    }

    /// Bounces that the letters' sender has got.
    pub(crate) fn bounced(&self) -> usize {
        self.bounces.1.mails()
    }

    /// Stops the proxy in order.
    pub(crate) fn end(self) -> Ended {
        let log = self.proxy.stop().join("\n");
        let kept = self.qmail.map_or_else(|| self.site.mails(), |qmail| qmail.queued().len());
        Ended { log, kept }
    }
}

/// A site with the shipped throttles.
fn site(domain: &str, backend: &str, rest: &str) -> Site {
    let site = Site::new("", "");
    site.write("control/rcpthosts", &format!("{domain}\n"));
    let text = crate::proxy::configuration("", backend, rest).replace("throttle = []\n", "");
    site.write("portcullis.toml", &text);
    site
}

pub(crate) fn letter(id: &str, octets: usize) -> String {
    let date = jiff::ZonedDateTime::now().strftime("%a, %d %b %Y %H:%M:%S %z");
    let head = format!(
        "Date: {date}\nFrom: <{FROM}>\nTo: <{TO}>\nMessage-ID: <{id}@client.example>\nSubject: twice on purpose\n\n"
    );
    head + &"A line of the letter, of sixty-four octets with its line's end.\n".repeat(octets.div_ceil(64))
}

const TLS: &str = "[tls]\ncertificate = \"tls/certificate.pem\"\nkey = \"tls/key.pem\"\n";

/// Records the message before waiting.
const QMAIL_QUEUE: &str = "#!/bin/sh
cat >HOME/saved/$PPID.$$.message
: >HOME/starts/$PPID.$$
if [ -p HOME/gate ]; then read -r opened <HOME/gate; fi
cat 0<&1 1>HOME/saved/$PPID.$$.envelope
";
