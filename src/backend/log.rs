//! A child's output on fd 2, line by line into our log, which escapes control octets. It must not keep more than one line
//! of bounded length.

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;

/// Logs the lines of `output`, to its end.
pub(super) async fn relay(output: impl AsyncRead + Unpin, pid: i32) {
    lines(output, |line| tracing::info!(pid, line, "backend")).await;
}

async fn lines(mut output: impl AsyncRead + Unpin, mut tell: impl FnMut(&str)) {
    let mut line = Vec::new();
    let mut buffer = vec![0; READ];
    // A fault of the pipe ends the log like its end does.
    while let Ok(read @ 1..) = output.read(&mut buffer).await {
        for piece in buffer[..read].split_inclusive(|&octet| octet == b'\n') {
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            let room = MAX_LINE - line.len();
            line.extend_from_slice(&text[..text.len().min(room)]);
            if text.len() < piece.len() {
                finish(&mut line, &mut tell);
            }
        }
    }
    finish(&mut line, &mut tell);
}

fn finish(line: &mut Vec<u8>, tell: &mut impl FnMut(&str)) {
    if !line.is_empty() {
        tell(&String::from_utf8_lossy(line));
        line.clear();
    }
}

const READ: usize = 2048;
/// Octets of one line; the rest of a longer one is dropped.
const MAX_LINE: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn output_becomes_lines() {
        let long = "x".repeat(5000);
        let cut = "x".repeat(1000);
        let table: [(&str, String, Vec<&str>); 6] = [
            ("nothing", String::new(), vec![]),
            ("lines", "a\nb\n".into(), vec!["a", "b"]),
            ("empty lines say nothing", "\n\na\n\n".into(), vec!["a"]),
            ("an unfinished line is told at the end", "a\nb".into(), vec!["a", "b"]),
            ("a long line is cut", format!("{long}\nb\n"), vec![&cut, "b"]),
            ("a long unfinished line too", long.clone(), vec![&cut]),
        ];
        for (what, output, expected) in table {
            let mut told = Vec::new();
            lines(output.as_bytes(), |line| told.push(line.to_owned())).await;
            assert_eq!(told, expected, "{what}");
        }
    }

    #[tokio::test]
    async fn octets_that_are_no_text_are_replaced() {
        let mut told = Vec::new();
        lines(b"a\xffb\n".as_slice(), |line| told.push(line.to_owned())).await;
        assert_eq!(told, ["a\u{fffd}b"]);
    }
}
