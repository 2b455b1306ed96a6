//! A listening socket. It must not accept a connection.

use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;

use nix::sys::socket;

/// A socket that listens at `address` and does not block.
///
/// # Errors
/// The system's, for the address.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    // The standard backlog of 128 is short for a storm: what has no room comes again after seconds.
    let backlog = socket::Backlog::new(1024).unwrap_or(socket::Backlog::MAXCONN);
    socket::listen(&listener, backlog)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
