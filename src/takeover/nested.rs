//! A shell inside a chain, `envdir ./env sh -c '...'`, or a script that a run script becomes: the command that it becomes
//! in turn, in the variables of the folder. It must not run anything.

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
    let Some((code, line)) = code(root, folder, &shell.words) else { return outer };
    let before = chain.behind.split_last().map_or(&[][..], |(_, before)| before);
    let mut given: Vec<(String, Word, bool)> = Vec::new();
    if !before.iter().any(Exec::clears_environment) {
        given.extend(outer.exported.iter().map(|(name, value)| (name.clone(), value.clone(), true)));
    }
    before.iter().for_each(|exec| given.extend(variables(root, folder, exec)));
    let inner = script::read_inside(&code, line, given, answers);
    let mut command: Vec<Word> = before.iter().flat_map(|exec| exec.words.clone()).collect();
    command.extend(inner.command.clone());
    if inner.command.is_empty() {
        command.clear();
    }
    let remarks = outer.remarks.into_iter().chain(inner.remarks).collect();
    RunScript { command, folder: inner.folder.or(outer.folder), exported: inner.exported, remarks }
}

/// The text of the script, and the line where the outer one names it.
fn code(root: &Root, folder: &Path, words: &[Word]) -> Option<(String, u32)> {
    // Most programs are no scripts, and larger.
    let script = |file: &Word| {
        let path = folder.join(file.known()?);
        root.length(&path).filter(|length| *length <= LARGEST_SCRIPT).and_then(|_| root.text(&path))
    };
    match words {
        [shell, option, text, ..] if script::is_shell(shell.name()) && option.text == "-c" => {
            Some((text.known()?.to_owned(), text.line))
        }
        [shell, file, ..] if script::is_shell(shell.name()) => Some((script(file)?, file.line)),
        [file, ..] if file.text.contains('/') => {
            let text = script(file)?;
            let is_read = script::interpreter(&text).is_some_and(script::is_shell);
            is_read.then_some((text, file.line))
        }
        _ => None,
    }
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
    let operand = exec.operand().filter(|_| exec.name().ends_with("envdir"));
    let named = operand.and_then(|at| exec.words[at].known());
    let Some(folder) = named.map(|named| folder.join(named)) else { return Vec::new() };
    let names = root.names(&folder);
    let variable = |name: &std::ffi::OsString| {
        let text = root.text(&folder.join(name))?;
        let value = text.lines().next().unwrap_or_default().trim_end();
        Some((name.to_str()?.to_owned(), Word::plain(value, line), false))
    };
    names.iter().filter_map(variable).collect()
}

const LARGEST_SCRIPT: u64 = 64 << 10;
