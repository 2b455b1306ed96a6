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

/// One of them.
pub(super) struct Listener {
    pub(super) socket: TcpListener,
    pub(super) implicit_tls: bool,
    /// The supervisor keeps it open: who connects while we restart waits there, and is not refused.
    pub(super) is_inherited: bool,
}

/// All that the configuration names.
///
/// # Errors
/// An address that cannot be bound; a listener that was handed over and that nothing names.
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
            None => bind(address).map_err(|error| StartFault::Bind(address, error))?,
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
        // A backend that we start must not keep the port.
        fcntl(&listener, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        listeners.push((listener, address));
    }
    Ok(listeners)
}
