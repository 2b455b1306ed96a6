//! The backend's offer, asked for before a client needs it: at the start, after another backend has taken over, and
//! where the last answer is old. An ordinary session asks, with ourselves as the client, so that TLS and identity are as
//! they are for clients. It must not keep a client waiting, and a backend that does not answer is no reason not to serve.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::io::duplex;
use tokio::sync::watch;

use crate::front::clock;
use crate::front::condition::Condition;
use crate::front::driver::Driver;
use crate::front::services::Services;
use crate::front::stream::ClientStream;
use crate::policy::Policy;
use crate::policy::environment::Environment;
use crate::session::Session;
use crate::session::io::Peer;

/// Asks for the offer to clients without a rule of their own, within `backend.timeout.connect`; false: the backend was
/// heard since the start, or is not to be asked.
///
/// # Errors
/// The session's reply that says why the offer is still not known.
pub async fn inquire(services: Arc<Services>) -> Result<bool, String> {
    let stranger = Ipv4Addr::UNSPECIFIED.into();
    let environment = services.snapshot.borrow().policy.client(stranger, None);
    let is_fresh = services.backends.offer(&environment).is_some_and(|(_, is_fresh)| is_fresh);
    if is_fresh || services.backends.has_heard(&environment) || Policy::denied(&environment, stranger).is_some() {
        return Ok(false);
    }
    let said = ask(services.clone(), environment.clone()).await;
    if services.backends.has_heard(&environment) { Ok(true) } else { Err(said) }
}

/// Asks whether the backend answers, whatever is known of it.
///
/// # Errors
/// The session's reply that says why it does not.
pub(super) async fn probe(services: Arc<Services>) -> Result<(), String> {
    let stranger = Ipv4Addr::UNSPECIFIED.into();
    let environment = services.snapshot.borrow().policy.client(stranger, None);
    let said = ask(services, environment).await;
    if said.is_empty() { Ok(()) } else { Err(said) }
}

/// Asks again for an offer that is not fresh, in the background: clients are answered by the old one meanwhile.
pub(super) fn renew(services: &Arc<Services>, environment: &Environment) {
    let is_denied = environment.rule().is_some_and(|rule| rule.deny);
    if !is_denied && services.backends.may_renew(environment) {
        let (services, environment) = (services.clone(), environment.clone());
        tokio::spawn(async move {
            tokio::select! {
                _ = ask(services.clone(), environment) => {}
                () = services.conditions.reached(Condition::is_stopping) => {}
            }
        });
    }
}

/// Asks, and gives what the session had to say, which is nothing when it was answered.
async fn ask(services: Arc<Services>, environment: Environment) -> String {
    let snapshot = services.snapshot.borrow().clone();
    // The address that a backend hears of: ours.
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 25));
    let peer = Peer::direct(here, here);
    let now = clock::now();
    let mut session = Session::new("inquiry".into(), snapshot, services.state.tables().seed.clone(), peer, now);
    session.inquire(environment.clone(), now);
    let (mut client, ours) = duplex(PIPE);
    let driver = Driver::new(session, ClientStream::Pipe(ours), watch::channel(None).1, services.clone());
    // No more than one reply.
    let mut said = Vec::new();
    let listen = async {
        while let Ok(1..) = client.read_buf(&mut said).await {}
        drop(client);
    };
    tokio::join!(driver.run(), listen);
    String::from_utf8_lossy(&said).trim_end().to_owned()
}

/// Octets of the pipe to that session.
const PIPE: usize = 4096;
