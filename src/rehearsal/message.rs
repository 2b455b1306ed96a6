//! A message that has not come: what its client says of it, and where in its session it is. It must not rule on it.

use std::net::IpAddr;

use serde::Deserialize;
use serde::Serialize;

use crate::policy::throttle::subject::Subject;
use crate::smtp::command;
use crate::smtp::command::Command;
use crate::smtp::command::Mail;
use crate::smtp::command::Rcpt;

/// A message that has not come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The client's address.
    pub client: IpAddr,
    /// The client's name, as TCPREMOTEHOST has it.
    pub host: Option<String>,
    /// The client's name for itself.
    pub helo: String,
    /// Whether the session is inside TLS.
    pub tls: bool,
    /// The user of the client's AUTH, which succeeds.
    pub user: Option<String>,
    /// The envelope sender, with or without its angle brackets; empty is the null sender.
    pub sender: String,
    /// Envelope recipients, with or without their angle brackets.
    pub recipients: Vec<String>,
    /// The declared size in octets.
    pub size: Option<u64>,
    /// Whether the message needs 8BITMIME; `None`: it is not sent, and the session ends behind the recipients.
    pub eight_bit: Option<bool>,
}

/// A step of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum At {
    /// The connection, up to the banner.
    Connect,
    /// EHLO.
    Hello,
    /// AUTH.
    Auth,
    /// MAIL.
    Mail,
    /// RCPT of the recipient with this index.
    Recipient(usize),
    /// DATA.
    Data,
    /// The message and its dot.
    Message,
}

/// A message that a client can say.
#[derive(Clone, Debug)]
pub struct Script {
    /// The message.
    pub message: Message,
    /// MAIL, as it goes on to the backend.
    pub mail: Mail,
    /// Each RCPT, likewise.
    pub recipients: Vec<Rcpt>,
}

impl Message {
    /// MAIL and each RCPT are read by the grammar of the wire, so that what passes here passes there.
    ///
    /// # Errors
    /// A value that no client can say in one line, or that is no address; it begins with the option's name.
    pub fn script(self) -> Result<Script, String> {
        if self.helo.contains('\n') {
            return Err(format!("helo {:?} is more than one line", self.helo));
        }
        if let Some(user) = self.user.as_ref().filter(|user| user.is_empty() || user.contains('\0')) {
            return Err(format!("authenticated {user:?} is not a valid user name"));
        }
        let recipients = self.recipients.iter().map(|recipient| rcpt(recipient)).collect::<Result<Vec<_>, _>>()?;
        Ok(Script { mail: self.mail()?, recipients, message: self })
    }

    /// MAIL, as the client says it.
    pub(crate) fn mail_line(&self) -> String {
        let size = self.size.map(|size| format!(" SIZE={size}")).unwrap_or_default();
        let body = if self.eight_bit == Some(true) { " BODY=8BITMIME" } else { "" };
        let is_ascii = self.sender.is_ascii() && self.recipients.iter().all(|recipient| recipient.is_ascii());
        let utf8 = if is_ascii { "" } else { " SMTPUTF8" };
        format!("MAIL FROM:{}{size}{body}{utf8}", bracketed(&self.sender))
    }

    /// RCPT of one of its recipients, as the client says it.
    pub(crate) fn rcpt_line(recipient: &str) -> String {
        format!("RCPT TO:{}", bracketed(recipient))
    }

    fn mail(&self) -> Result<Mail, String> {
        match command::parse(self.mail_line().as_bytes()) {
            Ok(Command::Mail(mail)) => Ok(mail),
            _ => Err(format!(
                "sender {:?} is not a valid address; write user@example.org, or <> for the null sender",
                self.sender
            )),
        }
    }
}

impl Script {
    /// The subject of the throttles at this step.
    pub(crate) fn subject(&self, at: At) -> Subject<'_> {
        let recipient = match at {
            At::Recipient(index) => self.recipients.get(index),
            // A refusal of the message is told by the first.
            _ => self.recipients.first(),
        };
        let Message { client, helo, user, .. } = &self.message;
        Subject {
            client: *client,
            // The session takes the first word.
            helo: helo.split(' ').find(|word| !word.is_empty()).unwrap_or_default().as_bytes(),
            sender: Some(&self.mail.sender),
            recipient: recipient.map(|rcpt| &rcpt.recipient),
            relay_client: false,
            authenticated: user.is_some(),
            user: user.as_deref().map(str::as_bytes),
        }
    }
}

/// A message as its client sends it, with the dot that ends it. `octets` are a file's: where none of its lines ends in CRLF,
/// LF is what ends them.
pub fn as_sent(octets: &[u8]) -> Vec<u8> {
    let is_wire = memchr::memmem::find(octets, b"\r\n").is_some();
    let mut sent = Vec::with_capacity(octets.len() + octets.len() / 32);
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        // RFC 5321 section 4.5.2
        if line.starts_with(b".") {
            sent.push(b'.');
        }
        match line.strip_suffix(b"\n") {
            Some(_) if is_wire => sent.extend_from_slice(line),
            Some(text) => sent.extend_from_slice(&[text, b"\r\n"].concat()),
            None => sent.extend_from_slice(&[line, b"\r\n"].concat()),
        }
    }
    sent.extend_from_slice(b".\r\n");
    sent
}

/// The header of a message, with the empty line that ends it, if there is one.
pub fn header(octets: &[u8]) -> &[u8] {
    let lines = octets.split_inclusive(|octet| *octet == b'\n');
    let mut end = 0;
    for line in lines {
        end += line.len();
        if line.trim_ascii().is_empty() {
            break;
        }
    }
    &octets[..end]
}

fn rcpt(recipient: &str) -> Result<Rcpt, String> {
    match command::parse(Message::rcpt_line(recipient).as_bytes()) {
        Ok(Command::Rcpt(rcpt)) => Ok(rcpt),
        _ => Err(format!("recipient {recipient:?} is not a valid address; write user@example.org")),
    }
}

fn bracketed(address: &str) -> String {
    match address.starts_with('<') {
        true => address.to_owned(),
        false => format!("<{address}>"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sends_of_a_file() {
        let rows: [(&str, &[u8], &[u8]); 7] = [
            ("LF", b"A: b\n\ntext\n", b"A: b\r\n\r\ntext\r\n.\r\n"),
            ("CRLF", b"A: b\r\n\r\ntext\r\n", b"A: b\r\n\r\ntext\r\n.\r\n"),
            ("a bare LF among CRLF", b"A: b\r\n\r\na\nb\r\n", b"A: b\r\n\r\na\nb\r\n.\r\n"),
            ("a bare CR", b"a\rb\n", b"a\rb\r\n.\r\n"),
            ("dots", b".\n..\na.\n", b"..\r\n...\r\na.\r\n.\r\n"),
            ("no end of the last line", b"a\nb", b"a\r\nb\r\n.\r\n"),
            ("nothing", b"", b".\r\n"),
        ];
        for (what, file, sent) in rows {
            assert_eq!(as_sent(file), sent, "{what}");
        }
    }

    #[test]
    fn where_a_header_ends() {
        let rows: [(&[u8], &[u8]); 4] =
            [(b"A: b\n\ntext\n", b"A: b\n\n"), (b"A: b\r\n\r\ntext", b"A: b\r\n\r\n"), (b"A: b", b"A: b"), (b"", b"")];
        for (message, expected) in rows {
            assert_eq!(header(message), expected);
        }
    }
}
