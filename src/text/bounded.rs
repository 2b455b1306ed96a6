//! Files read whole, up to a limit: a name may lead to a device, a pipe, or a file that never ends. It must not wait
//! for a writer, and it must not return a part of a file as if it were all of it.

use std::fs;
use std::fs::File;
use std::io;
use std::io::ErrorKind;
use std::io::Read;
use std::path::Path;

/// The whole file.
///
/// # Errors
/// `FileTooLarge` if it has more than `limit` octets, `IsADirectory`, `InvalidInput` if it is something else that is no
/// regular file, and those of the system.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // Asked before it is opened: opening a FIFO would wait for its writer.
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "is not a regular file"));
    }
    // One octet more, or the end would only be found by growing.
    let room = usize::try_from(metadata.len().min(limit)).unwrap_or_default() + 1;
    read_into(Vec::with_capacity(room), File::open(path)?, limit)
}

/// The whole file, which has to be a text.
///
/// # Errors
/// As [`read`], and `InvalidData` if it is no UTF-8.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    text(read(path, limit)?)
}

/// All that an open file, or a pipe, has left.
///
/// # Errors
/// As [`read`], but for what the file is.
pub fn rest(file: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    read_into(Vec::new(), file, limit)
}

/// All that an open file has left, as text.
///
/// # Errors
/// As [`read_text`], but for what the file is.
pub fn rest_of(file: &File, limit: u64) -> io::Result<String> {
    text(rest(file, limit)?)
}

fn read_into(mut octets: Vec<u8>, file: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    file.take(limit + 1).read_to_end(&mut octets)?;
    match octets.len() as u64 > limit {
        true => Err(io::Error::new(ErrorKind::FileTooLarge, format!("is over {limit} octets"))),
        false => Ok(octets),
    }
}

fn text(octets: Vec<u8>) -> io::Result<String> {
    String::from_utf8(octets).map_err(|_| io::Error::new(ErrorKind::InvalidData, "is not valid UTF-8"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_or_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        fs::write(place("text"), "12345").unwrap();
        fs::write(place("latin1"), b"b\xfcro").unwrap();
        nix::unistd::mkfifo(&place("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        let table = [
            ("at the limit", place("text"), 5, Ok(b"12345".as_slice())),
            ("past it", place("text"), 4, Err(ErrorKind::FileTooLarge)),
            ("octets", place("latin1"), 5, Ok(b"b\xfcro")),
            ("nothing there", place("none"), 5, Err(ErrorKind::NotFound)),
            ("a folder", folder.path().to_owned(), 5, Err(ErrorKind::IsADirectory)),
            ("a pipe nobody writes to", place("fifo"), 5, Err(ErrorKind::InvalidInput)),
            ("a device without end", "/dev/zero".into(), 5, Err(ErrorKind::InvalidInput)),
        ];
        for (what, path, limit, expected) in table {
            let found = read(&path, limit).map_err(|error| error.kind());
            assert_eq!(found.as_deref(), expected.as_ref().map(|octets| *octets), "{what}");
        }
        assert_eq!(read_text(&place("text"), 5).unwrap(), "12345");
        assert_eq!(read_text(&place("latin1"), 5).unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(rest_of(&File::open(place("text")).unwrap(), 4).unwrap_err().kind(), ErrorKind::FileTooLarge);
        // The kernel's own files have length 0 until they are read.
        assert!(!read(Path::new("/proc/self/status"), 1 << 20).unwrap().is_empty());
    }
}
