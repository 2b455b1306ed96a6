//! Whether the qmail queue grows: its messages are counted once a minute, by their names alone, on a thread that may wait
//! for the disk. It must not read a message, nor change anything.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use nix::dir::Type;
use tokio::task::JoinHandle;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

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
    let (mut is_told, mut text, mut misses, mut counting) = (false, None, 0, None);
    loop {
        minutes.tick().await;
        let queue = handles.in_force.borrow().queue.clone();
        if queue != of {
            (growth, of, is_told) = (Growth::default(), queue.clone(), false);
            (text, misses, counting) = (None, 0, None);
        }
        if let Some(queue) = queue {
            match counted(&queue, &mut counting).await {
                Ok(messages) => {
                    misses = 0;
                    text = growth.next(messages).map(|least| told(&queue, messages, least));
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_told, true) {
                        let path = queue.display();
                        tracing::warn!(%path, error, remedy = "let server.user read it", "queue cannot be counted");
                    }
                    // What was known lasts a while: one count that fails is not the end of it.
                    misses += 1;
                    text = text.filter(|_| misses < HOUR);
                }
            }
        }
        handles.problems.note_queue(text.clone());
    }
}

fn told(queue: &Path, messages: u64, least: u64) -> String {
    let count = number::count(messages, "message");
    format!(
        "The queue {} grows: {count}, and {least} within the last hour. `portcullis queue list --summary` shows whose.",
        queue.display()
    )
}

/// A count that does not end in time goes on in `counting`, and no other is begun beside it.
async fn counted(queue: &Path, counting: &mut Option<Counting>) -> Result<u64, String> {
    let queue = queue.to_owned();
    let running = counting.get_or_insert_with(|| spawn_blocking(move || count(&queue)));
    let Ok(counted) = timeout(LIMIT, running).await else {
        return Err(format!("not counted within {} s", LIMIT.as_secs()));
    };
    *counting = None;
    counted.unwrap_or_else(|error| Err(error.to_string()))
}

type Counting = JoinHandle<Result<u64, String>>;

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
const LIMIT: Duration = Duration::from_secs(30);
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

    #[tokio::test]
    async fn a_count_that_still_runs_is_taken_and_no_other_begun() {
        let (end, hangs) = std::sync::mpsc::channel();
        let mut counting = Some(spawn_blocking(move || hangs.recv().map_err(|error| error.to_string())));
        end.send(7).unwrap();
        assert_eq!(counted(Path::new("/nowhere"), &mut counting).await, Ok(7));
        assert!(counting.is_none());
        assert!(counted(Path::new("/nowhere"), &mut counting).await.is_err());
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
