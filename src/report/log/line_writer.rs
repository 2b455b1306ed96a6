//! The stream that log lines go to: as many with one write(2) as a pipe takes whole, because backends that we start
//! write to the same one. A log that cannot be written is no reason to stop taking mail, so nothing here fails; what
//! was lost is counted. It must not keep lines for later: it has no buffer that could grow.

use std::io;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// A stream that lines are written to.
#[derive(Debug)]
pub(crate) struct LineWriter<W> {
    stream: W,
    /// Whether a line went out without its end, so that the next must begin a new one.
    torn: bool,
    /// Lines not written, or not whole. Shared, so that reading it does not wait for a write.
    lost: Arc<AtomicU64>,
}

impl<W: Write> LineWriter<W> {
    pub(crate) fn new(stream: W) -> Self {
        Self { stream, torn: false, lost: Arc::default() }
    }

    /// Writes `lines`, of which each ends in LF, or counts those as lost that did not go out whole.
    pub(crate) fn write(&mut self, mut lines: &[u8]) {
        while !lines.is_empty() {
            let (piece, rest) = lines.split_at(at_once(lines));
            self.write_piece(piece);
            lines = rest;
        }
    }

    fn write_piece(&mut self, lines: &[u8]) {
        if self.torn && self.push(b"\n").0.is_ok() {
            self.torn = false;
        }
        let (outcome, written) = self.push(lines);
        if outcome.is_err() {
            let lost = lines[written..].iter().filter(|octet| **octet == b'\n').count() as u64;
            self.lost.fetch_add(lost, Ordering::Relaxed);
            self.torn |= written > 0 && lines[written - 1] != b'\n';
        }
    }

    /// Lines not written, or not whole.
    pub(crate) fn lost(&self) -> Arc<AtomicU64> {
        self.lost.clone()
    }

    /// Like `write_all`, but tells how much went out. EPIPE, EIO and ENOSPC are somebody else's to mend; EAGAIN (stderr
    /// may be shared with a program that made it non-blocking) is not waited for.
    fn push(&mut self, octets: &[u8]) -> (io::Result<()>, usize) {
        let mut written = 0;
        while written < octets.len() {
            match self.stream.write(&octets[written..]) {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), written),
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (Err(error), written),
            }
        }
        (Ok(()), written)
    }
}

/// Octets of whole lines; one that is longer than that goes alone.
fn at_once(lines: &[u8]) -> usize {
    let end = memchr::memrchr(b'\n', &lines[..lines.len().min(PIPE_BUF)]);
    end.or_else(|| memchr::memchr(b'\n', lines)).map_or(lines.len(), |end| end + 1)
}

/// Octets that a pipe takes as one piece, even with other writers (pipe(7)).
const PIPE_BUF: usize = 4096;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn what_a_stream_may_do() {
        use Answer::Fails;
        use Answer::Takes;
        use io::ErrorKind::BrokenPipe;
        use io::ErrorKind::Interrupted;
        use io::ErrorKind::WouldBlock;
        let table: &[(&str, &[Answer], &str, u64)] = &[
            ("takes all", &[], "one\ntwo\n", 0),
            ("takes a part", &[Takes(2)], "one\ntwo\n", 0),
            ("is interrupted", &[Fails(Interrupted), Takes(1), Fails(Interrupted)], "one\ntwo\n", 0),
            ("is gone for a line", &[Fails(BrokenPipe)], "two\n", 1),
            ("is gone", &[Fails(BrokenPipe), Fails(BrokenPipe)], "", 2),
            ("is full in the middle", &[Takes(2), Fails(WouldBlock)], "on\ntwo\n", 1),
            ("stays full", &[Takes(2), Fails(WouldBlock), Fails(WouldBlock), Fails(WouldBlock)], "on", 2),
            ("takes nothing", &[Takes(0)], "two\n", 1),
        ];
        for (what, answers, expected, lost) in table {
            let mut out = LineWriter::new(Stream { answers: answers.iter().copied().collect(), octets: Vec::new() });
            out.write(b"one\n");
            out.write(b"two\n");
            assert_eq!(String::from_utf8_lossy(&out.stream.octets), *expected, "{what}");
            assert_eq!(out.lost().load(Ordering::Relaxed), *lost, "{what}");
        }
    }

    #[test]
    fn a_pipe_takes_each_piece_whole() {
        let line = |length: usize| format!("{}\n", "x".repeat(length - 1));
        for (lengths, pieces) in [
            (&[100, 100][..], &[200][..]),
            (&[4000, 96, 1], &[4096, 1]),
            (&[4000, 97], &[4000, 97]),
            (&[10, 5000, 10], &[10, 5000, 10]),
            (&[5000, 4096], &[5000, 4096]),
        ] {
            let lines: String = lengths.iter().map(|length| line(*length)).collect();
            let mut rest = lines.as_bytes();
            let mut seen = Vec::new();
            while !rest.is_empty() {
                seen.push(at_once(rest));
                rest = &rest[at_once(rest)..];
            }
            assert_eq!(seen, pieces, "{lengths:?}");
        }
    }

    #[derive(Clone, Copy)]
    enum Answer {
        Takes(usize),
        Fails(io::ErrorKind),
    }

    struct Stream {
        answers: VecDeque<Answer>,
        octets: Vec<u8>,
    }

    impl Write for Stream {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            let taken = match self.answers.pop_front() {
                None => octets.len(),
                Some(Answer::Takes(most)) => most.min(octets.len()),
                Some(Answer::Fails(kind)) => return Err(kind.into()),
            };
            self.octets.extend(&octets[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
