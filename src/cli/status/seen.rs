//! The running proxy's answers, as far as the terminal view shows them. What a proxy of another version leaves out is empty
//! here. It must not be shown as it is: names in it come from strangers.

use serde::Deserialize;

/// The answer of `/api/v1/status`, and its event.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Seen {
    pub(super) version: String,
    pub(super) host: String,
    pub(super) now: u32,
    pub(super) started: u32,
    pub(super) sentence: Sentence,
    pub(super) problems: Vec<Problem>,
    pub(super) connections: u64,
    pub(super) max_connections: u64,
    pub(super) held_octets: u64,
    pub(super) hold_total: u64,
    pub(super) hold_pressure: u8,
    pub(super) blocks: u64,
    pub(super) state: String,
    pub(super) log_stalled: bool,
    pub(super) stopping: bool,
    pub(super) stress: bool,
    pub(super) backend: Backend,
    pub(super) storms: Vec<Storm>,
    pub(super) senders: Senders,
    pub(super) clients: Vec<Top>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Sentence {
    /// `quiet`, `storm` or `trouble`.
    pub(super) tone: String,
    pub(super) text: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    pub(super) text: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Backend {
    pub(super) target: String,
    pub(super) up: bool,
    pub(super) down_since: Option<u32>,
    pub(super) error: Option<String>,
    pub(super) places_taken: u64,
    pub(super) places_max: u64,
    pub(super) waiting: u64,
    pub(super) latency: Latencies,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Latencies {
    /// From the end of a message to its reply.
    pub(super) dot_ms: Quantiles,
}

/// Milliseconds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Quantiles {
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Storm {
    /// Client network and sender.
    pub(super) key: String,
    pub(super) recipients: String,
    pub(super) copies: u64,
    pub(super) absorbed: u64,
    pub(super) refused: u64,
    pub(super) deferred: u64,
    pub(super) delivered: u64,
    pub(super) similar: u64,
    pub(super) bytes_spared: u64,
    pub(super) reason: String,
    /// Copies in each ten minutes of the last two hours.
    pub(super) trend: Vec<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Senders {
    pub(super) accepted: Vec<Top>,
    pub(super) bytes: Vec<Top>,
    pub(super) not_accepted: Vec<Top>,
}

/// A sender or a client with its counts of the last hour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Top {
    #[serde(alias = "sender", alias = "client")]
    pub(super) name: String,
    pub(super) accepted: u64,
    pub(super) absorbed: u64,
    pub(super) deferred: u64,
    pub(super) refused: u64,
    pub(super) bytes: u64,
}

/// A minute of the history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Point {
    pub(super) at: u32,
    pub(super) accepted: u64,
    pub(super) absorbed: u64,
    pub(super) deferred: u64,
    pub(super) refused: u64,
}

/// Minutes, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct History {
    pub(super) points: Vec<Point>,
}

/// What a block would hit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Preview {
    pub(super) messages: u64,
    pub(super) accepted: u64,
    pub(super) senders: Vec<String>,
    pub(super) clients: Vec<String>,
    pub(super) sender_count: u64,
    pub(super) client_count: u64,
    pub(super) doubt: Option<String>,
}

/// The record of a message, or of another end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    pub(super) number: u64,
    pub(super) at: u32,
    pub(super) kind: String,
    pub(super) client: String,
    pub(super) helo: Option<String>,
    pub(super) tls: Option<String>,
    pub(super) user: Option<String>,
    pub(super) sender: Option<String>,
    pub(super) recipients: Vec<String>,
    pub(super) size: Option<u64>,
    pub(super) verdict: Option<String>,
    pub(super) code: Option<u16>,
    pub(super) reason: Option<String>,
}

/// Records, the newest first; also of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Records {
    pub(super) records: Vec<Record>,
}

/// A session that is open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) client: String,
    pub(super) helo: Option<String>,
    pub(super) tls: Option<String>,
    pub(super) user: Option<String>,
    pub(super) phase: String,
    pub(super) sender: Option<String>,
    pub(super) recipients: u64,
    pub(super) octets: u64,
    pub(super) since: u32,
}

/// Sessions, those with the largest message first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Sessions {
    pub(super) sessions: Vec<Session>,
    /// All that are open.
    pub(super) total: u64,
}

/// A block in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Block {
    pub(super) key: String,
    pub(super) why: String,
    pub(super) by: String,
    pub(super) until: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Blocks {
    pub(super) blocks: Vec<Block>,
}

/// A block that was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Made {
    pub(super) key: String,
    pub(super) until: u32,
    /// When the block would have ended whose place it took.
    pub(super) before: Option<u32>,
}

/// What would happen to a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Story {
    pub(super) verdict: String,
    pub(super) client: String,
    pub(super) tcprules: Option<String>,
    pub(super) size_limit: Option<u64>,
    pub(super) size_rule: Option<String>,
    pub(super) throttled: Vec<String>,
    pub(super) steps: Vec<Step>,
}

/// A command of the client, and the reply to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Step {
    pub(super) command: String,
    pub(super) verdict: String,
    pub(super) code: Option<u16>,
    pub(super) reply: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) rule: Option<String>,
}

/// The address between angle brackets, as a block's key has it; other words as they are.
pub(super) fn bare(sender: &str) -> &str {
    sender.strip_prefix('<').and_then(|sender| sender.strip_suffix('>')).unwrap_or(sender)
}

impl Storm {
    /// The client network and the sender.
    pub(super) fn parts(&self) -> (&str, &str) {
        self.key.split_once(' ').unwrap_or(("", &self.key))
    }

    /// Whether passwords are guessed, and no mail is sent.
    pub(super) fn is_guessing(&self) -> bool {
        self.parts().1 == GUESSING
    }
}

/// The word in place of a storm's sender where passwords are guessed.
const GUESSING: &str = "auth";
