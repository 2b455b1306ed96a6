//! The time of qmail-send's next try. Pure: it must not look at files or the clock.

/// Skip for local recipients: seconds by which the square root of a message's age grows from try to try.
pub const LOCAL: i64 = 10;
/// Skip for remote recipients, as [`LOCAL`].
pub const REMOTE: i64 = 20;

/// The next try, in seconds since 1970: the first birth + (k skip)² after `now`. After a clean exit of qmail-send it is
/// the file's modification time, which is then in the future.
pub fn next(birth: i64, modified: i64, now: i64, skip: i64) -> i64 {
    if modified > now {
        return modified;
    }
    let age = now.saturating_sub(birth).max(0);
    let steps = age.isqrt() / skip + 1;
    birth.saturating_add((steps * skip).saturating_pow(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_due_at_the_squares() {
        let cases = [
            ("just born, local", (1000, 1000, 1000, LOCAL), 1100),
            ("just born, remote", (1000, 1000, 1000, REMOTE), 1400),
            ("after the first", (1000, 1000, 1150, LOCAL), 1400),
            ("at the moment of a try", (1000, 1000, 1100, LOCAL), 1400),
            ("remote, a day old", (0, 0, 86_400, REMOTE), 90_000),
            ("told by the file", (1000, 9000, 1150, LOCAL), 9000),
            ("born in the future", (5000, 0, 1000, LOCAL), 5100),
        ];
        for (what, (birth, modified, now, skip), expected) in cases {
            assert_eq!(next(birth, modified, now, skip), expected, "{what}");
        }
    }
}
