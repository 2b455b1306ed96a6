//! What would happen to a message: the rulings of a session, in the same order, by the functions that `serve` calls. What
//! a running proxy knows besides, its blocks and throttles, is `standing`'s to find. It must not rule by itself.

use std::net::IpAddr;

use crate::daemon::assemble::Assembly;
use crate::policy::Policy;
use crate::policy::block::Suspect;
use crate::policy::environment::Environment;
use crate::policy::size::Bound;
use crate::policy::verdict::Ruling;
use crate::policy::verdict::Verdict;
use crate::rehearsal::standing::Found;
use crate::rehearsal::standing::Standing;
use crate::smtp::command;
use crate::smtp::command::Command;
use crate::smtp::command::Mail;
use crate::smtp::command::Rcpt;
use crate::smtp::reply::Signature;

/// A message that has not come.
#[derive(Clone, Debug)]
pub struct Message {
    /// The client's address.
    pub client: IpAddr,
    /// Its name, as TCPREMOTEHOST has it.
    pub host: Option<String>,
    /// Its name for itself.
    pub helo: String,
    /// The envelope sender, with or without its angle brackets; empty is the null sender.
    pub sender: String,
    /// Envelope recipients, with or without their angle brackets.
    pub recipients: Vec<String>,
    /// The declared size in octets.
    pub size: Option<u64>,
}

/// What would be said to it.
#[derive(Debug)]
pub struct Explanation {
    /// The rule of tcprules that counts for the client.
    pub rule: Option<String>,
    /// Our limit of its size in octets, before the backend has said its own.
    pub limit: Option<Bound>,
    /// Whom to ask: the end of its replies.
    pub signature: Signature,
    /// One for each command, up to the one that ends it.
    pub steps: Vec<Step>,
}

/// What is ruled at one command.
#[derive(Debug)]
pub struct Step {
    /// As the client would say it.
    pub command: String,
    /// `None`: it passes.
    pub ruling: Option<Ruling>,
}

impl Explanation {
    /// Accept only if every command passes: of several recipients, the refused one is the news.
    pub fn verdict(&self) -> Verdict {
        let refusals = self.steps.iter().filter_map(|step| step.ruling.as_ref());
        refusals
            .map(|ruling| ruling.verdict)
            .max_by_key(|verdict| *verdict == Verdict::Reject)
            .unwrap_or(Verdict::Accept)
    }
}

/// Rules on it, with what the running proxy knows, if it was asked.
///
/// # Errors
/// An address that is none.
pub fn explain(assembly: &Assembly, message: &Message, standing: &Standing) -> Result<Explanation, String> {
    let (mail, recipients) = message.envelope()?;
    let policy = &assembly.snapshot.policy;
    let environment = policy.client(message.client, message.host.as_deref());
    let rule = policy.clients.find(message.client, message.host.as_deref(), None);
    let rule = rule.map(|(key, rule)| format!("{}, key {:?}", rule.location, String::from_utf8_lossy(key)));
    let limit = policy.size.ours(&environment);
    let suspect = Suspect { client: message.client, sender: None };
    let at_connect = || standing.connect.as_ref()?.ruling(&policy.throttles, suspect, None);
    let of_client = Policy::denied(&environment, message.client).or_else(at_connect);
    // A blocked client is greeted, and hears it at MAIL.
    let (at_connect, of_client) = match of_client {
        Some(ruling) if ruling.verdict != Verdict::Reject => (Some(ruling), None),
        ruling => (None, ruling),
    };
    let mut steps = vec![Step { command: format!("connect from {}", message.client), ruling: at_connect }];
    if steps[0].ruling.is_none() {
        let known = standing.mail.as_ref();
        let suspect = Suspect { sender: Some(&mail.sender), ..suspect };
        let found = known.and_then(|found| found.ruling(&policy.throttles, suspect, None));
        // A block outranks the lists, and they a throttle.
        let (first, last) = match known {
            Some(Found::Block { .. }) => (found, None),
            _ => (None, found),
        };
        let of_files = || policy.sender(&mail.sender).or_else(|| Policy::declared_size(mail.size, limit));
        let ruling = of_client.or(first).or_else(of_files).or(last);
        let passes = ruling.is_none();
        steps.push(Step { command: text(&mail.wire(|_| true)), ruling });
        if passes {
            steps.extend(recipient_steps(assembly, &environment, mail.size, &recipients, standing, suspect));
        }
    }
    let contact = assembly.snapshot.settings.contact.clone();
    let signature = Signature { session: "session".into(), contact };
    Ok(Explanation { rule, limit: limit.announced(), signature, steps })
}

fn recipient_steps(
    assembly: &Assembly,
    environment: &Environment,
    declared: Option<u64>,
    recipients: &[Rcpt],
    standing: &Standing,
    suspect: Suspect<'_>,
) -> Vec<Step> {
    let policy = &assembly.snapshot.policy;
    let relay = environment.get(b"RELAYCLIENT").is_some();
    let mut caps = Vec::new();
    let step = |(index, rcpt): (usize, &Rcpt)| {
        let recipient = &rcpt.recipient;
        let found = || standing.recipients.get(index)?.as_ref();
        let known = || found()?.ruling(&policy.throttles, suspect, Some(recipient));
        // Only one that passes counts, and sets the limit that others are held against.
        let passes = Policy::recipient_count(caps.len(), assembly.snapshot.settings.max_recipients)
            .or_else(|| policy.recipient(recipient, relay))
            .map_or_else(|| policy.cap_beside(recipient, declared, caps.first().copied()), Err)
            .and_then(|cap| known().map_or(Ok(cap), Err));
        let ruling = passes.map(|cap| caps.push(cap)).err();
        Step { command: text(&rcpt.wire(|_| true)), ruling }
    };
    recipients.iter().enumerate().map(step).collect()
}

impl Message {
    /// As a query; `from_pairs` reads it.
    pub(crate) fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![("client", self.client.to_string()), ("helo", self.helo.clone())];
        pairs.push(("sender", self.sender.clone()));
        pairs.extend(self.host.iter().map(|host| ("host", host.clone())));
        pairs.extend(self.size.iter().map(|size| ("size", size.to_string())));
        pairs.extend(self.recipients.iter().map(|recipient| ("recipient", recipient.clone())));
        pairs
    }

    /// The other way round; what is wrong with it otherwise.
    pub(crate) fn from_pairs(pairs: &[(String, String)]) -> Result<Self, String> {
        let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let client = value("client").ok_or("client is missing")?;
        let size = value("size").map(|size| size.parse().map_err(|_| format!("size {size:?} is no number")));
        Ok(Self {
            client: client.parse().map_err(|_| format!("client {client:?} is no address"))?,
            host: value("host"),
            helo: value("helo").unwrap_or_default(),
            sender: value("sender").ok_or("sender is missing")?,
            recipients: pairs.iter().filter(|(key, _)| key == "recipient").map(|(_, value)| value.clone()).collect(),
            size: size.transpose()?,
        })
    }

    /// MAIL and each RCPT.
    pub(crate) fn envelope(&self) -> Result<(Mail, Vec<Rcpt>), String> {
        let recipients = self.recipients.iter().map(|recipient| rcpt(recipient)).collect::<Result<Vec<_>, _>>()?;
        Ok((self.mail()?, recipients))
    }

    /// By the grammar of the wire, so that what passes here passes there.
    fn mail(&self) -> Result<Mail, String> {
        let size = self.size.map(|size| format!(" SIZE={size}")).unwrap_or_default();
        let utf8 = if self.sender.is_ascii() { "" } else { " SMTPUTF8" };
        match command::parse(format!("MAIL FROM:{}{size}{utf8}", bracketed(&self.sender)).as_bytes()) {
            Ok(Command::Mail(mail)) => Ok(mail),
            _ => Err(format!(
                "sender {:?} is no address; write user@example.org, or <> for the null sender",
                self.sender
            )),
        }
    }
}

fn rcpt(recipient: &str) -> Result<Rcpt, String> {
    match command::parse(format!("RCPT TO:{}", bracketed(recipient)).as_bytes()) {
        Ok(Command::Rcpt(rcpt)) => Ok(rcpt),
        _ => Err(format!("recipient {recipient:?} is no address; write user@example.org")),
    }
}

fn bracketed(address: &str) -> String {
    match address.starts_with('<') {
        true => address.to_owned(),
        false => format!("<{address}>"),
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line.trim_ascii_end()).into_owned()
}
