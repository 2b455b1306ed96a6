//! Everything the policy takes from files: the control folder, the lists of the configuration, tcprules.
//!
//! All faults of all files are reported at once. It must not make the best of a broken file: the caller keeps the last
//! good lists, or does not start. A list in which single lines are faulty is given without them: the caller decides.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use crate::control::cdb::Cdb;
use crate::control::files;
use crate::control::tcprules;
use crate::control::unread;
use crate::policy::client::ClientRules;
use crate::policy::known::KnownList;
use crate::policy::known::KnownRecipients;
use crate::policy::list::AddressList;
use crate::policy::list::Dialect;
use crate::policy::list::fault::ListFault;
use crate::policy::local::LocalDomains;
use crate::policy::virtualdomains::VirtualDomains;

/// Files and folders to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// qmail's control folder, if there is one.
    pub control: Option<PathBuf>,
    /// Lists of the recipients that exist, as text or validrcptto.cdb.
    pub known: Vec<PathBuf>,
    /// More lists of recipients, beside badrcptto.
    pub recipients: Vec<PathBuf>,
    /// The dialect of all lists of recipients, known ones too.
    pub recipients_dialect: Dialect,
    /// More lists of senders, beside badmailfrom.
    pub senders: Vec<PathBuf>,
    /// The dialect of all lists of senders.
    pub senders_dialect: Dialect,
    /// tcprules: compiled if the name ends in `.cdb`, else its text.
    pub tcprules: Option<PathBuf>,
}

/// Lists and values of the files.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// tcprules.
    pub clients: ClientRules,
    /// concurrencyincoming.
    pub concurrency: Option<u64>,
    /// control/databytes: octets of a message with LF line ends; 0 for no limit.
    pub databytes: Option<u64>,
    /// smtpgreeting.
    pub greeting: Option<String>,
    /// The recipients that exist.
    pub known: KnownRecipients,
    /// rcpthosts and morercpthosts.cdb; `None` without a control folder: locality is not checked.
    pub local: Option<LocalDomains>,
    /// me.
    pub me: Option<String>,
    /// badrcptto, then the lists of the configuration.
    pub recipients: Vec<AddressList>,
    /// badmailfrom, then the lists of the configuration.
    pub senders: Vec<AddressList>,
    /// timeoutsmtpd, in seconds; at least 1.
    pub timeout: Option<u64>,
    /// virtualdomains.
    pub virtual_domains: VirtualDomains,
}

/// The outcome of `load`.
#[derive(Debug)]
pub struct Outcome {
    /// The lists, or all faults of all files.
    pub lists: Result<Lists, Vec<ListFault>>,
    /// Lines of lists that can match nothing, which `lists` goes without.
    pub left_out: Vec<ListFault>,
    /// Warnings: entries that can be read, but hardly mean what they say.
    pub warnings: Vec<ListFault>,
    /// Control files of patches, which are not read.
    pub notes: Vec<ListFault>,
}

/// Reads all files of `sources`.
pub fn load(sources: &Sources) -> Outcome {
    let mut loader = Loader { sources, faults: Vec::new(), left_out: Vec::new(), warnings: Vec::new() };
    let mut lists = Lists::default();
    if let Some(control) = &sources.control {
        loader.control(control, &mut lists);
    }
    for path in &sources.senders {
        lists.senders.extend(loader.named_list(path, sources.senders_dialect));
    }
    for path in &sources.recipients {
        lists.recipients.extend(loader.named_list(path, sources.recipients_dialect));
    }
    lists.known = loader.known();
    if let Some(path) = &sources.tcprules {
        lists.clients = loader.clients(path);
    }
    let Loader { faults, left_out, warnings, .. } = loader;
    let notes = sources.control.as_deref().map(|control| notes(control, &sources.known)).unwrap_or_default();
    Outcome { lists: if faults.is_empty() { Ok(lists) } else { Err(faults) }, left_out, warnings, notes }
}

struct Loader<'s> {
    sources: &'s Sources,
    faults: Vec<ListFault>,
    left_out: Vec<ListFault>,
    warnings: Vec<ListFault>,
}

impl Loader<'_> {
    fn control(&mut self, folder: &Path, lists: &mut Lists) {
        // A misspelled folder is not one in which every file is absent.
        if !folder.is_dir() {
            self.fault(folder, "is not a folder, or cannot be entered: name qmail's control folder");
            return;
        }
        lists.senders.extend(self.list(&folder.join("badmailfrom"), self.sources.senders_dialect));
        lists.recipients.extend(self.list(&folder.join("badrcptto"), self.sources.recipients_dialect));
        lists.local = Some(self.local(folder));
        lists.me = self.first_line(&folder.join("me"));
        lists.greeting = self.first_line(&folder.join("smtpgreeting"));
        lists.databytes = self.integer(&folder.join("databytes"), NO_LIMIT);
        // qmail-smtpd takes 0 for 1.
        lists.timeout = self.integer(&folder.join("timeoutsmtpd"), USUAL_TIMEOUT).map(|seconds| seconds.max(1));
        lists.concurrency = self.integer(&folder.join("concurrencyincoming"), UNKNOWN_CONCURRENCY);
        let virtual_domains = self.checked(files::read_text(&folder.join("virtualdomains")));
        lists.virtual_domains = virtual_domains.map(|text| VirtualDomains::parse(&text)).unwrap_or_default();
    }

    /// A list that the configuration names must be there.
    fn named_list(&mut self, path: &Path, dialect: Dialect) -> Option<AddressList> {
        let text = self.named(path)?;
        self.parse_list(path, dialect, &text)
    }

    /// The recipients that exist. Lists that name none would refuse every recipient, which is an error as well.
    fn known(&mut self) -> KnownRecipients {
        let Sources { known: paths, .. } = self.sources;
        let lists: Vec<KnownList> = paths.iter().filter_map(|path| self.known_list(path)).collect();
        let are_read = lists.len() == paths.len();
        if let Some(path) = paths.first().filter(|_| are_read && !lists.iter().any(KnownList::has_addresses)) {
            self.fault(
                path,
                "names only recipients that do not exist, so every recipient would be refused: add those that do",
            );
        }
        let known = KnownRecipients::new(lists);
        let rcpthosts = self.sources.control.as_ref().map(|control| control.join("rcpthosts"));
        if let Some(rcpthosts) = rcpthosts.filter(|_| !known.is_empty()) {
            // An error of the file is noted already.
            let text = files::read_text(&rcpthosts).ok().flatten().unwrap_or_default();
            self.warnings.extend(known.warnings(&name(&rcpthosts), &text));
        }
        known
    }

    fn known_list(&mut self, path: &Path) -> Option<KnownList> {
        let text = self.named(path)?;
        let read = match is_cdb(path) {
            true => match Cdb::read(&text) {
                Ok(records) => KnownList::of_records(name(path), records.iter()),
                Err(fault) => {
                    Err(vec![ListFault::new(&name(path), 0, format!("{fault}; make it again with mkvalidrcptto"))])
                }
            },
            false => KnownList::parse(name(path), self.sources.recipients_dialect, &text),
        };
        read.map_err(|faults| self.faults.extend(faults)).ok()
    }

    fn list(&mut self, path: &Path, dialect: Dialect) -> Option<AddressList> {
        let text = self.checked(files::read_text(path))?;
        self.parse_list(path, dialect, &text)
    }

    fn parse_list(&mut self, path: &Path, dialect: Dialect, text: &[u8]) -> Option<AddressList> {
        if is_cdb(path) {
            self.fault(path, "is a cdb: name the text file of the list instead");
            return None;
        }
        let source = name(path);
        self.warnings.extend(AddressList::warnings(&source, dialect, text));
        match AddressList::read(source, dialect, text) {
            Ok((list, left_out)) => {
                self.left_out.extend(left_out);
                Some(list)
            }
            Err(faults) => {
                self.faults.extend(faults);
                None
            }
        }
    }

    /// The local domains. Without both files nobody is local, as in mailfront; without rcpthosts qmail-smtpd would
    /// relay for everybody.
    fn local(&mut self, folder: &Path) -> LocalDomains {
        let path = folder.join("rcpthosts");
        let mut local = match self.checked(files::read_text(&path)) {
            Some(text) => {
                self.warnings.extend(LocalDomains::warnings(&name(&path), &text));
                LocalDomains::parse(name(&path), &text)
            }
            None => {
                let what = "not found: no domain is local, so only clients with RELAYCLIENT can send; \
                            is this qmail's control folder?";
                self.warnings.push(ListFault::new(&name(&path), 0, what));
                LocalDomains::default()
            }
        };
        let path = folder.join("morercpthosts.cdb");
        if let Some(bytes) = self.checked(files::read(&path)) {
            match Cdb::read(&bytes) {
                Ok(more) => local.add_more(name(&path), more.iter().map(|(key, _)| key)),
                Err(fault) => self.fault(&path, format!("{fault}; make it again with qmail-newmrh")),
            }
        }
        local
    }

    fn clients(&mut self, path: &Path) -> ClientRules {
        let Some(text) = self.named(path) else { return ClientRules::default() };
        let source = name(path);
        let read = match is_cdb(path) {
            true => tcprules::parse_cdb(&source, &text),
            false => Ok(tcprules::parse_text(&source, &text)),
        };
        match read {
            Ok(read) => {
                self.faults.extend(read.faults);
                self.warnings.extend(read.warnings);
                read.rules
            }
            Err(fault) => {
                self.fault(path, format!("{fault}; make it again with tcprules"));
                ClientRules::default()
            }
        }
    }

    fn first_line(&mut self, path: &Path) -> Option<String> {
        self.checked(files::first_line(path))
    }

    /// A number as qmail reads it; `without` is what a first line without one stands for.
    fn integer(&mut self, path: &Path, without: WithoutNumber) -> Option<u64> {
        let integer = self.checked(files::integer(path))?;
        let line = integer.line.escape_ascii();
        match integer.value {
            Some(value) if integer.has_rest() => {
                self.warn(path, format!("\"{line}\" is {value} to qmail, which reads only the leading digits"));
            }
            Some(_) => {}
            None => self.warn(path, format!("\"{line}\" is not a number: {}; write digits only", without.1)),
        }
        integer.value.or(without.0)
    }

    /// A file that the configuration names must be there.
    fn named(&mut self, path: &Path) -> Option<Vec<u8>> {
        let read = if is_cdb(path) { files::read(path) } else { files::read_text(path) };
        let read = read.and_then(|text| {
            let what = "not found: create it, or remove its name from the configuration";
            text.ok_or_else(|| ListFault::new(&name(path), 0, what)).map(Some)
        });
        self.checked(read)
    }

    /// A fault is noted and its file then treated as absent: `load` gives no lists where there are faults.
    fn checked<T>(&mut self, read: Result<Option<T>, ListFault>) -> Option<T> {
        read.unwrap_or_else(|fault| {
            self.faults.push(fault);
            None
        })
    }

    fn warn(&mut self, path: &Path, what: String) {
        self.warnings.push(ListFault::new(&name(path), 1, what));
    }

    fn fault(&mut self, path: &Path, what: impl Into<String>) {
        self.faults.push(ListFault::new(&name(path), 0, what));
    }
}

/// The value of a control file whose first line has no number, and the words about it.
type WithoutNumber = (Option<u64>, &'static str);

/// qmail-smtpd's own values, which it keeps then.
const NO_LIMIT: WithoutNumber = (Some(0), "there is no limit, as in qmail");
const USUAL_TIMEOUT: WithoutNumber = (Some(1200), "it is 1200 seconds, as in qmail");
/// No program of qmail's reads the file: run scripts do.
const UNKNOWN_CONCURRENCY: WithoutNumber = (None, "backend.max has its default");

/// The notes about files of patches, but for those that the configuration names.
fn notes(control: &Path, named: &[PathBuf]) -> Vec<ListFault> {
    let is_unread = |path: &PathBuf| path.exists() && !named.contains(path);
    let files = unread::unread(|name| is_unread(&control.join(name)));
    files.iter().map(|file| ListFault::new(&name(&control.join(file.name)), 0, file.note())).collect()
}

fn is_cdb(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "cdb")
}

fn name(path: &Path) -> Arc<str> {
    path.to_string_lossy().into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::smtp::address::parse_address;

    const COMPILED: &[u8] = include_bytes!("../../tests/samples/tcp.smtp.cdb");
    const EMPTY: &[u8] = include_bytes!("../../tests/samples/empty.cdb");

    fn folder(files: &[(&str, &[u8])]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn control(folder: &TempDir) -> Sources {
        Sources { control: Some(folder.path().into()), ..Sources::default() }
    }

    fn faults(sources: &Sources) -> Vec<String> {
        load(sources).lists.unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_control_file_is_read() {
        let folder = folder(&[
            ("badmailfrom", b"newsletter@sillyplace.com\n@Bad.example\r\n"),
            ("badrcptto", b"nobody@example.org\n"),
            ("rcpthosts", b"example.org\n"),
            ("morercpthosts.cdb", EMPTY),
            ("databytes", b"10MB\n"),
            ("me", b"mx.example.org\n"),
            ("smtpgreeting", b"mx.example.org ready\n"),
            ("timeoutsmtpd", b"0\n"),
            ("concurrencyincoming", b"20\n"),
            ("virtualdomains", b"virt.example:list\n"),
            ("more", b"a@b.example\n"),
            ("tcp.smtp", b"10.:deny\n"),
        ]);
        let named = |name| folder.path().join(name);
        let sources = Sources { senders: vec![named("more")], tcprules: Some(named("tcp.smtp")), ..control(&folder) };
        let Outcome { lists, warnings, notes, .. } = load(&sources);
        assert_eq!(notes, []);
        let lists = lists.unwrap();
        let joe = parse_address(b"joe@virt.example").unwrap();
        assert_eq!(lists.virtual_domains.rewritten(&joe).as_deref(), Some(&b"list-joe@virt.example"[..]));
        let location = lists.senders[0].find_folded(b"newsletter@sillyplace.com").unwrap();
        assert_eq!(location.to_string(), format!("{}:1", named("badmailfrom").display()));
        assert!(lists.senders[1].find_folded(b"a@b.example").is_some());
        assert!(lists.recipients[0].find_folded(b"nobody@example.org").is_some());
        assert!(lists.local.unwrap().find(b"example.org").is_some());
        assert_eq!(lists.clients.len(), 1);
        assert_eq!((lists.databytes, lists.timeout, lists.concurrency), (Some(10), Some(1), Some(20)));
        assert_eq!(lists.me.as_deref(), Some("mx.example.org"));
        assert_eq!(lists.greeting.as_deref(), Some("mx.example.org ready"));
        let told: Vec<_> = warnings.iter().map(|warning| warning.what.as_str()).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("ends in CR") && told[1].starts_with("\"10MB\" is 10 to qmail"), "{told:?}");
    }

    #[test]
    fn a_file_without_a_number_is_what_it_is_to_qmail() {
        for text in ["none\n", "", "-1\n", " 7\n", "\n30\n"] {
            let text = text.as_bytes();
            let folder = folder(&[
                ("rcpthosts", b""),
                ("databytes", text),
                ("timeoutsmtpd", text),
                ("concurrencyincoming", text),
            ]);
            let Outcome { lists, warnings, .. } = load(&control(&folder));
            let lists = lists.unwrap();
            assert_eq!((lists.databytes, lists.timeout, lists.concurrency), (Some(0), Some(1200), None), "{text:?}");
            let told: Vec<_> = warnings.iter().map(ToString::to_string).collect();
            assert_eq!(told.len(), 3, "{told:?}");
            assert!(told[0].contains("databytes:1: ") && told[0].contains("is not a number: there is no limit"));
        }
    }

    #[test]
    fn files_of_patches_are_noted() {
        let folder = folder(&[("badhelo", b""), ("badmailpatterns", b""), ("locals", b"")]);
        let notes = load(&control(&folder)).notes;
        let told: Vec<_> = notes.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("badmailpatterns: not read") && told[1].contains("badhelo: not read"), "{told:?}");
    }

    #[test]
    fn absent_control_files_are_empty() {
        let lists = load(&control(&folder(&[]))).lists.unwrap();
        assert!(lists.senders.is_empty() && lists.recipients.is_empty() && lists.clients.is_empty());
        assert!(lists.local.unwrap().is_empty());
        assert_eq!((lists.databytes, lists.me), (None, None));
        assert!(load(&Sources::default()).lists.unwrap().local.is_none());
    }

    #[test]
    fn all_faults_of_all_files_are_told() {
        let folder = folder(&[
            ("badmailfrom", b"bare.example\n"),
            ("morercpthosts.cdb", &COMPILED[..3000]),
            ("me", b"mx\r\n"),
            ("tcp.smtp", b"10.:allow\n11.:alow\n12.:allow,A\n"),
        ]);
        fs::create_dir(folder.path().join("rcpthosts")).unwrap();
        let sources = Sources {
            senders_dialect: Dialect::Extended,
            recipients_dialect: Dialect::Extended,
            senders: vec![folder.path().join("absent")],
            recipients: vec![folder.path().join("morercpthosts.cdb")],
            tcprules: Some(folder.path().join("tcp.smtp")),
            ..control(&folder)
        };
        let told = faults(&sources);
        let expected = [
            "rcpthosts: cannot be read",
            "morercpthosts.cdb: is not a cdb, or is truncated",
            "me:1: has octets",
            "absent: not found",
            "morercpthosts.cdb: is a cdb",
            "tcp.smtp:2: has neither allow nor deny",
            "tcp.smtp:3: ,A is not a variable",
        ];
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        let left_out = load(&sources).left_out;
        assert!(left_out[0].to_string().contains("badmailfrom:1: bare.example is neither"), "{left_out:?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.contains(expected), "{told}");
        }
    }

    #[test]
    fn a_misspelled_folder_is_a_fault() {
        let folder = folder(&[]);
        let sources = Sources { control: Some(folder.path().join("contol")), ..Sources::default() };
        assert!(faults(&sources)[0].contains("is not a folder"));
    }

    #[test]
    fn tcprules_named_cdb_is_a_cdb() {
        let folder = folder(&[("tcp.smtp.cdb", COMPILED), ("empty.cdb", EMPTY), ("text.cdb", b"10.:deny\n")]);
        let sources = |name| Sources { tcprules: Some(folder.path().join(name)), ..Sources::default() };
        assert_eq!(load(&sources("tcp.smtp.cdb")).lists.unwrap().clients.len(), 19);
        assert!(load(&sources("empty.cdb")).lists.unwrap().clients.is_empty());
        assert!(faults(&sources("text.cdb"))[0].contains("make it again with tcprules"));
    }
}
