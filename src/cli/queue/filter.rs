//! The options that select messages. It must not compare messages: `queue::look::filter` does.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::cli::BAD_USAGE;
use crate::config::units;
use crate::queue::look::State;
use crate::queue::look::filter;
use crate::queue::look::filter::Words;
use crate::queue::look::layout::number;
use crate::text::number::count;
use crate::text::shell;

/// Several of one kind are alternatives; different kinds must all hold.
#[derive(Args, Clone, Debug)]
pub(super) struct Filter {
    /// From this sender: an address, @host, or <> for bounces; compared as in badmailfrom
    #[arg(long, help_heading = WHICH, value_name = "ADDRESS")]
    sender: Vec<String>,
    /// To this recipient, done or not: an address or @host, as the queue has it
    #[arg(long, help_heading = WHICH, value_name = "ADDRESS")]
    recipient: Vec<String>,
    /// With a subject that matches as a whole, ignoring case: * is any text, ? any octet
    #[arg(long, help_heading = WHICH, value_name = "GLOB")]
    subject: Vec<String>,
    /// With a matching header field
    #[arg(long, help_heading = WHICH, value_name = "'NAME: GLOB'")]
    header: Vec<String>,
    /// Larger than this: 500kB, 10MB
    #[arg(long, help_heading = WHICH, value_name = "SIZE", value_parser = units::size)]
    larger: Option<u64>,
    /// In the queue for longer than this: 2h, 3d
    #[arg(long, help_heading = WHICH, value_name = "TIME", value_parser = units::duration)]
    older: Option<Duration>,
    /// In this state of the queue: S2, S3, S4, S5, orphan
    #[arg(long, help_heading = WHICH, value_name = "STATE")]
    state: Vec<State>,
}

impl Filter {
    /// The filter with these numbers; prints the fault otherwise.
    pub(super) fn read(&self, ids: &[u64]) -> Result<filter::Filter, ExitCode> {
        let words = Words {
            senders: self.sender.clone(),
            recipients: self.recipient.clone(),
            subjects: self.subject.clone(),
            headers: self.header.clone(),
            larger: self.larger,
            older: self.older,
            states: self.state.clone(),
            ids: ids.to_vec(),
        };
        filter::Filter::new(words).map_err(|what| {
            eprintln!("{what}");
            ExitCode::from(BAD_USAGE)
        })
    }

    /// Refuses states for quarantined messages, which have none; prints the fault.
    pub(super) fn of_quarantine(&self) -> Result<(), ExitCode> {
        match self.state.iter().all(|state| *state == State::Quarantined) {
            true => Ok(()),
            false => {
                eprintln!("--state selects messages in the queue; quarantined messages have no state");
                Err(ExitCode::from(BAD_USAGE))
            }
        }
    }
}

/// Which messages are to be changed: numbers, a filter, or `all`; never all by an oversight.
#[derive(Args, Clone, Debug)]
pub(super) struct Which {
    /// Numbers, as `list` shows them, or the word all
    #[arg(value_name = "NUMBER|all")]
    words: Vec<String>,
    /// The same as the word all
    #[arg(long, hide = true)]
    all: bool,
    #[command(flatten)]
    filter: Filter,
}

impl Which {
    /// The filter for messages in quarantine; prints the fault otherwise.
    pub(super) fn read_quarantined(&self) -> Result<filter::Filter, ExitCode> {
        self.filter.of_quarantine()?;
        self.read()
    }

    /// The filter for messages in the queue; prints the fault otherwise.
    pub(super) fn read(&self) -> Result<filter::Filter, ExitCode> {
        let bad = |what: &str| {
            eprintln!("{what}");
            ExitCode::from(BAD_USAGE)
        };
        let is_all = self.all || self.words.iter().any(|word| word == "all");
        let numbers = self.words.iter().filter(|word| *word != "all").map(|word| message_number(word));
        let ids: Vec<u64> = numbers.collect::<Result<_, _>>().map_err(|what| bad(&format!("{what}, or all")))?;
        if is_all && !ids.is_empty() {
            return Err(bad("write numbers or all, not both"));
        }
        let filter = self.filter.read(&ids)?;
        match filter.is_empty() && !is_all {
            true => Err(bad(
                "say which messages: numbers, --sender ADDRESS, another filter, or all; see portcullis queue list",
            )),
            false => Ok(filter),
        }
    }
}

/// The bounces to senders, which a filter by sender does not select.
pub(super) struct Bounces {
    recipients: Vec<String>,
    filter: filter::Filter,
}

impl Which {
    /// The bounces to the senders that are selected, or to `senders` where the filter names none; `None` where there can be
    /// none, or too many senders to name.
    pub(super) fn bounces_to(&self, senders: Vec<String>) -> Option<Bounces> {
        let named = &self.filter.sender;
        let recipients = if named.is_empty() { senders } else { named.clone() };
        let can_be_written = |sender: &String| sender.contains('@') && !sender.starts_with('#');
        let recipients: Vec<String> = recipients.into_iter().filter(can_be_written).collect();
        if recipients.is_empty() || recipients.len() > MOST_NAMED {
            return None;
        }
        let words = Words { senders: vec!["<>".to_owned()], recipients: recipients.clone(), ..Words::default() };
        Some(Bounces { filter: filter::Filter::new(words).ok()?, recipients })
    }
}

impl Bounces {
    pub(super) fn filter(&self) -> &filter::Filter {
        &self.filter
    }

    /// Says how many remain in `place`, and the sub-command that takes them too. `options` name the queue.
    pub(super) fn tell(&self, remaining: u64, place: &str, command: &str, options: &str) {
        if remaining == 0 {
            return;
        }
        let named: String = self.recipients.iter().map(|it| format!(" --recipient {}", shell::word(it))).collect();
        let verb = if remaining == 1 { "remains" } else { "remain" };
        let bounces = count(remaining, "bounce");
        eprintln!("{bounces} to {} {verb} in {place}:", self.recipients.join(", "));
        eprintln!("  portcullis queue {command} --sender '<>'{named}{options}");
    }
}

/// Senders that are named in a command.
const MOST_NAMED: usize = 5;

/// The number of a message.
pub(super) fn message_number(word: &str) -> Result<u64, String> {
    number(word.as_bytes()).ok_or_else(|| format!("{word:?}: write a number as queue list shows it, such as 10051767"))
}

/// Heading of these options in the help.
const WHICH: &str = "Which messages";
