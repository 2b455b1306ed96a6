//! From the file as written to the checked values: defaults that depend on other keys, and the folder that relative
//! paths are under. Pure; it is also run on a file with faults, whose result nobody sees. It must not find faults.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use crate::backend;
use crate::backend::Endpoint;
use crate::backend::Identity;
use crate::backend::Target;
use crate::config::checked::Admin;
use crate::config::checked::AdminListen;
use crate::config::checked::Config;
use crate::config::checked::Draft;
use crate::config::checked::Lists;
use crate::config::checked::Open;
use crate::config::checked::Qmail;
use crate::config::checked::Size;
use crate::config::checked::Tls;
use crate::config::checked::alert::Alert;
use crate::config::checked::alert::Channel;
use crate::config::checked::alert::Webhook;
use crate::config::faults::At;
use crate::config::faults::Written;
use crate::config::file::File;
use crate::config::sections;
use crate::config::sections::server::Server;
use crate::front;
use crate::front::settings::Pair;
use crate::hold;
use crate::policy::throttle::Throttle;
use crate::session;
use crate::session::settings::BackendProtocol;
use crate::session::settings::Timeouts;
use crate::store;

/// `message.hold_memory`
pub(crate) const HOLD_MEMORY: u64 = 256 << 10;

/// Octets a second of an upload where `server.min_rate` is 0: only when room has to be made for others.
const MIN_RATE: u64 = 500;
/// `message.hold_total`
pub(crate) const HOLD_TOTAL: u64 = 1 << 30;

/// The values of `file`, whose relative paths are under `folder`.
pub(crate) fn build(file: &File, folder: &Path) -> Draft {
    let qmail = qmail(file, folder);
    let written = |value: &Option<Written<u64>>, default| value.as_ref().map_or(default, |size| size.value);
    let config = Config {
        front: front(&file.server),
        session: session(file),
        hold: hold::Settings {
            memory: written(&file.message.hold_memory, HOLD_MEMORY),
            total: written(&file.message.hold_total, HOLD_TOTAL),
            min_rate: if file.server.min_rate == 0 { MIN_RATE } else { file.server.min_rate },
            spool: file.message.spool.as_ref().map_or_else(std::env::temp_dir, |spool| under(folder, spool)),
            min_free: file.message.min_free,
            queue: qmail.queue.clone(),
        },
        backend: backend(file, folder),
        backend_environment: environment(file),
        report: file.log,
        throttles: throttles(file),
        repeat: file.repeat,
        hops: file.message.hops,
        state: match &file.state {
            store::state::Settings::File(path) => store::state::Settings::File(folder.join(path)),
            memory => memory.clone(),
        },
        admin: Admin {
            listen: match &file.admin.listen {
                AdminListen::Unix(path) => AdminListen::Unix(folder.join(path)),
                other => other.clone(),
            },
            token_file: folder.join(&file.admin.token_file),
        },
        alerts: file.alerts.iter().enumerate().map(|(at, alert)| alert_of(at, alert, folder)).collect(),
        qmail,
        senders: lists(&file.senders, folder),
        recipients: lists(&file.recipients.lists, folder),
        known: file.recipients.known.iter().map(|path| under(folder, path)).collect(),
        routing: file.recipients.routing,
        size: Size { limit: file.size.limit, caps: file.size.caps.clone() },
        tls: tls(file, folder),
        user: file.server.user.as_ref().map(|user| user.value.clone()),
        group: file.server.group.as_ref().map(|group| group.value.clone()),
    };
    let open = Open {
        hostname: file.server.hostname.clone(),
        command_timeout: file.server.timeout.command,
        backend_max: file.backend.max.map(number),
    };
    Draft { config, open }
}

/// A path of the file is under the file's folder; one of the command line, where we stand.
pub(crate) fn under(folder: &Path, path: &Written<PathBuf>) -> PathBuf {
    match path.at {
        At::Octet(_) => folder.join(&path.value),
        At::Option(_) => path.value.clone(),
    }
}

/// The backend with its paths resolved; the default when there is none.
pub(crate) fn target(file: &File, folder: &Path) -> Target {
    let Some(written) = file.backend.targets.first() else { return Target::Maildir(DEFAULT_MAILDIR.into()) };
    let under = |path: &Path| under(folder, &Written { value: path.to_owned(), at: written.at });
    match &written.value {
        Target::Lmtp(Endpoint::Unix(path)) => Target::Lmtp(Endpoint::Unix(under(path))),
        Target::Lmtp(Endpoint::Tcp(_)) | Target::Tcp(_) => written.value.clone(),
        Target::Maildir(path) => Target::Maildir(under(path)),
        Target::Queue(program) => Target::Queue(under(program)),
        Target::Spawn(words) => {
            let mut words = words.clone();
            if let Some(program) = words.first_mut() {
                *program = under(Path::new(&*program)).into();
            }
            Target::Spawn(words)
        }
    }
}

/// The Maildir for accepted mail when no backend is named.
pub(crate) const DEFAULT_MAILDIR: &str = "./portcullis-mail";

fn front(server: &Server) -> front::settings::Settings {
    let addresses = |written: &[Written<SocketAddr>]| written.iter().map(|address| address.value).collect();
    front::settings::Settings {
        listen: server.listen.as_deref().map_or_else(|| vec![DEFAULT_LISTEN], addresses),
        listen_tls: addresses(&server.listen_tls),
        workers: server.workers.map(number),
        max_connections: number(server.max_connections),
        max_connections_per_client: number(server.max_connections_per_client.as_ref().map_or(50, |it| it.value)),
        greet_delay: server.greet_delay,
        handshake: server.timeout.greeting,
        proxy_protocol_from: server.proxy_protocol_from.clone(),
        drain: server.drain,
    }
}

/// The names are filled in by `Draft::complete`.
fn session(file: &File) -> session::settings::Settings {
    let (server, message, identity) = (&file.server, &file.message, file.backend.identity);
    let targets = &file.backend.targets;
    let is_server = targets.iter().any(|target| matches!(target.value, Target::Lmtp(_) | Target::Tcp(_)));
    session::settings::Settings {
        hostname: String::new(),
        banner: String::new(),
        contact: server.contact.as_str().into(),
        max_recipients: server.max_recipients,
        max_errors: server.max_errors,
        auth: server.auth,
        starttls: file.tls.pair.is_some(),
        tls_required: file.tls.required.is_some(),
        timeout: Timeouts {
            greeting: server.timeout.greeting,
            command: server.timeout.command.unwrap_or(DEFAULT_COMMAND_TIMEOUT),
            data: server.timeout.data,
            session: server.timeout.session,
        },
        min_rate: server.min_rate,
        hold: message.hold.as_ref().is_none_or(|hold| hold.value),
        bare_newline: message.bare_newline,
        bare_newline_exempt_relay_client: message.bare_newline_exempt_relay_client,
        backend_protocol: match targets.first().map(|target| &target.value) {
            Some(Target::Lmtp(_)) => BackendProtocol::Lmtp,
            Some(Target::Queue(_)) => BackendProtocol::Queue,
            _ => BackendProtocol::Smtp,
        },
        backend_reply: file.backend.reply,
        backend_connect: file.backend.connect,
        hide_user: server.hide_user,
        // The other backends write their own.
        add_received: is_server && identity == Identity::None,
        backend_starttls: is_server && file.backend.tls == backend::Tls::Starttls,
        xclient: is_server && identity == Identity::Xclient,
    }
}

fn backend(file: &File, folder: &Path) -> backend::Settings {
    backend::Settings {
        target: target(file, folder),
        identity: file.backend.identity,
        tls: file.backend.tls,
        verify: file.backend.verify,
        hostname: String::new(),
        max: file.backend.max.map_or(40, number),
        keepalive: number(file.backend.keepalive),
        connect: file.backend.connect,
        reply: file.backend.reply,
    }
}

fn environment(file: &File) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pairs = file.backend.environment.iter();
    pairs.map(|(name, value)| (name.value.clone().into_bytes(), value.clone().into_bytes())).collect()
}

fn throttles(file: &File) -> Vec<Throttle> {
    match &file.throttles {
        Some(written) => written.iter().map(|(throttle, _)| throttle.clone()).collect(),
        None => Throttle::shipped(),
    }
}

/// Without a name it has its number.
fn alert_of(at: usize, alert: &sections::alert::Alert, folder: &Path) -> Alert {
    let channel = match &alert.target {
        sections::alert::Target::Command(words, at) => {
            let mut words = words.clone();
            if let Some(program) = words.first_mut() {
                *program = under(folder, &Written { value: PathBuf::from(&*program), at: *at }).display().to_string();
            }
            Channel::Command(words)
        }
        sections::alert::Target::Webhook(url, template) => Channel::Webhook(Webhook {
            url: url.clone(),
            template: *template,
            headers: alert.headers.clone(),
            token_file: alert.token_file.as_ref().map(|file| under(folder, file)),
        }),
    };
    let name = alert.name.as_ref().map_or_else(|| (at + 1).to_string(), |name| name.value.clone());
    Alert { name, channel, kinds: alert.kinds.clone(), lasting: alert.lasting, repeat: alert.repeat }
}

fn qmail(file: &File, folder: &Path) -> Qmail {
    let path = |written: &Option<Written<PathBuf>>| written.as_ref().map(|path| under(folder, path));
    let control = path(&file.qmail.control);
    let beside = || control.as_ref()?.parent().map(|qmail| qmail.join("queue"));
    Qmail { queue: path(&file.qmail.queue).or_else(beside), control, tcprules: path(&file.qmail.tcprules) }
}

fn lists(lists: &sections::lists::Lists, folder: &Path) -> Lists {
    Lists { blocked: lists.blocked.iter().map(|path| under(folder, path)).collect(), dialect: lists.dialect }
}

fn tls(file: &File, folder: &Path) -> Option<Tls> {
    let pair = |pair: &sections::tls::Pair| Pair {
        certificate: under(folder, &pair.certificate),
        key: under(folder, &pair.key),
    };
    let first = pair(file.tls.pair.as_ref()?);
    Some(Tls { first, more: file.tls.more.iter().map(|more| pair(&more.value)).collect() })
}

fn number(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2525);

const DEFAULT_COMMAND_TIMEOUT: Duration = Duration::from_secs(300);
