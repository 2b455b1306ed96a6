//! The state's file and what may become of it: damaged, wider than it should be, on a disk that is full, that cannot be
//! written, that is not there. Mail is taken through all of it, and all of it is said.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/small.rs"]
mod small;

use std::fs;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portcullis::store::clock::Time;
use portcullis::store::clock::Virtual;
use portcullis::store::state::Settings;
use portcullis::store::state::State;
use proxy::Proxy;
use proxy::Site;
use proxy::host::until;
use small::Small;

const START: Time = Time::from_seconds(1_795_395_525);
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
            state.tables().escalations.count(spread(key), Duration::from_secs(86_400), START);
        }
        for number in (0..BLOCKS).filter(|number| (*number % 4) as u128 == part) {
            let key = format!("@{number}.example").parse().unwrap();
            state.tables().blocks.add(&key, Duration::from_secs(86_400), "why").unwrap();
        }
        state.tables().history.count(START, |counts| counts.accepted += 1);
        assert!(runtime.block_on(state.flush()));
    }
}

fn spread(key: u128) -> u128 {
    (key + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

fn is_whole(state: &State) -> bool {
    state.tables().escalations.len() as u128 == ROWS && state.tables().blocks.list().len() == BLOCKS
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
    assert_eq!((state.tables().escalations.len(), state.tables().blocks.len()), (0, 0), "{what}");
    fs::remove_file(&found[0]).or_else(|_| fs::remove_dir(&found[0])).unwrap();
    true
}

/// And a new one is begun that works.
fn heals_for_good(path: &Path, what: &str) {
    assert!(heals(path, what), "{what}");
    let state = open(path);
    state.tables().blocks.add(&"@new.example".parse().unwrap(), Duration::from_secs(86_400), "").unwrap();
    drop(state);
    assert_eq!(open(path).tables().blocks.len(), 1, "{what}: the new one");
    assert!(kept(path).is_empty(), "{what}: the new one is whole");
    fs::remove_file(path).unwrap();
}

#[test]
fn a_text_of_another_name_is_not_ours() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("passwd");
    fs::write(&path, "root:x:0:0::/root:/bin/sh\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    drop(open(&path));
    assert_eq!(fs::read_to_string(&path).unwrap(), "root:x:0:0::/root:/bin/sh\n");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    assert!(kept(&path).is_empty());
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

const FILE: &str = "portcullis-state.redb";

/// What the admin interface says, from the status on.
fn ask(site: &Site, request: &str, body: &str) -> String {
    let mut stream = UnixStream::connect(site.path("admin.sock")).unwrap();
    let head = format!(
        "Host: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}",
        body.len()
    );
    write!(stream, "{request} HTTP/1.1\r\n{head}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn takes_mail(proxy: &Proxy) {
    proxy.client().hello().mail("ann@partner.example", "Subject: honest");
}

/// On a file system of eight mebibytes.
fn on_small(small: &Small) -> Site {
    Site::new("", &format!("[state]\nurl = \"redb:{}/state.redb\"\n", small.path().display()))
}

#[test]
fn mail_goes_on_over_a_damaged_state_and_it_is_said_everywhere() {
    let site = Site::new("", "");
    let mut proxy = Proxy::start(&site);
    takes_mail(&proxy);
    assert_eq!(site.run(&["block", "@old.example", "--for", "1d"]).code, 0);
    assert_eq!(mode(&site.path(FILE)), 0o600);
    assert!(site.get("/ready").split_once("\r\n\r\n").unwrap().1.starts_with("ready\n"));
    proxy.stop();
    let octets = fs::read(site.path(FILE)).unwrap();
    fs::write(site.path(FILE), &octets[..octets.len() / 2]).unwrap();
    proxy = Proxy::start(&site);
    let told = proxy.line("state damaged");
    let [kept] = kept(&site.path(FILE)).try_into().unwrap();
    assert_eq!(fs::read(&kept).unwrap().len(), octets.len() / 2);
    assert_eq!((mode(&kept), mode(&site.path(FILE))), (0o600, 0o600));
    let name = kept.file_name().unwrap().to_str().unwrap();
    assert!(
        told.contains("state damaged; starting with an empty one\" level=error")
            && told.contains(name)
            && told.contains("remedy="),
        "{told}"
    );
    takes_mail(&proxy);
    let ready = site.get("/ready");
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains(name), "{ready}");
    let status = site.run(&["status"]).out;
    assert!(status.contains("\nstate          was damaged and started empty") && status.contains(name), "{status}");
    assert!(site.get("/metrics").contains("\nportcullis_state_set_aside 1\n"));
    proxy.stop();
    let proxy = Proxy::start(&site);
    assert!(!site.get("/ready").contains(name), "an operator has restarted it");
    proxy.stop();
}

#[test]
fn a_state_that_others_can_read_is_narrowed_and_said() {
    let site = Site::new("", "");
    Proxy::start(&site).stop();
    fs::set_permissions(site.path(FILE), fs::Permissions::from_mode(0o644)).unwrap();
    let proxy = Proxy::start(&site);
    assert!(
        proxy
            .seen()
            .iter()
            .any(|line| line.contains("its mode is 0600 now\" level=warn") && line.contains("mode=0644"))
    );
    assert_eq!(mode(&site.path(FILE)), 0o600);
    let log = Proxy::start(&Site::new("", "")).stop();
    assert!(!log.iter().any(|line| line.contains("readable by others")), "{log:?}");
}

#[test]
fn a_folder_that_comes_later_gets_what_has_happened_before() {
    let site = Site::new("", "[state]\nurl = \"redb:later/state.redb\"\n");
    let mut proxy = Proxy::start(&site);
    assert!(proxy.seen().iter().any(|line| line.contains("state degraded\" level=error")), "{:?}", proxy.seen());
    takes_mail(&proxy);
    let blocked = site.run(&["block", "@a.example", "--for", "1d"]);
    assert!(blocked.code == 1 && blocked.err.contains("a restart forgets it"), "{blocked:?}");
    let ready = site.get("/ready");
    assert!(
        ready.starts_with("HTTP/1.1 503") && ready.contains("not ready: the state cannot be written (No such file")
    );
    assert_eq!(site.run(&["status", "--json"]).json()["state"], "degraded");
    assert!(site.get("/metrics").contains("\nportcullis_state_degraded 1\n"));
    fs::create_dir(site.path("later")).unwrap();
    proxy.wait_for("state written again");
    assert!(site.get("/ready").starts_with("HTTP/1.1 200"));
    proxy.stop();
    let _proxy = Proxy::start(&site);
    assert!(site.run(&["blocks"]).out.contains("@a.example"));
}

#[test]
fn a_full_disk_is_over_when_there_is_room() {
    let Some(small) = Small::mount("8m") else { return };
    let site = on_small(&small);
    small.fill(0);
    let mut proxy = Proxy::start(&site);
    takes_mail(&proxy);
    assert_eq!(site.run(&["block", "@first.example", "--for", "1d"]).code, 1);
    assert!(site.get("/ready").contains("No space left"), "a first start without room");
    small.empty();
    proxy.wait_for("state written again");
    // Full again, in the run, more than once.
    for name in ["@second.example", "@third.example"] {
        small.fill(0);
        let mut number = 0;
        until("the disk is full", || {
            number += 1;
            let (key, why) = (format!("@{number}.{}", &name[1..]), "why ".repeat(120));
            let body = format!("{{\"key\":\"{key}\",\"seconds\":86400,\"why\":\"{why}\"}}");
            ask(&site, "POST /api/v1/blocks", &body).starts_with("HTTP/1.1 500")
        });
        assert_eq!(site.run(&["block", name, "--for", "1d"]).code, 1);
        takes_mail(&proxy);
        assert_eq!(site.run(&["status", "--json"]).json()["state"], "degraded");
        small.empty();
        proxy.wait_for("state written again");
    }
    assert_eq!(site.run(&["block", "@last.example", "--for", "1d"]).code, 0);
    let before = site.run(&["blocks"]).out;
    proxy.stop();
    let _proxy = Proxy::start(&site);
    assert_eq!(site.run(&["blocks"]).out, before);
    for name in ["@first.example", "@second.example", "@third.example", "@last.example"] {
        assert!(before.contains(name), "{before}");
    }
    assert!(kept(&small.path().join("state.redb")).is_empty());
}

#[test]
fn what_cannot_be_written_is_in_force_all_the_same() {
    let Some(small) = Small::mount("8m") else { return };
    let site = on_small(&small);
    let proxy = Proxy::start(&site);
    assert_eq!(site.run(&["block", "@a.example", "--for", "1d"]).code, 0);
    proxy.stop();
    let is_in_force = |proxy: &Proxy| {
        proxy.client().hello().dialog(&[("MAIL FROM:<x@a.example>", "554"), ("MAIL FROM:<x@b.example>", "250")]);
    };
    small.remount("ro");
    let mut proxy = Proxy::start(&site);
    assert!(site.get("/ready").contains("Read-only file system"));
    is_in_force(&proxy);
    assert_eq!(site.run(&["unblock", "@a.example"]).code, 1);
    assert_eq!(site.run(&["block", "@c.example", "--for", "1d"]).code, 1);
    small.remount("rw");
    proxy.wait_for("state written again");
    assert_eq!(site.run(&["block", "@a.example", "--for", "2d"]).code, 0);
    proxy.stop();
    // A restart while the disk is full forgets nothing, whether the file can be opened then or not.
    small.fill(0);
    let proxy = Proxy::start(&site);
    is_in_force(&proxy);
    assert!(site.run(&["blocks"]).out.contains("@c.example"));
    _ = site.run(&["block", "@d.example", "--for", "1d"]);
    small.empty();
    until("there is room", || site.run(&["block", "@e.example", "--for", "1d"]).code == 0);
    proxy.stop();
    let _proxy = Proxy::start(&site);
    let blocks = site.run(&["blocks"]).out;
    for name in ["@a.example", "@c.example", "@d.example", "@e.example"] {
        assert!(blocks.contains(name), "{blocks}");
    }
    assert!(kept(&small.path().join("state.redb")).is_empty());
}

/// As under `softlimit -f`: what the kernel would kill for is an error like any other.
#[test]
fn a_limit_of_file_sizes_is_a_full_disk_and_not_the_end() {
    let site = Site::new("", "");
    let mut proxy = Proxy::start(&site);
    let limit = |octets: Option<u64>| {
        let pid = rustix::process::Pid::from_raw(proxy.pid().cast_signed()).unwrap();
        let new = rustix::process::Rlimit { current: octets, maximum: None };
        rustix::process::prlimit(Some(pid), rustix::process::Resource::Fsize, new).unwrap();
    };
    limit(Some(1024));
    assert_eq!(site.run(&["block", "@a.example", "--for", "1d"]).code, 1);
    takes_mail(&proxy);
    assert!(site.get("/ready").contains("File too large"), "{}", site.get("/ready"));
    limit(None);
    proxy.wait_for("state written again");
    proxy.stop();
    let _proxy = Proxy::start(&site);
    assert!(site.run(&["blocks"]).out.contains("@a.example"));
}

#[test]
fn the_history_survives_a_restart() {
    let site = Site::new("", "");
    for _ in 0..2 {
        let proxy = Proxy::start(&site);
        takes_mail(&proxy);
        proxy.stop();
    }
    let state = open(&site.path(FILE));
    let sum = |step| state.tables().history.sums(0, u32::MAX, step).iter().map(|(_, row)| row.accepted).sum::<u64>();
    assert_eq!((sum(60), sum(3600)), (2, 2));
}

#[test]
fn a_history_of_another_version_is_read_as_far_as_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let minutes = redb::TableDefinition::<u32, &[u8]>::new("history_minutes");
    let of_later = redb::TableDefinition::<u32, &[u8]>::new("of_later");
    fill(&path);
    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    assert!(transaction.delete_table(minutes).unwrap(), "a state of before has none");
    transaction.commit().unwrap();
    drop(database);
    assert!(is_whole(&open(&path)));
    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let minute = START.seconds() - START.seconds() % 60;
    for (at, row) in [(minute - 60, r#"{"accepted":3,"later":1}"#), (minute, "7"), (minute + 7, r#"{"accepted":9}"#)] {
        transaction.open_table(minutes).unwrap().insert(at, row.as_bytes()).unwrap();
    }
    transaction.open_table(of_later).unwrap().insert(1, b"x".as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let state = open(&path);
    assert!(is_whole(&state) && kept(&path).is_empty());
    let rows = state.tables().history.sums(0, u32::MAX, 60);
    assert_eq!(rows.iter().map(|(at, row)| (*at, row.accepted)).collect::<Vec<_>>(), [(minute - 60, 3)]);
}
