//! Faults of a queue and their remedies. It changes nothing, and must not report files that are only in motion.

use std::collections::HashMap;
use std::collections::HashSet;
use std::ops::ControlFlow;

use nix::unistd::User;
use serde::Serialize;

use crate::queue::look::File;
use crate::queue::look::Message;
use crate::queue::look::State;
use crate::queue::look::filter::Filter;
use crate::queue::look::layout::Queue;
use crate::queue::look::layout::is_regular;
use crate::queue::look::list;
use crate::queue::look::read::Want;
use crate::queue::look::scan::Scan;
use crate::queue::look::scan::Stray;
use crate::queue::look::scan::StrayFault;
use crate::queue::quarantine::folder::Quarantine;
use crate::queue::quarantine::running;
use crate::queue::quarantine::saved::Stage;

/// A kind of fault, as `--json` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Left over from a killed qmail-queue.
    Debris,
    /// A message whose name is not its inode's number.
    Inode,
    /// A file of `lock` that qmail-send cannot use.
    Lock,
    /// A file that is not regular, or whose name is not a number.
    Name,
    /// Files without their message.
    Orphan,
    /// A file with the wrong owner.
    Owner,
    /// A record that qmail-send does not read, or a file that we cannot read.
    Record,
    /// A file in a folder where qmail does not look, or a missing folder.
    Split,
    /// A queued message that a running qmail-send does not preprocess.
    Stuck,
    /// A quarantine run that was interrupted.
    Unfinished,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The kind of fault.
    pub kind: Kind,
    /// Path, relative to the queue or to the quarantine.
    pub place: String,
    /// The fault, in words.
    pub what: String,
    /// The remedy.
    pub remedy: &'static str,
}

/// All faults found.
#[derive(Debug, Default)]
pub struct Findings {
    /// The first faults of each kind.
    pub first: Vec<Finding>,
    /// Number of faults of each kind.
    pub counts: HashMap<Kind, usize>,
}

impl Findings {
    fn push(&mut self, kind: Kind, place: String, what: impl Into<String>, remedy: &'static str) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= OF_A_KIND {
            self.first.push(Finding { kind, place, what: what.into(), remedy });
        }
    }
}

/// The owners that queue files must have.
struct Owners {
    /// Owner of `mess`, `intd`, `todo`.
    queue: u32,
    /// Owner of `info`, `local`, `remote`, `bounce`.
    send: u32,
}

/// Checks the whole queue. `now` is in seconds since 1970; `progress` gets the number of messages examined.
pub fn check(
    queue: &Queue,
    scan: &Scan,
    quarantine: Option<&Quarantine>,
    now: i64,
    progress: &dyn Fn(usize),
) -> Findings {
    let mut findings = Findings::default();
    check_locks(queue, &mut findings);
    scan.strays.iter().for_each(|stray| check_stray(queue, stray, &mut findings));
    let unseen = scan.stray_count - scan.strays.len();
    if unseen > 0 {
        findings.push(
            Kind::Name,
            "mess".to_owned(),
            format!("{unseen} more files are not where or as they should be"),
            REPAIR,
        );
    }
    let is_live = running::is_locked(queue) == Some(true);
    let owners = owners(queue);
    let mut received = Vec::new();
    let want = Want { recipients: Some(0), header: None, ..Want::default() };
    list::each(queue, &scan.entries, &Filter::default(), &want, now, progress, &mut |message| {
        check_owners(queue, &message, owners.as_ref(), &mut findings);
        check_message(queue, &message, is_live, now, &mut findings);
        if matches!(message.state(), State::S2 | State::S3) {
            received.push(message);
        }
        ControlFlow::Continue(())
    });
    check_received(queue, received, now, &mut findings);
    check_pids(queue, now, &mut findings);
    quarantine.iter().for_each(|quarantine| check_quarantine(quarantine, &mut findings));
    findings
}

fn check_locks(queue: &Queue, findings: &mut Findings) {
    let mut push = |place: &str, what: &str, remedy| findings.push(Kind::Lock, place.to_owned(), what, remedy);
    match queue.stat("lock/sendmutex") {
        Ok(stat) if is_regular(&stat) => {}
        _ => push(
            "lock/sendmutex",
            "is no file: qmail-send does not start without it",
            "install qmail's queue again (make setup, or your package)",
        ),
    }
    match queue.stat("lock/trigger") {
        Ok(stat) if stat.st_mode & nix::libc::S_IFMT != nix::libc::S_IFIFO => {
            push(
                "lock/trigger",
                "is no FIFO: new mail waits up to 25 minutes",
                "stop qmail-send; rm, mkfifo, chown qmails:qmail, chmod 622 it; start qmail-send",
            );
        }
        Ok(stat) if stat.st_mode & 0o022 != 0o022 => {
            push("lock/trigger", "cannot be written by qmail-queue: new mail waits up to 25 minutes", "chmod 622 it");
        }
        Ok(_) => {}
        Err(_) => push(
            "lock/trigger",
            "is not there: new mail waits up to 25 minutes",
            "stop qmail-send; mkfifo, chown qmails:qmail, chmod 622 it; start qmail-send",
        ),
    }
}

fn check_stray(queue: &Queue, stray: &Stray, findings: &mut Findings) {
    let place = stray.place.clone();
    match stray.fault {
        StrayFault::Inode(inode) => findings.push(
            Kind::Inode,
            place,
            format!("has inode {inode}: the queue was copied or moved, and numbers may be used twice"),
            REPAIR,
        ),
        StrayFault::Split(folder) => findings.push(
            Kind::Split,
            place,
            format!("belongs into folder {folder} of {}: qmail does not find it", queue.split()),
            REPAIR,
        ),
        StrayFault::Kind => {
            findings.push(Kind::Name, place, "is no regular file", "look what it is; qmail put it not there")
        }
        StrayFault::Name => findings.push(
            Kind::Name,
            place,
            "has no number as name: qmail does not look at it",
            "look what it is; qmail put it not there",
        ),
        StrayFault::Folder => findings.push(
            Kind::Split,
            place,
            "the folder is missing: mail that belongs there cannot be queued",
            "make it, with owner and mode of its neighbours",
        ),
    }
}

fn owners(queue: &Queue) -> Option<Owners> {
    let uid = |name: &str| User::from_name(name).ok().flatten().map(|user| user.uid.as_raw());
    let owner = |folder: &str| queue.stat(folder).ok().map(|stat| stat.st_uid);
    // Where qmail's users have other names, the owners of its folders show them.
    Some(Owners { queue: uid("qmailq").or_else(|| owner("pid"))?, send: uid("qmails").or_else(|| owner("info"))? })
}

fn check_owners(queue: &Queue, message: &Message, owners: Option<&Owners>, findings: &mut Findings) {
    let Some(owners) = owners else { return };
    for file in message.files.iter() {
        let expected = match file {
            File::Mess | File::Intd | File::Todo => owners.queue,
            File::Info | File::Local | File::Remote | File::Bounce => owners.send,
        };
        let place = queue.place(file, message.id);
        if let Ok(stat) = queue.stat(&place)
            && stat.st_uid != expected
        {
            let what =
                format!("belongs to uid {}, not {expected}: qmail may not be able to read or remove it", stat.st_uid);
            findings.push(Kind::Owner, place, what, "chown it to the owner of its neighbours");
        }
    }
}

fn check_message(queue: &Queue, message: &Message, is_live: bool, now: i64, findings: &mut Findings) {
    let names = || message.files.iter().map(|file| queue.place(file, message.id)).collect::<Vec<_>>().join(" ");
    let age = message.birth.map_or(0, |birth| now - birth);
    match message.state() {
        State::Orphan if message.files.has(File::Info) => {
            let what = "the message is gone, and qmail-send tries it until queuelifetime is over";
            findings.push(Kind::Orphan, names(), what, "stop qmail-send, remove these files, start it");
        }
        State::Orphan => {
            let what = "the message is gone; nobody reads them until the number comes again";
            findings.push(Kind::Orphan, names(), what, "stop qmail-send, remove these files, start it");
        }
        State::S4 if is_live && age > STUCK => {
            let what = "qmail-send runs and has not sorted its recipients";
            findings.push(
                Kind::Stuck,
                queue.place(File::Todo, message.id),
                what,
                "look at lock/trigger and at qmail-send's log",
            );
        }
        _ => {}
    }
    for trouble in &message.troubles {
        let place = queue.place(File::Mess, message.id);
        findings.push(
            Kind::Record,
            place,
            trouble.clone(),
            "look at it with queue show; queue quarantine leaves it alone",
        );
    }
}

/// Reports a message as left over unless it is being received: qmail-queue has it open, or may have if we cannot know.
fn check_received(queue: &Queue, received: Vec<Message>, now: i64, findings: &mut Findings) {
    if received.is_empty() {
        return;
    }
    let ids: HashSet<u64> = received.iter().map(|message| message.id).collect();
    let dev = queue.stat("mess").map_or(0, |mess| mess.st_dev);
    let open: HashSet<u64> = running::holders(dev, &ids).into_iter().map(|holder| holder.id).collect();
    let all_seen = nix::unistd::geteuid().is_root();
    for message in received {
        let is_old = message.birth.is_some_and(|birth| now - birth > QMAIL_QUEUE_LIVES);
        let place = queue.place(File::Mess, message.id);
        // A message whose receipt has just ended is not open any more, and not left over.
        let is_settled = message.birth.is_some_and(|birth| now - birth > JUST_NOW);
        if !open.contains(&message.id) && (is_old || all_seen && is_settled) {
            let what = format!("{}: no qmail-queue writes it any more", message.state());
            findings.push(Kind::Debris, place, what, LEAVE);
        }
    }
}

fn check_pids(queue: &Queue, now: i64, findings: &mut Findings) {
    let Ok(mut folder) = queue.folder("pid") else { return };
    for entry in folder.iter().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let place = format!("pid/{name}");
        let Ok(stat) = queue.stat(&place) else { continue };
        if !name.starts_with('.') && now - stat.st_mtime > QMAIL_QUEUE_LIVES {
            findings.push(Kind::Debris, place, "no qmail-queue writes it any more", LEAVE);
        }
    }
}

fn check_quarantine(quarantine: &Quarantine, findings: &mut Findings) {
    for id in quarantine.ids().unwrap_or_default() {
        let stage = quarantine.saved(id).ok().flatten().map(|saved| saved.stage);
        let is_there = quarantine.is_there(id);
        let (what, remedy) = match stage {
            Some(Stage::Taken) if is_there => continue,
            Some(Stage::Taking | Stage::Saved) if is_there && !quarantine.has(id) => {
                ("it was copied here half way, from a queue that may deliver it too", BY_HAND)
            }
            None if is_there && quarantine.is_begun(id) => ("its envelope is damaged", BY_HAND),
            _ => ("a queue quarantine, restore or delete ended half way", AGAIN),
        };
        let place = quarantine.path().join(id.to_string()).display().to_string();
        findings.push(Kind::Unfinished, place, what, remedy);
    }
}

const REPAIR: &str =
    "stop qmail-send, and repair the queue with queue-fix or queue_repair; queue quarantine leaves it alone";
const AGAIN: &str = "run queue quarantine again: it completes or undoes this first";
const BY_HAND: &str = "queue quarantine leaves it alone: look at the message and at its .envelope, and give it to qmail-inject, \
                       or remove both";
const LEAVE: &str = "leave it: qmail-send removes it 36 hours after it was last read";
/// Seconds after which qmail-queue ends itself.
const QMAIL_QUEUE_LIVES: i64 = 86_400;
const JUST_NOW: i64 = 60;
/// Seconds after which a message counts as stuck: qmail-send looks into todo every 25 minutes even without a trigger.
const STUCK: i64 = 30 * 60;
/// Faults of one kind that are listed; the rest are only counted.
const OF_A_KIND: usize = 1000;
