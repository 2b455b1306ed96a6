//! The backend's offer, asked for before a client needs it: at the start, and after another backend has taken over. An
//! ordinary session asks, with ourselves as the client, so that TLS and identity are as they are for clients. It must
//! not keep a client waiting, and a backend that does not answer is no reason not to serve.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::io::duplex;
use tokio::sync::watch;

use crate::front::clock;
use crate::front::driver::Driver;
use crate::front::services::Services;
use crate::front::stream::ClientStream;
use crate::policy::Policy;
use crate::session::Session;
use crate::session::io::Peer;

/// Asks for the offer, within `backend.timeout.connect`; false: it is known already, or not to be asked for.
///
/// # Errors
/// The session's reply that says why the offer is still not known.
pub async fn inquire(services: Arc<Services>) -> Result<bool, String> {
    let snapshot = services.snapshot.borrow().clone();
    let stranger = Ipv4Addr::UNSPECIFIED.into();
    let environment = snapshot.policy.client(stranger, None);
    if services.backends.offer(&environment).is_some() || Policy::denied(&environment, stranger).is_some() {
        return Ok(false);
    }
    // The address that a backend hears of: ours.
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 25));
    let peer = Peer::direct(here, here);
    let now = clock::now();
    let mut session = Session::new("inquiry".into(), snapshot, services.state.tables().seed.clone(), peer, now);
    session.inquire(now);
    let (mut client, ours) = duplex(PIPE);
    let driver = Driver::new(session, ClientStream::Pipe(ours), watch::channel(None).1, services.clone());
    // No more than one reply.
    let mut said = Vec::new();
    let listen = async {
        while let Ok(1..) = client.read_buf(&mut said).await {}
        drop(client);
    };
    tokio::join!(driver.run(), listen);
    match services.backends.offer(&environment) {
        Some(_) => Ok(true),
        None => Err(String::from_utf8_lossy(&said).trim_end().to_owned()),
    }
}

/// Octets of the pipe to that session.
const PIPE: usize = 4096;
