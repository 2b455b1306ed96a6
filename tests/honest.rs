//! Generated traffic of honest senders, with attackers beside them: nothing honest is refused for good, swallowed, or made
//! to wait for more than one retry. The session and the store are the real ones; time is virtual; the backend takes all.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis::policy::throttle::key::Seed;
use portcullis::store::clock::Clock;
use portcullis::store::clock::Time;
use portcullis::store::clock::Virtual;
use portcullis::store::state::State;
use proptest::prelude::*;
use proptest::sample::select;
use support::dialog::Dialog;
use support::dialog::Scene;
use support::post::End;
use support::post::Letter;
use support::post::Reply;
use support::post::send;

/// What an honest sender does next.
#[derive(Clone, Copy, Debug)]
enum Habit {
    /// New Date and Message-ID, the same text, as large as the one before.
    Report,
    /// No Date, no counter, always the same octets.
    Alarm,
    /// The same, of a clock that stands.
    AlarmOf1970,
    /// What was sent last, once more, on purpose; three times in all.
    Again,
    /// One mail by way of several aliases.
    Forwarded,
    /// One mail to three recipients, one by one.
    OneByOne,
    /// To all of them at once.
    AtOnce,
    /// Too large, to three recipients one by one; not to be delivered.
    TooLarge,
    /// The acknowledgement is lost, so it comes again.
    Lost,
}

/// Somebody elsewhere, who knows what honest senders send and who they are.
#[derive(Clone, Copy, Debug)]
enum Attack {
    /// Sends the last honest message first next time, or again now, and takes no acknowledgement.
    Preplay,
    /// The same with one field more.
    PreplayDelivered,
    /// A forged sender, too large, over and over.
    ForgedOversize,
    /// Small ones that declare another size.
    LyingSize,
    /// Acknowledged copies until they are refused.
    Copies,
}

struct World {
    scene: Scene,
    state: State,
    clock: Arc<Virtual>,
    /// Copies at the recipient, by text and recipient; what attackers send is apart.
    delivered: HashMap<(String, String), u32>,
    sent: HashMap<(String, String), u32>,
    number: u32,
    last: [Option<(Letter, u32)>; 3],
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(Virtual::new(Time::from_seconds(1_795_395_525)));
        Self {
            scene: Dialog::parse("= limit 20000\n= repeat 3 1000\n").scene(),
            state: State::in_memory(Seed::new([7; 16]), clock.clone()),
            clock,
            delivered: HashMap::new(),
            sent: HashMap::new(),
            number: 0,
            last: [None, None, None],
        }
    }

    fn letter(&mut self, actor: usize) -> Letter {
        self.number += 1;
        let (sender, client): (_, IpAddr) = match actor {
            0 => ("root@nas.example", [192, 0, 2, 7].into()),
            // A neighbour of the first.
            1 => ("ann@office.example", [192, 0, 2, 8].into()),
            _ => ("", [198, 51, 100, 1].into()),
        };
        let now = jiff::Timestamp::from(self.clock.now());
        let date = jiff::fmt::rfc2822::to_string(&now.to_zoned_datetime(jiff::tz::TimeZone::UTC)).unwrap();
        let text = format!(
            "Message-ID: <{:06}@{actor}.example>\r\nDate: {date}\r\n\r\n{}",
            self.number,
            "figures of the day\r\n".repeat(100)
        );
        Letter {
            client,
            sender: sender.into(),
            recipients: vec![JOE.into()],
            declares: actor != 1,
            text,
            end: End::Quit,
        }
    }

    /// Until it is taken; at most one retry.
    fn deliver(&mut self, letter: &Letter) {
        for recipient in &letter.recipients {
            *self.sent.entry((letter.text.clone(), recipient.clone())).or_default() += 1;
        }
        for attempt in 0.. {
            let reply = self.say(letter);
            match reply {
                Reply::Accepted => return,
                Reply::Refused(line) => panic!("an honest message was refused: {line}\n{letter:?}"),
                Reply::Deferred(line) if attempt > 0 => panic!("it waits still: {line}\n{letter:?}"),
                Reply::Deferred(_) => self.clock.advance(Duration::from_secs(900)),
            }
        }
    }

    fn say(&mut self, letter: &Letter) -> Reply {
        let (reply, copies) = send(&self.scene, &self.state, letter);
        for recipient in copies {
            *self.delivered.entry((letter.text.clone(), recipient)).or_default() += 1;
        }
        reply
    }

    fn do_honestly(&mut self, actor: usize, habit: Habit, end: End) {
        let mut letter = Letter { end, ..self.letter(actor) };
        match habit {
            Habit::Report => self.deliver(&letter),
            Habit::Alarm | Habit::AlarmOf1970 => {
                letter = alarm(letter, matches!(habit, Habit::AlarmOf1970));
                self.deliver(&letter);
            }
            Habit::Again => {
                let (last, times) = self.last[actor].clone().unwrap_or((letter, 1));
                if times >= 3 {
                    return;
                }
                letter = Letter { end, ..last };
                self.deliver(&letter);
                self.last[actor] = Some((letter, times + 1));
                return;
            }
            Habit::Forwarded | Habit::OneByOne => return self.deliver_several(&letter, habit),
            Habit::AtOnce => {
                letter.recipients = [JOE, SUE, BOB].map(str::to_owned).into();
                self.deliver(&letter);
            }
            Habit::TooLarge => {
                let text = format!("{}{}", letter.text, "and more of it\r\n".repeat(1500));
                // Declared: an undeclared one is remembered, and makes its own sender wait.
                letter = Letter { text, declares: true, ..letter };
                for recipient in [JOE, SUE, BOB] {
                    let reply = self.say(&Letter { recipients: vec![recipient.into()], ..letter.clone() });
                    assert!(matches!(reply, Reply::Refused(_)), "{reply:?}");
                }
                return;
            }
            Habit::Lost => {
                assert_eq!(self.say(&Letter { end: End::Lost, ..letter.clone() }), Reply::Accepted);
                self.deliver(&letter);
                // Once unacknowledged it goes on absorbing: to tell a copy on purpose from the next try is impossible.
                self.last[actor] = Some((letter, 3));
                return;
            }
        }
        self.last[actor] = Some((letter, 1));
    }

    /// What is several messages, or one in several transactions.
    fn deliver_several(&mut self, letter: &Letter, habit: Habit) {
        if matches!(habit, Habit::Forwarded) {
            for alias in 0..5 {
                let text = format!("Received: by alias{alias}.example; now\r\n{}", letter.text);
                self.deliver(&Letter { text, ..letter.clone() });
            }
        } else {
            for recipient in [JOE, SUE, BOB] {
                self.deliver(&Letter { recipients: vec![recipient.into()], ..letter.clone() });
            }
        }
    }

    /// From another network; what comes of it is none of the honest.
    fn attack(&mut self, actor: usize, attack: Attack) {
        let client = [203, 0, 113, 9].into();
        let known = self.last[actor].clone().map_or_else(|| self.letter(actor), |(letter, _)| letter);
        let known = Letter { client, ..known };
        let letters = match attack {
            Attack::Preplay => vec![Letter { end: End::Lost, ..known }],
            Attack::PreplayDelivered => {
                let text = format!("Delivered-To: {JOE}\r\n{}", known.text);
                vec![Letter { end: End::Lost, text, ..known }]
            }
            Attack::ForgedOversize => {
                let text = "too large\r\n".repeat(3000);
                vec![Letter { text, declares: false, ..known }; 8]
            }
            Attack::LyingSize => {
                let lies = |number: usize| Letter { text: "x\r\n".repeat(number), declares: true, ..known.clone() };
                (1..20).map(lies).collect()
            }
            Attack::Copies => vec![known; 8],
        };
        for letter in letters {
            let _ = send(&self.scene, &self.state, &letter);
        }
    }

    fn check(&self) {
        for (copy, sent) in &self.sent {
            let delivered = self.delivered.get(copy).copied().unwrap_or(0);
            assert_eq!(delivered, *sent, "{}", &copy.0[..copy.0.len().min(200)]);
        }
    }
}

/// Always the same octets: without a Date, or with that of a clock that stands.
fn alarm(letter: Letter, of_1970: bool) -> Letter {
    let from = letter.text.find("Date: ").unwrap();
    let behind = from + letter.text[from..].find("\r\n").unwrap() + 2;
    let date = if of_1970 { "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n" } else { "" };
    let text = format!("Message-ID: <alarm@{}>\r\n{date}{}", letter.sender, &letter.text[behind..]);
    Letter { text, ..letter }
}

fn habit() -> impl Strategy<Value = Habit> {
    select(vec![
        Habit::Report,
        Habit::Alarm,
        Habit::AlarmOf1970,
        Habit::Again,
        Habit::Forwarded,
        Habit::OneByOne,
        Habit::AtOnce,
        Habit::TooLarge,
        Habit::Lost,
    ])
}

fn attack() -> impl Strategy<Value = Attack> {
    select(vec![Attack::Preplay, Attack::PreplayDelivered, Attack::ForgedOversize, Attack::LyingSize, Attack::Copies])
}

/// How a client ends that has read the 250.
fn end() -> impl Strategy<Value = End> {
    select(vec![End::Quit, End::QuitBehindDot, End::QuitBehindDotThenReset, End::Close, End::HalfCloseThenRead])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_honest_is_harmed(steps in prop::collection::vec((0usize..3, habit(), end(), prop::option::of(attack()), 0u64..120), 1..25)) {
        let mut world = World::new();
        for (actor, habit, end, attack, minutes) in steps {
            world.do_honestly(actor, habit, end);
            if let Some(attack) = attack {
                world.attack(actor, attack);
            }
            world.clock.advance(Duration::from_secs(60 * minutes));
            world.state.tables().sweep();
        }
        world.check();
    }
}

const JOE: &str = "joe@example.org";
const SUE: &str = "sue@example.org";
const BOB: &str = "bob@example.org";
