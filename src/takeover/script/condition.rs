//! `[ ... ]`, `test` and `[[ ... ]]`: what they say on this host, where that is certain. It must not take what it does not
//! know for false.

use crate::takeover::script::Answers;
use crate::takeover::script::Word;

/// The outcome of the test; `None` if it is not certain. `words` begin with `[`, `[[` or `test`.
pub(super) fn holds(words: &[Word], answers: &dyn Answers) -> Option<bool> {
    let (program, rest) = words.split_first()?;
    let rest = match rest.split_last() {
        _ if program.text == "test" => rest,
        Some((end, rest)) if matches!(end.text.as_str(), "]" | "]]") => rest,
        _ => return None,
    };
    let all = |words: &[Word]| -> Option<bool> {
        let found: Vec<Option<bool>> = parts(words, ["-a", "&&"]).map(|part| one(part, answers)).collect();
        let surely = found.iter().all(|found| *found == Some(true)).then_some(true);
        if found.contains(&Some(false)) { Some(false) } else { surely }
    };
    let found: Vec<Option<bool>> = parts(rest, ["-o", "||"]).map(all).collect();
    let surely_not = found.iter().all(|found| *found == Some(false)).then_some(false);
    if found.contains(&Some(true)) { Some(true) } else { surely_not }
}

fn parts<'w>(words: &'w [Word], joints: [&'static str; 2]) -> impl Iterator<Item = &'w [Word]> {
    words.split(move |word| joints.contains(&word.text.as_str()))
}

/// One test, without `-a` and `-o`. Brackets are not understood.
fn one(words: &[Word], answers: &dyn Answers) -> Option<bool> {
    match words {
        [] => Some(false),
        [not, rest @ ..] if not.text == "!" && !rest.is_empty() => one(rest, answers).map(|found| !found),
        [word] => Some(!word.known()?.is_empty()),
        [operator, operand] => unary(&operator.text, operand, answers),
        [left, operator, right] => binary(left.known()?, &operator.text, right),
        _ => None,
    }
}

fn unary(operator: &str, operand: &Word, answers: &dyn Answers) -> Option<bool> {
    let operand = operand.known()?;
    match operator {
        "-z" => Some(operand.is_empty()),
        "-n" => Some(!operand.is_empty()),
        "-d" | "-e" | "-f" | "-r" | "-s" | "-x" => answers.file_is(operator.chars().nth(1)?, operand),
        _ => None,
    }
}

fn binary(left: &str, operator: &str, right: &Word) -> Option<bool> {
    if operator == "!=" || operator == "=" || operator == "==" {
        // A `*` of [[ ]] is unknown.
        return right.known().map(|right| (left == right) != (operator == "!="));
    }
    let (left, right): (i64, i64) = (left.parse().ok()?, right.known()?.parse().ok()?);
    Some(match operator {
        "-eq" => left == right,
        "-ne" => left != right,
        "-lt" => left < right,
        "-le" => left <= right,
        "-gt" => left > right,
        "-ge" => left >= right,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::takeover::script::Substitution;

    /// Only /x is there, and /hidden cannot be seen.
    struct Host;

    impl Answers for Host {
        fn answer(&self, _: &Substitution) -> Result<String, String> {
            Err("is not asked".to_owned())
        }

        fn file_is(&self, _: char, path: &str) -> Option<bool> {
            (path != "/hidden").then_some(path == "/x")
        }
    }

    #[test]
    fn what_is_not_known_is_neither_true_nor_false() {
        let table = [
            ("[ -x /x ]", Some(true)),
            ("[ -f /y ]", Some(false)),
            ("[ ! -e /y ]", Some(true)),
            ("test -d /hidden", None),
            ("[ -f /x -a -f /hidden ]", None),
            ("[ -f /y -a -f /hidden ]", Some(false)),
            ("[ -f /y -o -f /hidden ]", None),
            ("[ -f /x -o -f /hidden ]", Some(true)),
            ("[[ -f /x && ! -f /y ]]", Some(true)),
            ("[ a = b ]", Some(false)),
            ("[ a != b ]", Some(true)),
            ("[[ a == ? ]]", None),
            ("[ 2 -gt 10 ]", Some(false)),
            ("[ a -gt 10 ]", None),
            ("[ -z ? ]", None),
            ("[ -n a ]", Some(true)),
            ("[ a ]", Some(true)),
            ("[ ]", Some(false)),
            ("[ -f /x", None),
            ("[ -w /x ]", None),
            ("[ ( a ) ]", None),
        ];
        let word = |text: &str| Word { unknown: (text == "?").then(|| "unknown".to_owned()), ..Word::plain(text, 1) };
        for (text, expected) in table {
            let words: Vec<Word> = text.split(' ').map(word).collect();
            assert_eq!(holds(&words, &Host), expected, "{text}");
        }
    }
}
