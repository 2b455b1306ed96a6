//! Assembles one finished value from configuration, control files and lists, and reports all faults of all of them at
//! once. `serve`, `check`, `explain` and every reload use it. It must not change anything.

use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;

use crate::backend::Target;
use crate::config;
use crate::config::Loaded;
use crate::config::checked::Config;
use crate::config::checked::ControlValues;
use crate::config::faults::Fault;
use crate::config::faults::Places;
use crate::config::file::Overrides;
use crate::config::watch::Look;
use crate::control::load;
use crate::control::load::Lists;
use crate::daemon::access;
use crate::daemon::loops;
use crate::daemon::queueing;
use crate::front::Values;
use crate::front::settings::Pair;
use crate::front::tls;
use crate::front::tls::Part;
use crate::front::tls::TlsFault;
use crate::policy::Policy;
use crate::policy::environment::Variables;
use crate::policy::list::AddressList;
use crate::policy::list::Dialect;
use crate::policy::list::fault::ListFault;
use crate::policy::list::location::Location;
use crate::policy::size::Cap;
use crate::policy::size::SizeRules;
use crate::policy::throttle::Throttle;
use crate::session::snapshot::Snapshot;
use crate::store::clock::Clock;
use crate::store::clock::Wall;
use crate::text::finding::Finding;

/// The source of a configuration: the same for every reload.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The configuration file; `None` for the embedded default.
    pub file: Option<PathBuf>,
    /// The command line's values, which override the file's.
    pub overrides: Overrides,
}

/// The values that are in force, or would be.
pub struct Assembly {
    /// The checked values.
    pub config: Config,
    /// The snapshot that sessions work with.
    pub snapshot: Arc<Snapshot>,
    /// The certificates.
    pub tls: Option<TlsAcceptor>,
    /// All files read, or missing: a change of one is a reason to reload.
    pub files: Vec<PathBuf>,
    /// The state of these files just before they were read.
    pub look: Look,
    /// Warnings: settings that are probably not as they were meant.
    pub warnings: Vec<Finding>,
    /// Control files of patches, which are not read, and variables that no program reads.
    pub notes: Vec<Finding>,
    /// Lines of lists that were left out because they can match nothing; `warnings` tells them too.
    pub left_out: Vec<Finding>,
    /// Where each key of the configuration was written.
    pub places: Places,
}

impl Assembly {
    /// The values that a proxy is started with.
    pub fn values(&self) -> Values {
        let Config { front, backend, hold, .. } = self.config.clone();
        Values { snapshot: self.snapshot.clone(), front, tls: self.tls.clone(), backend, hold }
    }
}

/// What could be read of files that have faults: good enough to find the running proxy and the queue, not to serve.
pub struct Salvage {
    /// The checked values; a value with a fault has its default.
    pub config: Config,
    /// What sessions would go by.
    pub snapshot: Arc<Snapshot>,
    /// Whether the lists could be read; else there are none in `snapshot`.
    pub lists_are_whole: bool,
}

/// The reasons why a configuration cannot be used.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    /// The faults; never empty.
    pub faults: Vec<Finding>,
    /// Warnings beside the faults.
    pub warnings: Vec<Finding>,
    /// The files whose change may mend the faults, as far as they are known.
    pub files: Vec<PathBuf>,
}

/// Which lines of lists that can match nothing are left out with a warning. Else they are errors.
#[derive(Clone, Debug)]
pub enum Leniency {
    /// None: what is in force stays, or nothing is started.
    None,
    /// All: at the start the mail server must not be held up by a line, and there is nothing that could stay in force.
    All,
    /// These, which are left out by what is in force, wherever they are in their file by now.
    Known(Vec<Finding>),
}

impl Leniency {
    fn tolerates(&self, line: &Finding) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Known(known) => known.iter().any(|known| known.file == line.file && known.what == line.what),
        }
    }
}

impl Origin {
    /// The file found in the order of search; the embedded default if there is none.
    pub fn find(explicit: Option<&Path>, overrides: Overrides) -> Self {
        Self { file: config::find(explicit), overrides }
    }

    /// Reads everything.
    ///
    /// # Errors
    /// Every fault of every file.
    pub fn assemble(&self) -> Result<Assembly, Refused> {
        self.assemble_leniently(&Leniency::None)
    }

    /// Reads everything, but for lines of lists that can match nothing, as far as they are let pass.
    ///
    /// # Errors
    /// Every other fault of every file.
    pub fn assemble_leniently(&self, leniency: &Leniency) -> Result<Assembly, Refused> {
        let look = Look::at(&self.file);
        let loaded = match &self.file {
            Some(file) => config::load_with(file, &self.overrides),
            None => config::without_file(&self.overrides),
        };
        let Loaded { config: draft, warnings, places } = loaded.map_err(|refused| self.refused(refused))?;
        let mut warnings: Vec<Finding> = warnings.into_iter().map(Finding::from).collect();
        let look = look.and(Look::at(self.files(&draft.config).iter().skip(self.file.iter().count())));
        let outcome = load::load(&draft.sources());
        warnings.extend(outcome.warnings.iter().map(|fault| Finding::of_list(&fault.location, &fault.what)));
        let mut notes: Vec<Finding> =
            outcome.notes.iter().map(|note| Finding::of_list(&note.location, &note.what)).collect();
        let lines = outcome.left_out.iter().map(|fault| Finding::of_list(&fault.location, &fault.what));
        let (left_out, mut faults): (Vec<_>, Vec<_>) = lines.partition(|line| leniency.tolerates(line));
        warnings.extend(left_out.iter().map(Finding::left_out_warning));
        let lists = outcome.lists.unwrap_or_else(|found| {
            faults.extend(found.iter().map(|fault| Finding::of_list(&fault.location, &fault.what)));
            Lists::default()
        });
        let mut config = draft.complete(&control_values(&lists));
        warnings.extend(forget_missing_queue(&mut config));
        let tls = tls::acceptor(&pairs(&config)).unwrap_or_else(|found| {
            faults.extend(found.into_iter().map(|fault| of_pair(&places, fault)));
            None
        });
        let old = tls::out_of_date(&pairs(&config), Wall::new().now().into());
        warnings.extend(old.into_iter().map(|fault| of_pair(&places, fault)));
        let files = self.files(&config);
        faults.extend(accounts(&config, &files, &places));
        faults.extend(loops::faults(&config, &places).into_iter().map(Finding::from));
        let size = size_rules(&config, lists.databytes, &mut faults);
        if !faults.is_empty() {
            return Err(Refused { faults, warnings, files });
        }
        if matches!(config.backend.target, Target::Queue(_)) {
            // Nor is there a program behind that would read them.
            notes.iter_mut().for_each(|note| note.what.push_str("; qmail-queue does not"));
        }
        notes.extend(queueing::notes(&config, &lists.clients, &places).into_iter().map(Finding::from));
        warnings.extend(queueing::warnings(&config, &lists.clients, &places).into_iter().map(Finding::from));
        let snapshot = Arc::new(snapshot(&config, lists, size));
        Ok(Assembly { config, snapshot, tls, files, look, warnings, notes, left_out, places })
    }

    /// What can be read of files that have faults, for the commands of an operator whose proxy runs by the last good
    /// ones. `None` where the configuration cannot be read at all, or the command line is at fault.
    pub fn salvage(&self) -> Option<Salvage> {
        let loaded = match &self.file {
            Some(file) => config::load_with(file, &self.overrides),
            None => config::without_file(&self.overrides),
        };
        let draft = match loaded {
            Ok(loaded) => loaded.config,
            Err(refused) if refused.faults.iter().any(Fault::is_of_command_line) => return None,
            Err(refused) => *refused.readable?,
        };
        let lists = load::load(&draft.sources()).lists;
        let lists_are_whole = lists.is_ok();
        let lists = lists.unwrap_or_default();
        let mut config = draft.complete(&control_values(&lists));
        forget_missing_queue(&mut config);
        let size = size_rules(&config, lists.databytes, &mut Vec::new());
        let snapshot = Arc::new(snapshot(&config, lists, size));
        Some(Salvage { config, snapshot, lists_are_whole })
    }

    /// Adds to the configuration's faults those of the lists it names, as far as they can be read: all faults are told
    /// at once. A missing file that the configuration names is reported already, with the place of its name.
    fn refused(&self, refused: config::Refused) -> Refused {
        let mut faults: Vec<Finding> = refused.faults.into_iter().map(Finding::from).collect();
        let mut warnings: Vec<Finding> = refused.warnings.into_iter().map(Finding::from).collect();
        let mut files = Vec::new();
        if let Some(draft) = refused.readable {
            files = self.files(&draft.config);
            faults.extend(accounts(&draft.config, &files, &refused.places));
            let sources = draft.sources();
            let outcome = load::load(&sources);
            let named =
                [&sources.senders, &sources.recipients, &sources.known].into_iter().flatten().chain(&sources.tcprules);
            let mut named: Vec<String> = named.map(|path| path.display().to_string()).collect();
            named.extend(sources.control.iter().map(|path| path.display().to_string()));
            let told = |fault: &ListFault| {
                fault.location.line == 0 && named.iter().any(|name| *name == *fault.location.source)
            };
            let of_lists = outcome.lists.err().unwrap_or_default();
            let untold = outcome.left_out.iter().chain(&of_lists).filter(|fault| !told(fault));
            faults.extend(untold.map(|fault| Finding::of_list(&fault.location, &fault.what)));
            warnings.extend(outcome.warnings.iter().map(|fault| Finding::of_list(&fault.location, &fault.what)));
        }
        Refused { faults, warnings, files }
    }

    fn files(&self, config: &Config) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self.file.iter().cloned().collect();
        if let Some(control) = &config.qmail.control {
            files.extend(CONTROL_FILES.map(|name| control.join(name)));
        }
        files.extend(config.qmail.tcprules.clone());
        let lists = [&config.senders.blocked, &config.recipients.blocked, &config.known];
        files.extend(lists.into_iter().flatten().cloned());
        files.extend(pairs(config).into_iter().flat_map(|pair| [pair.certificate, pair.key]));
        files
    }
}

impl From<Fault> for Finding {
    fn from(fault: Fault) -> Self {
        let Fault { file, line, column, what } = fault;
        Self { file: file.display().to_string(), line, column, what }
    }
}

impl Finding {
    /// The warning about a line of a list that is left out.
    fn left_out_warning(&self) -> Self {
        Self { what: format!("{} (this line is left out until then)", self.what), ..self.clone() }
    }

    fn of_list(location: &Location, what: &str) -> Self {
        Self { file: location.source.to_string(), line: location.line, column: 0, what: what.to_owned() }
    }
}

/// Removes a queue path that was only assumed, beside the control folder, and does not exist: asking for its free space
/// would refuse all mail.
fn forget_missing_queue(config: &mut Config) -> Option<Finding> {
    let queue = config.hold.queue.take_if(|queue| !queue.is_dir())?;
    let file = config.qmail.control.as_ref().map(|control| control.display().to_string()).unwrap_or_default();
    let what = format!(
        "no queue beside it ({}), so its free space is not watched; write qmail.queue = \"...\"",
        queue.display()
    );
    // Our own Maildir and an LMTP server need no queue.
    let matters = !matches!(config.backend.target, Target::Lmtp(_) | Target::Maildir(_));
    matters.then_some(Finding { file, line: 0, column: 0, what })
}

fn snapshot(config: &Config, lists: Lists, size: SizeRules) -> Snapshot {
    let inherited = std::env::vars_os().map(|(name, value)| (name.into_vec(), value.into_vec()));
    let variables = Variables::new(inherited.chain(config.backend_environment.iter().cloned()));
    let policy = Policy {
        senders: lists.senders,
        recipients: lists.recipients,
        local: lists.local,
        known: lists.known,
        routing: config.routing,
        clients: lists.clients,
        variables: Arc::new(variables),
        size,
        throttles: Throttle::with_shares(config.throttles.clone()),
        repeat: config.repeat,
        hops: config.hops,
        virtual_domains: lists.virtual_domains,
    };
    Snapshot { policy, settings: config.session.clone() }
}

fn size_rules(config: &Config, databytes: Option<u64>, faults: &mut Vec<Finding>) -> SizeRules {
    let mut caps = Vec::new();
    for (recipients, limit) in &config.size.caps {
        match AddressList::parse("size.recipients".into(), Dialect::Qmail, recipients.join("\n").as_bytes()) {
            Ok(recipients) => caps.push(Cap { recipients, limit: *limit }),
            Err(found) => faults.extend(found.iter().map(|fault| Finding::of_list(&fault.location, &fault.what))),
        }
    }
    SizeRules { limit: config.size.limit, databytes, caps }
}

/// `server.user` and `server.group`, and the files that this user could not read again.
fn accounts(config: &Config, files: &[PathBuf], places: &Places) -> Vec<Finding> {
    let (user, group) = (config.user.as_deref(), config.group.as_deref());
    let unknown = [
        access::unknown_user(user).map(|what| ("server.user", what)),
        access::unknown_group(group).map(|what| ("server.group", what)),
    ];
    let mut faults: Vec<Finding> =
        unknown.into_iter().flatten().map(|(key, what)| places.fault(key, what).into()).collect();
    if let (Some(user), true) = (user, faults.is_empty()) {
        faults.extend(access::unreadable(user, files).into_iter().map(|(file, why)| {
            let what = format!("a reload as user {user} would fail: {why}; let {user} read it, or its group");
            Finding { file: file.display().to_string(), line: 0, column: 0, what }
        }));
    }
    faults
}

/// A fault of a certificate or key, where the configuration names it.
fn of_pair(places: &Places, fault: TlsFault) -> Finding {
    let part = match fault.part {
        Part::Certificate => "certificate",
        Part::Key => "key",
    };
    let key = match fault.pair.checked_sub(1) {
        None => format!("tls.{part}"),
        Some(more) => format!("tls.more[{more}].{part}"),
    };
    places.fault(&key, fault.what).into()
}

fn control_values(lists: &Lists) -> ControlValues {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    ControlValues {
        me: lists.me.clone(),
        greeting: lists.greeting.clone(),
        timeout: lists.timeout,
        concurrency: lists.concurrency,
        host,
    }
}

/// The certificates with their keys.
pub(super) fn pairs(config: &Config) -> Vec<Pair> {
    let Some(tls) = &config.tls else { return Vec::new() };
    std::iter::once(&tls.first).chain(&tls.more).cloned().collect()
}

/// The files that are read in qmail's control folder.
const CONTROL_FILES: [&str; 10] = [
    "badmailfrom",
    "badrcptto",
    "concurrencyincoming",
    "databytes",
    "me",
    "morercpthosts.cdb",
    "rcpthosts",
    "smtpgreeting",
    "timeoutsmtpd",
    "virtualdomains",
];
