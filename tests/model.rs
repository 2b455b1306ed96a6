//! Clients that lose acknowledgements in every way, a backend that breaks, a proxy that is killed, in any order: what a
//! client was told 250 for has reached the backend, and what was only tried again where no 250 came has reached it once.
//! The ledger, its file and the session are the real ones; time is virtual, and a kill is a return to the last flush.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::collections::HashMap;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portcullis::store::clock::Time;
use portcullis::store::clock::Virtual;
use portcullis::store::state::Settings;
use portcullis::store::state::State;
use proptest::prelude::*;
use proptest::sample::select;
use support::dialog::Dialog;
use support::dialog::Scene;
use support::model::Conversation;
use support::model::Copy;
use support::model::Fate;
use support::model::Message;
use support::model::Word;
use tempfile::TempDir;

/// What happens while the backend has the dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interlude {
    Nothing,
    /// Another connection tries another message, or the same.
    Other(usize, Fate, Word),
    /// Before the backend has answered.
    KillBefore,
    /// The backend has answered, nothing is on the disk, the client has heard nothing.
    KillAfter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Try {
        message: usize,
        fate: Fate,
        word: Word,
        interlude: Interlude,
    },
    /// The thread that writes has its turn.
    Flush,
    Kill,
    /// TERM: what is known is written.
    Stop,
    Wait(u64),
}

const BOTH: &[&str] = &["joe@example.org", "sue@example.org"];
const MESSAGES: [Message; 4] = [
    Message { number: 0, recipients: BOTH },
    Message { number: 1, recipients: &["joe@example.org"] },
    Message { number: 2, recipients: &["sue@example.org"] },
    Message { number: 1, recipients: BOTH },
];

fn fate() -> impl Strategy<Value = Fate> {
    select(vec![
        Fate::Takes,
        Fate::TakesAndCloses,
        Fate::TakesPipelined,
        Fate::ClosesUnread,
        Fate::ResetsAtReply,
        Fate::ResetsAfterDot,
        Fate::HalfCloses,
        Fate::ResetsInBody,
    ])
}

fn word() -> impl Strategy<Value = Word> {
    prop_oneof![
        6 => Just(Word::Accepts),
        1 => Just(Word::Refuses),
        1 => Just(Word::Defers),
        1 => Just(Word::AcceptsAndBreaks),
        1 => Just(Word::Breaks),
        2 => Just(Word::AcceptsFirst),
        1 => Just(Word::AcceptsFirstAndBreaks),
    ]
}

fn interlude() -> impl Strategy<Value = Interlude> {
    prop_oneof![
        6 => Just(Interlude::Nothing),
        3 => (0..MESSAGES.len(), fate(), word()).prop_map(|(message, fate, word)| Interlude::Other(message, fate, word)),
        1 => Just(Interlude::KillBefore),
        1 => Just(Interlude::KillAfter),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let attempt = (0..MESSAGES.len(), fate(), word(), interlude())
        .prop_map(|(message, fate, word, interlude)| Step::Try { message, fate, word, interlude });
    prop_oneof![
        12 => attempt,
        2 => Just(Step::Flush),
        1 => Just(Step::Kill),
        1 => Just(Step::Stop),
        2 => (1u64..60).prop_map(Step::Wait),
    ]
}

/// The proxy over its lives.
struct World {
    folder: TempDir,
    scene: Scene,
    clock: Arc<Virtual>,
    state: State,
    /// The file as it was at the last flush.
    kept: PathBuf,
    lives: usize,
    runtime: tokio::runtime::Runtime,
    delivered: Counts,
    /// Copies that may come once more: a kill has forgotten them, or a word of the backend was lost.
    excuses: Counts,
    /// Delivered since the last flush.
    unwritten: HashSet<Copy>,
}

impl World {
    fn new(head: &str) -> Self {
        // Where there is one, a folder in memory: a flush waits for the disk.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let clock = Arc::new(Virtual::new(Time::from_seconds(1_795_395_525)));
        let state = State::open(&Settings::File(folder.path().join("0")), clock.clone()).unwrap();
        let mut world = Self {
            scene: Dialog::parse(head).scene(),
            kept: folder.path().join("kept"),
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
            folder,
            clock,
            state,
            lives: 0,
            delivered: HashMap::new(),
            excuses: HashMap::new(),
            unwritten: HashSet::new(),
        };
        world.flush();
        world
    }

    /// Whether the client has taken a 250.
    fn attempt(&mut self, message: usize, fate: Fate, word: Word, interlude: Interlude) -> bool {
        let message = MESSAGES[message];
        let mut conversation = Conversation::begin(&self.scene, &self.state, message, fate, word);
        conversation.wait(fate);
        let asked = conversation.is_asked();
        if let (Interlude::Other(other, fate, word), true) = (interlude, asked) {
            let other = MESSAGES[other];
            let mut second = Conversation::begin(&self.scene, &self.state, other, fate, word);
            second.wait(fate);
            let copies = second.answer();
            let took = second.end(fate);
            note(&mut self.delivered, &mut self.excuses, &mut self.unwritten, &copies, word);
            if took {
                reached(&self.delivered, other);
            }
        }
        if interlude == Interlude::KillBefore {
            drop(conversation);
            self.kill();
            return false;
        }
        let copies = conversation.answer();
        note(&mut self.delivered, &mut self.excuses, &mut self.unwritten, &copies, word);
        if interlude == Interlude::KillAfter {
            drop(conversation);
            self.kill();
            return false;
        }
        let took = conversation.end(fate);
        if took {
            reached(&self.delivered, message);
        }
        took
    }

    fn flush(&mut self) {
        assert!(self.runtime.block_on(self.state.flush()));
        // Nothing changes now, so nothing is being written.
        std::fs::copy(self.folder.path().join(self.lives.to_string()), &self.kept).unwrap();
        self.unwritten.clear();
    }

    fn kill(&mut self) {
        for copy in self.unwritten.drain() {
            *self.excuses.entry(copy).or_default() += 1;
        }
        self.lives += 1;
        let next = self.folder.path().join(self.lives.to_string());
        std::fs::copy(&self.kept, &next).unwrap();
        self.state = State::open(&Settings::File(next), self.clock.clone()).unwrap();
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Try { message, fate, word, interlude } => _ = self.attempt(message, fate, word, interlude),
            other => self.pass(other),
        }
    }

    fn pass(&mut self, step: Step) {
        match step {
            Step::Try { .. } => {}
            Step::Flush => self.flush(),
            Step::Kill => self.kill(),
            Step::Stop => {
                self.flush();
                self.kill();
            }
            Step::Wait(minutes) => {
                self.clock.advance(Duration::from_secs(60 * minutes));
                self.state.tables().sweep();
            }
        }
    }
}

type Counts = HashMap<Copy, usize>;

fn note(delivered: &mut Counts, excuses: &mut Counts, unwritten: &mut HashSet<Copy>, copies: &[Copy], word: Word) {
    for copy in copies {
        *delivered.entry(*copy).or_default() += 1;
        unwritten.insert(*copy);
        if word == Word::AcceptsAndBreaks {
            *excuses.entry(*copy).or_default() += 1;
        }
    }
}

/// Nothing lost.
fn reached(delivered: &Counts, message: Message) {
    for recipient in message.recipients {
        let copies = delivered.get(&(message.number, recipient)).copied().unwrap_or(0);
        assert!(copies >= 1, "{message:?} was acknowledged, and {recipient} does not have it");
    }
}

const HELD: &str = "= repeat 3 100000\n";
const STREAMED: &str = "= repeat 3 100000\n= hold off\n";
const CHUNKED: &str = "= repeat 3 100000\n= chunking\n";
/// One reply for each recipient.
const LMTP: &str = "= repeat 3 100000\n= lmtp\n";
const LMTP_CHUNKED: &str = "= repeat 3 100000\n= lmtp\n= chunking\n";
/// Each answer takes its time.
const LATE: &str = "= repeat 3 100000\n= answers late\n";

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens.
    #[test]
    fn nothing_is_lost(head in select(vec![HELD, STREAMED, CHUNKED, LMTP, LMTP_CHUNKED, LATE]), steps in prop::collection::vec(step(), 1..30)) {
        let mut world = World::new(head);
        steps.into_iter().for_each(|step| world.step(step));
    }

    /// A sender that tries each message again until it has taken a 250, and never after that.
    #[test]
    fn what_was_only_retried_comes_once(
        head in select(vec![HELD, CHUNKED, LMTP, LMTP_CHUNKED, LATE]),
        steps in prop::collection::vec(step(), 1..30),
    ) {
        let mut world = World::new(head);
        let mut acknowledged = [false; MESSAGES.len()];
        for step in steps {
            match step {
                Step::Try { message, fate, word, interlude } => {
                    // The last one shares its text with another.
                    let message = message % 3;
                    let alone = match interlude {
                        Interlude::Other(..) => Interlude::Nothing,
                        other => other,
                    };
                    if !acknowledged[message] {
                        acknowledged[message] = world.attempt(message, fate, word, alone);
                    }
                }
                other => world.pass(other),
            }
        }
        for (copy, copies) in &world.delivered {
            let excuses = world.excuses.get(copy).copied().unwrap_or(0);
            prop_assert!(*copies <= 1 + excuses, "{copy:?}: {copies} copies, {excuses} excuses");
        }
    }
}
