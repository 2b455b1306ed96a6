//! `queue show`: prints all that is known of one message and its state. It must not change anything.

use std::collections::HashSet;
use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::cli::print;
use crate::cli::queue::QueueArgs;
use crate::cli::queue::filter::message_number;
use crate::cli::queue::now;
use crate::cli::queue::table::age;
use crate::cli::queue::table::message_json;
use crate::cli::queue::table::sender;
use crate::cli::queue::table::size;
use crate::cli::zone::moment;
use crate::queue::look::File;
use crate::queue::look::Files;
use crate::queue::look::Message;
use crate::queue::look::Recipients;
use crate::queue::look::State;
use crate::queue::look::read::Reader;
use crate::queue::look::read::Want;
use crate::queue::look::retry;
use crate::queue::look::scan::Entry;
use crate::queue::quarantine::folder::Quarantine;
use crate::queue::quarantine::running;
use crate::text::readable;
use crate::text::readable::shown;

/// Show one message: envelope, state, times, header, and what happens to it next
#[derive(Args, Debug)]
pub(super) struct Show {
    /// As `list` shows it
    #[arg(value_name = "NUMBER", value_parser = message_number)]
    id: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    args: QueueArgs,
}

impl Show {
    pub(super) fn run(&self) -> ExitCode {
        let queue = match self.args.open() {
            Ok(queue) => queue,
            Err(code) => return code,
        };
        let want = Want { recipients: Some(usize::MAX), header: Some(Vec::new()), ..Want::default() };
        let entry = Entry { id: self.id, files: Files::default() };
        let found = Reader::new(&queue).read(entry, &want);
        let kept = Quarantine::look(&self.args.quarantine(&queue), &queue).ok().flatten();
        // Of a message that only waits to be removed from the queue the copy says more; but a message copied there from
        // elsewhere may have another message's number.
        let is_own = kept.as_ref().is_some_and(|kept| kept.has(self.id));
        let kept = kept.and_then(|kept| kept.message(self.id, &want).ok().flatten());
        let Some(message) = (if is_own { kept.or(found) } else { found.or(kept) }) else {
            eprintln!("no message {} in this queue or in quarantine; it may have been delivered", self.id);
            return ExitCode::FAILURE;
        };
        match self.json {
            true => print(&json(&message).to_string()),
            false => print(text(&message, now()).trim_end()),
        }
        let stands = queue.stat(&queue.place(File::Mess, self.id)).is_ok_and(|stat| stat.st_ino == self.id);
        if message.state() == State::Quarantined && stands {
            eprintln!("it is still in the queue, with nothing left to do: qmail-send removes it at its next attempt");
        }
        let dev = queue.stat("mess").map_or(0, |mess| mess.st_dev);
        for holder in running::holders(dev, &HashSet::from([self.id])) {
            eprintln!(
                "process {} ({}) has it open: a delivery is under way, or it is being received",
                holder.pid, holder.name
            );
        }
        ExitCode::SUCCESS
    }
}

fn json(message: &Message) -> serde_json::Value {
    let mut value = message_json(message, now());
    let fields = message.header.iter().flat_map(|header| &header.fields);
    value["header"] = fields.map(|(name, text)| json!({ "name": name, "text": text })).collect();
    let skips = [("local_next", &message.local, retry::LOCAL), ("remote_next", &message.remote, retry::REMOTE)];
    for (name, list, skip) in skips {
        if let Some((birth, list)) = message.birth.zip(list.as_ref()) {
            value[name] = retry::next(birth, list.modified, now(), skip).into();
        }
    }
    value
}

fn text(message: &Message, now: i64) -> String {
    let mut text = String::new();
    let mut line = |name: &str, what: &str| _ = writeln!(text, "{name:<10} {what}");
    line("number", &message.id.to_string());
    line("state", &format!("{}: {}", message.state(), message.state().meaning()));
    let files: Vec<&str> = message.files.iter().map(|file| file.name()).collect();
    line("files", &files.join(" "));
    message.size.iter().for_each(|octets| line("size", &size(*octets)));
    line("sender", &sender(message));
    if let Some(birth) = message.birth {
        line("birth", &format!("{}, {} ago", moment(birth), age(now - birth)));
    }
    if let (Some(uid), Some(qp)) = (message.uid, message.qp) {
        line("queued by", &format!("uid {uid}, qp {qp}"));
    }
    let lists = [
        ("to", &message.queued, None),
        ("local", &message.local, Some(retry::LOCAL)),
        ("remote", &message.remote, Some(retry::REMOTE)),
    ];
    for (name, list, skip) in lists {
        let Some(list) = list else { continue };
        let tries = skip.zip(message.birth).filter(|_| list.to_do > 0).map(|(skip, birth)| {
            let next = retry::next(birth, list.modified, now, skip);
            format!(", next try about {}", moment(next))
        });
        line(name, &format!("{} done, {} to do{}", list.done, list.to_do, tries.unwrap_or_default()));
        write_recipients(&mut line, list);
    }
    if let Some(octets) = message.bounce_size {
        let then = match message.state() {
            State::Quarantined => "kept, not sent to the sender",
            _ => "sent to the sender when all is done",
        };
        line("bounce", &format!("{} of failures, {then}", size(octets)));
    }
    message.troubles.iter().for_each(|trouble| line("trouble", trouble));
    line("next", next(message));
    if let Some(header) = &message.header {
        text.push('\n');
        for (name, value) in &header.fields {
            let _ = writeln!(text, "{name}: {}", shown(value));
        }
        if header.is_cut {
            text.push_str("(the header is longer than that)\n");
        }
    }
    text
}

fn write_recipients(line: &mut impl FnMut(&str, &str), list: &Recipients) {
    for recipient in list.kept.iter().take(RECIPIENTS) {
        let done = if recipient.done { "done " } else { "to do" };
        line("", &format!("{done} {}", readable::text(&recipient.address)));
    }
    if list.kept.len() > RECIPIENTS {
        line("", &format!("and {} more: --json has them all", list.kept.len() - RECIPIENTS));
    }
}

/// The state in one sentence, for the operator to decide by.
fn next(message: &Message) -> &'static str {
    let (_, to_do) = message.counts();
    match message.state() {
        State::S2 | State::S3 => {
            "qmail-queue is writing it, or was killed: what is left over is removed by qmail-send 36 hours after it was last read"
        }
        State::S4 => "qmail-send preprocesses it as soon as it is running",
        State::S5 if to_do == 0 && message.bounce_size.is_some() => {
            "nothing left to deliver; the failures are reported to the sender"
        }
        State::S5 if to_do == 0 => "nothing left to deliver: qmail-send removes it at its next attempt",
        State::S5 => "qmail-send tries the remaining recipients until the message is queuelifetime old",
        State::Orphan => "its message is gone: portcullis queue check says what to do",
        State::Quarantined => "out of the queue: portcullis queue restore brings it back",
    }
}

/// Recipients printed of each file.
const RECIPIENTS: usize = 1000;
