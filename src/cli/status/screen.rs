//! The terminal view, run: keys, signals and the proxy's answers come in on one channel, and after each the terminal is
//! drawn anew. It must not leave the terminal as the view has it, whatever ends it.

use std::env;
use std::io;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::TrySendError;
use std::sync::mpsc::sync_channel;
use std::thread;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event;
use ratatui::crossterm::event::KeyCode;
use ratatui::crossterm::event::KeyEvent;
use ratatui::crossterm::event::KeyEventKind;
use ratatui::crossterm::event::KeyModifiers;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use crate::cli::desk::Desk;
use crate::cli::output;
use crate::cli::status::ask;
use crate::cli::status::keys::Effect;
use crate::cli::status::keys::Key;
use crate::cli::status::model::Model;
use crate::cli::status::model::News;
use crate::cli::status::model::Order;
use crate::cli::status::view;
use crate::cli::status::view::Look;
use crate::cli::zone::zone;

/// What the loop waits for.
enum Event {
    Key(Key),
    News(News),
    Resized,
    /// Ctrl-C, a signal, or a terminal that is gone.
    End,
    /// A thread that panicked, and has told so.
    Panicked,
}

/// The terminal in raw mode on its other screen, until it is dropped. A panic gives it back before it is told.
struct Screen(DefaultTerminal);

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Whether there is a terminal for the view. A dumb one cannot place what is written.
pub(super) fn is_there() -> bool {
    let is_dumb = env::var_os("TERM").is_none_or(|name| name.is_empty() || name == "dumb");
    io::stdout().is_terminal() && io::stdin().is_terminal() && !is_dumb
}

/// Shows the view until it is quit.
pub(super) fn run(desk: Desk) -> ExitCode {
    // Its doubt about TZ is told before the view covers it.
    let look =
        Look { colour: env::var_os("NO_COLOR").is_none_or(|it| it.is_empty()), unicode: is_utf8(), zone: zone() };
    match watch(Arc::new(desk), &look) {
        Ok(code) => code,
        Err(error) => {
            output::note(&Err(error));
            ExitCode::FAILURE
        }
    }
}

fn watch(desk: Arc<Desk>, look: &Look) -> io::Result<ExitCode> {
    let (sender, events) = sync_channel(MOST_EVENTS);
    let (orders, received) = sync_channel(MOST_ORDERS);
    let following = desk.clone();
    // Signals first: from then on they end it in order.
    spawn("signals", &sender, wait_for_signal)?;
    let mut screen = Screen(ratatui::try_init().inspect_err(|_| ratatui::restore())?);
    spawn("keys", &sender, read_keys)?;
    spawn("events", &sender, move |events| {
        ask::follow_events(&following, |news| events.send(Event::News(news)).is_ok());
    })?;
    spawn("orders", &sender, move |events| {
        ask::obey(&desk, &received, |news| events.send(Event::News(news)).is_ok());
    })?;
    drop(sender);
    show(&mut screen, &events, &orders, look)
}

fn show(
    screen: &mut Screen,
    events: &Receiver<Event>,
    orders: &SyncSender<Order>,
    look: &Look,
) -> io::Result<ExitCode> {
    let mut model = Model::default();
    loop {
        screen.0.draw(|frame| view::draw(frame, &model, look))?;
        match events.recv() {
            Ok(Event::Key(key)) => match model.press(key) {
                Effect::Nothing => {}
                Effect::Quit => return Ok(ExitCode::SUCCESS),
                Effect::Order(order) => {
                    if let Err(TrySendError::Full(order) | TrySendError::Disconnected(order)) = orders.try_send(order) {
                        let why = "the proxy has not answered the keys before: wait, and press it again".to_owned();
                        model.hear(News::Failed(order, why));
                    }
                }
            },
            Ok(Event::News(news)) => {
                // What cannot be asked now is asked again.
                model.hear(news).into_iter().for_each(|order| _ = orders.try_send(order));
            }
            Ok(Event::Resized) => {}
            Ok(Event::End) | Err(_) => return Ok(ExitCode::SUCCESS),
            Ok(Event::Panicked) => return Ok(ExitCode::FAILURE),
        }
    }
}

fn spawn(
    name: &str,
    events: &SyncSender<Event>,
    work: impl FnOnce(&SyncSender<Event>) + Send + 'static,
) -> io::Result<()> {
    let end = Ending(events.clone());
    thread::Builder::new().name(format!("portcullis-{name}")).spawn(move || work(&end.0))?;
    Ok(())
}

/// Ends the view when its thread panics: the terminal has been given back by then.
struct Ending(SyncSender<Event>);

impl Drop for Ending {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.0.send(Event::Panicked);
        }
    }
}

fn read_keys(events: &SyncSender<Event>) {
    loop {
        let event = match event::read() {
            Ok(event::Event::Key(pressed)) if pressed.kind != KeyEventKind::Release => of_key(pressed),
            Ok(event::Event::Resize(..)) => Some(Event::Resized),
            Ok(_) => None,
            Err(_) => Some(Event::End),
        };
        let is_over = matches!(event, Some(Event::End));
        if event.is_some_and(|event| events.send(event).is_err()) || is_over {
            return;
        }
    }
}

fn of_key(pressed: KeyEvent) -> Option<Event> {
    let is_control = pressed.modifiers.contains(KeyModifiers::CONTROL);
    Some(Event::Key(match pressed.code {
        KeyCode::Char('c') if is_control => return Some(Event::End),
        KeyCode::Char(character) if !is_control => Key::Character(character),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Enter => Key::Enter,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Esc => Key::Escape,
        _ => return None,
    }))
}

fn wait_for_signal(events: &SyncSender<Event>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    let waited = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
        Ok::<_, io::Error>(())
    });
    if waited.is_ok() {
        let _ = events.send(Event::End);
    }
}

/// Whether the locale's characters are UTF-8 (setlocale(3)): the first of these that is set says so.
fn is_utf8() -> bool {
    let names = ["LC_ALL", "LC_CTYPE", "LANG"];
    let set = names.iter().filter_map(env::var_os).find(|value| !value.is_empty());
    set.is_some_and(|value| value.to_string_lossy().to_ascii_lowercase().replace('-', "").contains("utf8"))
}

const MOST_EVENTS: usize = 100;
const MOST_ORDERS: usize = 16;
