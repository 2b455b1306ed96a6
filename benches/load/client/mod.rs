//! The sending side: a fixed number of connections on one thread, in a closed or an open loop. A reply that is not the
//! expected one ends the run with an error: a proxy that refuses is not fast.

mod conversation;
pub(crate) mod idle;
pub(crate) mod pace;
pub(crate) mod watching;

use std::cell::RefCell;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;

use crate::client::conversation::Conversation;
use crate::client::conversation::text;
use crate::client::pace::Extent;
use crate::client::pace::Pace;
use crate::systems::Refusal;
use crate::wire;
use crate::workload::Shape;

/// The result of one run.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) acts: usize,
    pub(crate) seconds: f64,
    /// Time of each act from when it was due, connecting included; sorted.
    pub(crate) latencies: Vec<Duration>,
}

/// A system to talk to, and its refusals.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) refusal: Refusal,
}

/// Sends as many messages as fit into `extent`.
pub(crate) fn run(target: Target, shape: &Shape, extent: Extent) -> Result<Outcome, Box<dyn Error>> {
    let shared = Rc::new(Shared {
        target,
        shape: *shape,
        text: text(shape.size).into(),
        connector: wire::connector()?,
        pace: Pace::new(extent),
        latencies: RefCell::default(),
    });
    local(extent.time + PATIENCE, async {
        let begin = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..shape.connections {
            let shared = shared.clone();
            tasks.spawn_local(async move { shared.work().await });
        }
        let scheduled = shared.clone();
        tasks.spawn_local(async move { scheduled.pace.schedule().await });
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        let seconds = begin.elapsed().as_secs_f64();
        let mut latencies = shared.latencies.take();
        latencies.sort_unstable();
        Ok(Outcome { acts: latencies.len(), seconds, latencies })
    })
}

struct Shared {
    target: Target,
    shape: Shape,
    text: Bytes,
    connector: TlsConnector,
    pace: Pace,
    latencies: RefCell<Vec<Duration>>,
}

impl Shared {
    /// Opens one connection after the other.
    async fn work(&self) -> io::Result<()> {
        let mut open: Option<(Conversation, usize)> = None;
        while let Some(due) = self.pace.next().await {
            let (mut conversation, acts) = match open.take() {
                Some(open) => open,
                None => (self.open().await?, 0),
            };
            let goes_on = conversation.act(&self.shape, &self.text, self.target.refusal).await?;
            self.latencies.borrow_mut().push(due.elapsed());
            let acts = acts + 1;
            if goes_on && acts == self.shape.acts {
                conversation.quit().await?;
            } else if goes_on {
                open = Some((conversation, acts));
            }
        }
        match open {
            Some((mut conversation, _)) => conversation.quit().await,
            None => Ok(()),
        }
    }

    async fn open(&self) -> io::Result<Conversation> {
        let mut conversation = match self.shape.tls {
            true => Conversation::open_for_tls(self.target.address).await?.secure(&self.connector).await?,
            false => Conversation::open(self.target.address).await?,
        };
        // A handshake measures its own completion.
        if self.shape.act != crate::workload::Act::Handshake {
            conversation.hello().await?;
        }
        Ok(conversation)
    }
}

/// Runs a future on this thread alone.
pub(crate) fn local<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Box<dyn Error>>>,
) -> Result<T, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let within = async { tokio::time::timeout(limit, work).await };
    match LocalSet::new().block_on(&runtime, within) {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("not done within {} s", limit.as_secs()).into()),
    }
}

/// Time for the acts still running at the end.
const PATIENCE: Duration = Duration::from_secs(60);
