//! Works of the store alone: a throttle that is asked, and a message in the ledger from its dot to its acknowledgement. They
//! must not touch a disk.

use std::hint::black_box;
use std::sync::Arc;

use portcullis::policy::repeat::Candidate;
use portcullis::policy::repeat::CopyKeys;

use portcullis::policy::repeat::MessageTraits;
use portcullis::policy::repeat::RepeatRules;
use portcullis::policy::throttle::Throttle;
use portcullis::policy::throttle::ThrottleKey;
use portcullis::store::clock::Wall;
use portcullis::store::ledger::Decision;
use portcullis::store::ledger::Ledger;
use portcullis::store::throttle::ThrottleTable;

/// Takes from one throttle, under keys that come again.
pub(crate) fn takes(times: u64) {
    let table = ThrottleTable::new(BOUND, Arc::new(Wall::new()));
    let throttle = Throttle::shipped().remove(0);
    for number in 0..times {
        let exact = spread(number % KEYS);
        _ = black_box(table.take(&throttle, ThrottleKey { exact, coarse: exact }, 1));
    }
}

/// Messages that nobody has seen, accepted and acknowledged.
pub(crate) fn messages(times: u64) {
    let ledger = Arc::new(Ledger::new(BOUND, Arc::new(Wall::new())));
    let today = jiff::Timestamp::now().as_second();
    for number in 0..times {
        let copy = CopyKeys { strong: spread(2 * number), weak: spread(2 * number + 1) };
        let candidate = Candidate {
            rules: RepeatRules::default(),
            traits: MessageTraits { message_id: true, date: Some(today), size: 1 << 20 },
            copies: vec![copy],
            envelope: None,
            is_excepted: false,
        };
        let Decision::Deliver(delivery) = ledger.decide(&candidate) else { panic!("it is new") };
        delivery.claim.unwrap().accepted().took();
    }
}

/// Distinct keys, spread as a hash would spread them.
fn spread(number: u64) -> u128 {
    u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

const BOUND: usize = 100_000;
const KEYS: u64 = 1000;
