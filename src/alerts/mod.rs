//! Alerts: an operator is told of problems when they begin and when they are over, by webhooks and commands. They have a
//! thread of their own, and need no admin interface. They must never be in the path of mail, nor go by mail: that is what
//! is jammed.

mod command;
mod due;
mod event;
mod memory;
mod outbox;
mod queue;
mod telling;
mod templates;
mod webhook;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;

use crate::alerts::event::Event;
use crate::config::checked::alert::Alert;
use crate::config::checked::alert::Channel;
use crate::status::Handles;

/// What became of one try to send an event, in words for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was taken; what was answered.
    Sent(String),
    /// It may be taken later; the receiver may wish so many seconds.
    Later(String, Option<u32>),
    /// It will not be taken.
    Never(String),
}

/// Tells `alerts` of problems until the process ends. `memory` is the file in which is kept what was told, so that a restart tells
/// it neither again nor never.
///
/// # Errors
/// The system has no thread.
pub(crate) fn start(handles: Handles, alerts: watch::Receiver<Vec<Alert>>, memory: Option<PathBuf>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name("portcullis-alerts".to_owned());
    let work = async move { tokio::join!(telling::tell(handles.clone(), alerts, memory), queue::watch(handles)) };
    thread.spawn(move || _ = runtime.block_on(work))?;
    Ok(())
}

/// Sends an event once.
async fn send(alert: &Alert, event: &Event) -> Outcome {
    match &alert.channel {
        Channel::Command(words) => command::run(words, event).await,
        Channel::Webhook(webhook) => webhook::send(webhook, event, seconds(alert.repeat)).await,
    }
}

/// Sends a test event once, from `host` at `now`, for a command without a runtime: what was answered, or why it failed.
///
/// # Errors
/// As the log would have it.
pub(crate) fn test(alert: &Alert, host: &str, now: u32) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let outcome = runtime.block_on(send(alert, &Event::test(host, now)));
    // A thread that hangs in reading a file is not waited for.
    runtime.shutdown_background();
    match outcome {
        Outcome::Sent(answer) => Ok(answer),
        Outcome::Later(what, _) | Outcome::Never(what) => Err(what),
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
