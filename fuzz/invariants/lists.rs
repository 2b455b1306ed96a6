//! What must hold for the files that say who may send: badmailfrom and its like, rcpthosts, tcprules as text and cdb.

use std::net::IpAddr;
use std::net::Ipv4Addr;

use portcullis::control::cdb::Cdb;
use portcullis::control::tcprules;
use portcullis::policy::known::Existence;
use portcullis::policy::known::KnownList;
use portcullis::policy::known::KnownRecipients;
use portcullis::policy::list::AddressList;
use portcullis::policy::list::Dialect;
use portcullis::policy::local::LocalDomains;
use portcullis::smtp::address;

/// A list of addresses: entries or faults with a line, and an address that stands in it as its own line is found.
pub fn list(input: &[u8]) {
    // qmail ends an entry at NUL too.
    let lines = input.split(|octet| matches!(octet, b'\n' | b'\0')).count();
    for dialect in [Dialect::Qmail, Dialect::Extended] {
        match AddressList::parse("list".into(), dialect, input) {
            Ok(list) => {
                assert!(list.len() <= lines, "{} entries in {lines} lines", list.len());
                for line in input.split(|octet| *octet == b'\n') {
                    // As qmail does: blanks at the end go, anything else is the entry's.
                    let blanks = line.iter().rev().take_while(|octet| matches!(octet, b' ' | b'\t')).count();
                    let line = &line[..line.len() - blanks];
                    if dialect == Dialect::Qmail
                        && !line.starts_with(b"#")
                        && let Ok(address) = address::parse_address(line)
                        && address.folded() == line
                    {
                        assert!(list.find(&address).is_some(), "{:?}", String::from_utf8_lossy(line));
                    }
                }
            }
            Err(faults) => {
                assert!(!faults.is_empty());
                for fault in faults {
                    assert!(fault.location.line as usize <= lines, "{fault:?}");
                }
            }
        }
        AddressList::warnings("list", dialect, input);
    }
    known(input);
    let local = LocalDomains::parse("rcpthosts".into(), input);
    assert!(local.len() <= lines);
    local.find(b"example.org");
    LocalDomains::warnings("rcpthosts", input);
}

/// A list of known recipients, as text and as cdb: faults with a line, or an address that is its own line exists.
fn known(input: &[u8]) {
    let records = Cdb::read(input).ok();
    let read = records.map(|records| KnownList::of_records("known.cdb".into(), records.iter()));
    let lines = input.split(|octet| *octet == b'\n').count();
    for dialect in [Dialect::Qmail, Dialect::Extended] {
        match KnownList::parse("known".into(), dialect, input) {
            Ok(list) => {
                let known = KnownRecipients::new(vec![list]);
                known.warnings("rcpthosts", input);
                let addresses = input.split(|octet| *octet == b'\n').filter_map(|line| {
                    let address = address::parse_address(line).ok()?;
                    // `-@domain` says that nobody is there.
                    let is_entry = !line.starts_with(b"#") && !line.starts_with(b"-@");
                    (dialect == Dialect::Qmail && is_entry).then_some(address)
                });
                for address in addresses {
                    assert!(matches!(known.find(&address, None), Existence::Known(_)), "{address}");
                }
            }
            Err(faults) => {
                assert!(!faults.is_empty());
                assert!(faults.iter().all(|fault| fault.location.line as usize <= lines), "{faults:?}");
            }
        }
    }
    if let Some(Ok(list)) = read {
        assert!(!list.is_empty());
        let known = KnownRecipients::new(vec![list]);
        known.find(&address::parse_address(b"joe-list-x@example.org").expect("an address"), None);
    }
}

/// tcprules, as text and as cdb: rules or faults, and an answer for every client.
pub fn tcprules(input: &[u8]) {
    let clients = [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])];
    let text = tcprules::parse_text("tcp.smtp", input);
    let cdb = tcprules::parse_cdb("tcp.smtp.cdb", input).ok();
    for rules in [Some(text.rules), cdb.map(|read| read.rules)].into_iter().flatten() {
        for client in clients {
            for host in [None, Some("host.example")] {
                if let Some((key, _)) = rules.find(client, host, None) {
                    assert!(key.len() <= input.len());
                }
            }
        }
    }
}
