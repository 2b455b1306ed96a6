//! What is due, by a clock of the tests.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::checked::alert::Channel;

impl Kept {
    pub(crate) fn example() -> Self {
        let (kind, subject, text) = (ProblemKind::BackendDown, "tcp:127.0.0.1:26".to_owned(), "It is down.".to_owned());
        Self { kind, subject, severity: Severity::Critical, text, since: 100, told: 100 }
    }
}

fn alert(lasting: u64, repeat: u64, kinds: &[&'static str]) -> Alert {
    Alert {
        name: "a".to_owned(),
        channel: Channel::Command(vec!["/bin/true".to_owned()]),
        kinds: kinds.to_vec(),
        lasting: Duration::from_secs(lasting),
        repeat: Duration::from_secs(repeat),
    }
}

fn problem(kind: ProblemKind, subject: &str, since: u32) -> Problem {
    Problem { kind, subject: subject.to_owned(), severity: kind.severity(), since, text: "x".to_owned() }
}

fn down(since: u32) -> Vec<Problem> {
    vec![problem(ProblemKind::BackendDown, "b", since)]
}

/// Looks every two seconds from `from` until `until`; what was told, and when.
fn told(due: &mut Due, alert: &Alert, from: u32, until: u32, there: impl Fn(u32) -> Vec<Problem>) -> Vec<(u32, What)> {
    let looks = (from..until).step_by(2);
    looks.flat_map(|now| due.next(alert, &there(now), now).into_iter().map(move |news| (now, news.what))).collect()
}

#[test]
fn a_problem_is_told_once_and_its_end_once() {
    let during = |now| if (100..200).contains(&now) { down(100) } else { vec![] };
    assert_eq!(told(&mut Due::default(), &alert(0, 0, &[]), 0, 7200, during), [(100, What::Began), (206, What::Ended)]);
}

#[test]
fn an_end_is_when_it_was_gone() {
    let mut due = Due::default();
    due.next(&alert(0, 0, &[]), &down(100), 100);
    assert!(due.next(&alert(0, 0, &[]), &[], 150).is_empty());
    assert_eq!(due.next(&alert(0, 0, &[]), &[], 190)[0].ended, Some(150));
}

#[test]
fn what_lasts_too_short_is_never_told_and_what_goes_on_again_and_again() {
    let short = |now| if now < 158 { down(100) } else { vec![] };
    assert_eq!(told(&mut Due::default(), &alert(60, 0, &[]), 100, 7200, short), []);
    let long = |_| down(100);
    assert_eq!(
        told(&mut Due::default(), &alert(60, 3600, &[]), 100, 8000, long),
        [(160, What::Began), (3760, What::GoesOn), (7360, What::GoesOn)]
    );
}

#[test]
fn only_the_kinds_that_are_wanted() {
    let both = |_| vec![problem(ProblemKind::Storm, "s", 1), problem(ProblemKind::LogUnread, "log", 1)];
    let mut due = Due::default();
    let news = due.next(&alert(0, 0, &["storm"]), &both(0), 10);
    assert_eq!(news.iter().map(|news| news.problem.kind).collect::<Vec<_>>(), [ProblemKind::Storm]);
    assert_eq!(Due::default().next(&alert(0, 0, &[]), &both(0), 10).len(), 2);
}

#[test]
fn a_problem_that_comes_and_goes_is_told_ever_more_rarely() {
    // Half a minute there, half a minute not.
    let flaps = |now: u32| if now % 60 < 30 { down(now - now % 60) } else { vec![] };
    let news = told(&mut Due::default(), &alert(0, 0, &[]), 0, 86_400, flaps);
    assert_eq!(news, [(0, What::Began), (36, What::Ended), (60, What::Began)]);
}

#[test]
fn after_an_hour_of_quiet_it_is_a_new_problem() {
    let mut due = Due::default();
    let twice = |now| if now < 10 || (5000..5010).contains(&now) { down(now) } else { vec![] };
    let news = told(&mut due, &alert(0, 0, &[]), 0, 9000, twice);
    assert_eq!(news, [(0, What::Began), (16, What::Ended), (5000, What::Began), (5016, What::Ended)]);
    assert!(due.entries.is_empty(), "nothing is left of it");
}

#[test]
fn many_storms_are_not_told_one_by_one_and_those_off_the_list_are_not_over() {
    let storms = |range: std::ops::Range<u32>| -> Vec<Problem> {
        range.map(|number| problem(ProblemKind::Storm, &number.to_string(), 1)).collect()
    };
    let (mut due, alert) = (Due::default(), alert(0, 0, &[]));
    assert_eq!(due.next(&alert, &storms(0..20), 10).len(), 20);
    assert!(due.next(&alert, &storms(5..25), 12).is_empty());
    assert!(due.next(&alert, &storms(5..25), 30).is_empty(), "five of them may go on");
    // Now the list is whole.
    let news = due.next(&alert, &storms(5..23), 40);
    assert_eq!(news.iter().filter(|news| news.what == What::Ended).count(), 5);
    assert_eq!(news.iter().filter(|news| news.what == What::Began).count(), 3);
}

#[test]
fn a_restart_tells_nothing_again_and_leaves_out_no_end() {
    let mut before = Due::default();
    before.next(&alert(0, 14_400, &[]), &down(100), 100);
    let kept = serde_json::to_string(&before.kept()).unwrap();
    let restored = || Due::restore(serde_json::from_str(&kept).unwrap());
    let (there, gone) = (|_| down(220), |_| vec![]);
    let again = told(&mut restored(), &alert(0, 14_400, &[]), 210, 20_000, there);
    assert_eq!(again, [(14_500, What::GoesOn)]);
    // The start itself makes much look as if it were over.
    let late = |now| if now < 400 { vec![] } else { down(400) };
    assert_eq!(told(&mut restored(), &alert(0, 0, &[]), 210, 9000, late), []);
    assert_eq!(told(&mut restored(), &alert(0, 0, &[]), 210, 9000, gone), [(690, What::Ended)]);
}

#[test]
fn a_slow_storm_is_not_over_because_of_a_restart() {
    let storm = || vec![problem(ProblemKind::Storm, "s", 100)];
    let mut before = Due::default();
    before.next(&alert(0, 0, &[]), &storm(), 100);
    // A copy each twenty minutes: the fifth comes after 100.
    let known = |now| if now < 6200 { vec![] } else { storm() };
    assert_eq!(told(&mut Due::restore(before.kept()), &alert(0, 0, &[]), 200, 20_000, known), []);
    let over = told(&mut Due::restore(before.kept()), &alert(0, 0, &[]), 200, 20_000, |_| vec![]);
    assert_eq!(over, [(7400, What::Ended)]);
}

#[test]
fn what_is_off_a_list_that_is_cut_is_over_in_the_end() {
    let storms = |range: std::ops::Range<u32>| -> Vec<Problem> {
        range.map(|number| problem(ProblemKind::Storm, &number.to_string(), 1)).collect()
    };
    let (mut due, alert) = (Due::default(), alert(0, 0, &[]));
    due.next(&alert, &storms(0..20), 10);
    assert!(due.next(&alert, &storms(20..40), 12).is_empty());
    let news = due.next(&alert, &storms(20..40), 12 + OFF_THE_LIST);
    assert_eq!(news.iter().map(|news| news.what).filter(|what| *what == What::Began).count(), 20);
    assert_eq!(news.len(), 40);
}

#[test]
fn a_problem_keeps_its_beginning_and_a_worse_one_is_news() {
    let (mut due, alert) = (Due::default(), alert(0, 0, &[]));
    due.next(&alert, &[problem(ProblemKind::CertificateExpires, "c", 100)], 100);
    let worse = Problem { severity: Severity::Critical, ..problem(ProblemKind::CertificateExpires, "c", 300) };
    let news = due.next(&alert, std::slice::from_ref(&worse), 300);
    assert_eq!(
        (news[0].what, news[0].problem.since, news[0].problem.severity),
        (What::GoesOn, 100, Severity::Critical)
    );
    assert!(due.next(&alert, &[worse], 302).is_empty());
    let mut due = Due::restore(due.kept());
    assert!(due.next(&alert, &[], 400).is_empty());
    let end = &due.next(&alert, &[], 4000)[0];
    assert_eq!((end.problem.since, end.problem.severity), (100, Severity::Critical));
}

#[test]
fn a_kind_that_is_not_wanted_any_more_is_not_over() {
    let mut due = Due::default();
    due.next(&alert(0, 0, &[]), &down(100), 100);
    assert_eq!(told(&mut due, &alert(0, 0, &["storm"]), 102, 9000, |_| down(100)), []);
}

#[test]
fn an_end_that_waits_over_a_restart_is_not_said_to_be_over_twice() {
    let event = Event::new(What::Ended, &down(100)[0], Some(200), "mx", 210);
    assert_eq!(Kept::of_event(&event).unwrap().text, "x");
}

#[test]
fn a_clock_that_goes_back_ends_nothing_and_holds_up_nothing() {
    let (mut due, alert) = (Due::default(), alert(0, 60, &[]));
    due.next(&alert, &down(100), 100_000);
    assert!(due.next(&alert, &down(100), 500).is_empty());
    assert_eq!(due.next(&alert, &down(100), 560)[0].what, What::GoesOn);
    due.next(&alert, &[], 100_000);
    assert!(due.next(&alert, &[], 600).is_empty());
    assert_eq!(due.next(&alert, &[], 605)[0].what, What::Ended);
}

#[test]
fn what_is_over_makes_room() {
    let (mut due, alert) = (Due::default(), alert(0, 0, &[]));
    let over = |number: usize| {
        let problem = problem(ProblemKind::Storm, &number.to_string(), 1);
        ((problem.kind, problem.subject.clone()), Entry { problem, stage: Stage::Over(100), returns: 0 })
    };
    due.entries = (0..MOST_ENTRIES).map(over).collect();
    assert_eq!(due.next(&alert, &down(100), 100).len(), 1);
    assert_eq!(due.entries.len(), MOST_ENTRIES);
}

#[derive(Clone, Debug)]
enum Step {
    There(u32),
    Gone(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let length = prop_oneof![1..20_u32, 1..900_u32, 1..5000_u32];
    prop::collection::vec(
        (any::<bool>(), length).prop_map(|(is_there, length)| match is_there {
            true => Step::There(length),
            false => Step::Gone(length),
        }),
        1..60,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Beginning and end take turns, an end follows every beginning, nobody is flooded, and what lasts is told.
    #[test]
    fn nothing_is_told_twice_or_too_often(steps in steps(), lasting in 0..120_u64, repeat in prop_oneof![Just(0_u64), 60..7200_u64]) {
        let alert = alert(lasting, repeat, &[]);
        let (mut due, mut now, mut all) = (Due::default(), 1_000_000_u32, Vec::new());
        let mut since = None;
        for step in steps.iter().chain([&Step::Gone(2 * MEMORY)]) {
            let (length, is_there) = match step {
                Step::There(length) => (*length, true),
                Step::Gone(length) => (*length, false),
            };
            since = if is_there { since.or(Some(now)) } else { None };
            let there: Vec<Problem> = since.map(|since| problem(ProblemKind::BackendDown, "b", since)).into_iter().collect();
            for at in (now..now + length).step_by(2) {
                all.extend(due.next(&alert, &there, at).into_iter().map(|news| (at, news.what)));
                if since.is_some_and(|since| u64::from(at - since) >= lasting) {
                    prop_assert!(!due.kept().is_empty(), "it lasts, and is not told");
                }
            }
            now += length;
        }
        let ends: Vec<(u32, What)> = all.iter().copied().filter(|(_, what)| *what != What::GoesOn).collect();
        for (at, (_, what)) in ends.iter().enumerate() {
            prop_assert_eq!(*what, if at % 2 == 0 { What::Began } else { What::Ended });
        }
        prop_assert!(ends.len().is_multiple_of(2), "the last end was not told");
        for (at, _) in &ends {
            let hour = ends.iter().filter(|(other, _)| (*at..at + 3600).contains(other)).count();
            prop_assert!(hour <= 16, "{hour} within an hour");
        }
        for pair in all.windows(2) {
            if pair[1].1 == What::GoesOn {
                prop_assert!(u64::from(pair[1].0 - pair[0].0) >= repeat && repeat > 0);
            }
        }
        prop_assert!(due.entries.is_empty());
    }
}
