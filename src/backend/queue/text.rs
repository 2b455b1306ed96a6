//! The error text that a program writes beside its exit code: `D` (permanent) or `Z` (temporary), then the words for the
//! client. It must not keep more of it than the patch sets do, nor pass on an octet that could end a reply.

use std::io;

use tokio::net::unix::pipe;

/// The text, as far as it has come.
pub(super) struct ErrorText {
    from: pipe::Receiver,
    text: Vec<u8>,
}

impl ErrorText {
    pub(super) fn new(from: pipe::Receiver) -> Self {
        Self { from, text: Vec::new() }
    }

    /// Reads until the last writer is gone, so that a program that writes much is not held up.
    pub(super) async fn read(&mut self) {
        while self.from.readable().await.is_ok() {
            match self.read_now() {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return,
            }
        }
    }

    /// The text of a program that has ended: all that it wrote is there.
    pub(super) fn take(&mut self) -> Option<String> {
        let mut buffer = [0; MAX_TEXT];
        // The pipe itself is asked: the runtime may not have heard of it yet. More than fits is not needed.
        while self.text.len() < MAX_TEXT
            && let Ok(read @ 1..) = nix::unistd::read(&self.from, &mut buffer)
        {
            self.keep(&buffer[..read]);
        }
        clean(&self.text)
    }

    fn read_now(&mut self) -> io::Result<usize> {
        let mut buffer = [0; READ];
        let read = self.from.try_read(&mut buffer)?;
        self.keep(&buffer[..read]);
        Ok(read)
    }

    fn keep(&mut self, octets: &[u8]) {
        let room = MAX_TEXT.saturating_sub(self.text.len());
        self.text.extend_from_slice(&octets[..octets.len().min(room)]);
    }
}

/// The text with its first letter; `None`: it is too short to say anything, or says neither of the two.
fn clean(text: &[u8]) -> Option<String> {
    if text.len() < MIN_TEXT || !text.starts_with(b"D") && !text.starts_with(b"Z") {
        return None;
    }
    let text = String::from_utf8_lossy(text);
    let words: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words = words.trim_end();
    (words[1..].trim_start().len() + 1 >= MIN_TEXT).then(|| words.to_owned())
}

/// Octets of a text that says something, and of the longest that is kept (qmail.c of notqmail, and the patch sets).
const MIN_TEXT: usize = 3;
const MAX_TEXT: usize = 255;
const READ: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let rows: [(&[u8], Option<&str>); 8] = [
            (b"DNo such spam here (#5.7.1)", Some("DNo such spam here (#5.7.1)")),
            (b"Zlater\n", Some("Zlater")),
            (b"Zone\r\n250 ok\n", Some("Zone  250 ok")),
            (b"D\xff\0x", Some("D\u{fffd} x")),
            (b"", None),
            (b"Dx", None),
            (b"D \n \n", None),
            (b"Kaccepted", None),
        ];
        for (written, expected) in rows {
            assert_eq!(clean(written).as_deref(), expected, "{}", written.escape_ascii());
        }
    }
}
