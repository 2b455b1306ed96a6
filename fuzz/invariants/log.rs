//! What must hold for logs: any octets are lines, joined, selected and summed up within bounds, and shown without a
//! control octet.

use jiff::ZonedDateTime;

use portcullis::logs::join::Join;
use portcullis::logs::line::Line;
use portcullis::logs::line::parse;
use portcullis::logs::select::Filter;
use portcullis::logs::select::Select;
use portcullis::logs::stamp::Stamps;
use portcullis::logs::stamp::Tai;
use portcullis::logs::summary::Count;
use portcullis::logs::summary::Summary;
use portcullis::policy::addresses::Addresses;
use portcullis::policy::verdict::Verdict;
use portcullis::text::readable;

/// A log.
pub fn log(input: &[u8]) {
    let addresses = |entry: &str| Addresses::read("--sender", &[entry.to_owned()]).ok().flatten();
    let filters = [
        Filter::default(),
        Filter { senders: addresses("@sillyplace.com"), ..Filter::default() },
        Filter { recipients: addresses("joe@mx.example.org"), verdicts: vec![Verdict::Accept], ..Filter::default() },
        Filter { message: Some("17294".to_owned()), ..Filter::default() },
        Filter { session: Some("17292".to_owned()), ..Filter::default() },
    ];
    for filter in filters {
        holds(input, filter);
    }
}

fn holds(input: &[u8], filter: Filter) {
    let is_all = filter.is_empty();
    let (mut stamps, mut join) = (Stamps::new(Tai::Auto, &ZonedDateTime::default()), Join::default());
    let (mut select, mut summary, mut lines, mut shown) = (Select::new(filter), Summary::default(), 0, 0);
    for octets in input.split(|octet| *octet == b'\n') {
        let line = Line::read(&mut stamps, octets);
        assert!(octets.ends_with(line.text), "the text is the end of the line");
        assert_eq!(parse(line.text).1, line.parsed, "the stamp changes nothing in the text behind it");
        let joined = join.push(&line);
        let meaning = joined.meaning.filter(|_| select.has_meaning(&line, &joined));
        select.push(&line, &joined, &mut |_, text| {
            shown += 1;
            is_clean(text);
        });
        summary.push(&line, meaning);
        lines += 1;
    }
    assert_eq!(summary.lines, lines);
    assert!(shown <= lines && (!is_all || shown == lines), "{shown} of {lines} lines");
    let senders: u64 = summary.senders.each.values().map(Count::activity).sum();
    assert_eq!(senders, summary.total.activity(), "each message has its sender");
    assert!(summary.total.activity() + summary.recipients.sum() + summary.connections <= lines, "one event a line");
}

fn is_clean(text: &[u8]) {
    let shown = readable::text(text);
    assert!(!shown.contains(|it: char| it.is_control() || matches!(it, '\u{202a}'..='\u{202e}')), "{shown:?}");
}
