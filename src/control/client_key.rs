//! A key of tcprules: an address, a prefix, a name, or a network. It must not hold rules, nor look anything up.
//!
//! Networks are those of ucspi-tcp6 (s/qmail, aQmail): its tcprules takes `10.0.0.0/8` and `2001:db8::/32` and compiles
//! them to `_` or `^` and one octet a bit. A bit that is not set is `0`; one that is set is `1`, or a letter as in
//! ucspi-tcp6's `ip4_bit.c` and `ip6_bit.c` (its default): for IPv4 the letter of the bit's place, for IPv6 of the place
//! among the bits that are set. It writes each IPv6 address out in full, so addresses are read as addresses here.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use ipnet::IpNet;

use crate::policy::net::network;

/// A key as it is looked up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A network.
    Network(IpNet),
    /// Everything else, octet for octet; addresses as tcpserver writes them.
    Text(Box<[u8]>),
}

impl Key {
    /// Reads an address of the text form.
    ///
    /// # Errors
    /// It has a `/` and is not a network: the reason, and what to write.
    pub(super) fn of_text(address: &[u8]) -> Result<Self, String> {
        if address.contains(&b'=') {
            return Ok(Self::Text(address.into()));
        }
        if let Some(at) = memchr::memchr(b'@', address) {
            let (info, ip) = address.split_at(at + 1);
            return Ok(Self::Text([info, &canonical(ip)].concat().into()));
        }
        match memchr::memchr(b'/', address) {
            Some(slash) => written_network(address, slash).map(Self::Network),
            None => Ok(Self::Text(canonical(address).into())),
        }
    }

    /// Reads a key of a cdb.
    ///
    /// # Errors
    /// It begins like a network and is none: the reason, and what to do.
    pub(super) fn of_cdb(key: &[u8]) -> Result<Self, String> {
        match key {
            [mark @ (b'_' | b'^'), bits @ ..] => {
                compiled_network(*mark == b'^', bits).map(Self::Network).ok_or_else(|| {
                    format!(
                        "has the key {}, which is not a network as tcprules of ucspi-tcp6 writes it: \
                     make it again with tcprules, or name its text in qmail.tcprules",
                        key.escape_ascii()
                    )
                })
            }
            _ => Self::of_text(key),
        }
    }
}

/// An address as tcpserver writes it; a prefix of an IPv6 address in lower case; other texts as they are.
fn canonical(text: &[u8]) -> Vec<u8> {
    let ip = str::from_utf8(text).ok().and_then(|text| text.parse::<IpAddr>().ok());
    match ip {
        Some(ip) => ip.to_canonical().to_string().into_bytes(),
        None if text.last() == Some(&b':') => text.to_ascii_lowercase(),
        None => text.to_vec(),
    }
}

/// `10.0.0.0/8`, also shorter as `10/8`; `2001:db8::/32`. Bits behind the prefix do not count, as in ucspi-tcp6.
fn written_network(text: &[u8], slash: usize) -> Result<IpNet, String> {
    let network = || {
        let (address, length) = (str::from_utf8(&text[..slash]).ok()?, str::from_utf8(&text[slash + 1..]).ok()?);
        let length = length.parse().ok().filter(|length| *length > 0 && !text[slash + 1..].starts_with(b"+"))?;
        match address.parse() {
            Ok(ip) => network(ip, length),
            Err(_) => network(short(address, length)?.into(), length),
        }
    };
    network().ok_or_else(|| {
        let shown = text.escape_ascii();
        match text[slash..] {
            [b'/', b'0'] => format!("{shown} is everybody: write an empty address, as in :allow"),
            _ => format!("{shown} is not a network: write one such as 192.0.2.0/24 or 2001:db8::/32"),
        }
    })
}

/// The first octets of an IPv4 address, as many as the prefix needs.
fn short(address: &str, length: u8) -> Option<Ipv4Addr> {
    let octets: Vec<u8> = address.split('.').map(|octet| octet.parse().ok()).collect::<Option<_>>()?;
    let mut all = [0; 4];
    all.get_mut(..octets.len())?.copy_from_slice(&octets);
    (usize::from(length) <= octets.len() * 8).then(|| all.into())
}

fn compiled_network(v6: bool, bits: &[u8]) -> Option<IpNet> {
    let (mut prefix, mut set) = (0_u128, 0_u8);
    for (place, octet) in bits.iter().enumerate() {
        let letter = if v6 { b'`'.checked_add(set)? } else { *LETTERS.get(place)? };
        let is_set = match octet {
            b'0' => false,
            _ if *octet == b'1' || *octet == letter => true,
            _ => return None,
        };
        set += u8::from(is_set);
        prefix |= u128::from(is_set) << 127_usize.checked_sub(place)?;
    }
    let length = u8::try_from(bits.len()).ok().filter(|length| *length > 0)?;
    let ip = if v6 { Ipv6Addr::from_bits(prefix).into() } else { Ipv4Addr::from_bits((prefix >> 96) as u32).into() };
    network(ip, length)
}

/// For the bits of an IPv4 address, in their order.
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz123456";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let table = [
            ("an address", "192.0.2.1", "192.0.2.1"),
            ("a prefix", "192.0.2.", "192.0.2."),
            ("a name", "=Mail.example", "=Mail.example"),
            ("ident", "joe@192.0.2.1", "joe@192.0.2.1"),
            ("ident and a name", "joe@=a.example", "joe@=a.example"),
            ("everybody", "", ""),
            ("IPv6, in full as ucspi-tcp6 has it", "2001:0DB8:0000:0000:0000:0000:0000:0001", "2001:db8::1"),
            ("IPv6, behind ident", "joe@2001:0DB8:0000:0000:0000:0000:0000:0001", "joe@2001:db8::1"),
            ("IPv4 in IPv6", "::ffff:192.0.2.1", "192.0.2.1"),
            ("a prefix of IPv6", "2001:DB8:", "2001:db8:"),
            ("a network", "10.0.0.0/8", "network 10.0.0.0/8"),
            ("with bits behind its prefix", "10.1.2.3/8", "network 10.0.0.0/8"),
            ("shortened", "192.168/16", "network 192.168.0.0/16"),
            ("one address", "192.0.2.1/32", "network 192.0.2.1/32"),
            ("a network of IPv6", "2001:DB8::/32", "network 2001:db8::/32"),
            ("IPv4 in IPv6, a network", "::ffff:10.0.0.0/104", "network 10.0.0.0/8"),
        ];
        for (what, written, expected) in table {
            for key in [Key::of_text(written.as_bytes()), Key::of_cdb(written.as_bytes())] {
                assert_eq!(told(key).as_deref(), Ok(expected), "{what}");
            }
        }
    }

    #[test]
    fn compiled_networks() {
        let table: [(&str, &[u8], &str); 9] = [
            ("10.0.0.0/8", b"_00001010", "network 10.0.0.0/8"),
            ("the same in letters", b"_0000e0g0", "network 10.0.0.0/8"),
            ("192.168.0.0/16", b"_1100000010101000", "network 192.168.0.0/16"),
            ("the same in letters", b"_ab000000i0k0m000", "network 192.168.0.0/16"),
            ("255.255.255.255/32", b"_abcdefghijklmnopqrstuvwxyz123456", "network 255.255.255.255/32"),
            ("2001:db8::/32", b"^00100000000000010000110110111000", "network 2001:db8::/32"),
            ("the same in letters", b"^00`000000000000a0000bc0de0fgh000", "network 2001:db8::/32"),
            ("fe80::/10", b"^`abcdef0g0", "network fe80::/10"),
            ("one bit", b"_1", "network 128.0.0.0/1"),
        ];
        for (what, key, expected) in table {
            assert_eq!(told(Key::of_cdb(key)).as_deref(), Ok(expected), "{what}");
        }
        let all = [&b"^"[..], &(96..=223).collect::<Vec<u8>>()].concat();
        assert_eq!(told(Key::of_cdb(&all)).as_deref(), Ok("network ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"));
    }

    #[test]
    fn what_is_not_a_network_is_named() {
        let cut = [&b"_"[..], &[b'0'; 33]].concat();
        for key in [&b"_"[..], b"^", b"_00001012", b"_0000e0f0", b"^b", b"_0000\0", &cut] {
            let told = told(Key::of_cdb(key));
            assert!(told.is_err_and(|what| what.contains(&key.escape_ascii().to_string())), "{key:?}");
        }
        for text in ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10/16", "x/8", "1.2.3.4.5/8", "::/129", "10.0.0.0/8/9"]
        {
            assert!(told(Key::of_text(text.as_bytes())).is_err_and(|what| what.contains("192.0.2.0/24")), "{text}");
        }
        for text in ["0.0.0.0/0", "::/0"] {
            assert!(told(Key::of_text(text.as_bytes())).is_err_and(|what| what.contains(":allow")), "{text}");
        }
    }

    fn told(key: Result<Key, String>) -> Result<String, String> {
        key.map(|key| match key {
            Key::Network(network) => format!("network {network}"),
            Key::Text(text) => String::from_utf8_lossy(&text).into_owned(),
        })
    }
}
