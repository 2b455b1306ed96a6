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

/// Several of one kind are alternatives; different kinds must all hold.
#[derive(Args, Clone, Debug)]
pub(super) struct Filter {
    /// From this sender: an address, @host, or <> for bounces; compared as badmailfrom is
    #[arg(long, help_heading = WHICH, value_name = "ADDRESS")]
    sender: Vec<String>,
    /// To this recipient, done or not: an address or @host, as the queue has it
    #[arg(long, help_heading = WHICH, value_name = "ADDRESS")]
    recipient: Vec<String>,
    /// With such a subject: * is any text, ? any octet; the whole of it, in any case
    #[arg(long, help_heading = WHICH, value_name = "GLOB")]
    subject: Vec<String>,
    /// With such a field in the header
    #[arg(long, help_heading = WHICH, value_name = "'NAME: GLOB'")]
    header: Vec<String>,
    /// Larger than that: 500kB, 10MB
    #[arg(long, help_heading = WHICH, value_name = "SIZE", value_parser = units::size)]
    larger: Option<u64>,
    /// In the queue for longer than that: 2h, 3d
    #[arg(long, help_heading = WHICH, value_name = "TIME", value_parser = units::duration)]
    older: Option<Duration>,
    /// In that state, in the queue: S2, S3, S4, S5, orphan
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
                eprintln!("--state is for messages of the queue: what is in quarantine has none of these");
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
            true => Err(bad("say which messages: numbers, --sender ADDRESS, another filter, or all; see queue list")),
            false => Ok(filter),
        }
    }
}

/// The number of a message.
pub(super) fn message_number(word: &str) -> Result<u64, String> {
    number(word.as_bytes()).ok_or_else(|| format!("{word:?}: write a number as queue list shows it, such as 10051767"))
}

/// Heading of these options in the help.
const WHICH: &str = "Which messages";
