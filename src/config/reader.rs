//! Typed access to the tables of a TOML file. Asking for a key makes it known; what was never asked for is a fault. A
//! value that cannot be read is a fault and then counts as not written, so that the reading goes on to the end. It must
//! not know any key.

use std::ops::RangeInclusive;

use toml_spanner::Array;
use toml_spanner::Item;
use toml_spanner::Table;
use toml_spanner::Value;

use crate::config::faults::At;
use crate::config::faults::Findings;
use crate::config::faults::Written;
use crate::config::key::Key;
use crate::config::key::Kind;
use crate::config::meant::choose;
use crate::config::meant::first_quoted;
use crate::config::meant::flag_word;
use crate::config::meant::scalar;

/// One table while it is read.
pub(crate) struct Section<'a> {
    /// The section's name as in the file: `server`, `server.timeout`, `[[throttle]]`; empty for the file itself.
    name: String,
    /// The same with an index, as [`Places`](crate::config::faults::Places) has it: `throttle[0]`.
    path: String,
    table: Option<&'a Table<'a>>,
    at: At,
    keys: Vec<Key>,
    findings: &'a Findings,
}

impl<'a> Section<'a> {
    /// Reads `table` with `read`, then reports the keys that `read` did not ask for. Without a table nothing is
    /// written, but the keys become known all the same.
    pub(crate) fn read<T>(
        name: String,
        path: String,
        table: Option<&'a Table<'a>>,
        at: At,
        findings: &'a Findings,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        findings.place(path.clone(), at);
        let mut section = Self { name, path, table, at, keys: Vec::new(), findings };
        let value = read(&mut section);
        let Self { name, keys, .. } = section;
        let entries = table.map_or(&[][..], Table::entries);
        let unknown = entries.iter().filter(|(written, _)| !keys.iter().any(|key| key.name == written.name));
        let unknown = unknown.map(|(key, _)| (key.name.to_owned(), At::Octet(key.span.start as usize))).collect();
        findings.section(&name, keys, unknown);
        value
    }

    /// The place at which the section begins.
    pub(crate) fn at(&self) -> At {
        self.at
    }

    /// Whether the file has it.
    pub(crate) fn is_written(&self) -> bool {
        self.table.is_some()
    }

    /// Whether any of these keys is written, readable or not.
    pub(crate) fn has(&self, keys: &[&str]) -> bool {
        self.table.is_some_and(|table| keys.iter().any(|key| table.contains_key(key)))
    }

    /// Whether `key` is written as `[]`.
    pub(crate) fn is_empty_list(&self, key: &str) -> bool {
        self.table.and_then(|table| table.get(key)).and_then(Item::as_array).is_some_and(Array::is_empty)
    }

    /// The place of the value of `key`, or else of the section.
    pub(crate) fn key_at(&self, key: &str) -> At {
        self.table.and_then(|table| table.get(key)).map_or(self.at, at)
    }

    pub(crate) fn findings(&self) -> &'a Findings {
        self.findings
    }

    pub(crate) fn flag(&mut self, key: &'static str) -> Option<Written<bool>> {
        let item = self.item(key, Kind::Flag)?;
        if let Some(value) = item.as_bool() {
            return Some(Written { value, at: at(item) });
        }
        self.wrong_type(key, item, flag_word(item.as_str()))
    }

    pub(crate) fn number(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<Written<u64>> {
        let item = self.item(key, Kind::Number(range.clone()))?;
        let Value::Integer(number) = item.value() else {
            let meant = item.as_str().and_then(|text| text.trim().parse().ok()).filter(|value| range.contains(value));
            if let Some(meant) = meant {
                return self.wrong_type(key, item, &meant.to_string());
            }
            return self.wrong_type(key, item, &format!("a number from {} to {}", range.start(), range.end()));
        };
        match number.as_u64().filter(|value| range.contains(value)) {
            Some(value) => Some(Written { value, at: at(item) }),
            None => {
                let what = format!("write a number from {} to {}", range.start(), range.end());
                self.wrong_value(key, number, item, &what)
            }
        }
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Option<Written<String>> {
        self.parsed(key, |text| Ok(text.to_owned()))
    }

    /// A text in which `""` means the same as not written.
    pub(crate) fn optional_text(&mut self, key: &'static str) -> Option<Written<String>> {
        self.text(key).filter(|text| !text.value.is_empty())
    }

    /// `parse` returns what to write instead when it fails.
    pub(crate) fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Written<T>> {
        self.read_text(key, Kind::Text, parse)
    }

    /// A text of this kind; `parse` returns what to write instead when it fails.
    pub(crate) fn read_text<T>(
        &mut self,
        key: &'static str,
        kind: Kind,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Written<T>> {
        let item = self.item(key, kind)?;
        match item.value() {
            Value::String(text) => self.parse_text(key, text, item, parse),
            Value::Integer(number) => {
                let instead = parse(&number.to_string()).err().unwrap_or_else(|| format!("write \"{number}\""));
                self.wrong_value(key, number, item, &instead)
            }
            _ => self.no_text(key, item, parse),
        }
    }

    /// A value read as by [`Section::parsed`], where it may be a plain number: `10000` stands for `"10000"`.
    pub(crate) fn quantity<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Written<T>> {
        let item = self.item(key, Kind::Quantity)?;
        match item.value() {
            Value::String(text) => self.parse_text(key, text, item, parse),
            Value::Integer(number) => match parse(&number.to_string()) {
                Ok(value) => Some(Written { value, at: at(item) }),
                Err(instead) => self.wrong_value(key, number, item, &instead),
            },
            _ => self.no_text(key, item, parse),
        }
    }

    pub(crate) fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&'static str, T)]) -> Option<Written<T>> {
        self.read_text(key, Kind::Word(names(choices)), |text| choose(text, choices))
    }

    /// A list of texts; the ones that can be read are kept.
    pub(crate) fn list<T>(
        &mut self,
        key: &'static str,
        example: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<Written<T>>> {
        self.read_list(key, Kind::List, example, parse)
    }

    /// A list of names from `choices`.
    pub(crate) fn choices<T: Copy>(
        &mut self,
        key: &'static str,
        example: &str,
        choices: &[(&'static str, T)],
    ) -> Option<Vec<Written<T>>> {
        self.read_list(key, Kind::Words(names(choices)), example, |text| choose(text, choices))
    }

    fn read_list<T>(
        &mut self,
        key: &'static str,
        kind: Kind,
        example: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<Written<T>>> {
        let item = self.item(key, kind)?;
        let Some(array) = item.as_array() else {
            let text = scalar(item);
            let example = match text.as_deref().map(|text| (text, parse(text))) {
                Some((text, Ok(_))) => format!("{text:?}"),
                Some((_, Err(instead))) => first_quoted(&instead).unwrap_or(example).to_owned(),
                None => example.to_owned(),
            };
            let what = format!("{} is a list; write {key} = [{example}]", self.dotted(key));
            self.findings.fault(at(item), what);
            return None;
        };
        Some(self.elements(key, array, &parse))
    }

    /// The text of `key`, whatever is wanted there.
    pub(crate) fn text_at(&self, key: &str) -> Option<&'a str> {
        self.table?.get(key)?.as_str()
    }

    /// A list of any texts; `example` is what is written where it is not a list.
    pub(crate) fn list_of_words(&mut self, key: &'static str, example: &str) -> Option<Vec<Written<String>>> {
        let item = self.item(key, Kind::List)?;
        if let Some(array) = item.as_array() {
            return Some(self.elements(key, array, &|text: &str| Ok(text.to_owned())));
        }
        self.findings.fault(at(item), format!("{} is a list; write {key} = [{example}]", self.dotted(key)));
        None
    }

    /// A table below this one, `timeout = { ... }` or `[server.timeout]`.
    pub(crate) fn table<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Self) -> T) -> T {
        let item = self.item(key, Kind::Table);
        let table = item.and_then(Item::as_table);
        let place = table.map_or(self.at, |table| at(table.as_item()));
        let mut first = None;
        let value = Section::read(self.dotted(key), self.path_of(key), table, place, self.findings, |section| {
            let value = read(section);
            first = section.keys.first().map(|key| key.name);
            value
        });
        if let (Some(item), None) = (item, table) {
            let what = match self.name.as_str() {
                "" => format!("{key} is a section; write [{key}] and its keys below it"),
                _ => {
                    // All tables of ours are of durations.
                    let text = item.as_str().filter(|text| text.ends_with(char::is_alphabetic)).unwrap_or("30s");
                    let first = first.unwrap_or_default();
                    format!("{} is a table; write {key} = {{ {first} = {text:?} }}", self.dotted(key))
                }
            };
            self.findings.fault(at(item), what);
        }
        value
    }

    /// Any number of tables, `[[throttle]]`. `None`: not written; `throttle = []` is none at all.
    pub(crate) fn tables<T>(&mut self, key: &'static str, mut read: impl FnMut(&mut Self) -> T) -> Option<Vec<T>> {
        let (header, path) = (format!("[[{}]]", self.dotted(key)), self.path_of(key));
        let item = self.item(key, Kind::Tables);
        let Some(item) = item else {
            Section::read(header, path, None, self.at, self.findings, |section| read(section));
            return None;
        };
        let Some(array) = item.as_array() else {
            self.findings.fault(at(item), format!("there can be several of them; write {header}"));
            return None;
        };
        let mut values = Vec::with_capacity(array.len());
        for (index, element) in array.into_iter().enumerate() {
            match element.as_table() {
                Some(table) => {
                    let at = at(element);
                    let path = format!("{path}[{index}]");
                    values.push(Section::read(header.clone(), path, Some(table), at, self.findings, |s| read(s)));
                }
                None => {
                    self.findings.fault(at(element), format!("this is not a table; write {header} and keys below it"))
                }
            }
        }
        Some(values)
    }

    /// A table with keys of the operator's own: names and texts.
    pub(crate) fn pairs(&mut self, key: &'static str) -> Vec<(Written<String>, String)> {
        let Some(item) = self.item(key, Kind::Pairs) else { return Vec::new() };
        let Some(table) = item.as_table() else {
            let what = format!("{} is a table; write {key} = {{ NAME = \"value\" }}", self.dotted(key));
            self.findings.fault(at(item), what);
            return Vec::new();
        };
        let mut pairs = Vec::with_capacity(table.len());
        for (name, item) in table {
            let Some(value) = item.as_str() else {
                let text = scalar(item).unwrap_or_default();
                self.findings.fault(at(item), format!("{key}.{name} is a text; write {text:?}"));
                continue;
            };
            let name = Written { value: name.name.to_owned(), at: At::Octet(name.span.start as usize) };
            pairs.push((name, value.to_owned()));
        }
        pairs
    }

    /// `server.listen` in messages.
    pub(crate) fn dotted(&self, key: &str) -> String {
        match self.name.trim_start_matches('[').trim_end_matches(']') {
            "" => key.to_owned(),
            name => format!("{name}.{key}"),
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn item(&mut self, name: &'static str, kind: Kind) -> Option<&'a Item<'a>> {
        self.keys.push(Key { name, kind });
        let item = self.table?.get(name)?;
        self.findings.place(self.path_of(name), at(item));
        Some(item)
    }

    fn elements<T>(
        &self,
        key: &'static str,
        array: &Array<'_>,
        parse: &impl Fn(&str) -> Result<T, String>,
    ) -> Vec<Written<T>> {
        let mut values = Vec::with_capacity(array.len());
        for (index, item) in array.into_iter().enumerate() {
            self.findings.place(format!("{}[{index}]", self.path_of(key)), at(item));
            let value = match item.as_str() {
                Some(text) => self.parse_text(key, text, item, parse),
                None => self.no_text(key, item, parse),
            };
            values.extend(value);
        }
        values
    }

    fn parse_text<T>(
        &self,
        key: &str,
        text: &str,
        item: &Item<'_>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Written<T>> {
        // No value of ours may hold one: it ends in a log line, a reply, a path or an environment.
        let parsed = match text.contains(char::is_control) {
            true => Err("write it without control characters".to_owned()),
            false => parse(text),
        };
        match parsed {
            Ok(value) => Some(Written { value, at: at(item) }),
            Err(instead) => self.wrong_value(key, format!("{text:?}"), item, &instead),
        }
    }

    /// A value that is no text, where one is wanted; what to write is what the text would have been, or told about it.
    fn no_text<T, P>(&self, key: &str, item: &Item<'_>, parse: impl FnOnce(&str) -> Result<P, String>) -> Option<T> {
        let only = |item: &Item<'_>| match item.as_array() {
            Some(array) => array.into_iter().next().filter(|_| array.len() == 1).and_then(scalar),
            None => scalar(item),
        };
        let text = only(item).unwrap_or_default();
        let instead = match parse(&text) {
            Err(instead) => instead,
            Ok(_) if text.is_empty() => "write a text in quotes".to_owned(),
            Ok(_) => format!("write {text:?}"),
        };
        self.wrong_kind(key, item, &instead)
    }

    fn wrong_value<T>(&self, key: &str, value: impl std::fmt::Display, item: &Item<'_>, instead: &str) -> Option<T> {
        self.findings.fault(at(item), format!("{} cannot be {value}; {instead}", self.dotted(key)));
        None
    }

    fn wrong_type<T>(&self, key: &str, item: &Item<'_>, wanted: &str) -> Option<T> {
        self.wrong_kind(key, item, &format!("write {wanted}"))
    }

    fn wrong_kind<T>(&self, key: &str, item: &Item<'_>, instead: &str) -> Option<T> {
        let found = match item.kind().as_str() {
            kind @ ("array" | "integer") => format!("an {kind}"),
            kind => format!("a {kind}"),
        };
        self.findings.fault(at(item), format!("{} cannot be {found}; {instead}", self.dotted(key)));
        None
    }
}

fn names<T>(choices: &[(&'static str, T)]) -> Vec<&'static str> {
    choices.iter().map(|(name, _)| *name).collect()
}

fn at(item: &Item<'_>) -> At {
    At::Octet(item.span().start as usize)
}
