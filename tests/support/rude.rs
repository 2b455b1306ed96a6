//! A backend that does to each connection something else that no server should. It must not know what is tested.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

/// One way to misbehave; `At` is after how many lines of ours it begins.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// Not at all.
    Good,
    Closes,
    Resets,
    Hangs,
    /// An octet of each reply every 50 ms.
    Dribbles,
    /// A reply that nobody asked for.
    TwoReplies,
    /// The reply to the dot comes with the 354.
    Early,
    /// 10 MB of one reply.
    Endless,
    Garbage,
    /// A code that is none here.
    OtherCode,
}

pub const WAYS: [Way; 10] = [
    Way::Good,
    Way::Closes,
    Way::Resets,
    Way::Hangs,
    Way::Dribbles,
    Way::TwoReplies,
    Way::Early,
    Way::Endless,
    Way::Garbage,
    Way::OtherCode,
];

/// Listens; the n-th connection misbehaves in the n-th way, from the n/10-th line on, over and over.
pub async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            let way = WAYS[number % WAYS.len()];
            tokio::spawn(serve(stream, way, number / WAYS.len() % 7));
        }
    });
    address
}

async fn serve(mut stream: TcpStream, way: Way, from: usize) {
    let (mut input, mut lines, mut in_body) = (BytesMut::new(), 0, false);
    let mut reply = "220 rude\r\n";
    loop {
        let way = if lines >= from { way } else { Way::Good };
        if !say(&mut stream, way, reply).await {
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
            () if line.starts_with(b"EHLO") => "250-rude\r\n250-8BITMIME\r\n250 PIPELINING\r\n",
            () => "250 ok\r\n",
        };
    }
}

/// False: the connection is over.
async fn say(stream: &mut TcpStream, way: Way, reply: &str) -> bool {
    let said = match way {
        Way::Good => stream.write_all(reply.as_bytes()).await,
        Way::Closes => return false,
        Way::Resets => {
            let _ = stream.set_zero_linger();
            return false;
        }
        Way::Hangs => {
            // Until the other side gives up.
            let mut thrown_away = [0; 4096];
            while matches!(stream.read(&mut thrown_away).await, Ok(1..)) {}
            return false;
        }
        Way::Dribbles => {
            for octet in reply.bytes() {
                tokio::time::sleep(Duration::from_millis(50)).await;
                if stream.write_all(&[octet]).await.is_err() {
                    return false;
                }
            }
            Ok(())
        }
        Way::TwoReplies => stream.write_all([reply, "250 again\r\n"].concat().as_bytes()).await,
        Way::Early if reply.starts_with("354") => stream.write_all(b"354 go\r\n250 taken\r\n").await,
        Way::Early => stream.write_all(reply.as_bytes()).await,
        Way::Endless => {
            for _ in 0..10_000 {
                if stream.write_all(&[b"250-", [b'x'; 994].as_slice(), b"\r\n"].concat()).await.is_err() {
                    return false;
                }
            }
            Ok(())
        }
        Way::Garbage => stream.write_all(b"\x00\xff no SMTP at all\r\n\r\n").await,
        Way::OtherCode => stream.write_all(b"334 what\r\n").await,
    };
    said.is_ok()
}
