//! Whether the qmail queue grows: its messages are counted once a minute, by their names alone, on a thread that may wait
//! for the disk. It must not read a message, nor change anything.

use std::collections::VecDeque;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use nix::dir::Type;
use tokio::task::spawn_blocking;

use crate::queue::look::File;
use crate::queue::look::layout::Queue;
use crate::queue::look::layout::number;
use crate::status::Handles;
use crate::text::number;

/// Notes with the problems whether the queue of the configuration in force grows, until the process ends.
pub(super) async fn watch(handles: Handles) {
    let mut minutes = tokio::time::interval(EVERY);
    minutes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut growth, mut of) = (Growth::default(), None);
    let mut is_told = false;
    loop {
        minutes.tick().await;
        let queue = handles.in_force.borrow().queue.clone();
        if queue != of {
            (growth, of, is_told) = (Growth::default(), queue.clone(), false);
        }
        let text = match queue {
            None => None,
            Some(queue) => match counted(queue.clone()).await {
                Ok(messages) => growth.next(messages).map(|least| told(&queue, messages, least)),
                Err(error) => {
                    if !std::mem::replace(&mut is_told, true) {
                        let path = queue.display();
                        tracing::warn!(%path, error, remedy = "let server.user read it", "queue cannot be counted");
                    }
                    None
                }
            },
        };
        handles.problems.note_queue(text);
    }
}

fn told(queue: &Path, messages: u64, least: u64) -> String {
    let count = number::count(messages, "message");
    format!(
        "The queue {} grows: {count}, and {least} within the last hour. `portcullis queue list --summary` shows whose.",
        queue.display()
    )
}

async fn counted(queue: PathBuf) -> Result<u64, String> {
    let counted = spawn_blocking(move || count(&queue)).await;
    counted.unwrap_or_else(|error| Err(error.to_string()))
}

/// Its messages: the names in `mess`.
fn count(queue: &Path) -> Result<u64, String> {
    let queue = Queue::open(queue)?;
    let mut messages = 0;
    for place in queue.folders(File::Mess) {
        let mut folder = queue.folder(&place).map_err(|error| format!("{place}: {error}"))?;
        for entry in folder.iter() {
            let entry = entry.map_err(|error| format!("{place}: {error}"))?;
            let is_file = !matches!(entry.file_type(), Some(Type::Directory));
            messages += u64::from(is_file && number(entry.file_name().to_bytes()).is_some());
        }
    }
    Ok(messages)
}

/// The counts of the last hour, the oldest first.
#[derive(Debug, Default)]
struct Growth {
    counts: VecDeque<u64>,
    grows: bool,
}

impl Growth {
    /// Adds a count; the least of the hour, if the queue grows: more than a hundred messages and twice as many as that. It
    /// does so until it has shrunk to half more.
    fn next(&mut self, messages: u64) -> Option<u64> {
        if self.counts.len() >= HOUR {
            self.counts.pop_front();
        }
        self.counts.push_back(messages);
        let least = self.counts.iter().copied().min().unwrap_or(messages);
        let (few, many) = if self.grows { (FEW / 2, least + least / 2) } else { (FEW, least * 2) };
        self.grows = messages > few && messages > many;
        self.grows.then_some(least)
    }
}

const EVERY: Duration = Duration::from_secs(60);
/// Counts of an hour.
const HOUR: usize = 60;
/// Messages that are nobody's worry.
const FEW: u64 = 100;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_queue_grows_when_it_is_large_and_has_doubled() {
        let table: [(&str, &[u64], Option<u64>); 9] = [
            ("empty", &[0, 0], None),
            ("large from the beginning", &[5000], None),
            ("large and steady", &[5000, 5100, 4900], None),
            ("a few", &[0, 100], None),
            ("more", &[0, 101], Some(0)),
            ("doubled", &[300, 601], Some(300)),
            ("not quite", &[300, 600], None),
            ("still more than half more", &[300, 601, 500], Some(300)),
            ("shrunk", &[300, 601, 450], None),
        ];
        for (what, counts, expected) in table {
            let mut growth = Growth::default();
            assert_eq!(counts.iter().fold(None, |_, count| growth.next(*count)), expected, "{what}");
        }
    }

    #[test]
    fn what_it_was_more_than_an_hour_ago_does_not_count() {
        let mut growth = Growth::default();
        growth.next(10);
        (1..HOUR).for_each(|_| assert_eq!(growth.next(500), Some(10)));
        assert_eq!(growth.next(500), None, "that is its size now");
    }

    #[test]
    fn messages_are_counted_by_their_names() {
        let queue = tempfile::tempdir().unwrap();
        for folder in [
            "mess/0", "mess/1", "mess/2", "info/0", "info/1", "info/2", "todo", "intd", "local/0", "remote/0",
            "bounce", "lock", "pid",
        ] {
            std::fs::create_dir_all(queue.path().join(folder)).unwrap();
        }
        for file in ["mess/0/12", "mess/1/13", "mess/2/14", "mess/2/core", "info/0/12"] {
            std::fs::write(queue.path().join(file), "").unwrap();
        }
        assert_eq!(count(queue.path()), Ok(3));
        assert!(count(Path::new("/nowhere")).is_err());
    }
}
