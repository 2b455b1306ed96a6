//! Everybody who looks at once: open pages, readers that read nothing, and a scraper, on a thread of their own.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio::time::interval;
use tokio::time::sleep;

use crate::client::local;

/// Those who look, until they are dropped.
pub(crate) struct Watching {
    close: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watching {
    /// Opens [`PAGES`] streams that are read, [`SLOW`] that are not, and asks for the metrics each second. Returns when the
    /// pages have got their first octets.
    pub(crate) fn begin(socket: &Path) -> Result<Self, String> {
        let (close, closed) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::sync_channel(PAGES);
        let socket = socket.to_owned();
        let thread = std::thread::spawn(move || {
            let ended = local(LONGEST, async {
                let mut looking = JoinSet::new();
                (0..PAGES).for_each(|_| _ = looking.spawn_local(page(socket.clone(), tell.clone())));
                (0..SLOW).for_each(|_| _ = looking.spawn_local(nothing_read(socket.clone())));
                looking.spawn_local(scrape(socket.clone()));
                drop(closed.await);
                Ok(())
            });
            // It ends when it is told to, or the bench is over.
            drop(ended);
        });
        let watching = Self { close: Some(close), thread: Some(thread) };
        for number in 0..PAGES {
            let begun = told.recv_timeout(PATIENCE);
            begun.map_err(|_| format!("{number} of {PAGES} pages are live within {} s", PATIENCE.as_secs()))?;
        }
        Ok(watching)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        drop(self.close.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn page(socket: PathBuf, begun: std::sync::mpsc::SyncSender<()>) {
    let Ok(mut stream) = ask(&socket, "/api/v1/events").await else { return };
    let mut room = vec![0; 64 << 10];
    // An answer that ends at once is no page that lives.
    let mut reads = 0;
    while let Ok(1..) = stream.read(&mut room).await {
        reads += 1;
        if reads == 2 {
            let _ = begun.try_send(());
        }
    }
}

/// Comes again when it is dropped.
async fn nothing_read(socket: PathBuf) {
    loop {
        if let Ok(stream) = ask(&socket, "/api/v1/events").await {
            drop(stream.ready(tokio::io::Interest::ERROR).await);
        }
        sleep(AGAIN).await;
    }
}

async fn scrape(socket: PathBuf) {
    let mut seconds = interval(EVERY);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        let Ok(mut stream) = ask(&socket, "/metrics").await else { continue };
        let mut room = vec![0; 64 << 10];
        while let Ok(1..) = stream.read(&mut room).await {}
    }
}

async fn ask(socket: &Path, path: &str) -> std::io::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

/// Open pages.
const PAGES: usize = 100;
/// Streams that nobody reads.
const SLOW: usize = 50;
const EVERY: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(20);
const LONGEST: Duration = Duration::from_secs(3600);
