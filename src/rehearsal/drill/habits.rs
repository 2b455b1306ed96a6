//! Honest traffic: habits of real senders that look like a storm, each a row of the second table. All their mail has to
//! arrive, as it would without us; a deferral is obeyed and tried again. It must not be made to fit the policy: a habit
//! that is harmed is a fault of the policy, or of the configuration.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::Timestamp;

use crate::rehearsal::drill::client;
use crate::rehearsal::drill::client::End;
use crate::rehearsal::drill::client::Letter;
use crate::rehearsal::drill::client::Outcome;
use crate::rehearsal::drill::letters::RECIPIENT;
use crate::rehearsal::drill::letters::letter;

/// A habit: its name in the table, and the function that plays it.
pub(super) struct Habit {
    pub(super) name: &'static str,
    pub(super) play: fn(&Course) -> io::Result<u32>,
}

/// The instance or backend that a habit is played against.
pub(super) struct Course<'a> {
    pub(super) address: SocketAddr,
    /// The time at which the habit begins.
    pub(super) began: Timestamp,
    /// The largest message that passes, in octets.
    pub(super) limit: usize,
    /// Lets time pass.
    pub(super) pass: &'a dyn Fn(Duration),
    /// Number of messages accepted.
    pub(super) accepted: &'a Cell<u32>,
}

/// The habits, in the order of the table.
pub(super) const HABITS: &[Habit] = &[
    Habit { name: "a report of equal size every hour", play: |course| course.dated(24, HOUR, 71_000, End::Quit) },
    Habit { name: "an alarm without Date or counter", play: |course| course.alarms("Date:") },
    Habit { name: "an alarm of a clock at 1970", play: |course| course.alarms_of_1970() },
    Habit { name: "sent twice on purpose", play: |course| course.twice(End::Quit) },
    Habit { name: "twice, QUIT and close", play: |course| course.twice(End::QuitAndClose) },
    Habit { name: "twice, QUIT behind the dot", play: |course| course.twice(End::QuitBehindDot) },
    Habit { name: "twice, and its side ended (Exim)", play: |course| course.twice(End::QuitAndShutDown) },
    Habit { name: "twice, closed without QUIT", play: |course| course.twice(End::Close) },
    Habit { name: "a reminder, same text each minute", play: |course| course.dated(12, MINUTE, 2_000, End::Close) },
    Habit { name: "one mail through five forwards", play: |course| course.forwards() },
    Habit { name: "one mail to twenty, one by one", play: |course| course.one_by_one() },
    Habit { name: "a list of a hundred", play: |course| course.list() },
    Habit { name: "bounces of a mailing", play: |course| course.bounces() },
    Habit { name: "too large for six, then a small one", play: |course| course.too_large_for_six() },
    Habit { name: "too large, then a link, undeclared", play: |course| course.too_large_then_link() },
    Habit { name: "large ones in a row", play: |course| course.dated(5, MINUTE, 900_000, End::QuitAndClose) },
    Habit { name: "dots in addresses", play: |course| course.from("<try..this.@phone.example>", "EHLO phone.example") },
    Habit { name: "words behind EHLO", play: |course| course.from("<bob@pc.example>", "EHLO Bob's PC") },
    Habit { name: "no brackets", play: |course| course.from("raid@array.example", "HELO array") },
    Habit { name: "no domain", play: |course| course.from("<root>", "HELO ups") },
];

impl Course<'_> {
    /// Sends a message until it is accepted or rejected.
    fn send(&self, letter: &Letter) -> io::Result<()> {
        for _ in 0..MOST_TRIES {
            match client::send(self.address, letter)?.0 {
                Outcome::Accepted => {
                    self.accepted.set(self.accepted.get() + 1);
                    return Ok(());
                }
                Outcome::Rejected => return Ok(()),
                Outcome::Deferred => (self.pass)(RETRY),
            }
        }
        Ok(())
    }

    /// Sends messages, each counted as sent whatever its reply.
    fn all(&self, letters: impl IntoIterator<Item = Letter>, pause: Duration) -> io::Result<u32> {
        let mut sent = 0;
        for letter in letters {
            self.send(&letter)?;
            (self.pass)(pause);
            sent += 1;
        }
        Ok(sent)
    }

    fn at(&self, after: Duration) -> Timestamp {
        self.began.saturating_add(SignedDuration::try_from(after).unwrap_or(SignedDuration::ZERO)).unwrap_or(self.began)
    }

    /// Sends the same text repeatedly, each with a Date and a Message-ID of its own.
    fn dated(&self, times: u32, pause: Duration, size: usize, end: End) -> io::Result<u32> {
        let one = |number: u32| {
            let letter = letter("<root@nas.example>", &format!("{size}-{number:04}"), self.at(pause * number), size);
            Letter { end, ..letter }
        };
        self.all((0..times).map(one), pause)
    }

    fn twice(&self, end: End) -> io::Result<u32> {
        let letter = Letter { end, ..letter("<ann@office.example>", &format!("twice-{end:?}"), self.began, 90_000) };
        self.all([letter.clone(), letter], Duration::ZERO)
    }

    fn alarms(&self, missing: &str) -> io::Result<u32> {
        let alarm = Letter { end: End::Close, ..letter("<panel@alarm.example>", "alarm", self.began, 500) };
        let alarm = alarm.without(missing);
        self.all(vec![alarm; 4], MINUTE)
    }

    fn alarms_of_1970(&self) -> io::Result<u32> {
        let alarm =
            Letter { end: End::Close, ..letter("<camera@alarm.example>", "seen", Timestamp::UNIX_EPOCH, 80_000) };
        self.all(vec![alarm; 5], MINUTE)
    }

    fn forwards(&self) -> io::Result<u32> {
        let mail = letter("<author@paper.example>", "forwarded", self.began, 90_000);
        let by = |alias: u32| mail.clone().under(&format!("Received: by alias{alias}.example; now"));
        self.all((0..5).map(by), MINUTE)
    }

    fn one_by_one(&self) -> io::Result<u32> {
        let mail = letter("<verp@list.example>", "to-each", self.began, 90_000);
        let to = |number: u32| Letter { recipients: vec![format!("<member{number}@example.org>")], ..mail.clone() };
        self.all((0..20).map(to), Duration::ZERO)
    }

    fn list(&self) -> io::Result<u32> {
        let recipients = (0..100).map(|number| format!("<member{number}@example.org>")).collect();
        self.all([Letter { recipients, ..letter("<owner@list.example>", "to-all", self.began, 5_000) }], MINUTE)
    }

    fn bounces(&self) -> io::Result<u32> {
        let one = |number: u32| letter("<>", &format!("bounce-{number}"), self.at(MINUTE * number), 3_000);
        self.all((0..12).map(one), MINUTE)
    }

    /// Sends a message that is too large to six recipients, then an ordinary one; only the ordinary one counts.
    fn too_large_for_six(&self) -> io::Result<u32> {
        let large = self.too_large("<boss@office.example>");
        for number in 0..6 {
            let recipients = vec![format!("<colleague{number}@example.org>")];
            client::send(self.address, &Letter { recipients, ..large.clone() })?;
        }
        self.all([letter("<boss@office.example>", "ordinary", self.began, 1_000)], MINUTE)
    }

    fn too_large_then_link(&self) -> io::Result<u32> {
        let large = self.too_large("<ann@device.example>");
        client::send(self.address, &large)?;
        client::send(self.address, &large)?;
        let link = letter("<ann@device.example>", "link", self.began, 1_000);
        self.all([Letter { declares: false, ..link }], MINUTE)
    }

    /// A message refused for its size, which the sink must not count where there is no limit.
    fn too_large(&self, sender: &'static str) -> Letter {
        let large = letter(sender, "large", self.began, self.limit + self.limit / 10).without("X-Honest:");
        Letter { declares: false, ..large }
    }

    fn from(&self, sender: &'static str, hello: &'static str) -> io::Result<u32> {
        let one = |number: u32| {
            let letter = letter(sender, &format!("{}-{number}", hello.len()), self.at(MINUTE * number), 1_000);
            Letter { hello, declares: !hello.starts_with("HELO"), ..letter }
        };
        let to = |letter: Letter| Letter { recipients: vec![format!("<{RECIPIENT}>")], ..letter };
        self.all((0..2).map(one).map(to), MINUTE)
    }
}

/// Tries of one message; a real sender's queue gives up after days.
const MOST_TRIES: usize = 20;
const RETRY: Duration = Duration::from_mins(15);
const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);
