//! Whatever clients, backends and time do to a session, in whatever order: the promises of `stage` hold. The
//! operations are arbitrary; what they carry is a mix of good and bad commands, message text and replies. They are the
//! lines of the fuzz target `session`, so that a case that fails goes into its corpus as it is shown.

use proptest::prelude::*;
use proptest::sample::select;

fn operation() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => client(),
        30 => Just("B".to_owned()),
        1 => backend().prop_map(|text| format!("B {text}")),
        4 => Just("D".to_owned()),
        2 => select(vec!["L", "U", "V", "N", "X", "x", "T"]).prop_map(str::to_owned),
        1 => "@ [.]{1,11}",
        1 => "A [abefnorsu?]{0,2}",
        8 => Just("Q".to_owned()),
        1 => Just("q".to_owned()),
        1 => select(vec!["H", "h", "H", "F", "F", "R", "R", "S", "S", "K"]).prop_map(str::to_owned),
    ]
}

fn client() -> impl Strategy<Value = String> {
    let good = select(vec![
        "C EHLO c.example",
        "C HELO d.example",
        "C MAIL FROM:<alice@good.example>",
        "C MAIL FROM:<> SIZE=10 BODY=8BITMIME",
        "C RCPT TO:<joe@example.org>",
        "C RCPT TO:<sue@example.org>",
        "C DATA",
        "W Subject: x\\r\\n\\r\\ntext\\r\\n.\\r\\n",
        "C .",
        "C RSET",
        "C NOOP",
        "W MAIL FROM:<alice@good.example>\\r\\nRCPT TO:<joe@example.org>\\r\\nDATA\\r\\n",
        "W EHLO c.example\\r\\nMAIL FROM:<alice@good.example>\\r\\nRCPT TO:<joe@example.org>\\r\\n",
    ]);
    let bad = select(vec![
        "C MAIL FROM:<newsletter@sillyplace.com>",
        "C MAIL FROM:<NewsLetter@SillyPlace.com.>",
        "C MAIL FROM:<alice@good.example> SIZE=99999999",
        "C MAIL FROM:<a@b> <newsletter@sillyplace.com>",
        "C AUTH PLAIN AGEAYg==",
        "C X-Inject: 1",
        "C XCLIENT ADDR=127.0.0.1",
        "C BDAT 5 LAST",
        "C STARTTLS",
        "C QUIT",
        "W \\r\\n.\\n",
        "W \\n.\\r\\nMAIL FROM:<evil@evil.example>\\r\\n",
        "W \\r",
        "W \\0",
        "W MAIL FROM:<al",
        "W text text text\\n",
    ]);
    prop_oneof![
        8 => good.prop_map(str::to_owned),
        2 => bad.prop_map(str::to_owned),
        6 => Just(WHOLE.to_owned()),
        1 => Just(format!("W {}", "x".repeat(600))),
        1 => "W [\\x01-\\x09\\x0b-\\x7fé]{0,20}",
    ]
}

fn backend() -> impl Strategy<Value = &'static str> {
    let good = select(vec![
        "220 b",
        "250 ok",
        "250-b\r\n250 PIPELINING",
        "250-b\r\n250 CHUNKING",
        "354 go",
        "250 ok\r\n250 ok",
    ]);
    let bad = select(vec!["450 no", "550 no", "421 bye", "334 x", "500 what", "garbage", "250-x\r\n550 y"]);
    prop_oneof![8 => good, 1 => bad]
}

/// A transaction of a client that waits for nothing.
const WHOLE: &str = "W MAIL FROM:<alice@good.example>\\r\\nRCPT TO:<joe@example.org>\\r\\nRCPT TO:<sue@example.org>\\r\\nDATA\\r\\nSubject: x\\r\\n\\r\\n..text\\r\\n.\\r\\n";

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_session_keeps_its_promises(
        options in select(vec![
            "O",
            "O answers",
            "O answers chunking late",
            "O answers late",
            "O answers stream",
            "O chunking",
            "O chunking late",
            "O chunking lmtp",
            "O late",
            "O late reject",
            "O lmtp",
            "O lmtp late",
            "O lmtp stream",
            "O queue",
            "O queue answers",
            "O queue answers reject",
            "O reject",
            "O stream",
            "O stream reject",
        ]),
        operations in proptest::collection::vec(operation(), 1..60),
    ) {
        let case = format!("{options}\nC EHLO c.example\n{}\n", operations.join("\n"));
        super::session(case.as_bytes());
    }
}
