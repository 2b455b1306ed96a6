//! The client's side of the wire: accept, TLS, and the loop that drives a session.
//!
//! `accept` takes a connection, `driver` is THE loop between sockets, clock and session. [`Services`] has all that a session
//! needs from outside, [`Server`] puts the parts together. It must not decide anything about mail.

pub mod accept;
pub mod answers;
pub mod bind;
pub mod clock;
mod condition;
mod displace;
pub mod driver;
mod exchange;
pub mod following;
pub mod health;
pub mod inquiry;
mod limits;
mod linger;
pub mod look;
mod outbox;
mod pem;
pub mod probe;
mod proxy_header;
mod server;
mod services;
pub mod sessions;
pub mod settings;
mod stream;
mod tcp;
pub mod tls;
mod validity;
pub mod workers;

pub use crate::front::condition::Condition;
pub use crate::front::condition::Conditions;
pub use crate::front::condition::Stop;
pub use crate::front::limits::Handshakes;
pub use crate::front::server::Server;
pub use crate::front::server::Values;
pub use crate::front::services::Services;
pub use crate::front::stream::ClientStream;
