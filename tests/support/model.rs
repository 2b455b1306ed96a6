//! One try of a message in the model test: a client with a fate, and a backend with a word for the dot. It must not decide
//! anything: it plays what a schedule says and notes what comes of it.

use portcullis::session::io::BackendEnd;
use portcullis::session::io::ClientEnd;
use portcullis::session::io::Farewell;
use portcullis::store::state::State;

use crate::support::dialog::Scene;
use crate::support::talk::Talk;

/// The client's behaviour at the end of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Reads the reply and sends QUIT.
    Takes,
    /// Reads the reply, and closes without QUIT.
    TakesAndCloses,
    /// Has sent QUIT right after the dot, and closes on the reply, before our 221.
    TakesPipelined,
    /// Receives the reply, and closes without having read it: a reset.
    ClosesUnread,
    /// Resets before the reply is written.
    ResetsAtReply,
    /// Resets when its dot is out, before the backend has answered.
    ResetsAfterDot,
    /// Shuts down its sending side after the dot, but reads on.
    HalfCloses,
    /// Resets in the middle of the body.
    ResetsInBody,
}

/// The backend's behaviour at the dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Accepts,
    Refuses,
    Defers,
    /// Accepts the message, but its 2xx is lost.
    AcceptsAndBreaks,
    Breaks,
    /// By LMTP: accepts it for the first recipient, and defers the others.
    AcceptsFirst,
    /// By LMTP: breaks behind the first recipient's 2xx.
    AcceptsFirstAndBreaks,
}

/// A message: its number makes its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    pub number: usize,
    pub recipients: &'static [&'static str],
}

/// A message for a recipient.
pub type Copy = (usize, &'static str);

/// A try of a message, up to its end.
pub struct Conversation<'a> {
    talk: Talk<'a>,
    message: Message,
    word: Word,
}

impl<'a> Conversation<'a> {
    /// Plays up to the dot; further when no backend is asked.
    pub fn begin(scene: &Scene, state: &'a State, message: Message, fate: Fate, word: Word) -> Self {
        let mut talk = Talk::begin(scene, state, scene.client, false);
        talk.client("EHLO c.example\r\nMAIL FROM:<a@sender.example>\r\n");
        message.recipients.iter().for_each(|recipient| talk.client(&format!("RCPT TO:<{recipient}>\r\n")));
        talk.client("DATA\r\n");
        let text = message.text();
        match fate {
            Fate::ResetsInBody => talk.client(&text[..text.len() / 2]),
            Fate::TakesPipelined => talk.client(&format!("{text}.\r\nQUIT\r\n")),
            _ => talk.client(&format!("{text}.\r\n")),
        }
        Self { talk, message, word }
    }

    /// Whether the backend has the dot and has not answered yet.
    pub fn is_asked(&self) -> bool {
        self.talk.asked
    }

    /// Plays the client's behaviour while the backend has the dot.
    pub fn wait(&mut self, fate: Fate) {
        let now = self.talk.now();
        match fate {
            Fate::ResetsAfterDot | Fate::ResetsInBody => {
                self.talk.listens = false;
                self.talk.session.handle_client_reset(now);
            }
            Fate::ResetsAtReply => self.talk.listens = false,
            Fate::HalfCloses => self.talk.ended = true,
            Fate::Takes | Fate::TakesAndCloses | Fate::TakesPipelined | Fate::ClosesUnread => {}
        }
        self.talk.client_is_done = true;
        self.talk.drain();
    }

    /// Answers the dot as the backend, if it was asked; gives the copies that it has then.
    pub fn answer(&mut self) -> Vec<Copy> {
        if !std::mem::take(&mut self.talk.asked) {
            return Vec::new();
        }
        let heard = |recipient: &&&'static str| self.talk.recipients.iter().any(|heard| heard == **recipient);
        let heard: Vec<&'static str> = self.message.recipients.iter().filter(heard).copied().collect();
        let replies = if self.talk.lmtp { heard.len() } else { 1 };
        let first = usize::from(self.talk.lmtp);
        let served = match self.word {
            Word::Accepts | Word::AcceptsAndBreaks => heard.len(),
            Word::AcceptsFirst | Word::AcceptsFirstAndBreaks => first,
            Word::Refuses | Word::Defers | Word::Breaks => 0,
        };
        match self.word {
            Word::Accepts => self.talk.backend(&"250 ok\r\n".repeat(replies)),
            Word::Refuses => self.talk.backend(&"554 no\r\n".repeat(replies)),
            Word::Defers => self.talk.backend(&"451 later\r\n".repeat(replies)),
            Word::AcceptsFirst => {
                let others = "452 full\r\n".repeat(replies - first);
                self.talk.backend(&("250 ok\r\n".repeat(first) + &others));
            }
            Word::AcceptsFirstAndBreaks => {
                self.talk.backend(&"250 ok\r\n".repeat(first));
                self.break_backend();
            }
            Word::AcceptsAndBreaks | Word::Breaks => self.break_backend(),
        }
        self.talk.drain();
        heard[..served].iter().map(|recipient| (self.message.number, *recipient)).collect()
    }

    fn break_backend(&mut self) {
        let now = self.talk.now();
        self.talk.session.handle_backend_end(BackendEnd::Lost, now);
    }

    /// Ends the connection; gives whether the client knows that its message was accepted.
    pub fn end(mut self, fate: Fate) -> bool {
        let told = self.talk.said.windows(3).any(|code| code == b"354")
            && self.final_reply().is_some_and(|reply| reply.starts_with("250"));
        let now = self.talk.now();
        let farewell = match fate {
            Fate::Takes => {
                self.talk.session.handle_client_heard();
                self.talk.client("QUIT\r\n");
                Farewell { acknowledged: true, heard: false, waited: false, end: ClientEnd::Fin }
            }
            Fate::TakesPipelined => Farewell { acknowledged: true, heard: false, waited: false, end: ClientEnd::Reset },
            Fate::TakesAndCloses | Fate::HalfCloses => {
                self.talk.ended = true;
                Farewell { acknowledged: true, heard: false, waited: false, end: ClientEnd::Fin }
            }
            Fate::ClosesUnread | Fate::ResetsAfterDot | Fate::ResetsAtReply | Fate::ResetsInBody => {
                self.talk.session.handle_client_reset(now);
                let acknowledged = fate == Fate::ClosesUnread;
                Farewell { acknowledged, heard: false, waited: false, end: ClientEnd::Reset }
            }
        };
        self.talk.end(farewell);
        told && matches!(fate, Fate::Takes | Fate::TakesAndCloses | Fate::TakesPipelined | Fate::HalfCloses)
    }

    /// The first reply after the 354.
    fn final_reply(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.talk.said).into_owned();
        let (_, rest) = text.split_once("354 ")?;
        rest.lines().nth(1).map(str::to_owned)
    }
}

impl Message {
    /// The whole message, without its dot.
    fn text(self) -> String {
        let Self { number, .. } = self;
        format!(
            "Message-ID: <{number}@sender.example>\r\nDate: Mon, 23 Nov 2026 00:58:45 +0000\r\nSubject: {number}\r\n\r\ntext of {number}\r\n"
        )
    }
}
