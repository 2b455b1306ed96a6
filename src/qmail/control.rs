//! Readers of qmail's control files, and of every file an operator hands us as a list.
//!
//! An absent file is `None`, anything else that cannot be read is a fault: a list that is silently empty opens the door. It
//! must not decide what an absent file means.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;

use crate::policy::entries::lines;
use crate::policy::entries::trim_end;
use crate::policy::list::ListFault;

/// A number, and whether other octets follow it in its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Integer {
    /// Saturating.
    pub value: u64,
    /// `10MB` is 10 to qmail.
    pub has_rest: bool,
}

/// The whole file; `None` if there is none.
///
/// # Errors
/// The file is there and cannot be read, is no regular file, or is over 256 MiB.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, ListFault> {
    let fault = |what: String| ListFault::new(&path.to_string_lossy(), 0, what);
    match read_bounded(path) {
        Ok(Some(text)) => Ok(Some(text)),
        Ok(None) => Err(fault("is over 256 MiB: no list is as long as that".to_owned())),
        // A link that leads nowhere was meant to lead somewhere.
        Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_ok() => {
            Err(fault("is a link to nothing: remove it, or put the file where it points to".to_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault(format!("cannot be read ({error}): {}", remedy(error.kind())))),
    }
}

/// `control_readline`: the first line without trailing blanks; `None` if the file is absent or that line empty.
///
/// # Errors
/// As `read`; and octets that must not stand in a reply line (CR, other control octets, 8-bit).
pub fn first_line(path: &Path) -> Result<Option<String>, ListFault> {
    let Some(text) = read(path)? else { return Ok(None) };
    let line = first(&text);
    // RFC 5321 section 4.2: the text of a reply is HT, SP and printable US-ASCII.
    if !line.iter().all(|octet| matches!(octet, b'\t' | b' '..=b'~')) {
        let what = "has octets that no reply may have: write the first line in ASCII, with LF line ends";
        return Err(ListFault::new(&path.to_string_lossy(), 1, what));
    }
    Ok((!line.is_empty()).then(|| String::from_utf8_lossy(line).into_owned()))
}

/// `control_readint`: the digits the first line begins with; `None` if the file is absent or there are none.
///
/// # Errors
/// As `read`.
pub fn integer(path: &Path) -> Result<Option<Integer>, ListFault> {
    Ok(read(path)?.and_then(|text| leading_integer(first(&text))))
}

fn leading_integer(line: &[u8]) -> Option<Integer> {
    let length = line.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let digit = |value: u64, &octet: &u8| value.saturating_mul(10).saturating_add(u64::from(octet - b'0'));
    let value = line[..length].iter().fold(0, digit);
    (length > 0).then_some(Integer { value, has_rest: length < line.len() })
}

fn first(text: &[u8]) -> &[u8] {
    trim_end(lines(text).next().map_or(&[], |(_, line)| line))
}

/// `None` if the file is over the limit.
fn read_bounded(path: &Path) -> io::Result<Option<Vec<u8>>> {
    // Asked before it is opened: opening a FIFO would wait for its writer.
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let size = usize::try_from(metadata.len()).unwrap_or(usize::MAX).min(MAX_FILE);
    let mut text = Vec::with_capacity(size + 1);
    File::open(path)?.take(MAX_FILE as u64 + 1).read_to_end(&mut text)?;
    Ok((text.len() <= MAX_FILE).then_some(text))
}

fn remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::PermissionDenied => "let the user that Portcullis runs as read it, and enter its folders",
        io::ErrorKind::NotADirectory => "one of its folders is a file",
        _ => "put a readable file there, or take the name out of the configuration",
    }
}

const MAX_FILE: usize = 256 << 20;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_qmail_reads_them() {
        let cases: &[(&str, &[u8], Option<(u64, bool)>)] = &[
            ("a number", b"1000\n", Some((1000, false))),
            ("trailing blanks", b"1000 \t\n", Some((1000, false))),
            ("a unit is not understood", b"10MB\n", Some((10, true))),
            ("only the first line", b"0\n7\n", Some((0, false))),
            ("a leading blank", b" 7\n", None),
            ("a sign", b"-1\n", None),
            ("nothing", b"", None),
            ("too large", b"99999999999999999999999\n", Some((u64::MAX, false))),
        ];
        for (what, text, expected) in cases {
            let found = leading_integer(first(text)).map(|integer| (integer.value, integer.has_rest));
            assert_eq!(found, *expected, "{what}");
        }
    }

    #[test]
    fn absent_is_none_and_all_else_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("me");
        assert_eq!(first_line(&path), Ok(None));
        fs::write(&path, "mx.example.org \nmore\n").unwrap();
        assert_eq!(first_line(&path), Ok(Some("mx.example.org".to_owned())));
        fs::write(&path, "\n").unwrap();
        assert_eq!(first_line(&path), Ok(None));
        fs::write(&path, "mx.example.org\r\n").unwrap();
        assert_eq!(first_line(&path).unwrap_err().place.line, 1);
        assert!(read(folder.path()).unwrap_err().to_string().contains("not a regular file"));
        assert!(read(&path.join("below")).unwrap_err().to_string().contains("is a file"));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert!(read(&link).unwrap_err().to_string().contains("a link to nothing"));
    }

    #[test]
    fn a_file_over_the_limit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge");
        File::create(&path).unwrap().set_len(MAX_FILE as u64 + 1).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("over 256 MiB"));
    }
}
