//! Installs the log: every event of ours, and what libraries warn of, becomes a line on stderr. Settings can be changed
//! while it runs. It must not fail, and must not wait for anything but stderr, and that not for long.

use std::cell::Cell;
use std::cell::RefCell;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::io::Write;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tracing::Event;
use tracing::Metadata;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::layer::SubscriberExt;

use crate::report::Level;
use crate::report::Settings;
use crate::report::Time;
use crate::report::log::format::Style;
use crate::report::log::format::write_event;
use crate::report::log::line_writer::LineWriter;
use crate::report::log::stream::Stream;
use crate::report::log::writer::PATIENCE;
use crate::report::log::writer::Writer;

/// Installs the log for the whole program. A second call only changes the settings.
pub fn start(settings: Settings) -> Handle {
    static STARTED: OnceLock<Handle> = OnceLock::new();
    let handle = STARTED.get_or_init(|| {
        let log = Arc::new(Log::new(settings, Stream::of_stderr(), Box::new(io::stderr())));
        // Fails only when somebody else (a test) has installed a log of his own, which may stay.
        _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(LogLayer(log.clone())));
        Handle(log)
    });
    handle.update(settings);
    handle.clone()
}

/// The log that runs.
#[derive(Clone)]
pub struct Handle(Arc<Log>);

impl Handle {
    /// For a reload: from the next event on.
    pub fn update(&self, settings: Settings) {
        *self.0.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
        // tracing remembers for every place in the code whether it is wanted.
        tracing::callsite::rebuild_interest_cache();
    }

    /// Starts a thread that writes lines until the guard is dropped; then all are out, if somebody reads them. To be
    /// called after the process has given up its privileges: the thread would keep them.
    ///
    /// # Errors
    /// The system has no thread for us.
    pub fn write_by_thread(&self) -> io::Result<FlushGuard> {
        let log = self.0.clone();
        let write = move |lines: &[u8]| {
            // Its own events must not wake it again.
            IS_WRITER.set(true);
            log.out().write(lines);
        };
        let lost = |lines| tracing::error!(lines, remedy = "keep the logger running", "log was not read");
        let writer = Writer::start(write, lost)?;
        *self.0.writer.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(writer));
        Ok(FlushGuard(self.0.clone()))
    }

    /// Returns when all lines up to now are out, or after this time, or when they are abandoned. Whether they are out.
    pub fn flush(&self, limit: Duration) -> bool {
        self.0.writer().is_none_or(|writer| writer.flush(limit))
    }

    /// Gives up lines that are not out: no flush waits for them any more.
    pub fn abandon(&self) {
        self.0.writer().iter().for_each(|writer| writer.abandon());
    }

    /// Lines that were thrown away because stderr did not take them, in time or at all.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed) + self.0.writer().map_or(0, |writer| writer.lost())
    }

    /// Whether lines are being thrown away because nobody reads them.
    pub fn is_stalled(&self) -> bool {
        self.0.writer().is_some_and(|writer| writer.is_stalled())
    }
}

/// A guard during whose life a thread writes the log; dropping it flushes the lines.
#[must_use = "lines would be lost"]
pub struct FlushGuard(Arc<Log>);

impl Drop for FlushGuard {
    fn drop(&mut self) {
        // Nobody can log meanwhile: the last lines of the thread are out before the next is written here.
        let mut place = self.0.writer.write().unwrap_or_else(PoisonError::into_inner);
        let Some(writer) = place.take() else { return };
        // Otherwise the thread still has the stream and waits, and any line written here would wait too.
        self.0.is_stuck.store(!writer.flush(PATIENCE), Ordering::Relaxed);
        writer.end();
    }
}

impl fmt::Debug for FlushGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlushGuard").finish_non_exhaustive()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("settings", &self.0.settings()).finish_non_exhaustive()
    }
}

struct Log {
    settings: RwLock<Settings>,
    stream: Stream,
    /// `NO_COLOR` and `TERM` allow colours.
    colours: bool,
    out: Mutex<LineWriter<Box<dyn Write + Send>>>,
    /// Lines that could not be written.
    lost: Arc<AtomicU64>,
    /// The thread that writes, when there is one.
    writer: RwLock<Option<Arc<Writer>>>,
    /// Whether the thread never gave `out` back when it was ended.
    is_stuck: AtomicBool,
}

impl Log {
    fn new(settings: Settings, stream: Stream, writer: Box<dyn Write + Send>) -> Self {
        let colours = colours_allowed(std::env::var_os("NO_COLOR").as_deref(), std::env::var_os("TERM").as_deref());
        let out = LineWriter::new(writer);
        let lost = out.lost();
        let (settings, out) = (RwLock::new(settings), Mutex::new(out));
        Self { settings, stream, colours, out, lost, writer: RwLock::new(None), is_stuck: AtomicBool::new(false) }
    }

    fn settings(&self) -> Settings {
        *self.settings.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, event: &Event<'_>) {
        let settings = self.settings();
        let style = Style { format: settings.format, colour: self.colours && self.stream == Stream::Terminal };
        let time = has_time(settings.time, self.stream).then(now);
        with_line(|line| {
            if self.stream == Stream::Journal {
                line.push_str(priority(*event.metadata().level()));
            }
            write_event(line, style, time, event);
            if IS_WRITER.get() {
                return self.out().write(line.as_bytes());
            }
            match &*self.writer.read().unwrap_or_else(PoisonError::into_inner) {
                Some(writer) => writer.push(line.as_bytes()),
                None if self.is_stuck.load(Ordering::Relaxed) => _ = self.lost.fetch_add(1, Ordering::Relaxed),
                None => self.out().write(line.as_bytes()),
            }
        });
    }

    /// The thread's writer, cloned so that ending the thread need not wait for a line; `None` without a thread.
    fn writer(&self) -> Option<Arc<Writer>> {
        self.writer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn out(&self) -> MutexGuard<'_, LineWriter<Box<dyn Write + Send>>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct LogLayer(Arc<Log>);

impl<S: Subscriber> Layer<S> for LogLayer {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let level = self.0.settings().level;
        // Libraries' events at `info` and below are for their own developers.
        let ours = metadata.target().split("::").next() == Some(env!("CARGO_CRATE_NAME"));
        let least = if ours { level } else { level.min(Level::Warn) };
        *metadata.level() <= filter(least)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(filter(self.0.settings().level))
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.write(event);
    }
}

/// Writes lines to stderr before there is a log, or instead of it: an error that keeps the program from starting.
pub fn report_error(text: &str) {
    let prefix = if Stream::of_stderr() == Stream::Journal { priority(tracing::Level::ERROR) } else { "" };
    let lines: String = text.lines().map(|line| format!("{prefix}{line}\n")).collect();
    // Nobody is left to be told.
    let _ = io::stderr().write_all(lines.as_bytes());
}

/// The prefix by which journald knows the priority of a line (sd-daemon(3)).
fn priority(level: tracing::Level) -> &'static str {
    match level {
        tracing::Level::ERROR => "<3>",
        tracing::Level::WARN => "<4>",
        tracing::Level::INFO => "<6>",
        _ => "<7>",
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a line says when it was written; everything else about it was handed in"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

fn has_time(time: Time, stream: Stream) -> bool {
    match time {
        Time::Auto => !matches!(stream, Stream::Journal | Stream::Logger),
        Time::None => false,
        Time::Rfc3339 => true,
    }
}

/// no-color.org: any value but an empty one means no.
fn colours_allowed(no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    no_color.is_none_or(|value| value.is_empty()) && term.is_none_or(|term| term != "dumb")
}

fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    }
}

/// Lends an empty line whose memory is used again by this thread.
fn with_line(write: impl FnOnce(&mut String)) {
    thread_local! {
        static LINE: RefCell<String> = const { RefCell::new(String::new()) };
    }
    // Taken out instead of borrowed: a value that logs while it is written finds an empty one.
    let mut line = LINE.try_with(RefCell::take).unwrap_or_default();
    line.clear();
    write(&mut line);
    if line.capacity() <= LARGEST_KEPT_LINE {
        _ = LINE.try_with(|kept| kept.replace(line));
    }
}

thread_local! {
    /// Whether this is the thread that writes the log.
    static IS_WRITER: Cell<bool> = const { Cell::new(false) };
}

const LARGEST_KEPT_LINE: usize = 16 << 10;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::report::Format;

    #[test]
    fn events_become_lines() {
        let (none, some): (Option<&str>, Option<&str>) = (None, Some("list:3"));
        let written = log(logfmt(Level::Info), |_| {
            tracing::info!(session = %"a1", size = 34_u64, tls = true, rule = some, reason = none, "mail");
            tracing::info!(backend = none.map(tracing::field::display), ms = 1.5, "rcpt");
            tracing::warn!(error = &Outer as &dyn std::error::Error, "reload");
            tracing::error!(list = ?["a", "b"], "cannot read {}", "badmailfrom");
            tracing::info!(a = 1);
            tracing::debug!("unwanted");
        });
        let expected = [
            "mail session=a1 size=34 tls=true rule=list:3",
            "rcpt ms=1.5",
            "reload level=warn error=\"outer: an error occurred when formatting an argument\"",
            "message=\"cannot read badmailfrom\" level=error list=\"[\\\"a\\\", \\\"b\\\"]\"",
            "a=1",
        ];
        assert_eq!(written.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn journald_is_told_the_priority() {
        let written = log_to(Stream::Journal, logfmt(Level::Debug), |_| {
            tracing::error!("one");
            tracing::warn!("two");
            tracing::info!("three");
            tracing::debug!("four");
        });
        assert_eq!(written, "<3>one level=error\n<4>two level=warn\n<6>three\n<7>four\n");
    }

    #[test]
    fn settings_change_while_it_runs() {
        let written = log(logfmt(Level::Warn), |handle| {
            let event = || tracing::info!("seen");
            event();
            handle.update(logfmt(Level::Info));
            event();
            handle.update(Settings { format: Format::Json, ..logfmt(Level::Debug) });
            event();
            handle.update(logfmt(Level::Error));
            event();
        });
        assert_eq!(written, "seen\n{\"level\":\"info\",\"message\":\"seen\"}\n");
    }

    #[test]
    fn libraries_are_heard_when_they_warn() {
        let written = log(logfmt(Level::Debug), |_| {
            tracing::info!(target: "rustls::conn", "noise");
            tracing::warn!(target: "rustls::conn", "trouble");
            tracing::info!(target: "portcullis_other", "noise");
            tracing::debug!("ours");
        });
        assert_eq!(written, "trouble level=warn\nours\n");
    }

    #[test]
    fn a_value_that_logs_while_it_is_written() {
        struct Talkative;
        impl fmt::Display for Talkative {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                with_line(|line| assert!(line.is_empty()));
                f.write_str("said")
            }
        }
        let written = log(logfmt(Level::Info), |_| tracing::info!(value = %Talkative, "mail"));
        assert_eq!(written, "mail value=said\n");
    }

    #[test]
    fn a_log_that_is_gone_stops_nothing() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let handle = Handle(Arc::new(Log::new(logfmt(Level::Info), Stream::Logger, Box::new(Gone))));
        let subscriber = tracing_subscriber::registry().with(LogLayer(handle.0.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("one");
            tracing::info!("two");
        });
        assert_eq!(handle.lost(), 2);
    }

    #[test]
    fn who_puts_the_time() {
        let table = [
            (Time::Auto, Stream::Terminal, true),
            (Time::Auto, Stream::File, true),
            (Time::Auto, Stream::Logger, false),
            (Time::Auto, Stream::Journal, false),
            (Time::None, Stream::Terminal, false),
            (Time::Rfc3339, Stream::Logger, true),
        ];
        for (time, stream, expected) in table {
            assert_eq!(has_time(time, stream), expected, "{time:?} {stream:?}");
        }
    }

    #[test]
    fn who_wants_colours() {
        let table = [
            (None, Some("xterm"), true),
            (None, None, true),
            (Some(""), Some("xterm"), true),
            (Some("1"), Some("xterm"), false),
            (None, Some("dumb"), false),
        ];
        for (no_color, term, expected) in table {
            let allowed = colours_allowed(no_color.map(OsStr::new), term.map(OsStr::new));
            assert_eq!(allowed, expected, "{no_color:?} {term:?}");
        }
    }

    /// The lines that are written while `events` runs.
    fn log(settings: Settings, events: impl FnOnce(&Handle)) -> String {
        log_to(Stream::Logger, settings, events)
    }

    fn log_to(stream: Stream, settings: Settings, events: impl FnOnce(&Handle)) -> String {
        let written = Written::default();
        let handle = Handle(Arc::new(Log::new(settings, stream, Box::new(written.clone()))));
        let subscriber = tracing_subscriber::registry().with(LogLayer(handle.0.clone()));
        tracing::subscriber::with_default(subscriber, || events(&handle));
        let octets = written.0.lock().unwrap().clone();
        String::from_utf8(octets).unwrap()
    }

    fn logfmt(level: Level) -> Settings {
        Settings { format: Format::Logfmt, time: Time::Auto, level }
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[derive(Debug)]
    struct Outer;

    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&fmt::Error)
        }
    }

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("outer")
        }
    }
}
