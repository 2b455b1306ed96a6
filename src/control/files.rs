//! Readers of qmail's control files, and of every file an operator hands us as a list.
//!
//! An absent file is `None`, anything else that cannot be read is an error: a list that is silently empty refuses nobody. It
//! must not decide what an absent file means.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::policy::list::entries::lines;
use crate::policy::list::entries::trim_end;
use crate::policy::list::fault::ListFault;
use crate::text::bounded;

/// A number as qmail's `scan_ulong` reads it, and the line that it is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Integer {
    /// The digits that the line begins with, saturating; `None` without any.
    pub value: Option<u64>,
    /// The line, without trailing blanks, or its beginning.
    pub line: Vec<u8>,
}

impl Integer {
    fn read(line: &[u8]) -> Self {
        let digit = |value: u64, octet: &u8| value.saturating_mul(10).saturating_add(u64::from(octet - b'0'));
        let length = digits(line);
        let value = (length > 0).then(|| line[..length].iter().fold(0, digit));
        Self { value, line: line[..line.len().min(MOST_SHOWN)].to_vec() }
    }

    /// Whether anything stands behind the digits: `10MB` is 10 to qmail.
    pub fn has_rest(&self) -> bool {
        digits(&self.line) < self.line.len()
    }
}

fn digits(line: &[u8]) -> usize {
    line.iter().take_while(|octet| octet.is_ascii_digit()).count()
}

/// The whole file; `None` if there is none.
///
/// # Errors
/// The file is there and cannot be read, is no regular file, or is over 256 MiB.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, ListFault> {
    let fault = |what: String| ListFault::new(&path.to_string_lossy(), 0, what);
    let error = match bounded::read(path, LARGEST) {
        Ok(text) => return Ok(Some(text)),
        Err(error) => error,
    };
    Err(fault(match error.kind() {
        ErrorKind::FileTooLarge => "is over 256 MiB, too large for a list: restore a copy".to_owned(),
        // A link that leads nowhere was meant to lead somewhere.
        ErrorKind::NotFound if fs::symlink_metadata(path).is_ok() => {
            "is a link to a file that does not exist: remove it, or create the file".to_owned()
        }
        ErrorKind::NotFound => return Ok(None),
        kind @ (ErrorKind::InvalidInput | ErrorKind::IsADirectory) => {
            format!("cannot be read (it is not a regular file): {}", remedy(kind))
        }
        kind => format!("cannot be read ({error}): {}", remedy(kind)),
    }))
}

/// The whole file, which has to be a text; `None` if there is none.
///
/// # Errors
/// As `read`; and a NUL: no list has one, a file that was lost in a crash has nothing else, and a text in UTF-16 has one in
/// every second place. It would be read as a list that names nobody. The same for what is compressed or a program.
pub fn read_text(path: &Path) -> Result<Option<Vec<u8>>, ListFault> {
    let text = read(path)?;
    let Some(at) = text.as_deref().and_then(not_text) else { return Ok(text) };
    let line = text.iter().flat_map(|text| &text[..at]).filter(|octet| **octet == b'\n').count() + 1;
    let what = "is not a text file: rewrite it as plain ASCII or UTF-8, or restore a copy";
    Err(ListFault::new(&path.to_string_lossy(), u32::try_from(line).unwrap_or(u32::MAX), what))
}

/// The place of the octet that shows that this is not a text: a NUL, or the first of many control octets. A few are not
/// enough: the end of a file of DOS is one.
fn not_text(text: &[u8]) -> Option<usize> {
    let is_odd = |octet: &u8| octet.is_ascii_control() && !matches!(octet, b'\t' | b'\r' | b'\n' | 0x0C);
    let head = &text[..text.len().min(LOOKED_AT)];
    let odd = head.iter().filter(|octet| is_odd(octet)).count();
    let binary = (odd >= 8 && odd * 32 >= head.len()).then(|| head.iter().position(is_odd)).flatten();
    binary.or_else(|| memchr::memchr(0, text))
}

/// `control_readline`: the first line without trailing blanks; `None` if the file is absent or that line empty.
///
/// # Errors
/// As `read_text`; and octets that must not stand in a reply line (CR, other control octets, 8-bit).
pub fn first_line(path: &Path) -> Result<Option<String>, ListFault> {
    let Some(text) = read_text(path)? else { return Ok(None) };
    let line = first(&text);
    // RFC 5321 section 4.2: the text of a reply is HT, SP and printable US-ASCII.
    if !line.iter().all(|octet| matches!(octet, b'\t' | b' '..=b'~')) {
        let what = "has octets that a reply must not have: write the first line in ASCII, with LF line ends";
        return Err(ListFault::new(&path.to_string_lossy(), 1, what));
    }
    Ok((!line.is_empty()).then(|| String::from_utf8_lossy(line).into_owned()))
}

/// `control_readint`: the digits the first line begins with; `None` if the file is absent.
///
/// # Errors
/// As `read_text`.
pub fn integer(path: &Path) -> Result<Option<Integer>, ListFault> {
    Ok(read_text(path)?.map(|text| Integer::read(first(&text))))
}

fn first(text: &[u8]) -> &[u8] {
    trim_end(lines(text).next().map_or(&[], |(_, line)| line))
}

fn remedy(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::PermissionDenied => {
            "give the user that Portcullis runs as permission to read it and to enter its folders"
        }
        ErrorKind::NotADirectory => "one of its folders is a file",
        _ => "put a readable file there, or remove its name from the configuration",
    }
}

/// Octets of a line that is shown: no number is longer.
const MOST_SHOWN: usize = 60;
/// Octets of the beginning in which control octets are counted.
const LOOKED_AT: usize = 4096;
/// Octets of a list.
const LARGEST: u64 = 256 << 20;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_qmail_reads_them() {
        let cases: &[(&str, &[u8], Option<u64>, bool)] = &[
            ("a number", b"1000\n", Some(1000), false),
            ("trailing blanks", b"1000 \t\n", Some(1000), false),
            ("a unit is not understood", b"10MB\n", Some(10), true),
            ("only the first line", b"0\n7\n", Some(0), false),
            ("a CR", b"7\r\n", Some(7), true),
            ("a leading blank", b" 7\n", None, true),
            ("a sign", b"-1\n", None, true),
            ("a word", b"none\n", None, true),
            ("the number in the second line", b"\n7\n", None, false),
            ("nothing", b"", None, false),
            ("too large", b"99999999999999999999999\n", Some(u64::MAX), false),
        ];
        for (what, text, value, has_rest) in cases {
            let found = Integer::read(first(text));
            assert_eq!((found.value, found.has_rest()), (*value, *has_rest), "{what}");
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
        assert_eq!(first_line(&path).unwrap_err().location.line, 1);
        assert!(read(folder.path()).unwrap_err().to_string().contains("not a regular file"));
        assert!(read(&path.join("below")).unwrap_err().to_string().contains("is a file"));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert!(read(&link).unwrap_err().to_string().contains("a link to a file that does not exist"));
    }

    #[test]
    fn what_has_nuls_is_no_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("badmailfrom");
        let utf16: Vec<u8> = "a@b.example\n".bytes().flat_map(|octet| [octet, 0]).collect();
        let binary: Vec<u8> = (0..5000_u32).map(|it| (it.wrapping_mul(2_654_435_761) >> 24) as u8 | 1).collect();
        let table: [(&str, &[u8], Option<u32>); 8] = [
            ("a text", b"a@b.example\n", None),
            ("with octets of UTF-8", "ä@b.example\n".as_bytes(), None),
            ("empty", b"", None),
            ("nothing but NULs", &[0; 100_000], Some(1)),
            ("its end was lost in a crash", b"a@b.example\nb@b.example\n\0\0\0", Some(3)),
            ("UTF-16", &utf16, Some(1)),
            ("the end of a file of DOS", b"a@b.example\r\n\x1a", None),
            ("a binary without NULs", &binary, Some(1)),
        ];
        for (what, text, line) in table {
            fs::write(&path, text).unwrap();
            assert_eq!(read_text(&path).err().map(|fault| fault.location.line), line, "{what}");
            assert_eq!(
                first_line(&path).is_err_and(|fault| fault.to_string().contains("is not a text file")),
                line.is_some(),
                "{what}"
            );
            assert_eq!(integer(&path).is_err(), line.is_some(), "{what}");
            assert!(read(&path).is_ok(), "{what}: a cdb has them");
        }
    }

    #[test]
    fn a_file_over_the_limit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge");
        fs::File::create(&path).unwrap().set_len(LARGEST + 1).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("over 256 MiB"));
    }
}
