//! A cdb, read from octets in memory: the file is untrusted, and one that is cut while it is mapped would kill us.
//!
//! It must not map or open files, and never panics on a broken one. Keys are not looked up by hash: the records are walked
//! once, in file order, and put into tables of our own. The first of equal keys is the one a look-up would find.

use std::fmt;

/// A cdb whose records have been checked.
#[derive(Clone, Copy, Debug)]
pub struct Cdb<'a> {
    /// Octets from the first record to the end of the last.
    records: &'a [u8],
}

/// The reason why octets are not a cdb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CdbFault {
    /// A record reaches into the tables, or the records do not fill the room before them.
    Record,
    /// Shorter than the 2048 octets that every cdb begins with.
    Short,
    /// A table lies outside the file: it is cut, or no cdb at all.
    Table,
}

impl<'a> Cdb<'a> {
    /// Checks tables and records. An empty cdb is 2048 octets.
    ///
    /// # Errors
    /// The octets are no whole cdb.
    pub fn read(bytes: &'a [u8]) -> Result<Self, CdbFault> {
        let (header, _) = bytes.split_at_checked(HEADER).ok_or(CdbFault::Short)?;
        let mut end = bytes.len();
        let mut slots_of_all: u64 = 0;
        for table in header.chunks_exact(PAIR) {
            let (position, slots) = pair(table).ok_or(CdbFault::Table)?;
            if slots == 0 {
                continue;
            }
            let length = slots.checked_mul(PAIR).ok_or(CdbFault::Table)?;
            let last = position.checked_add(length).ok_or(CdbFault::Table)?;
            if position < HEADER || last > bytes.len() {
                return Err(CdbFault::Table);
            }
            end = end.min(position);
            slots_of_all += slots as u64;
        }
        // Without a slot there is no record; octets after the header would be records that no table knows.
        let cdb = Self { records: bytes.get(HEADER..end).ok_or(CdbFault::Table)? };
        let mut rest = cdb.records;
        let mut count: u64 = 0;
        while !rest.is_empty() {
            (_, rest) = split_record(rest).ok_or(CdbFault::Record)?;
            count += 1;
        }
        if count > slots_of_all { Err(CdbFault::Record) } else { Ok(cdb) }
    }

    /// Key and data of each record, in file order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut rest = self.records;
        std::iter::from_fn(move || {
            let record;
            (record, rest) = split_record(rest)?;
            Some(record)
        })
    }
}

impl fmt::Display for CdbFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Record => "is a broken cdb: its records and its tables disagree",
            Self::Short => "is not a cdb: it is shorter than 2048 octets",
            Self::Table => "is not a cdb, or is truncated: its tables lie outside the file",
        })
    }
}

impl std::error::Error for CdbFault {}

/// One record, as key and data, and what follows it.
fn split_record(bytes: &[u8]) -> Option<((&[u8], &[u8]), &[u8])> {
    let (lengths, rest) = bytes.split_at_checked(PAIR)?;
    let (key, data) = pair(lengths)?;
    let (key, rest) = rest.split_at_checked(key)?;
    let (data, rest) = rest.split_at_checked(data)?;
    Some(((key, data), rest))
}

/// Two numbers of 32 bits, the low octet first.
fn pair(bytes: &[u8]) -> Option<(usize, usize)> {
    let (first, rest) = bytes.split_first_chunk()?;
    let (second, _) = rest.split_first_chunk()?;
    Some((u32::from_le_bytes(*first).try_into().ok()?, u32::from_le_bytes(*second).try_into().ok()?))
}

const HEADER: usize = 2048;
const PAIR: usize = 8;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::any;
    use proptest::prop_assert;
    use proptest::proptest;

    use super::*;

    const SAMPLE: &[u8] = include_bytes!("../../tests/samples/tcp.smtp.cdb");
    const EMPTY: &[u8] = include_bytes!("../../tests/samples/empty.cdb");

    #[test]
    fn records_come_in_file_order() {
        let keys: Vec<_> = Cdb::read(SAMPLE).unwrap().iter().map(|(key, _)| key).collect();
        assert_eq!(keys.len(), 19);
        assert_eq!(keys[0], b"127.0.0.1");
        assert_eq!(keys[18], b"");
        let (_, data) = Cdb::read(SAMPLE).unwrap().iter().nth(2).unwrap();
        assert_eq!(data, b"D\0");
    }

    #[test]
    fn the_empty_cdb_is_a_cdb() {
        assert_eq!(Cdb::read(EMPTY).unwrap().iter().count(), 0);
    }

    #[test]
    fn every_cut_is_noticed() {
        for length in 0..SAMPLE.len() {
            assert!(Cdb::read(&SAMPLE[..length]).is_err(), "{length}");
        }
        for length in 0..EMPTY.len() {
            assert_eq!(Cdb::read(&EMPTY[..length]).unwrap_err(), CdbFault::Short);
        }
    }

    #[test]
    fn a_text_is_no_cdb() {
        assert_eq!(Cdb::read(&b"10.:allow\n".repeat(1000)).unwrap_err(), CdbFault::Table);
        assert_eq!(Cdb::read(&[0; 4096]).unwrap_err(), CdbFault::Record);
    }

    proptest! {
        #[test]
        fn no_octets_are_too_strange(bytes in any::<Vec<u8>>(), header in any::<[u8; 16]>()) {
            let whole = [&header.repeat(HEADER / 16), &bytes[..]].concat();
            for bytes in [&bytes[..], &whole] {
                if let Ok(cdb) = Cdb::read(bytes) {
                    prop_assert!(cdb.iter().count() <= bytes.len());
                }
            }
        }

        #[test]
        fn a_damaged_cdb_never_panics(at in 0..SAMPLE.len(), octet in any::<u8>()) {
            let mut damaged = SAMPLE.to_vec();
            damaged[at] = octet;
            if let Ok(cdb) = Cdb::read(&damaged) {
                prop_assert!(cdb.iter().count() <= damaged.len());
            }
        }
    }
}
