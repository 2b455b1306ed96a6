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

/// Ends a connection, within its limits.
/// `ended`: the client had ended its side already, before it could hear what was owed. One that was refused at the door
/// has had all that it will get, and no other may want for its place.
pub(super) async fn close(mut client: ClientStream, mut owed: Outbox, ended: bool, refused: bool) -> Farewell {
    let (last_word, linger) = if refused { (SILENCE, SILENCE) } else { (LAST_WORD, LINGER) };
    let told = timeout(last_word, async {
        while !owed.is_empty() {
            client.write_buf(&mut owed).await?;
        }
        client.shutdown().await
    });
    if !matches!(told.await, Ok(Ok(()))) {
        return Farewell::Lost;
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
