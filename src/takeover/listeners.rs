//! The listeners on a port by /proc/net/tcp and tcp6, and the processes that have their sockets, as far as that can be
//! read. It must not connect to anything.

use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

use serde::Serialize;

use crate::takeover::accounts::Accounts;
use crate::takeover::root::Root;
use crate::text::sockets::Listening;
use crate::text::sockets::TABLES;
use crate::text::sockets::listening;

/// One listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// The address of the socket.
    pub address: SocketAddr,
    /// The user that opened it, by name where it has one.
    pub user: String,
    /// The first process that has it; `None` if no process that has it could be looked into.
    pub pid: Option<u32>,
    /// The process's name.
    pub program: Option<String>,
}

/// Everybody that listens on `port`.
pub(super) fn on_port(root: &Root, accounts: &Accounts, port: u16) -> Vec<Listener> {
    let tables = TABLES.map(|table| text(root, table));
    let listening = tables.iter().flat_map(|table| table.lines()).filter_map(listening);
    let sockets: Vec<_> = listening.filter(|socket| socket.address.port() == port).collect();
    let owners = owners(root, &sockets);
    let listener = |(socket, owner): (&Listening, Option<u32>)| Listener {
        address: socket.address,
        user: accounts.user_name(socket.uid).map_or_else(|| socket.uid.to_string(), str::to_owned),
        pid: owner,
        program: owner.and_then(|pid| program(root, pid)),
    };
    sockets.iter().zip(owners).map(listener).collect()
}

/// The kernel's files have no length, but a limit all the same.
fn text(root: &Root, path: &str) -> String {
    let octets = root.read_up_to(Path::new(path), LARGEST_TABLE).unwrap_or_default();
    String::from_utf8_lossy(&octets).into_owned()
}

/// The first process of each socket.
fn owners(root: &Root, sockets: &[Listening]) -> Vec<Option<u32>> {
    let mut owners = vec![None; sockets.len()];
    let mut pids: Vec<u32> =
        root.quiet_names(Path::new("/proc")).iter().filter_map(|name| name.to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    for pid in pids {
        if owners.iter().all(Option::is_some) {
            break;
        }
        let folder = PathBuf::from(format!("/proc/{pid}/fd"));
        for name in root.quiet_names(&folder) {
            let link = root.link(&folder.join(name)).unwrap_or_default();
            let inode = link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            let found = sockets.iter().position(|socket| Some(socket.inode) == inode);
            if let Some(owner) = found.and_then(|at| owners.get_mut(at)) {
                owner.get_or_insert(pid);
            }
        }
    }
    owners
}

fn program(root: &Root, pid: u32) -> Option<String> {
    let name = root.text(Path::new(&format!("/proc/{pid}/comm")))?;
    Some(name.trim_end().to_owned())
}

const LARGEST_TABLE: u64 = 64 << 20;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn our_own_socket_is_found_with_our_process() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let address = listener.local_addr().unwrap();
            let root = Root::new(Path::new("/"));
            let found = on_port(&root, &Accounts::read(&root), address.port());
            let own = found.iter().find(|found| found.address == address).unwrap();
            assert_eq!(own.pid, Some(std::process::id()));
            assert!(own.program.is_some());
        }
    }
}
