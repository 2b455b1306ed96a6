//! What the kernel knows of a client's TCP connection: whether the client's side has acknowledged all octets, and how it
//! has ended. It must not read or write an octet of the connection.

use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::getsockopt_impl;
use nix::libc;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::getsockopt;
use nix::sys::socket::recv;
use nix::sys::socket::sockopt::GetStruct;
use tokio::net::TcpStream;

use crate::session::event::ClientEnd;

/// Whether the peer's TCP has acknowledged all that was written. The octets are counted, not the queue, because a reset
/// empties that. Where the kernel does not say, they are taken for acknowledged: a duplicate is the lesser evil.
pub(super) fn is_acknowledged(stream: &TcpStream) -> bool {
    let Ok(info) = getsockopt(stream, TcpInfo) else { return true };
    let word = |octet: usize| info[octet / 8];
    let unsent = word(NOTSENT_BYTES).to_ne_bytes();
    let unsent = u32::from_ne_bytes([unsent[0], unsent[1], unsent[2], unsent[3]]);
    let sent = word(BYTES_SENT).saturating_sub(word(BYTES_RETRANS));
    unsent == 0 && word(BYTES_ACKED) >= sent
}

/// How the peer's side has ended by now.
pub(super) fn end(stream: &TcpStream) -> ClientEnd {
    if matches!(stream.take_error(), Ok(Some(_)) | Err(_)) {
        return ClientEnd::Reset;
    }
    match peek(stream) {
        Ok(0) => ClientEnd::Fin,
        Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => ClientEnd::Open,
        Err(_) => ClientEnd::Reset,
    }
}

/// Whether octets have come that nobody has read yet.
pub(super) fn has_input(stream: &TcpStream) -> bool {
    peek(stream).is_ok_and(|octets| octets > 0)
}

fn peek(stream: &TcpStream) -> Result<usize, Errno> {
    recv(stream.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT)
}

/// As many octets of the kernel's `struct tcp_info` as are looked at (Linux 4.19).
#[derive(Clone, Copy, Debug)]
struct TcpInfo;

getsockopt_impl!(TcpInfo, libc::IPPROTO_TCP, libc::TCP_INFO, [u64; INFO / 8], GetStruct<[u64; INFO / 8]>);

/// Places in it (linux/tcp.h).
const BYTES_ACKED: usize = 120;
const NOTSENT_BYTES: usize = 144;
const BYTES_SENT: usize = 200;
const BYTES_RETRANS: usize = 208;
const INFO: usize = 216;
