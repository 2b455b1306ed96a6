//! Manual pages of the pages in docs/reference: their Markdown as roff. It must not know what a page is about.

use roff::Inline;
use roff::Roff;
use roff::bold;
use roff::italic;
use roff::roman;

use crate::text::version;

/// A page of the manual and where its text comes from.
pub(super) struct Page {
    /// `portcullis.toml`
    pub(super) name: &'static str,
    /// The section of the manual: 5 files, 8 daemons.
    pub(super) section: &'static str,
    /// One line, for whatis.
    pub(super) about: &'static str,
    /// What stands before the first heading.
    pub(super) opens_with: &'static str,
    /// Markdown: headings, paragraphs, lists, tables, and blocks of code.
    pub(super) markdown: &'static str,
    /// A file that is shown whole.
    pub(super) example: Option<&'static str>,
    pub(super) see_also: &'static [(&'static str, &'static str)],
}

impl Page {
    /// The name of its file.
    pub(super) fn file_name(&self) -> String {
        format!("{}.{}", self.name, self.section)
    }

    /// The page as man reads it.
    pub(super) fn roff(&self) -> String {
        let mut roff = Roff::new();
        roff.control("TH", [self.name, self.section, "", &format!("portcullis {}", version::SHORT), "Portcullis"]);
        roff.control("SH", ["NAME"]).text([roman(format!("{} - {}", self.name, self.about))]);
        if !self.opens_with.is_empty() {
            roff.control("SH", [self.opens_with]);
        }
        // What an old roff has no character for.
        write(&mut roff, &self.markdown.replace('×', "x").replace('…', "..."));
        if let Some(example) = self.example {
            roff.control("SH", ["EXAMPLE"]);
            code(&mut roff, example.lines());
        }
        roff.control("SH", ["SEE ALSO"]);
        for (index, (name, section)) in self.see_also.iter().enumerate() {
            let comma = if index + 1 < self.see_also.len() { "," } else { "" };
            roff.text([bold(*name), roman(format!("({section}){comma}"))]);
        }
        roff.render()
    }
}

/// Blocks of Markdown, but for its title.
fn write(roff: &mut Roff, markdown: &str) {
    let mut lines = markdown.lines().filter(|line| !line.starts_with("# ")).peekable();
    while let Some(line) = lines.next() {
        if let Some(heading) = line.strip_prefix("## ") {
            // As in any page of the manual, but for the names of sections.
            let heading = if heading.contains('[') { heading.to_owned() } else { heading.to_uppercase() };
            roff.control("SH", [heading.as_str()]);
        } else if let Some(heading) = line.strip_prefix("### ") {
            roff.control("SS", [heading]);
        } else if let Some((mark, item)) = list_item(line) {
            let mut item = item.to_owned();
            while let Some(more) = lines.next_if(|line| line.starts_with("  ")) {
                item.push(' ');
                item.push_str(more.trim_start());
            }
            roff.control("IP", [mark, "3"]).text(inlines(&item));
        } else if line.starts_with("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            code(roff, block.into_iter());
        } else if line.starts_with('|') {
            let mut rows = vec![line];
            while let Some(row) = lines.next_if(|line| line.starts_with('|')) {
                rows.push(row);
            }
            // The head, and the line below it.
            rows.iter().skip(2).for_each(|row| write_row(roff, row));
        } else if !line.is_empty() {
            let mut paragraph = line.to_owned();
            while let Some(more) = lines.next_if(|line| !line.is_empty() && !line.starts_with("```")) {
                paragraph.push(' ');
                paragraph.push_str(more);
            }
            roff.control("PP", []).text(inlines(&paragraph));
        }
    }
}

/// The mark and the text of an item of a list.
fn list_item(line: &str) -> Option<(&str, &str)> {
    let (mark, item) = line.split_once(' ')?;
    let number = mark.strip_suffix('.').filter(|number| !number.is_empty());
    let is_mark = mark == "-" || number.is_some_and(|number| number.bytes().all(|octet| octet.is_ascii_digit()));
    is_mark.then_some((mark, item))
}

/// A row as a paragraph under its first cell; of the five cells of a key all but the last are in one line.
fn write_row(roff: &mut Roff, row: &str) {
    let cells: Vec<&str> = row.trim_matches(['|', ' ']).split(" | ").collect();
    roff.control("TP", []);
    match cells[..] {
        [key, kind, default, change, meaning] => {
            let default = if default == "none" { "no default".to_owned() } else { format!("default {default}") };
            let facts = format!(" ({kind}; {default}; {change})");
            roff.text(inlines(key).into_iter().chain(inlines(&facts)).collect::<Vec<_>>());
            roff.text(inlines(meaning));
        }
        [key, ref rest @ ..] => {
            roff.text([bold(key.replace('`', ""))]);
            rest.iter().for_each(|cell| {
                roff.text(inlines(cell));
            });
        }
        [] => {}
    }
}

fn code<'l>(roff: &mut Roff, lines: impl Iterator<Item = &'l str>) {
    roff.control("PP", []).control("EX", []);
    lines.for_each(|line| {
        roff.text([roman(line)]);
    });
    roff.control("EE", []);
}

/// Code and `**` as bold, `*` as italic, a link as its words.
fn inlines(text: &str) -> Vec<Inline> {
    let mut parts = Vec::new();
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 1 {
            parts.push(bold(part));
            continue;
        }
        for (index, strong) in part.split("**").enumerate() {
            if index % 2 == 1 {
                parts.push(bold(strong));
                continue;
            }
            let words = strong.split('*').enumerate();
            parts.extend(words.map(|(index, it)| if index % 2 == 1 { italic(it) } else { roman(unlinked(it)) }));
        }
    }
    parts.retain(|part| !matches!(part, Inline::Roman(text) | Inline::Bold(text) if text.is_empty()));
    parts
}

/// `[words](address)` as its words.
fn unlinked(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, words, after)) = link(rest) {
        plain.push_str(before);
        plain.push_str(words);
        rest = after;
    }
    plain + rest
}

/// What stands before a link, its words, and what follows it.
fn link(text: &str) -> Option<(&str, &str, &str)> {
    let (words, after) = text.split_once("](")?;
    let (before, words) = words.rsplit_once('[')?;
    Some((before, words, after.split_once(')')?.1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn markdown_as_roff() {
        let mut roff = Roff::new();
        let markdown = "# Title\n\nSee [the log](log.md), *now*\nand `a-b`.\n\n```sh\n.x 'y\n```\n\n## Keys\n\n\
                        | Key | Type |\n| --- | --- |\n| `a.b` | A **word**. |\n\
                        | `c` | flag | `true` | reload | What it `does`. |\n\n### a.b: what\n\n\
                        - One\n  thing.\n- `Two`.\n\n1. first;\n2. second.\n\n1990 was a year.\n";
        write(&mut roff, markdown);
        let expected = ".PP\nSee the log, \\fInow\\fR and \\fBa\\-b\\fR.\n.PP\n.EX\n\\&.x 'y\n.EE\n.SH KEYS\n.TP\n\
                        \\fBa.b\\fR\nA \\fBword\\fR.\n.TP\n\\fBc\\fR (flag; default \\fBtrue\\fR; reload)\n\
                        What it \\fBdoes\\fR.\n.SS \"a.b: what\"\n.IP - 3\nOne thing.\n.IP - 3\n\\fBTwo\\fR.\n\
                        .IP 1. 3\nfirst;\n.IP 2. 3\nsecond.\n.PP\n1990 was a year.\n";
        assert_eq!(roff.to_roff(), expected);
    }
}
