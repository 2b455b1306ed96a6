//! A million blocked senders, throttle keys and ledger entries as files: a list, and a state made by the proxy's own
//! code. There are as many throttle keys as their bound allows; their number is reported.

use std::error::Error;
use std::fs::File;
use std::io;
use std::io::BufWriter;
use std::io::Write;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portcullis::policy::repeat::Candidate;
use portcullis::policy::repeat::CopyKeys;
use portcullis::policy::repeat::MessageTraits;
use portcullis::policy::repeat::RepeatRules;
use portcullis::policy::throttle::Count;
use portcullis::policy::throttle::Throttle;
use portcullis::policy::throttle::part::Part;
use portcullis::policy::throttle::subject::Subject;
use portcullis::store::clock::Wall;
use portcullis::store::ledger::Decision;
use portcullis::store::ledger::Delivery;
use portcullis::store::state::Settings;
use portcullis::store::state::State;

use crate::workload::STRANGER;

/// The files of a loaded proxy.
pub(crate) struct Loaded {
    pub(crate) senders: PathBuf,
    pub(crate) state: PathBuf,
}

impl Loaded {
    /// Makes the files, which takes some seconds.
    pub(crate) fn make(scratch: &Path) -> io::Result<Self> {
        let (senders, state) = (scratch.join("a-million-senders"), scratch.join("loaded.redb"));
        let mut list = BufWriter::new(File::create(&senders)?);
        (0..MILLION).try_for_each(|number| writeln!(list, "sender{number}@list{}.example", number % 5000))?;
        writeln!(list, "{STRANGER}")?;
        list.into_inner().map_err(io::IntoInnerError::into_error)?;
        fill(&state).map_err(|fault| io::Error::other(fault.to_string()))?;
        Ok(Self { senders, state })
    }
}

fn fill(file: &Path) -> Result<(), Box<dyn Error>> {
    let state = State::open(&Settings::File(file.to_owned()), Arc::new(Wall::new()))?;
    let today = jiff::Timestamp::now().as_second();
    let throttle = throttle()?;
    for number in 0..MILLION {
        let client = IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + number));
        let subject = Subject {
            client,
            helo: b"",
            sender: None,
            recipient: None,
            relay_client: false,
            authenticated: false,
            user: None,
        };
        let key = throttle.key(&state.tables().seed, &subject).ok_or("the throttle does not apply")?;
        state.tables().throttles.charge(&throttle, key, 1);
    }
    // Two entries a message: one until the client has shown that it took the 250, one to count copies.
    for number in 0..u64::from(MILLION / 2) {
        let copy = CopyKeys { strong: spread(2 * number), weak: spread(2 * number + 1) };
        let traits = MessageTraits { message_id: true, date: Some(today), size: 1 << 20 };
        let dot =
            Candidate { rules: RepeatRules::default(), traits, copies: vec![copy], envelope: None, is_excepted: false };
        match state.tables().ledger.decide(&dot) {
            Decision::Deliver(Delivery { claim: Some(claim), .. }) => claim.accepted().unacknowledged(),
            other => return Err(format!("the ledger has {other:?} for a new message").into()),
        }
    }
    eprintln!(
        "loaded: {} throttle keys, {} entries of the ledger",
        state.tables().throttles.len(),
        state.tables().ledger.len()
    );
    // Changes are written before the state is dropped.
    drop(state);
    Ok(())
}

/// The shipped throttle for refused clients, slow enough for a key to outlive the bench.
fn throttle() -> Result<Throttle, &'static str> {
    let mut throttle = Throttle::shipped().into_iter().next().ok_or("no throttle is shipped")?;
    throttle.per = vec![Part::Client];
    (throttle.count, throttle.cells, throttle.burst) = (Count::Mails, 5, 5);
    throttle.period = Duration::from_secs(86_400);
    Ok(throttle)
}

/// A key of this number, spread like a hash.
fn spread(number: u64) -> u128 {
    u128::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

const MILLION: u32 = 1_000_000;
