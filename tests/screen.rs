//! `status --watch` on a terminal: a storm is seen, blocked and unblocked by keys, the proxy goes and comes back, and the
//! terminal is given back as it was, whatever ends the view.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;

use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;

use nix::pty::openpty;
use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::sys::termios::LocalFlags;
use nix::sys::termios::tcgetattr;
use nix::unistd::Pid;
use proxy::Proxy;
use proxy::Site;
use proxy::host::LONG;
use proxy::host::happens_within;
use proxy::host::until;
use rustix::termios::Winsize;
use rustix::termios::tcsetwinsize;

/// The view on a terminal of its own.
struct Screen {
    child: Child,
    /// The end of the terminal at which a person sits.
    person: File,
    program: OwnedFd,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Screen {
    fn start(site: &Site, environment: &[(&str, &str)]) -> Self {
        let terminal = openpty(None, None).unwrap();
        tcsetwinsize(&terminal.slave, size(24, 80)).unwrap();
        let program = || Stdio::from(terminal.slave.try_clone().unwrap());
        let mut command = site.command();
        command.args(["status", "--watch"]).stdin(program()).stdout(program()).stderr(program());
        command.env("TERM", "xterm").env("LANG", "C.UTF-8").env_remove("NO_COLOR").env_remove("LC_ALL");
        let child = command.envs(environment.iter().copied()).spawn().unwrap();
        let written = Arc::new(Mutex::new(Vec::new()));
        let person = File::from(terminal.master);
        let (mut from, into) = (person.try_clone().unwrap(), written.clone());
        std::thread::spawn(move || {
            let mut octets = [0; 4096];
            while let Ok(length @ 1..) = from.read(&mut octets) {
                into.lock().unwrap().extend_from_slice(&octets[..length]);
            }
        });
        Self { child, person, program: terminal.slave, written }
    }

    fn press(&self, keys: &str) {
        (&self.person).write_all(keys.as_bytes()).unwrap();
    }

    /// Everything that was written to the terminal.
    fn written(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    /// What the terminal shows.
    fn rows(&self) -> Vec<String> {
        rows(&self.written())
    }

    /// Waits until the terminal shows a text, which may be wrapped.
    fn shows(&self, text: &str) {
        let shown = || self.rows().iter().map(|row| row.trim()).collect::<Vec<_>>().join(" ").contains(text);
        if !happens_within(LONG, shown) {
            panic!("waited for {text:?} on\n{}", self.rows().join("\n"));
        }
    }

    /// Whether keys come as they are pressed, and are not echoed.
    fn is_raw(&self) -> bool {
        !tcgetattr(&self.program).unwrap().local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO)
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Waits for its end, after which the terminal is as it was.
    fn ends(mut self) {
        assert!(self.child.wait().unwrap().success(), "{}", self.written());
        let flags = tcgetattr(&self.program).unwrap().local_flags;
        assert!(flags.contains(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG), "{flags:?}");
        until("the screen of before, with its cursor", || {
            let written = self.written();
            written.rfind(LEAVE) > written.rfind(ENTER) && written.rfind(CURSOR) > written.rfind(NO_CURSOR)
        });
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a terminal shows when this was written to it, as far as the view writes: text, places, and clearing.
fn rows(written: &str) -> Vec<String> {
    let mut cells = vec![vec![' '; 200]; 60];
    let (mut row, mut column) = (0, 0);
    let mut rest = written.chars();
    while let Some(character) = rest.next() {
        if character != '\u{1b}' {
            cells[row][column] = character;
            column += 1;
            continue;
        }
        assert_eq!(rest.next(), Some('['), "a control sequence (ECMA-48)");
        let mut parameters = String::new();
        let Some(end) = rest.by_ref().find(|it| {
            let is_end = ('@'..='~').contains(it);
            parameters.extend((!is_end).then_some(*it));
            is_end
        }) else {
            break;
        };
        match end {
            'H' => {
                let mut places = parameters.split(';').map(|place| place.parse::<usize>().unwrap_or(1) - 1);
                (row, column) = (places.next().unwrap_or(0), places.next().unwrap_or(0));
            }
            'J' => cells.iter_mut().for_each(|row| row.fill(' ')),
            _ => {}
        }
    }
    cells.iter().map(|row| row.iter().collect::<String>().trim_end().to_owned()).collect()
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Five messages whose declared size is over any limit.
fn storm(proxy: &Proxy) {
    for _ in 0..5 {
        let mut client = proxy.client().hello();
        assert!(client.say("MAIL FROM:<news@sillyplace.com> SIZE=9999999999").starts_with("552"));
    }
}

fn is_blocked(site: &Site) -> bool {
    site.run(&["blocks"]).out.contains("news@sillyplace.com")
}

#[test]
fn a_storm_is_seen_blocked_and_unblocked() {
    let site = Site::new("", "");
    let proxy = Proxy::start(&site);
    let screen = Screen::start(&site, &[]);
    screen.shows("mx.example.org");
    assert!(screen.written().contains(ENTER));
    // It comes without a key.
    storm(&proxy);
    screen.shows("STORM");
    assert!(screen.is_raw() && screen.written().contains(COLOUR));
    screen.press("gb");
    screen.shows("It would have hit 5 messages");
    assert!(!is_blocked(&site), "it is asked first");
    screen.press("y");
    screen.shows("u takes it back");
    assert!(is_blocked(&site));
    screen.press("u");
    screen.shows("is no longer blocked");
    assert!(!is_blocked(&site));
    screen.press("e");
    screen.shows("552 5.3.4");
    screen.press("q/sillyplace\r");
    screen.shows("(Esc: all)");
    screen.shows("oversize_declared");
    let mut open = proxy.client().hello();
    assert!(open.say("MAIL FROM:<slow@b.example>").starts_with("250"));
    screen.press("s");
    screen.shows("slow@b.example");
    screen.press("\u{3}");
    screen.ends();
}

#[test]
fn a_proxy_that_restarts_is_shown_and_comes_back() {
    let site = Site::new("", "");
    let proxy = Proxy::start(&site);
    let screen = Screen::start(&site, &[("NO_COLOR", "1")]);
    screen.shows("mx.example.org");
    proxy.stop();
    screen.shows("NOT REACHED since ");
    let _proxy = Proxy::start(&site);
    // Within a second it cannot be told from the one before.
    let is_back = |row: &String| row.contains("the proxy was restarted") || row.contains("the proxy answers again");
    until("the proxy is shown again", || screen.rows().iter().any(is_back));
    assert!(!screen.rows()[0].contains("NOT REACHED"), "{:?}", screen.rows());
    assert!(!screen.written().contains(COLOUR));
    screen.press("q");
    screen.ends();
}

#[test]
fn a_refused_change_names_its_remedy() {
    let site = Site::new("", "");
    site.admin_over_tcp();
    let proxy = Proxy::start(&site);
    storm(&proxy);
    site.write("portcullis-token", "of another proxy, at another time\n");
    let screen = Screen::start(&site, &[]);
    screen.shows("STORM");
    screen.press("gb");
    screen.shows("It would have hit 5 messages");
    screen.press("y");
    screen.shows("is not the running proxy's");
    screen.press("q");
    screen.ends();
    assert!(!is_blocked(&site));
}

#[test]
fn a_signal_ends_it_and_a_new_size_is_drawn() {
    let site = Site::new("", "");
    let _proxy = Proxy::start(&site);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let screen = Screen::start(&site, &[]);
        screen.shows("q quit");
        assert!(screen.rows()[23].ends_with("q quit"), "{:?}", screen.rows());
        tcsetwinsize(&screen.program, size(40, 120)).unwrap();
        screen.signal(Signal::SIGWINCH);
        until("the keys in the last row of a larger terminal", || screen.rows()[39].ends_with("q quit"));
        screen.shows("Last records");
        screen.signal(signal);
        screen.ends();
    }
}

#[test]
fn a_dumb_terminal_is_given_plain_text() {
    let site = Site::new("", "");
    let _proxy = Proxy::start(&site);
    let screen = Screen::start(&site, &[("TERM", "dumb")]);
    // It repeats.
    until("the status twice", || screen.written().matches("connections    0").count() >= 2);
    assert!(!screen.written().contains('\u{1b}') && !screen.is_raw());
}

/// xterm's other screen (ctlseqs, DECSET 1049), and its cursor (DECSET 25).
const ENTER: &str = "\u{1b}[?1049h";
const LEAVE: &str = "\u{1b}[?1049l";
const CURSOR: &str = "\u{1b}[?25h";
const NO_CURSOR: &str = "\u{1b}[?25l";
/// A foreground of the palette (ctlseqs, SGR 38).
const COLOUR: &str = "\u{1b}[38;5;";
