//! Escalation: the key of a message that is deferred over and over, so that its n-th defer becomes 554. It must not
//! take two messages of different size, or for different recipients, for one.

use std::time::Duration;

use crate::policy::throttle::ThrottleKey;
use crate::policy::throttle::key::KeyHash;
use crate::policy::throttle::key::Seed;
use crate::smtp::address::Address;

/// The key of tries for one recipient under one key of a throttle. No declared size is a size of its own.
pub fn escalation_key(seed: &Seed, throttled: ThrottleKey, recipient: &Address, size: Option<u64>) -> u128 {
    let mut hash = KeyHash::new(seed);
    hash.add(b"escalation");
    hash.add(&throttled.exact.to_le_bytes());
    hash.add(recipient.folded());
    hash.add(size.map(u64::to_le_bytes).as_ref().map_or(b"", |size| size.as_slice()));
    hash.finish()
}

/// The time for which a message is known after its last try: longer than senders wait between two of them.
pub const ESCALATION_MEMORY: Duration = Duration::from_hours(24);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::smtp::address::parse_address;

    #[test]
    fn what_counts_as_the_same() {
        let key = |throttled: u128, recipient: &str, size| {
            let throttled = ThrottleKey { exact: throttled, coarse: 0 };
            let recipient = parse_address(recipient.as_bytes()).unwrap();
            escalation_key(&Seed::new([7; 16]), throttled, &recipient, size)
        };
        let first = key(1, "joe@example.org", Some(0));
        assert_eq!(first, key(1, "Joe@EXAMPLE.org", Some(0)));
        for (what, other) in [
            ("another key", key(2, "joe@example.org", Some(0))),
            ("another recipient", key(1, "sue@example.org", Some(0))),
            ("another size", key(1, "joe@example.org", Some(1))),
            ("no size", key(1, "joe@example.org", None)),
        ] {
            assert_ne!(first, other, "{what}");
        }
    }
}
