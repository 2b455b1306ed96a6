//! What the keys of the terminal view do. Pure: a key goes in, orders come out. It must not change the proxy by a key whose
//! effect was not shown before.

use crate::cli::status::model::Mode;
use crate::cli::status::model::Model;
use crate::cli::status::model::Order;
use crate::cli::status::model::Tab;
use crate::cli::status::model::Undo;
use crate::cli::status::rows::Row;

/// A key that was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Character(char),
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Tab,
    BackTab,
    Enter,
    Backspace,
    Escape,
}

/// What a key asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Nothing,
    Order(Order),
    Quit,
}

impl Model {
    /// A key was pressed.
    pub(super) fn press(&mut self, key: Key) -> Effect {
        self.said.clear();
        match &mut self.mode {
            Mode::Watching => self.press_watching(key),
            Mode::Help => self.watch(),
            Mode::Asking(..) => self.press_asking(key),
            Mode::Writing(_) => self.press_writing(key),
            Mode::Explaining(story, first) => {
                let last = story.lines().len().saturating_sub(1);
                match key {
                    Key::Down | Key::Character('j') => *first = (*first + 1).min(last),
                    Key::Up | Key::Character('k') => *first = first.saturating_sub(1),
                    _ => return self.watch(),
                }
                Effect::Nothing
            }
        }
    }

    fn press_watching(&mut self, key: Key) -> Effect {
        match key {
            Key::Character('q') => return Effect::Quit,
            Key::Character('?' | 'h') => self.mode = Mode::Help,
            Key::Character('/') => self.mode = Mode::Writing(String::new()),
            Key::Character('j') | Key::Down => self.select(self.selected.saturating_add(1)),
            Key::Character('k') | Key::Up => self.select(self.selected.saturating_sub(1)),
            Key::PageDown => self.select(self.selected.saturating_add(PAGE)),
            Key::PageUp => self.select(self.selected.saturating_sub(PAGE)),
            Key::Character('g') | Key::Home => self.select(0),
            Key::Character('G') | Key::End => self.select(usize::MAX),
            Key::Tab => return self.turn_to(self.tab.after(1)),
            Key::BackTab => return self.turn_to(self.tab.after(Tab::ALL.len() - 1)),
            Key::Character('s') => return self.turn_to(Tab::Sessions),
            Key::Character('o') => self.sort = self.sort.next(),
            Key::Character('b') => return self.ask_to_block(),
            Key::Character('u') => return self.take_back(),
            Key::Character('e') | Key::Enter => return self.explain(),
            Key::Escape if !self.search.is_empty() => return self.find(String::new()),
            Key::Character(_) | Key::Backspace | Key::Escape => {}
        }
        Effect::Nothing
    }

    fn press_asking(&mut self, key: Key) -> Effect {
        let Mode::Asking(wanted, preview) = &mut self.mode else { return Effect::Nothing };
        match (key, preview) {
            (Key::Character('y' | 'Y'), Some(_)) => {
                let key = std::mem::take(wanted);
                self.watch();
                Effect::Order(Order::Block { key, seconds: DAY })
            }
            // Before the preview is there nobody can have read it.
            (Key::Character('y' | 'Y'), None) => Effect::Nothing,
            _ => {
                "nothing was blocked".clone_into(&mut self.said);
                self.watch()
            }
        }
    }

    fn press_writing(&mut self, key: Key) -> Effect {
        let Mode::Writing(words) = &mut self.mode else { return Effect::Nothing };
        match key {
            Key::Escape => return self.watch(),
            Key::Enter => {
                let words = std::mem::take(words);
                self.watch();
                return self.find(words);
            }
            Key::Backspace => _ = words.pop(),
            Key::Character(character) if words.chars().count() < LONGEST_SEARCH => words.push(character),
            _ => {}
        }
        Effect::Nothing
    }

    fn watch(&mut self) -> Effect {
        self.mode = Mode::Watching;
        Effect::Nothing
    }

    fn find(&mut self, words: String) -> Effect {
        self.turn_to(Tab::Records);
        self.search.clone_from(&words);
        Effect::Order(Order::Records(words))
    }

    /// Shows a table, and selects its first row.
    fn turn_to(&mut self, tab: Tab) -> Effect {
        self.tab = tab;
        self.select(self.storms().len());
        match tab {
            Tab::Sessions => Effect::Order(Order::Sessions),
            Tab::Blocks => Effect::Order(Order::Blocks),
            Tab::Senders | Tab::Clients | Tab::Records => Effect::Nothing,
        }
    }

    fn ask_to_block(&mut self) -> Effect {
        match self.row().as_ref().map_or(Err("nothing is selected"), Row::block_key) {
            Ok(key) => {
                self.mode = Mode::Asking(key.clone(), None);
                Effect::Order(Order::Preview(key))
            }
            Err(why) => self.say(why),
        }
    }

    fn take_back(&mut self) -> Effect {
        let Some(Undo { key, before }) = self.undo.take() else { return self.say("there is no block to take back") };
        match before.and_then(|before| before.checked_sub(self.now())).filter(|left| *left > 0) {
            Some(left) => Effect::Order(Order::Restore { key, seconds: left.into() }),
            None => Effect::Order(Order::Unblock(key)),
        }
    }

    fn explain(&mut self) -> Effect {
        match self.message() {
            Ok(message) => Effect::Order(Order::Explain(message)),
            Err(why) => self.say(why),
        }
    }

    fn say(&mut self, what: &str) -> Effect {
        what.clone_into(&mut self.said);
        Effect::Nothing
    }
}

/// Seconds.
const DAY: u64 = 86_400;
/// Characters, as the proxy takes them.
const LONGEST_SEARCH: usize = 200;
/// Rows.
const PAGE: usize = 10;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::cli::status::model::News;
    use crate::cli::status::model::Sort;
    use crate::cli::status::model::tests::watching;
    use crate::cli::status::seen::Made;
    use crate::cli::status::seen::Preview;
    use crate::cli::status::seen::Records;
    use crate::cli::status::seen::Step;
    use crate::cli::status::seen::Story;

    const NEWS: &str = "news@sillyplace.com";

    fn keys(model: &mut Model, keys: &str) -> Effect {
        keys.chars().map(|key| model.press(Key::Character(key))).last().unwrap()
    }

    fn order(order: Order) -> Effect {
        Effect::Order(order)
    }

    #[test]
    fn a_storm_is_blocked_after_a_look_and_unblocked_again() {
        let mut model = watching();
        assert_eq!(keys(&mut model, "b"), order(Order::Preview(NEWS.to_owned())));
        assert_eq!(keys(&mut model, "y"), Effect::Nothing, "nobody has seen what it hits");
        model.hear(News::Previewed("another@key.example".to_owned(), Preview::default()));
        assert_eq!(keys(&mut model, "y"), Effect::Nothing, "that is about another one");
        model.hear(News::Previewed(NEWS.to_owned(), Preview { messages: 48, ..Preview::default() }));
        assert_eq!(keys(&mut model, "y"), order(Order::Block { key: NEWS.to_owned(), seconds: DAY }));
        assert_eq!(model.mode, Mode::Watching);
        let made = Made { key: NEWS.to_owned(), ..Made::default() };
        assert_eq!(model.hear(News::Blocked(made.clone())), [Order::Blocks]);
        assert_eq!(model.said, "news@sillyplace.com is blocked; u takes it back");
        assert_eq!(keys(&mut model, "u"), order(Order::Unblock(NEWS.to_owned())));
        assert_eq!((keys(&mut model, "u"), model.said.as_str()), (Effect::Nothing, "there is no block to take back"));
        model.hear(News::Blocked(Made { before: Some(model.now() + 100), ..made.clone() }));
        let again = Order::Restore { key: NEWS.to_owned(), seconds: 100 };
        assert_eq!(keys(&mut model, "u"), order(again), "the block of before comes back");
        model.hear(News::Blocked(Made { before: Some(model.now()), ..made }));
        assert_eq!(keys(&mut model, "u"), order(Order::Unblock(NEWS.to_owned())), "it would be over");
    }

    #[test]
    fn any_other_key_blocks_nothing() {
        for key in [Key::Character('n'), Key::Enter, Key::Escape, Key::Character('q'), Key::Character('b')] {
            let mut model = watching();
            keys(&mut model, "b");
            model.hear(News::Previewed(NEWS.to_owned(), Preview::default()));
            assert_eq!(model.press(key), Effect::Nothing);
            assert_eq!((&model.mode, model.said.as_str()), (&Mode::Watching, "nothing was blocked"));
        }
    }

    #[test]
    fn what_keys_do() {
        let sessions = || order(Order::Sessions);
        let first = 2;
        // Keys, what they ask for, the table, the selected row, the line at the bottom.
        let table: [(&str, Effect, Tab, usize, &str); 12] = [
            ("q", Effect::Quit, Tab::Senders, 0, ""),
            ("jj", Effect::Nothing, Tab::Senders, 2, ""),
            ("jjk", Effect::Nothing, Tab::Senders, 1, ""),
            ("kk", Effect::Nothing, Tab::Senders, 0, ""),
            ("G", Effect::Nothing, Tab::Senders, 5, ""),
            ("Gg", Effect::Nothing, Tab::Senders, 0, ""),
            ("s", sessions(), Tab::Sessions, first, ""),
            ("\t\t", Effect::Nothing, Tab::Records, first, ""),
            ("\t\t\t", sessions(), Tab::Sessions, first, ""),
            ("\t\t\t\tb", Effect::Nothing, Tab::Blocks, first, "that is blocked already"),
            ("\t\t\t\t\tx", Effect::Nothing, Tab::Senders, first, ""),
            ("\te", Effect::Nothing, Tab::Clients, first, NO_SENDER),
        ];
        for (keys, effect, tab, selected, said) in table {
            let mut model = watching();
            let press = |key| model.press(if key == '\t' { Key::Tab } else { Key::Character(key) });
            assert_eq!(keys.chars().map(press).last().unwrap(), effect, "{keys}");
            assert_eq!((model.tab, model.selected, model.said.as_str()), (tab, selected, said), "{keys}");
        }
        let mut model = watching();
        assert_eq!((model.press(Key::BackTab), model.tab), (order(Order::Blocks), Tab::Blocks));
        keys(&mut model, "o");
        assert_eq!(model.sort, Sort::Accepted);
        assert_eq!((model.press(Key::Escape), keys(&mut model, "?")), (Effect::Nothing, Effect::Nothing));
        assert_eq!((keys(&mut model, "q"), &model.mode), (Effect::Nothing, &Mode::Watching), "it ends the help");
    }

    #[test]
    fn words_are_searched_for() {
        let mut model = watching();
        assert_eq!(keys(&mut model, "/qx"), Effect::Nothing, "letters are letters there");
        model.press(Key::Backspace);
        assert_eq!(model.press(Key::Enter), order(Order::Records("q".to_owned())));
        assert_eq!((model.tab, model.search.as_str()), (Tab::Records, "q"));
        model.hear(News::Found("q".to_owned(), Records::default()));
        assert_eq!(model.records, []);
        keys(&mut model, "/zz");
        model.press(Key::Escape);
        assert_eq!((model.search.as_str(), &model.mode), ("q", &Mode::Watching));
        assert_eq!(model.press(Key::Escape), order(Order::Records(String::new())), "all of them again");
        keys(&mut model, "/");
        keys(&mut model, &"x".repeat(300));
        assert_eq!(model.mode, Mode::Writing("x".repeat(LONGEST_SEARCH)));
    }

    #[test]
    fn an_explanation_scrolls_and_ends() {
        let mut model = watching();
        assert!(
            matches!(keys(&mut model, "e"), Effect::Order(Order::Explain(message)) if message["sender"] == "<news@sillyplace.com>")
        );
        let story = Story { steps: vec![Step::default(), Step::default()], ..Story::default() };
        let last = story.lines().len() - 1;
        model.hear(News::Explained(story));
        keys(&mut model, "jjjjjjjjjjk");
        assert!(matches!(model.mode, Mode::Explaining(_, first) if first == last - 1));
        assert_eq!((keys(&mut model, "q"), &model.mode), (Effect::Nothing, &Mode::Watching));
        model.press(Key::End);
        assert!(matches!(model.press(Key::Enter), Effect::Order(Order::Explain(_))));
    }

    const NO_SENDER: &str = "there is no sender to be explained: select a storm, a sender, or a record of mail";
}
