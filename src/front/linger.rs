//! The orderly close: the last replies go out, our side ends, the client's TCP says whether the last acknowledgement was taken,
//! and reading goes on to the client's end. A close with unread input would send a reset, the reply would be lost, and the
//! client would try again. It must not decide what an end means: that is the session's.

use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;
use tokio::time::timeout;

use crate::front::exchange::Side;
use crate::front::stream::ClientStream;
use crate::front::tcp;
use crate::session::io::ClientEnd;
use crate::session::io::Farewell;

/// The patience with a client when its connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClosePolicy {
    /// The client has said QUIT, and is owed nothing but the reply to that: nothing is waited for.
    Immediate,
    /// The client may still be sending.
    Linger,
    /// The client was refused at once, and has had all that it will get: it is let go soon, so that its slot is free for
    /// others.
    Brief,
    /// The client was evicted, and the other one is here already.
    Displaced,
}

/// The facts about the close of a connection that are known before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parting {
    pub(super) policy: ClosePolicy,
    /// Whether an acknowledgement is open: the close waits for the client to take it.
    pub(super) awaits: bool,
    /// Whether that acknowledgement is written: the replies still owed are others.
    pub(super) is_written: bool,
    /// Whether the client has said QUIT.
    pub(super) has_quit: bool,
}

/// Writes the last replies and ends our side, within its limits; tells how the client took it. The connection that is left is
/// for [`read_on`], so that the answer need not wait for that.
pub(super) async fn part(side: Side<ClientStream>, parting: Parting) -> (Farewell, Option<ClientStream>) {
    let Side { stream: mut client, outbox: mut owed, .. } = side;
    if matches!(client, ClientStream::Gone(_)) {
        return (Farewell::default(), None);
    }
    let before = if parting.is_written && !owed.is_empty() { look_before(&client).await } else { Farewell::default() };
    let leaves = parting.policy == ClosePolicy::Immediate && matches!(client, ClientStream::Plain(_));
    let told = timeout(parting.patience(LAST_WORD), client.write_all_buf(&mut owed));
    let mut farewell = before;
    match told.await {
        Ok(Ok(())) if leaves => return (farewell, None),
        Ok(Ok(())) => {}
        Ok(Err(_)) => return (Farewell { end: ClientEnd::Reset, ..farewell }, None),
        Err(_) => return (farewell, None),
    }
    // Before our side ends: a client that has read all and closed needs no more.
    see(&client, &mut farewell);
    let ended = timeout(parting.patience(LAST_WORD), client.shutdown()).await;
    if parting.awaits && !before.waited {
        let is_acknowledged = |farewell: &Farewell| farewell.acknowledged || farewell.end == ClientEnd::Reset;
        let _ = timeout(parting.patience(LINGER), watch(&mut client, &mut farewell, is_acknowledged)).await;
        // A client that has it all and neither speaks nor ends says no more by waiting.
        let is_decided = |farewell: &Farewell| is_decided(farewell, parting.has_quit);
        let _ = timeout(parting.patience(SILENCE), watch(&mut client, &mut farewell, is_decided)).await;
    }
    let rest = matches!(ended, Ok(Ok(()))) && farewell.end != ClientEnd::Reset;
    (farewell, rest.then_some(client))
}

/// Reads to the client's end within its limits, and throws the octets away.
pub(super) async fn read_on(mut client: ClientStream, policy: ClosePolicy) {
    let _ = timeout(policy.longest().unwrap_or(LINGER), async {
        // Small: a stop closes all connections at once.
        let mut thrown_away = [0; 2048];
        while let Ok(Ok(1..)) = timeout(SILENCE, client.read(&mut thrown_away)).await {}
    })
    .await;
}

impl ClosePolicy {
    /// Time limit of each step of the close; `None`: the usual one.
    fn longest(self) -> Option<Duration> {
        match self {
            Self::Brief => Some(SILENCE),
            Self::Displaced => Some(MOMENT),
            Self::Immediate | Self::Linger => None,
        }
    }
}

impl Parting {
    fn patience(self, usual: Duration) -> Duration {
        self.policy.longest().unwrap_or(usual)
    }
}

/// Watches the client's end until enough is known of it. The kernel wakes nobody when octets are acknowledged: it is asked
/// again and again, at first often.
async fn watch(client: &mut ClientStream, farewell: &mut Farewell, is_enough: impl Fn(&Farewell) -> bool) {
    let mut thrown_away = [0; 2048];
    let (mut pause, mut reads) = (FIRST_PAUSE, true);
    while !is_enough(farewell) {
        tokio::select! {
            read = client.read(&mut thrown_away), if reads => {
                match read {
                    // Input from before the acknowledgement was sent without having heard it.
                    Ok(1..) => farewell.heard |= client.tcp().is_none_or(tcp::is_acknowledged),
                    // Under TLS that says nothing about TCP.
                    Ok(0) => reads = false,
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => reads = false,
                    // The kernel reports an error once.
                    Err(_) => {
                        reads = false;
                        farewell.end = ClientEnd::Reset;
                    }
                }
            }
            () = sleep(pause) => pause = (2 * pause).min(LONGEST_PAUSE),
        }
        see(client, farewell);
    }
}

/// The client's view of the acknowledgement before we speak unasked. Input that has come meanwhile, a QUIT perhaps, was sent
/// with the acknowledgement heard; a reset that comes later may be about our last word. A stop may come right behind the
/// acknowledgement, and a TCP that has nothing to send takes its time to confirm.
async fn look_before(client: &ClientStream) -> Farewell {
    let mut farewell = Farewell::default();
    let _ = timeout(ROUND_TRIP, async {
        let mut pause = FIRST_PAUSE;
        see(client, &mut farewell);
        while !farewell.acknowledged && farewell.end != ClientEnd::Reset {
            sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
            see(client, &mut farewell);
        }
    })
    .await;
    // Under TLS it may be a close_notify, which a program that never read sends too.
    let speaks = matches!(client, ClientStream::Plain(_)) && client.tcp().is_some_and(tcp::has_input);
    farewell.heard = farewell.acknowledged && speaks;
    farewell.waited = farewell.acknowledged && farewell.end != ClientEnd::Reset;
    farewell
}

/// Asks the kernel, in this order: octets that were acknowledged before a reset stay acknowledged.
fn see(client: &ClientStream, farewell: &mut Farewell) {
    let Some(stream) = client.tcp() else {
        (farewell.acknowledged, farewell.end) = (true, ClientEnd::Fin);
        return;
    };
    farewell.acknowledged |= tcp::is_acknowledged(stream);
    if farewell.end != ClientEnd::Reset {
        farewell.end = tcp::end(stream);
    }
}

/// Whether more will not be learned.
fn is_decided(farewell: &Farewell, has_quit: bool) -> bool {
    let Farewell { acknowledged, heard, end, .. } = *farewell;
    end == ClientEnd::Reset || (acknowledged && (heard || has_quit || end == ClientEnd::Fin))
}

/// Time for the last replies to be taken.
const LAST_WORD: Duration = Duration::from_secs(30);
/// Time for the client to send the rest, and for its TCP to acknowledge.
const LINGER: Duration = Duration::from_secs(60);
/// Time for a client that neither sends nor closes.
const SILENCE: Duration = Duration::from_secs(5);
/// Time for the client's TCP to confirm an acknowledgement that was written just now.
const ROUND_TRIP: Duration = Duration::from_secs(1);
/// Time for a client whose descriptor another one needs.
const MOMENT: Duration = Duration::from_secs(1);
/// Pauses between two questions to the kernel.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use bytes::Bytes;
    use nix::sys::socket::setsockopt;
    use nix::sys::socket::sockopt::Linger;
    use tokio::net::TcpListener;
    use tokio::net::TcpStream;

    use super::*;

    /// The client's behaviour, and what its TCP tells then.
    #[derive(Clone, Copy, Debug)]
    enum Habit {
        ReadsAndCloses,
        ClosesUnread,
        ClosedBefore,
        ResetsBefore,
        EndsAndReads,
        Speaks,
    }

    #[tokio::test]
    async fn what_tcp_tells() {
        let fin = |acknowledged| Farewell { acknowledged, end: ClientEnd::Fin, ..Farewell::default() };
        let table = [
            (Habit::ReadsAndCloses, false, fin(true)),
            (Habit::ReadsAndCloses, true, fin(true)),
            (Habit::ClosesUnread, false, Farewell { end: ClientEnd::Reset, ..fin(true) }),
            (Habit::ClosedBefore, false, Farewell { end: ClientEnd::Reset, ..fin(false) }),
            (Habit::ClosedBefore, true, Farewell { end: ClientEnd::Reset, ..fin(false) }),
            (Habit::ResetsBefore, true, Farewell { end: ClientEnd::Reset, ..fin(false) }),
            (Habit::EndsAndReads, false, fin(true)),
            (Habit::EndsAndReads, true, fin(true)),
            (Habit::Speaks, false, Farewell { heard: true, end: ClientEnd::Open, ..fin(true) }),
        ];
        for (habit, has_quit, expected) in table {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            match habit {
                Habit::EndsAndReads => client.shutdown().await.unwrap(),
                Habit::ResetsBefore => reset_at_close(&client),
                _ => {}
            }
            let is_gone = matches!(habit, Habit::ClosedBefore | Habit::ResetsBefore);
            let client = Some(client).filter(|_| !is_gone);
            let does = tokio::spawn(async move {
                let Some(mut client) = client else { return };
                let mut reply = [0; 8];
                match habit {
                    Habit::ClosesUnread => client.readable().await.unwrap(),
                    _ => _ = client.read_exact(&mut reply).await.unwrap(),
                }
                if matches!(habit, Habit::Speaks) {
                    client.write_all(b"RSET\r\n").await.unwrap();
                    std::future::pending().await
                }
            });
            let mut side = Side::new(ClientStream::Plain(server));
            side.outbox.push(Bytes::from_static(b"250 ok\r\n"));
            let parting = Parting { policy: ClosePolicy::Linger, awaits: true, is_written: false, has_quit };
            let (farewell, rest) = part(side, parting).await;
            assert_eq!(farewell.acknowledged, expected.acknowledged, "{habit:?}, QUIT: {has_quit}");
            // Behind a QUIT nothing else is waited for.
            if !has_quit {
                assert_eq!(farewell, expected, "{habit:?}");
            }
            drop(rest);
            does.abort();
        }
    }

    /// The acknowledgement is written, and we end the session with another word.
    #[tokio::test]
    async fn our_own_last_word_is_not_held_against_a_client() {
        let asks = |waited, heard, acknowledged| Farewell { waited, heard, acknowledged, ..Farewell::default() };
        for (habit, expected) in [
            (Habit::ReadsAndCloses, asks(true, false, true)),
            (Habit::Speaks, asks(true, true, true)),
            (Habit::ClosesUnread, asks(false, false, true)),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            server.write_all(b"250 ok\r\n").await.unwrap();
            match habit {
                // The client never reads what comes behind it.
                Habit::ReadsAndCloses => _ = client.read_exact(&mut [0; 8]).await.unwrap(),
                Habit::Speaks => {
                    client.write_all(b"QUIT\r\n").await.unwrap();
                    server.readable().await.unwrap();
                }
                _ => {
                    client.readable().await.unwrap();
                    drop(client);
                    server.readable().await.unwrap();
                }
            }
            let mut side = Side::new(ClientStream::Plain(server));
            side.outbox.push(Bytes::from_static(b"421 closing\r\n"));
            let parting = Parting { policy: ClosePolicy::Linger, awaits: true, is_written: true, has_quit: false };
            let (farewell, _) = part(side, parting).await;
            assert_eq!(Farewell { end: ClientEnd::Open, ..farewell }, expected, "{habit:?}");
        }
    }

    fn reset_at_close(stream: &TcpStream) {
        setsockopt(stream, Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
    }
}
