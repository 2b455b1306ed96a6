//! A line of the kernel's tables of TCP sockets, /proc/net/tcp and tcp6, as a value. It must not read the tables.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

/// The tables.
pub const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// A socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Where it listens.
    pub address: SocketAddr,
    /// The user that opened it.
    pub uid: u32,
    /// Its number, as `socket:[N]` in `/proc/*/fd`.
    pub inode: u64,
}

/// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode ...`, if its socket listens.
pub fn listening(line: &str) -> Option<Listening> {
    let mut words = line.split_ascii_whitespace();
    let (local, state) = (words.nth(1)?, words.nth(1)?);
    let (uid, inode) = (words.nth(3)?.parse().ok()?, words.nth(1)?.parse().ok()?);
    let (address, port) = local.split_once(':')?;
    let address = SocketAddr::new(ip(address)?, u16::from_str_radix(port, 16).ok()?);
    (state == LISTEN).then_some(Listening { address, uid, inode })
}

/// Words of 32 bits, each in the machine's order.
fn ip(hexadecimal: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hexadecimal.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hexadecimal.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let octets: [u8; 16] = words.concat().try_into().ok()?;
            Some(Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

/// TCP_LISTEN of the kernel's tcp_states.h.
const LISTEN: &str = "0A";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel() {
        let line = |local: &str, state: &str| {
            format!("   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  1000        0 4711 1")
        };
        let six = "00000000000000000000000001000000:0019";
        let table = [
            ("0100007F:0019", "0A", Some("127.0.0.1:25")),
            ("00000000:0019", "0A", Some("0.0.0.0:25")),
            ("0100007F:0050", "0A", Some("127.0.0.1:80")),
            (six, "0A", Some("[::1]:25")),
            ("0100007F:0019", "01", None),
            ("nonsense", "0A", None),
            ("0100007:0019", "0A", None),
        ];
        for (local, state, expected) in table {
            let found = listening(&line(local, state));
            assert_eq!(found.map(|socket| socket.address.to_string()).as_deref(), expected, "{local} {state}");
            assert!(found.is_none_or(|socket| (socket.uid, socket.inode) == (1000, 4711)), "{found:?}");
        }
        let heads = ["", "0:", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid"];
        assert!(heads.iter().all(|line| listening(line).is_none()));
    }
}
