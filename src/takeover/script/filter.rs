//! The small programs that scripts cut text with: `cut`, `awk`, `head`, `grep` and their kind, in the forms that are usual in
//! run scripts. Pure. It must not guess at a form that it does not know.

/// What the program prints for this input; `None` if the command is not understood.
pub(super) fn filtered(words: &[&str], input: &str) -> Option<String> {
    let (program, arguments) = words.split_first()?;
    let lines = input.lines();
    Some(match (program.rsplit('/').next()?, arguments) {
        ("cat", []) => input.to_owned(),
        ("head", ["-1" | "-n1"] | ["-n", "1"]) | ("sed", ["1q" | "-n1p"] | ["-n", "1p"]) => {
            lines.take(1).collect::<String>()
        }
        ("tail", ["-1" | "-n1"] | ["-n", "1"]) => lines.last().unwrap_or_default().to_owned(),
        ("cut", arguments) => cut(arguments, input)?,
        ("awk" | "gawk" | "mawk" | "nawk", arguments) => awk(arguments, input)?,
        ("grep" | "egrep" | "fgrep", arguments) => grep(arguments, input)?,
        ("tr", ["-d", characters]) => {
            let characters = characters.replace("\\n", "\n").replace("\\r", "\r");
            let is_plain = !characters.contains(['[', '\\', '-']);
            is_plain.then(|| input.chars().filter(|character| !characters.contains(*character)).collect())?
        }
        _ => return None,
    })
}

/// `cut -d: -f6`
fn cut(arguments: &[&str], input: &str) -> Option<String> {
    let (mut delimiter, mut field) = ('\t', None);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let (option, rest) = argument.split_at_checked(2)?;
        let value = if rest.is_empty() { arguments.next()? } else { rest };
        match option {
            "-d" => delimiter = value.chars().next()?,
            "-f" => field = value.parse::<usize>().ok()?.checked_sub(1),
            _ => return None,
        }
    }
    let field = field?;
    let part = |line: &str| match line.contains(delimiter) {
        true => line.split(delimiter).nth(field).unwrap_or_default().to_owned(),
        // So says POSIX.
        false => line.to_owned(),
    };
    Some(input.lines().map(part).collect::<Vec<_>>().join("\n"))
}

/// `awk -F: '{print $3}'`, with `/^name:/` or `$1 == "name"` in front.
fn awk(arguments: &[&str], input: &str) -> Option<String> {
    let (separator, program) = match arguments {
        ["-F", separator, program] => (Some(*separator), *program),
        [option, program] => (Some(option.strip_prefix("-F")?), *program),
        [program] => (None, *program),
        _ => return None,
    };
    let (condition, action) = program.trim().strip_suffix('}')?.split_once('{')?;
    let field: usize =
        action.trim().trim_end_matches(';').strip_prefix("print")?.trim().strip_prefix('$')?.parse().ok()?;
    let fields = |line: &str| -> Vec<String> {
        match separator {
            Some(separator) => line.split(separator.trim_matches(['"', '\''])).map(str::to_owned).collect(),
            None => line.split_whitespace().map(str::to_owned).collect(),
        }
    };
    let meant = matching(condition.trim())?;
    let printed = |line: &str| match field.checked_sub(1) {
        Some(at) => fields(line).get(at).cloned().unwrap_or_default(),
        None => line.to_owned(),
    };
    let lines = input.lines().filter(|line| meant(line, &fields(line)));
    Some(lines.map(printed).collect::<Vec<_>>().join("\n"))
}

/// Whether awk's condition holds for a line and its fields.
type Condition = Box<dyn Fn(&str, &[String]) -> bool>;

fn matching(condition: &str) -> Option<Condition> {
    if condition.is_empty() {
        return Some(Box::new(|_, _| true));
    }
    if let Some(pattern) = condition.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
        let pattern = Pattern::of(pattern)?;
        return Some(Box::new(move |line, _| pattern.is_in(line)));
    }
    let (field, value) = condition.strip_prefix('$')?.split_once("==")?;
    let at = field.trim().parse::<usize>().ok()?.checked_sub(1)?;
    let value = value.trim().strip_prefix('"')?.strip_suffix('"')?.to_owned();
    Some(Box::new(move |_, fields| fields.get(at) == Some(&value)))
}

/// `grep ^qmaild:`, `grep -v '^#'`
fn grep(arguments: &[&str], input: &str) -> Option<String> {
    let (inverted, pattern) = match arguments {
        ["-v", pattern] => (true, pattern),
        [pattern] | ["-e" | "-E", pattern] => (false, pattern),
        _ => return None,
    };
    let pattern = Pattern::of(pattern)?;
    let lines = input.lines().filter(|line| pattern.is_in(line) != inverted);
    Some(lines.collect::<Vec<_>>().join("\n"))
}

/// Plain text, perhaps at the beginning or at the end of a line.
struct Pattern {
    text: String,
    begins: bool,
    ends: bool,
}

impl Pattern {
    fn of(pattern: &str) -> Option<Self> {
        let (begins, rest) = pattern.strip_prefix('^').map_or((false, pattern), |rest| (true, rest));
        let (ends, text) = rest.strip_suffix('$').map_or((false, rest), |text| (true, text));
        let is_plain =
            !text.is_empty() && !text.contains(['*', '.', '[', ']', '\\', '?', '+', '(', '|', '{', '^', '$', '-']);
        is_plain.then(|| Self { text: text.to_owned(), begins, ends })
    }

    fn is_in(&self, line: &str) -> bool {
        match (self.begins, self.ends) {
            (true, true) => line == self.text,
            (true, false) => line.starts_with(&self.text),
            (false, true) => line.ends_with(&self.text),
            (false, false) => line.contains(&self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_forms() {
        let passwd = "root:x:0:0::/root:/bin/sh\nqmaild:x:7791:2108::/var/qmail:/bin/true\n";
        let table: [(&[&str], Option<&str>); 21] = [
            (&["cut", "-d:", "-f6"], Some("/root\n/var/qmail")),
            (&["/usr/bin/cut", "-d", ":", "-f", "1"], Some("root\nqmaild")),
            (&["cut", "-f1"], Some(passwd.trim_end())),
            (&["cut", "-c1-3"], None),
            (&["cut", "-d:", "-f1,3"], None),
            (&["awk", "-F:", "{print $3}"], Some("0\n7791")),
            (&["awk", "-F:", "/^qmaild:/ { print $4; }"], Some("2108")),
            (&["awk", "-F", ":", "$1 == \"qmaild\" {print $3}"], Some("7791")),
            (&["awk", "{print $1}"], Some("root:x:0:0::/root:/bin/sh\nqmaild:x:7791:2108::/var/qmail:/bin/true")),
            (&["awk", "-F:", "$3 > 5 {print $1}"], None),
            (&["awk", "{system(\"x\")}"], None),
            (&["grep", "^qmaild:"], Some("qmaild:x:7791:2108::/var/qmail:/bin/true")),
            (&["grep", "-v", "root"], Some("qmaild:x:7791:2108::/var/qmail:/bin/true")),
            (&["grep", "-c", "root"], None),
            (&["grep", "q.*d"], None),
            (&["head", "-1"], Some("root:x:0:0::/root:/bin/sh")),
            (&["tail", "-n", "1"], Some("qmaild:x:7791:2108::/var/qmail:/bin/true")),
            (&["tr", "-d", "\\n"], Some("root:x:0:0::/root:/bin/shqmaild:x:7791:2108::/var/qmail:/bin/true")),
            (&["tr", "a-z", "A-Z"], None),
            (&["wc", "-l"], None),
            (&[], None),
        ];
        for (words, expected) in table {
            assert_eq!(filtered(words, passwd).as_deref(), expected, "{words:?}");
        }
    }
}
