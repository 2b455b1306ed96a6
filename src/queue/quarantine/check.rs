//! Errors of a queue and their remedies. It changes nothing, and must not report files that are only in motion. A remedy must
//! not lose a message when it is followed: files are moved out of the queue, never removed, and what belongs to a misplaced
//! file is left alone.

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
use crate::queue::quarantine::remedy;
use crate::queue::quarantine::running;
use crate::queue::quarantine::saved::Stage;
use crate::text::shell;

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
    /// A file that is not regular, or a name that is not a number.
    Name,
    /// Files without their message.
    Orphan,
    /// A file with the wrong owner.
    Owner,
    /// A record that qmail-send does not read, or a file that we cannot read.
    Record,
    /// A file or folder where qmail does not look, or a missing folder.
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
    /// The remedy: an advice, or commands for a shell in the queue's folder, separated by `; `.
    pub remedy: String,
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
    fn push(&mut self, kind: Kind, place: String, what: impl Into<String>, remedy: impl Into<String>) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= OF_A_KIND {
            self.first.push(Finding { kind, place, what: what.into(), remedy: remedy.into() });
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

/// Checks the whole queue. `now` is in seconds since 1970; `options` are those that name this queue to a command, with a
/// blank before each; `progress` gets the number of messages examined.
pub fn check(
    queue: &Queue,
    scan: &Scan,
    quarantine: Option<&Quarantine>,
    now: i64,
    options: &str,
    progress: &dyn Fn(usize),
) -> Findings {
    let mut findings = Findings::default();
    check_locks(queue, &mut findings);
    // A folder can go when what is in it has gone.
    let (folders, files): (Vec<&Stray>, Vec<&Stray>) =
        scan.strays.iter().partition(|stray| stray.fault == StrayFault::Folder);
    files.into_iter().chain(folders).for_each(|stray| check_stray(queue, stray, &mut findings));
    let unseen = scan.stray_count - scan.strays.len();
    if unseen > 0 {
        findings.push(
            Kind::Name,
            "mess".to_owned(),
            format!("{unseen} more files are misplaced or odd"),
            "follow these remedies first, then run this again",
        );
    }
    let is_live = running::is_locked(queue) == Some(true);
    let owners = owners(queue);
    let mut received = Vec::new();
    let want = Want { recipients: Some(0), header: None, ..Want::default() };
    list::each(queue, &scan.entries, &Filter::default(), &want, now, progress, &mut |message| {
        check_owners(queue, &message, owners.as_ref(), &mut findings);
        check_message(queue, scan, &message, is_live, now, &mut findings);
        if matches!(message.state(), State::S2 | State::S3) && !scan.is_scattered(message.id) {
            received.push(message);
        }
        ControlFlow::Continue(())
    });
    check_received(queue, scan, received, now, &mut findings);
    check_pids(queue, now, &mut findings);
    quarantine.iter().for_each(|quarantine| check_quarantine(quarantine, options, &mut findings));
    findings
}

fn check_locks(queue: &Queue, findings: &mut Findings) {
    let mut push = |place: &str, what: &str, remedy| findings.push(Kind::Lock, place.to_owned(), what, remedy);
    let (mutex, trigger) = ("lock/sendmutex", "lock/trigger");
    match queue.stat(mutex) {
        Ok(stat) if is_regular(&stat) => {}
        found => push(
            mutex,
            "is not a file: qmail-send does not start without it",
            remedy::anew(mutex, "touch", "600", found.is_ok()),
        ),
    }
    match queue.stat(trigger) {
        Ok(stat) if stat.st_mode & nix::libc::S_IFMT != nix::libc::S_IFIFO => {
            let what = "is not a FIFO: new mail waits up to 25 minutes";
            push(trigger, what, remedy::anew(trigger, "mkfifo", "622", true));
        }
        Ok(stat) if stat.st_mode & 0o022 != 0o022 => {
            let what = "cannot be written by qmail-queue: new mail waits up to 25 minutes";
            push(trigger, what, "chmod 622 lock/trigger".to_owned());
        }
        Ok(_) => {}
        Err(_) => {
            let what = "no such file: new mail waits up to 25 minutes";
            push(trigger, what, remedy::anew(trigger, "mkfifo", "622", false));
        }
    }
}

fn check_stray(queue: &Queue, stray: &Stray, findings: &mut Findings) {
    let place = stray.place.clone();
    match &stray.fault {
        StrayFault::Inode(inode) => {
            let what = format!("has inode {inode}: the queue was copied or moved, and numbers may be used twice");
            findings.push(Kind::Inode, place, what, REPAIR);
        }
        StrayFault::Place(right) => check_misplaced(queue, place, right, findings),
        StrayFault::Kind => {
            let what = "is not a regular file, unlike every file that qmail makes";
            findings.push(Kind::Name, place, what, "find out what it is; queue quarantine leaves the message alone")
        }
        StrayFault::Name => {
            let remedy = remedy::stopped(&remedy::out_of_queue(&place));
            findings.push(Kind::Name, place, "is not the number of a message: qmail ignores it", remedy)
        }
        StrayFault::Missing => {
            let remedy = remedy::make(&place);
            findings.push(Kind::Split, place, "no such folder: mail that belongs there cannot be queued", remedy)
        }
        StrayFault::Folder => {
            let remedy = format!("rmdir {}", shell::word(&place));
            findings.push(Kind::Split, place, "is a folder that qmail ignores", remedy)
        }
        StrayFault::Unreadable(why) => {
            let remedy = match queue.stat(&place) {
                Ok(stat) if is_regular(&stat) => {
                    remedy::stopped(&format!("{}; {}", remedy::out_of_queue(&place), remedy::make(&place)))
                }
                _ => "look at the file system (dmesg, fsck); the other findings may be wrong until then".into(),
            };
            findings.push(Kind::Split, place, format!("cannot be read: {why}"), remedy)
        }
    }
}

/// A file of a message that is not where it belongs. The rest of the message belongs to it.
fn check_misplaced(queue: &Queue, place: String, right: &str, findings: &mut Findings) {
    let id = right.rsplit('/').next().unwrap_or_default();
    let is_free = queue.stat(right).is_err();
    let what = match is_free {
        true => format!(
            "belongs at {right}, where qmail looks for it; qmail-send may lose message {id} until it is there, so be quick"
        ),
        false => format!("is not where qmail looks, and {right} exists too"),
    };
    let remedy = match is_free {
        true => remedy::stopped(&format!("mv -n {} {}", shell::word(&place), shell::word(right))),
        false => remedy::stopped(&remedy::out_of_queue(&place)),
    };
    findings.push(Kind::Split, place, what, remedy);
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
            let remedy = format!("chown {expected} {place}");
            findings.push(Kind::Owner, place, what, remedy);
        }
    }
}

fn check_message(queue: &Queue, scan: &Scan, message: &Message, is_live: bool, now: i64, findings: &mut Findings) {
    let files = || message.files.iter().map(|file| queue.place(file, message.id));
    let age = message.birth.map_or(0, |birth| now - birth);
    match message.state() {
        // Its message, or its sender, is among the strays.
        _ if scan.is_scattered(message.id) => {}
        State::Orphan => {
            let what = match message.files.has(File::Info) {
                true => "the message is gone, and qmail-send tries it until queuelifetime is over",
                false => "the message is gone; they are not read until the number is used again",
            };
            let names = files().collect::<Vec<_>>().join(" ");
            findings.push(Kind::Orphan, names, what, leave_or(scan, &remedy::moved(files())));
        }
        State::S2 | State::S3 if has_lost_sender(message) => {
            let what =
                "has recipients, but its sender (info) is gone: qmail-send removes it 36 hours after it was last read";
            let place = queue.place(File::Mess, message.id);
            findings.push(Kind::Record, place, what, leave_or(scan, &remedy::moved(files())));
        }
        State::S4 if is_live && age > STUCK => {
            let place = queue.place(File::Todo, message.id);
            let what = "qmail-send is running and has not preprocessed it";
            findings.push(Kind::Stuck, place, what, "look at lock/trigger and at qmail-send's log");
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

/// Whether qmail-send had sorted the recipients, and the file with the sender is gone.
fn has_lost_sender(message: &Message) -> bool {
    [File::Local, File::Remote].into_iter().any(|file| message.files.has(file)) && !message.files.has(File::Info)
}

/// The remedy, unless a part of the queue was not seen.
fn leave_or(scan: &Scan, remedy: &str) -> String {
    match scan.has_gap {
        true => "leave it until all folders can be read: the rest of it may be there".to_owned(),
        false => remedy.to_owned(),
    }
}

/// Reports a message as left over unless it is being received: qmail-queue has it open, or may have if we cannot know.
fn check_received(queue: &Queue, scan: &Scan, received: Vec<Message>, now: i64, findings: &mut Findings) {
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
        let is_left = !open.contains(&message.id) && !has_lost_sender(&message);
        if is_left && (is_old || all_seen && is_settled) {
            let what = format!("{}: no qmail-queue is writing it now", message.state());
            findings.push(Kind::Debris, place, what, leave_or(scan, LEAVE));
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
            findings.push(Kind::Debris, place, "no qmail-queue is writing it now", LEAVE);
        }
    }
}

fn check_quarantine(quarantine: &Quarantine, options: &str, findings: &mut Findings) {
    for id in quarantine.ids().unwrap_or_default() {
        let stage = quarantine.saved(id).ok().flatten().map(|saved| saved.stage);
        let is_there = quarantine.is_there(id);
        let (what, remedy) = match stage {
            Some(Stage::Taken) if is_there => continue,
            Some(Stage::Taking | Stage::Saved) if is_there && !quarantine.has(id) => {
                ("only a part of it was copied here, from a queue that may deliver it too", BY_HAND.to_owned())
            }
            None if is_there && quarantine.is_begun(id) => ("its envelope is damaged", BY_HAND.to_owned()),
            _ => {
                let again = format!("portcullis queue quarantine {id}{options}");
                ("a queue quarantine, restore or delete was interrupted: this completes or undoes it", again)
            }
        };
        let place = quarantine.path().join(id.to_string()).display().to_string();
        findings.push(Kind::Unfinished, place, what, remedy);
    }
}

const REPAIR: &str =
    "stop qmail-send, and repair the queue with queue-fix or queue_repair; queue quarantine leaves it alone";
const BY_HAND: &str = "queue quarantine leaves it alone: read the message and its .envelope, send it with qmail-inject where it \
                       is still wanted, then move both out of the quarantine";
const LEAVE: &str = "leave it: qmail-send removes it 36 hours after it was last read";
/// Seconds after which qmail-queue ends itself.
const QMAIL_QUEUE_LIVES: i64 = 86_400;
const JUST_NOW: i64 = 60;
/// Seconds after which a message counts as stuck: qmail-send looks into todo every 25 minutes even without a trigger.
const STUCK: i64 = 30 * 60;
/// Faults of one kind that are listed; the rest are only counted.
const OF_A_KIND: usize = 1000;
