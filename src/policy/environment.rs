//! The environment a backend is started in, as far as policy looks at it: the inherited variables, `backend.env`, and
//! the variables of the client's rule. It must not read the process's environment itself: that is handed in.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::hash::Hasher;
use std::sync::Arc;

use siphasher::sip::SipHasher13;

use crate::policy::client::ClientRule;

/// The variables of one client's backend. Cheap to clone: a session holds one.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    base: Arc<Variables>,
    rule: Option<Arc<ClientRule>>,
}

/// The variables of every backend: the environment we were started in, then `backend.env` over it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    all: BTreeMap<Box<[u8]>, Box<[u8]>>,
    key: u64,
}

impl Environment {
    /// An environment with `rule`'s variables over `base`, as tcpserver puts them.
    pub fn new(base: Arc<Variables>, rule: Option<Arc<ClientRule>>) -> Self {
        Self { base, rule }
    }

    /// The client's rule in tcprules, if there is one.
    pub fn rule(&self) -> Option<&ClientRule> {
        self.rule.as_deref()
    }

    /// The value a backend would see.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let set_by_rule = self.rule_variables().iter().rev().find(|(set, _)| **set == *name);
        match set_by_rule {
            Some((_, value)) => Some(value),
            None => self.base.all.get(name).map(|value| &**value),
        }
    }

    /// All variables, those of the rule last (a later one replaces an earlier one of the same name).
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let base = self.base.all.iter().map(|(name, value)| (&**name, &**value));
        base.chain(self.of_rule())
    }

    /// A hash that tells one set of variables from another: a backend may offer other things under each. It is the same
    /// after a restart, as a rule.
    pub fn key(&self) -> u64 {
        let mut hasher = SipHasher13::new();
        self.base.key.hash(&mut hasher);
        self.rule_variables().hash(&mut hasher);
        hasher.finish()
    }

    /// The variables of the client's rule, in its order: they also stand over what the connection itself sets.
    pub fn of_rule(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.rule_variables().iter().map(|(name, value)| (&**name, &**value))
    }

    fn rule_variables(&self) -> &[(Box<[u8]>, Box<[u8]>)] {
        self.rule.as_ref().map_or(&[], |rule| &rule.variables)
    }
}

impl Variables {
    /// Collects variables; later pairs replace earlier ones of the same name.
    pub fn new(pairs: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Self {
        let all: BTreeMap<Box<[u8]>, Box<[u8]>> =
            pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let mut hasher = SipHasher13::new();
        all.iter().filter(|(name, _)| !is_of_one_start(name)).for_each(|variable| variable.hash(&mut hasher));
        let key = hasher.finish();
        Self { all, key }
    }
}

/// Whether a variable has another value at each start, and says nothing to a backend: systemd and shells set these.
fn is_of_one_start(name: &[u8]) -> bool {
    OF_ONE_START.contains(&name) || name.starts_with(b"SSH_") || name.starts_with(b"MEMORY_PRESSURE_")
}

const OF_ONE_START: [&[u8]; 14] = [
    b"_",
    b"EXIT_CODE",
    b"EXIT_STATUS",
    b"INVOCATION_ID",
    b"JOURNAL_STREAM",
    b"LISTEN_PID",
    b"LISTEN_PIDFDID",
    b"MAINPID",
    b"OLDPWD",
    b"PWD",
    b"SHLVL",
    b"SYSTEMD_EXEC_PID",
    b"WATCHDOG_PID",
    b"XDG_SESSION_ID",
];

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::policy::list::location::Location;

    #[test]
    fn the_rule_stands_over_what_was_inherited() {
        let base =
            Arc::new(Variables::new([(b"DATABYTES".to_vec(), b"5".to_vec()), (b"PATH".to_vec(), b"/bin".to_vec())]));
        let rule = ClientRule {
            deny: false,
            variables: vec![
                (b"DATABYTES".as_slice().into(), b"0".as_slice().into()),
                (b"RELAYCLIENT".as_slice().into(), b"".as_slice().into()),
            ],
            location: Location { source: "tcp.smtp".into(), line: 1 },
        };
        let plain = Environment::new(base.clone(), None);
        let ruled = Environment::new(base, Some(Arc::new(rule)));
        assert_eq!(plain.get(b"DATABYTES"), Some(b"5".as_slice()));
        assert_eq!(plain.get(b"RELAYCLIENT"), None);
        assert_eq!(ruled.get(b"DATABYTES"), Some(b"0".as_slice()));
        assert_eq!(ruled.get(b"RELAYCLIENT"), Some(b"".as_slice()));
        assert_eq!(ruled.get(b"PATH"), Some(b"/bin".as_slice()));
        assert_ne!(plain.key(), ruled.key());
        assert_eq!(ruled.iter().last().unwrap().0, b"RELAYCLIENT");
    }

    #[test]
    fn the_key_is_the_same_after_a_restart_and_another_for_what_a_backend_may_heed() {
        let key = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
            Environment::new(Arc::new(Variables::new(pairs)), None).key()
        };
        let before = key(&[("DATABYTES", "5"), ("INVOCATION_ID", "a"), ("JOURNAL_STREAM", "8:1"), ("_", "/bin/sh")]);
        assert_eq!(before, key(&[("DATABYTES", "5"), ("INVOCATION_ID", "b"), ("SSH_CLIENT", "192.0.2.1 1 22")]));
        assert_ne!(before, key(&[("DATABYTES", "6")]));
        assert_ne!(before, key(&[("DATABYTES", "5"), ("CVM_SASL_PLAIN", "cvm-unix")]));
    }
}
