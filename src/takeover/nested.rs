//! A shell inside a chain, `envdir ./env sh -c '...'`: the command that it becomes, in the variables of the folder. It
//! must not run anything.

use std::path::Path;

use crate::takeover::root::Root;
use crate::takeover::script;
use crate::takeover::script::Answers;
use crate::takeover::script::Chain;
use crate::takeover::script::Exec;
use crate::takeover::script::RunScript;
use crate::takeover::script::Word;

/// The script with the command of the shell inside in place of the shell, if it ends in one.
pub(super) fn unfolded(root: &Root, folder: &Path, answers: &dyn Answers, outer: RunScript) -> RunScript {
    let chain = Chain::of(&outer.command);
    let (Some(shell), None) = (chain.behind.last(), &chain.server) else { return outer };
    let text = match shell.words.as_slice() {
        [program, option, text, ..] if script::is_shell(program.name()) && option.text == "-c" => text,
        _ => return outer,
    };
    let (Some(code), before) = (text.known(), chain.behind.split_last().map_or(&[][..], |(_, before)| before)) else {
        return outer;
    };
    let mut given: Vec<(String, Word, bool)> = Vec::new();
    if !before.iter().any(Exec::clears_environment) {
        given.extend(outer.exported.iter().map(|(name, value)| (name.clone(), value.clone(), true)));
    }
    before.iter().for_each(|exec| given.extend(variables(root, folder, exec)));
    let inner = script::read_inside(code, text.line, given, answers);
    let mut command: Vec<Word> = before.iter().flat_map(|exec| exec.words.clone()).collect();
    command.extend(inner.command.clone());
    if inner.command.is_empty() {
        command.clear();
    }
    let remarks = outer.remarks.into_iter().chain(inner.remarks).collect();
    RunScript { command, folder: inner.folder.or(outer.folder), exported: inner.exported, remarks }
}

/// What envdir or env sets, which stays their own.
fn variables(root: &Root, folder: &Path, exec: &Exec) -> Vec<(String, Word, bool)> {
    let line = exec.line();
    if exec.name() == "env" {
        let pair = |word: &Word| {
            let (name, value) = word.text.split_once('=')?;
            Some((name.to_owned(), Word { text: value.to_owned(), ..word.clone() }, false))
        };
        return exec.words[1..].iter().filter_map(pair).collect();
    }
    let named = exec.words.get(1).filter(|_| exec.name().ends_with("envdir")).and_then(Word::known);
    let Some(folder) = named.map(|named| folder.join(named)) else { return Vec::new() };
    let names = root.names(&folder);
    let variable = |name: &std::ffi::OsString| {
        let text = root.text(&folder.join(name))?;
        let value = text.lines().next().unwrap_or_default().trim_end();
        Some((name.to_str()?.to_owned(), Word::plain(value, line), false))
    };
    names.iter().filter_map(variable).collect()
}
