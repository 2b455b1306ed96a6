//! One message of a client to a bare session, with a backend that takes everything. It must not decide anything: it plays
//! what it is told and notes what comes of it.

use std::net::IpAddr;

use portcullis::session::io::ClientEnd;
use portcullis::session::io::Farewell;
use portcullis::store::state::State;

use crate::support::dialog::Scene;
use crate::support::talk::Talk;

/// A message and how it is sent.
#[derive(Clone, Debug)]
pub struct Letter {
    pub client: IpAddr,
    /// The sender; empty is the null sender.
    pub sender: String,
    pub recipients: Vec<String>,
    pub declares: bool,
    pub text: String,
    pub end: End,
}

/// The client's behaviour after its dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Quit,
    QuitBehindDot,
    /// Send QUIT right after the dot, take the dot's reply, and reset before our 221.
    QuitBehindDotThenReset,
    /// Close without QUIT, after reading the reply.
    Close,
    HalfCloseThenRead,
    /// Close with the reply unread.
    Lost,
}

/// The final reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Accepted,
    Refused(String),
    Deferred(String),
}

/// Sends a letter; gives the reply, and the recipients at which the backend has it now.
pub fn send(scene: &Scene, state: &State, letter: &Letter) -> (Reply, Vec<String>) {
    let mut talk = Talk::begin(scene, state, letter.client, true);
    let mut taken = Vec::new();
    let size = if letter.declares { format!(" SIZE={}", letter.text.len()) } else { String::new() };
    let mut commands = vec!["EHLO c.example".to_owned(), format!("MAIL FROM:<{}>{size}", letter.sender)];
    commands.extend(letter.recipients.iter().map(|recipient| format!("RCPT TO:<{recipient}>")));
    commands.push("DATA".to_owned());
    for command in commands {
        talk.said.clear();
        talk.client(&format!("{command}\r\n"));
        if let Some(reply) = refusal(&talk.said) {
            talk.client("QUIT\r\n");
            talk.end(Farewell::default());
            return (reply, taken);
        }
    }
    talk.said.clear();
    let quits = matches!(letter.end, End::QuitBehindDot | End::QuitBehindDotThenReset);
    talk.client(&format!("{}.\r\n{}", letter.text, if quits { "QUIT\r\n" } else { "" }));
    if talk.asked {
        taken.clone_from(&talk.recipients);
        talk.backend("250 taken\r\n");
    }
    let reply = refusal(&talk.said).unwrap_or(Reply::Accepted);
    let now = talk.now();
    let fin = Farewell { acknowledged: true, heard: false, waited: false, end: ClientEnd::Fin };
    let farewell = match letter.end {
        End::Quit => {
            talk.session.handle_client_heard();
            talk.client("QUIT\r\n");
            fin
        }
        End::QuitBehindDot => fin,
        End::QuitBehindDotThenReset => Farewell { end: ClientEnd::Reset, ..fin },
        End::Close | End::HalfCloseThenRead => {
            talk.ended = true;
            fin
        }
        End::Lost => {
            talk.session.handle_client_reset(now);
            Farewell { end: ClientEnd::Reset, ..fin }
        }
    };
    talk.end(farewell);
    (reply, taken)
}

/// The last line that is a refusal.
fn refusal(said: &[u8]) -> Option<Reply> {
    let text = String::from_utf8_lossy(said).into_owned();
    let line = text.lines().find(|line| line.starts_with(['4', '5']))?.to_owned();
    Some(if line.starts_with('4') { Reply::Deferred(line) } else { Reply::Refused(line) })
}
