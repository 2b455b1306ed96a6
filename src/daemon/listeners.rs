//! The listeners: handed over by a supervisor (socket activation, `LISTEN_FDS`) where it has one for an address of the
//! configuration, else bound here. It must not accept.

use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;

use listenfd::ListenFd;
use nix::fcntl::FcntlArg;
use nix::fcntl::FdFlag;
use nix::fcntl::fcntl;

use crate::daemon::fault::StartFault;
use crate::front::bind::bind;
use crate::front::settings::Settings;

/// A bound listener.
pub(super) struct Listener {
    pub(super) socket: TcpListener,
    pub(super) implicit_tls: bool,
    /// Whether the supervisor keeps it open too: clients that connect during a restart wait, and are not refused.
    pub(super) is_inherited: bool,
}

/// Opens all listeners that the configuration names.
///
/// # Errors
/// An address cannot be bound, or a listener was handed over that the configuration does not name.
pub(super) fn open(front: &Settings) -> Result<Vec<Listener>, StartFault> {
    let mut handed_over =
        inherited().map_err(|error| StartFault::System("cannot use a listener of LISTEN_FDS", error))?;
    let plain = front.listen.iter().map(|address| (*address, false));
    let implicit = front.listen_tls.iter().map(|address| (*address, true));
    let mut listeners = Vec::new();
    for (address, implicit_tls) in plain.chain(implicit) {
        let found = handed_over.iter().position(|(_, local)| *local == address);
        let is_inherited = found.is_some();
        let socket = match found {
            Some(index) => handed_over.swap_remove(index).0,
            None => bind(address, front.only_v6(address)).map_err(|error| StartFault::Bind(address, error))?,
        };
        listeners.push(Listener { socket, implicit_tls, is_inherited });
    }
    match handed_over.first() {
        Some((_, address)) => Err(StartFault::Unnamed(*address)),
        None => Ok(listeners),
    }
}

fn inherited() -> io::Result<Vec<(TcpListener, SocketAddr)>> {
    let mut descriptors = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..descriptors.len() {
        let Some(listener) = descriptors.take_tcp_listener(index)? else { continue };
        // A backend process must not keep the port.
        fcntl(&listener, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        listeners.push((listener, address));
    }
    Ok(listeners)
}
