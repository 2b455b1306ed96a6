//! Run scripts: whatever stands in one, reading it ends, with words that have a place in it.

use portcullis::takeover::script;
use portcullis::takeover::script::Answers;
use portcullis::takeover::script::Chain;
use portcullis::takeover::script::Substitution;

/// A run script: a command and variables within their limits, or remarks; and a chain that has each word once.
pub fn run_script(input: &[u8]) {
    let lines = input.split(|octet| *octet == b'\n').count();
    let script = script::read(input, &Echo);
    let placed = |line: u32| line >= 1 && line as usize <= lines;
    for word in script.command.iter().chain(script.exported.iter().map(|(_, value)| value)) {
        assert!(placed(word.line), "{word:?} in {lines} lines");
        assert!(word.text.len() <= LONGEST, "{} octets", word.text.len());
    }
    assert!(
        script.remarks.len() <= 51 && script.remarks.iter().all(|remark| placed(remark.line)),
        "{:?}",
        script.remarks
    );
    let chain = Chain::of(&script.command);
    let words = |execs: &[script::Exec]| execs.iter().map(|exec| exec.words.len()).sum::<usize>();
    let in_execs = words(&chain.before) + words(&chain.behind);
    let found = match &chain.server {
        // The program, the address and the port, which may be one word; and options, several of which may be one.
        Some(_) => in_execs + 2 <= script.command.len(),
        None => in_execs >= script.command.len().min(1) && in_execs <= 2 * script.command.len(),
    };
    assert!(found, "{chain:?} of {:?}", script.command);
}

/// Every command prints itself.
struct Echo;

impl Answers for Echo {
    fn answer(&self, substitution: &Substitution) -> Result<String, String> {
        Ok(substitution.to_string())
    }

    fn file_is(&self, _: char, path: &str) -> Option<bool> {
        path.chars().last().map(|last| last == 'x')
    }
}

/// Octets of a value.
const LONGEST: usize = 8 << 10;
