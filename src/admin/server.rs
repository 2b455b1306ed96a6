//! The server of the interface: connections, their places and limits. It must not know what is asked.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpListener;
use tokio::net::UnixListener;

use crate::admin::places::Place;
use crate::admin::places::Places;
use crate::admin::steady::Steady;

/// A listener, and what answers there.
pub(super) async fn serve_tcp(listener: std::net::TcpListener, router: Router) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let places = Arc::new(Places::default());
    loop {
        accept(listener.accept().await.map(|accepted| accepted.0), &router, &places).await;
    }
}

/// As [`serve_tcp`].
pub(super) async fn serve_unix(listener: std::os::unix::net::UnixListener, router: Router) {
    let Ok(listener) = UnixListener::from_std(listener) else { return };
    let places = Arc::new(Places::default());
    loop {
        accept(listener.accept().await.map(|accepted| accepted.0), &router, &places).await;
    }
}

async fn accept<S>(accepted: io::Result<S>, router: &Router, places: &Arc<Places>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(stream) = accepted else { return tokio::time::sleep(PAUSE).await };
    // All places belong to requests with the token: the client has to try again.
    let Some(place) = places.take() else { return };
    tokio::spawn(serve(stream, router.clone(), place));
}

async fn serve<S>(stream: S, router: Router, place: Place)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router.layer(Extension(place.visit())));
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER).max_buf_size(LARGEST_HEADER).max_headers(MOST_HEADERS);
    let served = server.serve_connection(TokioIo::new(Steady::new(stream)), service);
    tokio::select! {
        _ = served => {}
        () = place.left() => {}
        () = place.out_of_time() => {}
    }
}

/// Time for a header, also for that of a next request.
const HEADER: Duration = Duration::from_secs(5);
/// Octets of a request's header, which may have a message's envelope in its target.
const LARGEST_HEADER: usize = 64 << 10;
const MOST_HEADERS: usize = 64;
const PAUSE: Duration = Duration::from_millis(50);
