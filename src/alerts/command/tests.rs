//! Programs as they are written: good ones, ones that fail, print without an end, or never come back.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::fs;

use super::*;

async fn shell(script: &str) -> Outcome {
    let words = ["/bin/sh", "-c", script].map(str::to_owned);
    run(&words, &Event::test("mx.example", 60)).await
}

#[tokio::test]
async fn it_gets_the_event_and_little_else() {
    let folder = tempfile::tempdir().unwrap();
    let (json, environment) = (folder.path().join("json"), folder.path().join("env"));
    let outcome = shell(&format!("cat > {}; env > {}; echo done", json.display(), environment.display())).await;
    assert_eq!(outcome, Outcome::Sent("exit status: 0: done".to_owned()));
    let event: serde_json::Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(event, Event::test("mx.example", 60).json());
    let environment = fs::read_to_string(environment).unwrap();
    for line in ["PORTCULLIS_EVENT=test", "PORTCULLIS_KIND=test", "PORTCULLIS_SINCE=1970-01-01T00:01:00Z"] {
        assert!(environment.lines().any(|it| it == line), "{environment}");
    }
    let known = |line: &str| {
        line.starts_with("PORTCULLIS_")
            || INHERITED
                .iter()
                .chain(&["PWD", "OLDPWD", "SHLVL", "_"])
                .any(|name| line.starts_with(&format!("{name}=")))
    };
    assert!(environment.lines().all(known), "{environment}");
}

#[tokio::test]
async fn what_an_exit_code_means() {
    for (script, expected) in [
        ("exit 0", Outcome::Sent("exit status: 0".to_owned())),
        ("echo no >&2; exit 100", Outcome::Never("exit status: 100: no".to_owned())),
        ("printf 'not \\033 now'; exit 1", Outcome::Later("exit status: 1: not \\x1b now".to_owned(), None)),
        ("kill -9 $$", Outcome::Later("signal: 9 (SIGKILL)".to_owned(), None)),
        (
            "head -c 1000000 /dev/zero | tr '\\0' x; exit 100",
            Outcome::Never(format!("exit status: 100: {}", "x".repeat(200))),
        ),
    ] {
        assert_eq!(shell(script).await, expected, "{script}");
    }
    let Outcome::Later(what, None) = run(&["/no/such/program".to_owned()], &Event::test("mx", 1)).await else {
        panic!()
    };
    assert!(what.starts_with("cannot be started: "), "{what}");
}

#[tokio::test]
async fn one_that_leaves_a_program_behind_has_ended() {
    let outcome = shell("sleep 20 & echo $!; exit 0").await;
    let Outcome::Sent(what) = outcome else { panic!("{outcome:?}") };
    let left: i32 = what.strip_prefix("exit status: 0: ").unwrap().parse().unwrap();
    nix::sys::signal::kill(Pid::from_raw(left), Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn one_that_does_not_end_is_killed_with_its_group() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Its child has the FIFO open: that is at its end when both are gone.
    let script = format!("(echo up > {0}; sleep 1000; : ) 3> {0} & wait; exit 0", fifo.display());
    let words = ["/bin/sh".to_owned(), "-c".to_owned(), script];
    let reader = tokio::task::spawn_blocking(move || fs::read_to_string(fifo).unwrap());
    let outcome = run_within(&words, &Event::test("mx", 1), Duration::from_millis(300)).await;
    let Outcome::Later(what, None) = outcome else { panic!("{outcome:?}") };
    assert!(what.ends_with("and killed"), "{what}");
    assert_eq!(reader.await.unwrap(), "up\n");
}
