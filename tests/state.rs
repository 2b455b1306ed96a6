//! The state's file and what may become of it: damaged, wider than it should be, on a disk that is full, that cannot be
//! written, that is not there. Mail is taken through all of it, and all of it is said.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portcullis::store::clock::Virtual;
use portcullis::store::state::Settings;
use portcullis::store::state::State;
use portcullis::store::table::Row;

const START: u64 = 1_795_395_525_000_000_000;
const ROWS: u128 = 600;
const BLOCKS: usize = 20;

fn open(path: &Path) -> State {
    State::open(&Settings::File(path.to_owned()), Arc::new(Virtual::new(START))).unwrap()
}

/// Entries of two kinds, written in more than one go and closed in order.
fn fill(path: &Path) {
    let state = open(path);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for part in 0..4 {
        for key in (0..ROWS).filter(|key| key % 4 == part) {
            state.escalations.update(spread(key), 0, |_| Some(Row { count: 1, until: u32::MAX, ..Row::default() }));
        }
        for number in (0..BLOCKS).filter(|number| (*number % 4) as u128 == part) {
            let key = format!("@{number}.example").parse().unwrap();
            state.blocks.add(&key, Duration::from_secs(86_400), "why").unwrap();
        }
        assert!(runtime.block_on(state.flush()));
    }
}

fn spread(key: u128) -> u128 {
    (key + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

fn is_whole(state: &State) -> bool {
    state.escalations.len() as u128 == ROWS && state.blocks.list().len() == BLOCKS
}

/// Files beside `path` under the name of something set aside.
fn kept(path: &Path) -> Vec<PathBuf> {
    let name = format!("{}.broken-", path.file_name().unwrap().to_str().unwrap());
    let entries = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap());
    let mut kept: Vec<PathBuf> =
        entries.filter(|entry| entry.file_name().to_str().unwrap().starts_with(&name)).map(|it| it.path()).collect();
    kept.sort();
    kept
}

/// Either all is back, or the file was set aside, which the state says, and a new one works.
fn heals(path: &Path, what: &str) -> bool {
    let state = open(path);
    let said = state.health().unwrap().kept();
    let found = kept(path);
    assert_eq!(said.iter().cloned().collect::<Vec<_>>(), found, "{what}");
    assert_eq!(state.health().unwrap().failing(), None, "{what}");
    if found.is_empty() {
        assert!(is_whole(&state), "{what}: forgotten without a word");
        return false;
    }
    assert_eq!((state.escalations.len(), state.blocks.len()), (0, 0), "{what}");
    fs::remove_file(&found[0]).or_else(|_| fs::remove_dir(&found[0])).unwrap();
    true
}

/// And a new one is begun that works.
fn heals_for_good(path: &Path, what: &str) {
    assert!(heals(path, what), "{what}");
    let state = open(path);
    state.blocks.add(&"@new.example".parse().unwrap(), Duration::from_secs(86_400), "").unwrap();
    drop(state);
    assert_eq!(open(path).blocks.len(), 1, "{what}: the new one");
    assert!(kept(path).is_empty(), "{what}: the new one is whole");
    fs::remove_file(path).unwrap();
}

#[test]
fn a_damaged_file_is_set_aside_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    fill(&whole);
    let octets = fs::read(&whole).unwrap();
    let path = folder.path().join("state.redb");
    assert!(is_whole(&open(&whole)));
    let zeros = vec![0; octets.len()];
    let headless = [&b"nonsense!"[..], &octets[9..]].concat();
    let longer = [&octets[..], &[7; 1000]].concat();
    let table: [(&str, &[u8]); 9] = [
        ("empty", b""),
        ("one octet", b"r"),
        ("a text", b"[server]\nlisten = []\n"),
        ("cut in half", &octets[..octets.len() / 2]),
        ("cut to a page", &octets[..4096]),
        ("its end is gone", &octets[..octets.len() - 1]),
        ("its first octets are others", &headless),
        ("nothing but NULs", &zeros),
        ("longer", &longer),
    ];
    for (what, octets) in table {
        fs::write(&path, octets).unwrap();
        heals_for_good(&path, what);
    }
    fs::create_dir(&path).unwrap();
    heals_for_good(&path, "a folder");
}

#[test]
fn what_is_no_state_is_set_aside_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let seed = redb::TableDefinition::<&str, &[u8]>::new("meta");
    let numbers = redb::TableDefinition::<u64, u64>::new("throttles");
    let blocks = redb::TableDefinition::<&str, &[u8]>::new("blocks");
    let table: [(&str, &dyn Fn(&redb::WriteTransaction)); 4] = [
        ("without tables", &|_| {}),
        ("a seed that is none", &|transaction| _ = transaction.open_table(seed).unwrap().insert("seed", &b"no"[..])),
        ("rows of another kind", &|transaction| {
            transaction.open_table(seed).unwrap().insert("seed", &[7; 16][..]).unwrap();
            transaction.open_table(numbers).unwrap().insert(1, 1).unwrap();
        }),
        ("blocks of nonsense", &|transaction| {
            transaction.open_table(seed).unwrap().insert("seed", &[7; 16][..]).unwrap();
            transaction.open_table(blocks).unwrap().insert("@a.example", &b"nonsense"[..]).unwrap();
        }),
    ];
    for (what, work) in table {
        let database = redb::Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        work(&transaction);
        transaction.commit().unwrap();
        drop(database);
        heals_for_good(&path, what);
    }
}

#[test]
fn no_small_damage_forgets_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, path) = (folder.path().join("whole"), folder.path().join("state.redb"));
    fill(&whole);
    let octets = fs::read(&whole).unwrap();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    let mut set_aside = 0;
    // The header with its two commits, then places all over the file.
    let header = (0..32).chain((32..320).step_by(5)).map(|at| (at, 1));
    let anywhere = (0..80).map(|number| (usize::MAX, [1, 8, 64, 512, 4096][number % 5]));
    for (at, length) in header.chain(anywhere).collect::<Vec<_>>() {
        let at = if at == usize::MAX { next(octets.len() - length) } else { at };
        let junk: Vec<u8> = octets[at..at + length].iter().map(|octet| octet ^ (1 + next(255) as u8)).collect();
        fs::write(&path, &octets).unwrap();
        fs::OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&junk, at as u64).unwrap();
        set_aside += usize::from(heals(&path, &format!("{length} octets at {at}: {junk:x?}")));
    }
    assert!(set_aside > 50, "{set_aside}: the damages hit nothing");
}
