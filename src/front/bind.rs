//! A listening socket. It must not accept a connection.

use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::os::fd::OwnedFd;

use rustix::net::AddressFamily;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::net::sockopt;

/// A socket that listens at `address` and does not block. With `only_v6` the address is `[::]` and takes no IPv4.
///
/// # Errors
/// The system's, for the address.
pub fn bind(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = bound(address, only_v6)?;
    // The standard backlog of 128 is short for a storm: a client without room tries again after seconds.
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// A socket that has the address and does not listen yet: to see whether it can be had.
///
/// # Errors
/// The system's, for the address.
pub fn bound(address: SocketAddr, only_v6: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // Connections of the proxy before us may linger.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if only_v6 {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

const BACKLOG: i32 = 1024;
