//! Sessions that are held and say nothing: after the greeting, after the handshake, or in the middle of a message.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::client::Target;
use crate::client::conversation::Conversation;
use crate::client::conversation::text;
use crate::client::local;
use crate::wire;
use crate::workload::Stage;
use crate::workload::W3;

/// Open sessions on a thread of their own; dropping it closes them.
pub(crate) struct Held {
    close: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Held {
    /// Opens the sessions, and returns when all are open.
    pub(crate) fn open(target: Target, sessions: usize, stage: Stage) -> Result<Self, String> {
        let (close, mut closed) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            let held = local(LONGEST, async {
                let open = tokio::select! {
                    open = hold(target, sessions, stage) => open,
                    _ = &mut closed => return Ok(()),
                };
                tell.send(open.as_ref().map(|_| ()).map_err(ToString::to_string))?;
                drop(closed.await);
                drop(open);
                Ok(())
            });
            // The error was already sent.
            drop(held);
        });
        let held = Self { close: Some(close), thread: Some(thread) };
        match told.recv_timeout(PATIENCE) {
            Ok(outcome) => outcome.map(|()| held),
            Err(_) => Err(format!("{sessions} sessions are not open within {} s", PATIENCE.as_secs())),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.close.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn hold(target: Target, sessions: usize, stage: Stage) -> Result<Vec<Conversation>, Box<dyn Error>> {
    let connector = wire::connector()?;
    let text: Bytes = if stage == Stage::Uploading { text(W3.size).into() } else { Bytes::new() };
    let mut held = Vec::with_capacity(sessions);
    while held.len() < sessions {
        let mut opening = JoinSet::new();
        for _ in 0..AT_A_TIME.min(sessions - held.len()) {
            let (connector, text) = (connector.clone(), text.clone());
            opening.spawn_local(async move {
                match stage {
                    Stage::Greeted => Conversation::open(target.address).await,
                    Stage::Secured => Conversation::open_for_tls(target.address).await?.secure(&connector).await,
                    Stage::Uploading => Conversation::open(target.address).await?.begin(&text[..text.len() / 2]).await,
                }
            });
        }
        while let Some(opened) = opening.join_next().await {
            held.push(opened??);
        }
    }
    Ok(held)
}

const AT_A_TIME: usize = 50;
const PATIENCE: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(3600);
