//! Connections to an SMTP server. The name is resolved for each session, so that a moved backend is found without a reload:
//! it must not be cached here.

use std::io;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Tries each address of `server` (`host:port`) in turn, all within `limit`.
///
/// # Errors
/// A text that names the server, the addresses that were tried, and why each failed.
pub(super) async fn connect(server: &str, limit: Duration) -> Result<TcpStream, String> {
    match timeout(limit, resolve_and_try(server, limit)).await {
        Ok(done) => done.map_err(|why| format!("{server}: {why}")),
        Err(_) => Err(format!("{server}: no connection within {limit:?}")),
    }
}

async fn resolve_and_try(server: &str, limit: Duration) -> Result<TcpStream, String> {
    let found = tokio::net::lookup_host(server).await.map_err(|error| error.to_string())?;
    let addresses: Vec<SocketAddr> = found.take(MAX_ADDRESSES).collect();
    // An equal share each: an address that swallows packets must leave time for the next.
    let share = limit / u32::try_from(addresses.len().max(1)).expect("at most MAX_ADDRESSES");
    let mut faults = Vec::new();
    for address in addresses {
        match try_one(address, share).await {
            Ok(stream) => return Ok(stream),
            // A server that is named by its address is not named twice.
            Err(error) if address.to_string() == server => faults.push(error.to_string()),
            Err(error) => faults.push(format!("{address}: {error}")),
        }
    }
    if faults.is_empty() { Err("the name has no address".to_owned()) } else { Err(faults.join("; ")) }
}

async fn try_one(address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let stream = timeout(limit, TcpStream::connect(address)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    // Commands are small and each waits for its reply.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The PROXY header, version 1: every server that reads one reads this. Addresses of two families are both written as
/// IPv6.
pub(super) fn proxy_header(client: SocketAddr, local: SocketAddr) -> String {
    let (family, from, to) = match (client.ip(), local.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ("TCP4", from.to_string(), to.to_string()),
        (from, to) => ("TCP6", mapped(from).to_string(), mapped(to).to_string()),
    };
    format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), local.port())
}

/// Writes the first octets of a connection, within `limit`.
pub(super) async fn write_first(stream: &mut TcpStream, text: &str, limit: Duration) -> io::Result<()> {
    timeout(limit, stream.write_all(text.as_bytes())).await.map_err(|_| io::ErrorKind::TimedOut)?
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

const MAX_ADDRESSES: usize = 8;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_address_that_answers_is_taken() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // Where localhost is ::1 as well, that address refuses and the next is tried.
        let stream = connect(&format!("localhost:{port}"), LIMIT).await.unwrap();
        assert!(stream.nodelay().unwrap());
        assert_eq!(stream.peer_addr().unwrap().port(), port);
    }

    #[tokio::test]
    async fn a_refusal_names_the_server_and_why() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap().to_string();
        drop(listener);
        let why = connect(&server, LIMIT).await.unwrap_err();
        assert!(why.starts_with(&server) && why.contains("refused"), "{why}");
    }

    #[tokio::test]
    async fn a_server_that_does_not_answer_is_left_in_time() {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let server = listener.local_addr().unwrap().to_string();
        // Nobody accepts: when its queue is full, the kernel drops what comes.
        let mut queued = Vec::new();
        let why = loop {
            match connect(&server, Duration::from_millis(50)).await {
                Ok(stream) => queued.push(stream),
                Err(why) => break why,
            }
        };
        assert!(why.contains("timed out") || why.contains("no connection within 50ms"), "{why}");
    }

    #[tokio::test]
    async fn a_server_without_a_port_is_a_fault() {
        let why = connect("127.0.0.1", LIMIT).await.unwrap_err();
        assert!(why.starts_with("127.0.0.1: "), "{why}");
    }

    #[test]
    fn proxy_headers() {
        for (client, local, header) in [
            ("192.0.2.7:40000", "127.0.0.1:25", "PROXY TCP4 192.0.2.7 127.0.0.1 40000 25\r\n"),
            ("[2001:db8::7]:40000", "[::1]:25", "PROXY TCP6 2001:db8::7 ::1 40000 25\r\n"),
            ("192.0.2.7:40000", "[::1]:25", "PROXY TCP6 ::ffff:192.0.2.7 ::1 40000 25\r\n"),
        ] {
            assert_eq!(proxy_header(client.parse().unwrap(), local.parse().unwrap()), header);
        }
    }

    const LIMIT: Duration = Duration::from_secs(10);
}
