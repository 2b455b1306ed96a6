//! The PROXY header, versions 1 and 2, from networks that may and must send one. It must not read an octet more than the
//! header: a TLS handshake may follow.

use std::io;
use std::net::SocketAddr;

use ppp::HeaderResult;
use ppp::PartialResult;
use ppp::v1;
use ppp::v2;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;

/// The client's and our address as the header has them; `None`: a connection of the proxy itself (LOCAL, UNKNOWN).
///
/// # Errors
/// No header, or one that is broken or too long.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(SocketAddr, SocketAddr)>> {
    let mut header = vec![0; SHORTEST];
    stream.read_exact(&mut header).await?;
    if header.starts_with(v2::PROTOCOL_PREFIX) {
        header.push(stream.read_u8().await?);
        let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
        if length > LONGEST_V2 {
            return Err(broken());
        }
        header.resize(16 + length, 0);
        stream.read_exact(&mut header[16..]).await?;
    } else {
        while !header.ends_with(b"\r\n") {
            if header.len() == LONGEST_V1 || !header.starts_with(b"PROXY ") {
                return Err(broken());
            }
            header.push(stream.read_u8().await?);
        }
    }
    addresses(&header)
}

fn addresses(header: &[u8]) -> io::Result<Option<(SocketAddr, SocketAddr)>> {
    let parsed = HeaderResult::parse(header);
    if !parsed.is_complete() {
        return Err(broken());
    }
    match parsed {
        HeaderResult::V1(Ok(header)) => Ok(match header.addresses {
            v1::Addresses::Tcp4(it) => Some((
                SocketAddr::from((it.source_address, it.source_port)),
                SocketAddr::from((it.destination_address, it.destination_port)),
            )),
            v1::Addresses::Tcp6(it) => Some((
                SocketAddr::from((it.source_address, it.source_port)),
                SocketAddr::from((it.destination_address, it.destination_port)),
            )),
            v1::Addresses::Unknown => None,
        }),
        HeaderResult::V2(Ok(header)) => Ok(match (header.command, header.addresses) {
            (v2::Command::Proxy, v2::Addresses::IPv4(it)) => Some((
                SocketAddr::from((it.source_address, it.source_port)),
                SocketAddr::from((it.destination_address, it.destination_port)),
            )),
            (v2::Command::Proxy, v2::Addresses::IPv6(it)) => Some((
                SocketAddr::from((it.source_address, it.source_port)),
                SocketAddr::from((it.destination_address, it.destination_port)),
            )),
            _ => None,
        }),
        _ => Err(broken()),
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no valid PROXY header")
}

/// The shortest header: `PROXY UNKNOWN\r\n`, and version 2 without its last octet.
const SHORTEST: usize = 15;
/// The longest version 1 header, by the protocol's own word.
const LONGEST_V1: usize = 107;
/// The longest version 2 header: addresses and a reasonable amount of extensions.
const LONGEST_V2: usize = 2048;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reads_the_header_and_not_an_octet_more() {
        let v2 = [
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(),
            &[192, 0, 2, 7, 127, 0, 0, 1, 0xc0, 0x01, 0, 25],
            b"EHLO",
        ]
        .concat();
        let local = [b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0".as_slice(), b"EHLO"].concat();
        let rows: [(&str, &[u8], Option<Option<&str>>); 8] = [
            ("version 1", b"PROXY TCP4 192.0.2.7 127.0.0.1 49153 25\r\nEHLO", Some(Some("192.0.2.7:49153"))),
            ("IPv6", b"PROXY TCP6 2001:db8::7 ::1 49153 25\r\nEHLO", Some(Some("[2001:db8::7]:49153"))),
            ("version 1, unknown", b"PROXY UNKNOWN\r\nEHLO", Some(None)),
            ("version 2", &v2, Some(Some("192.0.2.7:49153"))),
            ("version 2, local", &local, Some(None)),
            ("no header", b"EHLO mail.example.org\r\nEHLO", None),
            ("cut", b"PROXY TCP4 192.0.2.7", None),
            ("nonsense in it", b"PROXY TCP4 192.0.2.700 127.0.0.1 49153 25\r\nEHLO", None),
        ];
        for (what, octets, expected) in rows {
            let mut stream = octets;
            let result = read(&mut stream).await;
            let client = result.as_ref().ok().map(|addresses| addresses.map(|(client, _)| client.to_string()));
            assert_eq!(client, expected.map(|client| client.map(str::to_owned)), "{what}");
            if result.is_ok() {
                assert_eq!(stream, b"EHLO", "{what}");
            }
        }
        let endless = [b"PROXY ".as_slice(), &[b'x'; 500]].concat();
        assert!(read(&mut endless.as_slice()).await.is_err());
    }
}
