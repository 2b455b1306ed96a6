//! A backend that does something wrong on each connection, by turns. It must not know what is tested.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

/// A fault of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    None,
    Closes,
    Resets,
    Hangs,
    /// An octet of each reply every 50 ms.
    Dribbles,
    /// An unexpected second reply.
    TwoReplies,
    /// The reply to the dot comes with the 354.
    Early,
    /// 10 MB of one reply.
    Endless,
    Garbage,
    /// A code that answers nothing of ours.
    OtherCode,
}

pub(crate) const FAULTS: [Fault; 10] = [
    Fault::None,
    Fault::Closes,
    Fault::Resets,
    Fault::Hangs,
    Fault::Dribbles,
    Fault::TwoReplies,
    Fault::Early,
    Fault::Endless,
    Fault::Garbage,
    Fault::OtherCode,
];

/// Listens; the n-th connection has the n-th fault, from the n/10-th line on, over and over.
pub(crate) async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            let fault = FAULTS[number % FAULTS.len()];
            tokio::spawn(serve(stream, fault, number / FAULTS.len() % 7));
        }
    });
    address
}

async fn serve(mut stream: TcpStream, fault: Fault, from: usize) {
    let (mut input, mut lines, mut in_body) = (BytesMut::new(), 0, false);
    let mut reply = "220 faulty\r\n";
    loop {
        let fault = if lines >= from { fault } else { Fault::None };
        if !say(&mut stream, fault, reply).await {
            return;
        }
        let line = loop {
            if let Some(end) = input.iter().position(|octet| *octet == b'\n') {
                let line = input.split_to(end + 1);
                if !in_body || &line[..] == b".\r\n" {
                    break line;
                }
            } else if !matches!(stream.read_buf(&mut input).await, Ok(1..)) {
                return;
            }
        };
        lines += 1;
        in_body = line.starts_with(b"DATA");
        reply = match () {
            () if in_body => "354 go\r\n",
            () if line.starts_with(b"EHLO") => "250-faulty\r\n250-8BITMIME\r\n250 PIPELINING\r\n",
            () => "250 ok\r\n",
        };
    }
}

/// Sends a reply with its fault; `false` when the connection is over.
async fn say(stream: &mut TcpStream, fault: Fault, reply: &str) -> bool {
    let said = match fault {
        Fault::None => stream.write_all(reply.as_bytes()).await,
        Fault::Closes => return false,
        Fault::Resets => {
            let _ = stream.set_zero_linger();
            return false;
        }
        Fault::Hangs => {
            // Until the other side gives up.
            let mut thrown_away = [0; 4096];
            while matches!(stream.read(&mut thrown_away).await, Ok(1..)) {}
            return false;
        }
        Fault::Dribbles => {
            for octet in reply.bytes() {
                tokio::time::sleep(Duration::from_millis(50)).await;
                if stream.write_all(&[octet]).await.is_err() {
                    return false;
                }
            }
            Ok(())
        }
        Fault::TwoReplies => stream.write_all([reply, "250 again\r\n"].concat().as_bytes()).await,
        Fault::Early if reply.starts_with("354") => stream.write_all(b"354 go\r\n250 taken\r\n").await,
        Fault::Early => stream.write_all(reply.as_bytes()).await,
        Fault::Endless => {
            for _ in 0..10_000 {
                if stream.write_all(&[b"250-", [b'x'; 994].as_slice(), b"\r\n"].concat()).await.is_err() {
                    return false;
                }
            }
            Ok(())
        }
        Fault::Garbage => stream.write_all(b"\x00\xff no SMTP at all\r\n\r\n").await,
        Fault::OtherCode => stream.write_all(b"334 what\r\n").await,
    };
    said.is_ok()
}
