//! The kernel's knowledge of a client's TCP connection: whether the client's side has acknowledged all octets, and how it has
//! ended. It must not read or write an octet of the connection.

use std::os::fd::AsRawFd;
use std::sync::LazyLock;

use nix::errno::Errno;
use nix::getsockopt_impl;
use nix::libc;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::getsockopt;
use nix::sys::socket::recv;
use nix::sys::socket::sockopt::GetStruct;
use nix::sys::utsname::uname;
use tokio::net::TcpStream;

use crate::session::io::ClientEnd;

/// Whether the peer's TCP has acknowledged all that was written. Where the kernel does not say, it is taken for
/// acknowledged: a duplicate is the lesser evil.
pub(super) fn is_acknowledged(stream: &TcpStream) -> bool {
    acknowledged(stream, *RELEASE).unwrap_or(true)
}

/// [`is_acknowledged`] for a kernel of this release; `None` where it does not say. Octets are counted, not the queue,
/// because a reset empties that; an old kernel has only the queue.
fn acknowledged(stream: &TcpStream, release: Release) -> Option<bool> {
    if release < SAYS_UNSENT {
        return None;
    }
    if release < SAYS_SENT {
        let info = getsockopt(stream, ShortTcpInfo).ok()?;
        return Some(half(&info, UNACKED) == 0 && half(&info, NOTSENT_BYTES) == 0);
    }
    let info = getsockopt(stream, TcpInfo).ok()?;
    let sent = info[BYTES_SENT / 8].saturating_sub(info[BYTES_RETRANS / 8]);
    Some(half(&info, NOTSENT_BYTES) == 0 && info[BYTES_ACKED / 8] >= sent)
}

fn half(info: &[u64], octet: usize) -> u32 {
    let word = info[octet / 8].to_ne_bytes();
    u32::from_ne_bytes([word[0], word[1], word[2], word[3]])
}

/// The end of the peer's side, as far as it has ended by now.
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

/// Whether octets have come that are not read yet.
pub(super) fn has_input(stream: &TcpStream) -> bool {
    peek(stream).is_ok_and(|octets| octets > 0)
}

fn peek(stream: &TcpStream) -> Result<usize, Errno> {
    recv(stream.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT)
}

/// The part of the kernel's `struct tcp_info` that is looked at. A kernel that has less of it must not be asked: nix takes a
/// short answer for a fault of its own, and panics.
#[derive(Clone, Copy, Debug)]
struct TcpInfo;

getsockopt_impl!(TcpInfo, libc::IPPROTO_TCP, libc::TCP_INFO, [u64; INFO / 8], GetStruct<[u64; INFO / 8]>);

/// The beginning of `struct tcp_info`, as older kernels have it.
#[derive(Clone, Copy, Debug)]
struct ShortTcpInfo;

getsockopt_impl!(
    ShortTcpInfo,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    [u64; SHORT_INFO / 8],
    GetStruct<[u64; SHORT_INFO / 8]>
);

/// Offsets in `struct tcp_info`, in octets (linux/tcp.h).
const UNACKED: usize = 24;
const BYTES_ACKED: usize = 120;
const NOTSENT_BYTES: usize = 144;
const SHORT_INFO: usize = 152;
const BYTES_SENT: usize = 200;
const BYTES_RETRANS: usize = 208;
const INFO: usize = 216;

/// The major and minor number of a kernel.
type Release = (u32, u32);

/// The first releases that have `NOTSENT_BYTES`, and `BYTES_RETRANS`.
const SAYS_UNSENT: Release = (4, 6);
const SAYS_SENT: Release = (4, 19);

/// The release of the running kernel; 0.0 when it cannot be read.
static RELEASE: LazyLock<Release> = LazyLock::new(|| {
    let name = uname().ok();
    name.and_then(|name| release(name.release().to_str()?)).unwrap_or_default()
});

fn release(text: &str) -> Option<Release> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn releases_of_kernels() {
        let rows = [
            ("4.18.0-553.el8_10.x86_64", Some((4, 18))),
            ("6.12.43+deb13-amd64", Some((6, 12))),
            ("5.10", Some((5, 10))),
            ("6.x", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(release(text), expected, "{text}");
        }
        assert_ne!(*RELEASE, Release::default());
    }

    #[tokio::test]
    async fn what_kernels_of_each_age_say() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let all = |stream: &TcpStream| [SAYS_SENT, (4, 18), (4, 5)].map(|release| acknowledged(stream, release));
        server.write_all(b"250 2.0.0 Kept\r\n").await.unwrap();
        while all(&server) != [Some(true), Some(true), None] {
            tokio::task::yield_now().await;
        }
        // The client reads nothing: at last its window is full, and what is written stays here.
        while server.try_write(&[b'x'; 65_536]).is_ok() {
            tokio::task::yield_now().await;
        }
        assert_eq!(all(&server), [Some(false), Some(false), None]);
        drop(client);
    }
}
