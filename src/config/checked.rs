//! The checked values, part by part. What a control file of qmail may still fill in is settled by [`Draft::complete`];
//! the files themselves are read elsewhere. It must not know how a value was written.

pub mod alert;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::backend;
use crate::config::checked::alert::Alert;
use crate::control::load::Sources;
use crate::front;
use crate::front::settings::Pair;
use crate::hold;
use crate::policy::hops::HopRules;
use crate::policy::list::Dialect;
use crate::policy::repeat::RepeatRules;
use crate::policy::throttle::Throttle;
use crate::report;
use crate::session;
use crate::store;

/// All that an operator decides.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`: listeners and connections.
    pub front: front::settings::Settings,
    /// `[server]`, `[message]`, `[tls]`: conversations.
    pub session: session::settings::Settings,
    /// `[message]`: where messages wait.
    pub hold: hold::Settings,
    /// `[backend]`
    pub backend: backend::Settings,
    /// `backend.env`: names and values, over the environment that we were started in.
    pub backend_environment: Vec<(Vec<u8>, Vec<u8>)>,
    /// `[log]`
    pub report: report::Settings,
    /// `[[throttle]]`, or the shipped two.
    pub throttles: Vec<Throttle>,
    /// `[repeat]`
    pub repeat: RepeatRules,
    /// `message.max_hops`, `message.own_hops`
    pub hops: HopRules,
    /// `[state]`
    pub state: store::state::Settings,
    /// `[admin]`
    pub admin: Admin,
    /// `[[alert]]`
    pub alerts: Vec<Alert>,
    /// `[qmail]`
    pub qmail: Qmail,
    /// `[senders]`
    pub senders: Lists,
    /// `[recipients]`
    pub recipients: Lists,
    /// `recipients.known`: lists of the recipients that exist.
    pub known: Vec<PathBuf>,
    /// `recipients.routing`
    pub routing: bool,
    /// `[size]`
    pub size: Size,
    /// `[tls]`; without a certificate there is none.
    pub tls: Option<Tls>,
    /// Become this user after binding.
    pub user: Option<String>,
    /// The group that goes with the user; without one, the user's own.
    pub group: Option<String>,
}

/// The address at which the running proxy answers its operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// `admin.listen`
    pub listen: AdminListen,
    /// The token's file, made at the first start; its readers may change things.
    pub token_file: PathBuf,
}

/// `admin.listen`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminListen {
    /// No admin interface.
    Off,
    /// On this address, with a token.
    Tcp(SocketAddr),
    /// A socket with this path; users that may open it need no token.
    Unix(PathBuf),
}

/// The places of qmail's own files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qmail {
    /// The folder of badmailfrom, rcpthosts, me and the others.
    pub control: Option<PathBuf>,
    /// The queue: as written, or beside `control`.
    pub queue: Option<PathBuf>,
    /// `tcp.smtp` or `tcp.smtp.cdb`.
    pub tcprules: Option<PathBuf>,
}

/// Lists, and how they and the control file that they stand beside are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lists {
    /// Lists of addresses that are refused.
    pub blocked: Vec<PathBuf>,
    /// The dialect in which all of them are read.
    pub dialect: Dialect,
}

/// Limits of a message's size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size {
    /// `size.limit` when it is written: octets with CRLF line ends, 0 for none of ours.
    pub limit: Option<u64>,
    /// Recipients (addresses and `@domain`, in lower case) and the octets they take; the first that matches counts.
    pub caps: Vec<(Vec<String>, u64)>,
}

/// Certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// For clients that name no host, or an unknown one.
    pub first: Pair,
    /// Chosen by the name that a client asks for.
    pub more: Vec<Pair>,
}

/// Values of the control files, as numbers and texts; `None` where there is no such file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlValues {
    /// `me`
    pub me: Option<String>,
    /// `smtpgreeting`
    pub greeting: Option<String>,
    /// `timeoutsmtpd`, in seconds.
    pub timeout: Option<u64>,
    /// `concurrencyincoming`
    pub concurrency: Option<u64>,
    /// The host's own name: no file, but it comes after `me`.
    pub host: Option<String>,
}

/// A configuration in which what the control files may fill in is still open.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The open values hold their defaults.
    pub(crate) config: Config,
    pub(crate) open: Open,
}

/// Keys that stand over a control file; `None` where they are not written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Open {
    pub(crate) hostname: Option<String>,
    pub(crate) command_timeout: Option<Duration>,
    pub(crate) backend_max: Option<usize>,
}

impl Draft {
    /// The files that have to be read beside the configuration.
    pub fn sources(&self) -> Sources {
        Sources {
            control: self.config.qmail.control.clone(),
            known: self.config.known.clone(),
            recipients: self.config.recipients.blocked.clone(),
            recipients_dialect: self.config.recipients.dialect,
            senders: self.config.senders.blocked.clone(),
            senders_dialect: self.config.senders.dialect,
            tcprules: self.config.qmail.tcprules.clone(),
        }
    }

    /// A key that is written stands over the control file, and that over the default.
    pub fn complete(self, control: &ControlValues) -> Config {
        let Self { mut config, open } = self;
        let hostname = open.hostname.or_else(|| control.me.clone()).or_else(|| control.host.clone());
        let hostname = hostname.unwrap_or_else(|| "localhost".to_owned());
        // qmail-smtpd and mailfront both add the ESMTP.
        config.session.banner = format!("{} ESMTP", control.greeting.as_deref().unwrap_or(&hostname));
        config.session.hostname.clone_from(&hostname);
        config.backend.hostname = hostname;
        // qmail-smtpd takes 0 for one second; more than a year would overflow somebody's clock.
        let seconds = control.timeout.map(|seconds| Duration::from_secs(seconds.clamp(1, 31_536_000)));
        config.session.timeout.command = open.command_timeout.or(seconds).unwrap_or(config.session.timeout.command);
        let concurrency = control.concurrency.map(|number| number.clamp(1, 1_000_000) as usize);
        config.backend.max = open.backend_max.or(concurrency).unwrap_or(config.backend.max);
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_files_fill_in_what_is_open() {
        let control = ControlValues {
            me: Some("me.example.org".to_owned()),
            greeting: Some("mx.example.org welcomes you".to_owned()),
            timeout: Some(1200),
            concurrency: Some(30),
            host: Some("host".to_owned()),
        };
        let config = Config::default_without_file().complete(&control);
        assert_eq!(config.session.hostname, "me.example.org");
        assert_eq!(config.backend.hostname, "me.example.org");
        assert_eq!(config.session.banner, "mx.example.org welcomes you ESMTP");
        assert_eq!(config.session.timeout.command, Duration::from_secs(1200));
        assert_eq!(config.backend.max, 30);
    }

    #[test]
    fn written_keys_stand_over_control_files() {
        let mut draft = Config::default_without_file();
        draft.open = Open {
            hostname: Some("mx".to_owned()),
            command_timeout: Some(Duration::from_secs(7)),
            backend_max: Some(9),
        };
        let control = ControlValues {
            me: Some("me".to_owned()),
            timeout: Some(1),
            concurrency: Some(2),
            ..ControlValues::default()
        };
        let config = draft.complete(&control);
        assert_eq!((config.session.hostname.as_str(), config.session.banner.as_str()), ("mx", "mx ESMTP"));
        assert_eq!(config.session.timeout.command, Duration::from_secs(7));
        assert_eq!(config.backend.max, 9);
    }

    #[test]
    fn what_no_clock_or_count_can_be_is_bounded() {
        let control = ControlValues { timeout: Some(u64::MAX), concurrency: Some(0), ..ControlValues::default() };
        let config = Config::default_without_file().complete(&control);
        assert_eq!(config.session.timeout.command, Duration::from_secs(31_536_000));
        assert_eq!(config.backend.max, 1);
        assert_eq!(config.session.hostname, "localhost");
    }
}
