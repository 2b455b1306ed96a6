//! kill -9 at random moments: every message that a client was told 250 for has been delivered, and one that was only
//! tried again where no 250 came was delivered once, but for what a kill between the backend's 250 and the next write of
//! the state may double.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/qmail.rs"]
mod qmail;

use std::collections::HashMap;
use std::fs;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use proxy::Proxy;
use proxy::Site;
use proxy::host::LONG;
use qmail::QmailHome;

const MESSAGES: usize = 1000;
/// Each try of a message has the same.
static DATE: OnceLock<String> = OnceLock::new();

/// The code of the last reply; an error when the connection broke before it.
fn send(address: SocketAddr, id: usize) -> io::Result<bool> {
    let mut stream = BufReader::new(TcpStream::connect(address)?);
    stream.get_ref().set_read_timeout(Some(LONG))?;
    let date = DATE.get_or_init(|| jiff::fmt::rfc2822::to_string(&jiff::ZonedDateTime::now()).unwrap());
    let message = format!("Message-ID: <{id}@kills.example>\r\nDate: {date}\r\n\r\ntext of {id}\r\n.\r\n");
    let steps = [
        "",
        "EHLO c.example\r\n",
        "MAIL FROM:<a@kills.example>\r\n",
        "RCPT TO:<r@example.org>\r\n",
        "DATA\r\n",
        &message,
    ];
    let mut accepted = false;
    for step in steps {
        stream.get_mut().write_all(step.as_bytes())?;
        let mut line = String::new();
        while !line.ends_with('\n') || line.as_bytes()[3] == b'-' {
            line.clear();
            if stream.read_line(&mut line)? < 5 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        accepted = line.starts_with("250");
        if line.starts_with(['4', '5']) {
            return Ok(false);
        }
    }
    // The next word shows that it was taken; nobody waits for what is said to it.
    let _ = stream.get_mut().write_all(b"QUIT\r\n");
    Ok(accepted)
}

/// All messages through one life after the other, each ended by kill -9; how many there were.
fn deliver_through_kills(site: &Site, longest_life: Duration) -> usize {
    let random = RandomState::new();
    let longest = u64::try_from(longest_life.as_micros()).unwrap();
    let (mut next, mut kills) = (0, 0);
    while next < MESSAGES {
        let mut proxy = Proxy::start(site);
        let (address, pid) = (proxy.addresses[0], Pid::from_raw(i32::try_from(proxy.pid()).unwrap()));
        let delay = Duration::from_micros(1_000 + random.hash_one(kills) % longest);
        let (done, over) = (Mutex::new(false), Condvar::new());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // A moment, and no event: that is the point.
                let (ended, _) = over.wait_timeout_while(done.lock().unwrap(), delay, |done| !*done).unwrap();
                if !*ended {
                    kill(pid, Signal::SIGKILL).unwrap();
                }
            });
            while next < MESSAGES {
                match send(address, next) {
                    Ok(true) => next += 1,
                    Ok(false) => {}
                    Err(_) => break,
                }
            }
            *done.lock().unwrap() = true;
            over.notify_all();
        });
        kills += 1;
        let _ = kill(pid, Signal::SIGKILL);
        proxy.wait();
    }
    kills
}

fn assert_nothing_is_lost(texts: impl Iterator<Item = String>, kills: usize) {
    let mut copies: HashMap<String, usize> = HashMap::new();
    for text in texts {
        let id = text.lines().find(|line| line.starts_with("Message-ID")).unwrap().to_owned();
        *copies.entry(id).or_default() += 1;
    }
    assert_eq!(copies.len(), MESSAGES, "after {kills} kills");
    let extra: usize = copies.values().map(|count| count - 1).sum();
    assert!(extra <= kills, "{extra} extra copies after {kills} kills");
    assert!(kills >= 10, "only {kills} kills");
}

#[test]
fn nothing_is_lost() {
    let site = Site::new("", "");
    let kills = deliver_through_kills(&site, Duration::from_millis(60));
    let mails = fs::read_dir(site.path("mail/new")).unwrap();
    assert_nothing_is_lost(mails.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()), kills);
}

#[test]
fn nothing_is_lost_before_the_real_smtpfront() {
    let qmail = QmailHome::new();
    let site = Site::new("", "");
    let backend = format!(
        "spawn = [{:?}]\nenv = {{ QMAILHOME = {:?}, QMAILQUEUE = {:?} }}",
        qmail.path("smtpfront"),
        qmail.path(""),
        qmail.path("qmail-queue")
    );
    site.write("portcullis.toml", &proxy::configuration("", &backend, ""));
    let kills = deliver_through_kills(&site, Duration::from_millis(600));
    assert_nothing_is_lost(qmail.queued().into_iter().map(|queued| queued.message), kills);
}
