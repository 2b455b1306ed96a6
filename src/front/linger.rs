//! The orderly close: what is owed goes out, our side ends, and reading goes on to the client's end. A close with unread
//! input would send a reset, the reply would be lost, and the client would try again.

use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::front::outbox::Outbox;
use crate::front::stream::ClientStream;
use crate::session::event::Farewell;

/// How a client is parted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// It has said QUIT, owes nothing, and is owed nothing but the reply to it: who sends more after that does not want
    /// it, and there is nothing to wait for.
    InOrder,
    /// It may still be sending.
    Lingering,
    /// It was refused at the door, and has had all that it will get: no other may want for its place.
    Unwelcome,
}

/// Ends a connection, within its limits. `ended`: the client had ended its side already, before it could hear what was
/// owed.
pub(super) async fn close(mut client: ClientStream, mut owed: Outbox, ended: bool, manner: Manner) -> Farewell {
    let (last_word, linger) = if manner == Manner::Unwelcome { (SILENCE, SILENCE) } else { (LAST_WORD, LINGER) };
    let leaves = manner == Manner::InOrder && matches!(client, ClientStream::Plain(_));
    let told = timeout(last_word, async {
        while !owed.is_empty() {
            client.write_buf(&mut owed).await?;
        }
        if leaves { Ok(()) } else { client.shutdown().await }
    });
    match told.await {
        Ok(Ok(())) if leaves => return Farewell::Ended,
        Ok(Ok(())) => {}
        _ => return Farewell::Lost,
    }
    let mut heard = false;
    // Whoever goes on sending for longer has no interest in the reply.
    let end = timeout(linger, read_to_end(&mut client, &mut heard)).await;
    match end {
        _ if heard => Farewell::Heard,
        Ok(true) if !ended => Farewell::Ended,
        _ => Farewell::Lost,
    }
}

/// Whether the client ended in order. Many end TLS without saying so; that they do end is enough here.
async fn read_to_end(client: &mut ClientStream, heard: &mut bool) -> bool {
    // Small: a stop closes all connections at once.
    let mut thrown_away = [0; 2048];
    loop {
        match timeout(SILENCE, client.read(&mut thrown_away)).await {
            Ok(Ok(1..)) => *heard = true,
            Ok(Ok(0)) => return true,
            Ok(Err(error)) => return error.kind() == io::ErrorKind::UnexpectedEof,
            Err(_) => return false,
        }
    }
}

/// For the last replies to be taken.
const LAST_WORD: Duration = Duration::from_secs(30);
/// For all that the client is still sending.
const LINGER: Duration = Duration::from_secs(60);
/// For a client that neither sends nor closes.
const SILENCE: Duration = Duration::from_secs(5);
