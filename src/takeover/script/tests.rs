//! Run scripts, and what is made of them.

use super::*;

/// A host on which every file says its own name, qmaild is 64011 and nofiles 64010.
struct Host;

impl Answers for Host {
    fn answer(&self, substitution: &Substitution) -> Result<String, String> {
        Ok(match substitution {
            Substitution::File(file) | Substitution::FirstLine(file) => match file.as_str() {
                "/var/qmail/control/concurrencyincoming" => "30\n".to_owned(),
                "/var/qmail/control/me" => "mx.example.org\n".to_owned(),
                _ => return Err("there is no such file".to_owned()),
            },
            Substitution::UserId(name) if name == "qmaild" => "64011".to_owned(),
            Substitution::GroupId(name) if name == "qmaild" => "64010".to_owned(),
            Substitution::Hostname => "mx.example.org".to_owned(),
            _ => return Err("there is no such user".to_owned()),
        })
    }
}

/// The command, the exported variables, and the remarks; what is unknown is between exclamation marks.
fn told(text: &str) -> (String, String, Vec<String>) {
    let script = read(text.as_bytes(), &Host);
    let word = |word: &Word| match &word.unknown {
        None => word.text.clone(),
        Some(unknown) => format!("!{unknown}!"),
    };
    let exported = script.exported.iter().map(|(name, value)| format!("{name}={}", word(value)));
    (
        script.command.iter().map(word).collect::<Vec<_>>().join(" "),
        exported.collect::<Vec<_>>().join(" "),
        script.remarks.iter().map(|remark| format!("{}: {}", remark.line, remark.what)).collect(),
    )
}

#[test]
fn variables_reach_the_command() {
    let table = [
        ("exec", "exec a b", "a b", ""),
        ("the last word without exec", "tcpserver 0 25 qmail-smtpd", "tcpserver 0 25 qmail-smtpd", ""),
        ("an assignment", "A=b\nexec x $A ${A}c \"$A d\"", "x b bc b d", ""),
        ("cut at blanks", "A='b  c'\nexec x $A", "x b c", ""),
        ("not where it is quoted", "A='b  c'\nexec x \"$A\"", "x b  c", ""),
        ("an empty one is no word", "A=\nexec x $A y", "x y", ""),
        ("unless it is quoted", "A=\nexec x \"$A\"y \"$A\"", "x y ", ""),
        ("exported on the line", "A=b; export A\nexec x", "x", "A=b"),
        ("exported at once", "export A=b C='d e'\nexec x", "x", "A=b C=d e"),
        ("exported before", "A=b exec x", "x", "A=b"),
        ("all exported", "B=1\nset -a\nA=b\nset +a\nC=d\nexec x", "x", "A=b"),
        ("changed after", "export A=b\nA=c\nexec x", "x", "A=c"),
        ("unset", "export A=b\nunset A\nexec x $A", "x !$A is not set by the script!", ""),
        ("from outside", "PATH=/a:$PATH\nexport PATH\nexec x", "x", "PATH=!$PATH is not set by the script!"),
        ("a file", "A=`head -1 /var/qmail/control/me`\nexec x $A", "x mx.example.org", ""),
        ("another way", "C=/var/qmail/control\nexec x $(cat $C/concurrencyincoming)", "x 30", ""),
        ("users", "U=`id -u qmaild`\nexec x $U `/usr/bin/id -g qmaild`", "x 64011 64010", ""),
        ("the host's name", "exec x `hostname -f` \"$(uname -n)\"", "x mx.example.org mx.example.org", ""),
        ("a file that is not there", "exec x `cat /none`", "x !`cat /none`: there is no such file!", ""),
        ("a command", "exec x `date +%s`", "x !`date +%s` is not understood!", ""),
        ("a command with a way out", "exec x `cat /a || echo 1`", "x !`cat /a || echo 1` is not understood!", ""),
        ("a default", "exec x ${A:-1}", "x !${A:-1} is not understood!", ""),
        ("nothing after the command", "exec x\nexec y", "x", ""),
        ("nothing after an exit", "exit 0\nexec y", "", ""),
        ("only a redirection", "exec 2>&1\nexec x", "x", ""),
    ];
    for (what, text, command, exported) in table {
        assert_eq!(told(text), (command.to_owned(), exported.to_owned(), vec![]), "{what}");
    }
}

#[test]
fn what_is_not_followed_is_told_with_its_line() {
    for (what, text, command, remarks) in NOT_FOLLOWED {
        let (found, _, told) = told(text);
        assert_eq!((found.as_str(), told.join("; ").as_str()), (command, remarks), "{what}");
    }
}

/// A title, the script, its command, and what is told.
const NOT_FOLLOWED: [(&str, &str, &str, &str); 14] = [
    ("a guard says nothing", "if [ -z \"$A\" -o ! -f /x ]; then\n echo unset\n exit 1\nfi\nexec x", "x", ""),
    ("a short guard neither", "[ -f /x ] || exit 1\nexec x", "x", ""),
    ("a branch that sets", "A=1\nif [ -f /x ]; then A=2; fi\nexec x $A", "x !$A depends on a condition, line 2!", ""),
    ("a short one", "[ -f /x ] && A=1\nexec $A", "!$A depends on a condition, line 1!", ""),
    (
        "a branch that starts",
        "if true; then\n  exec x\nelse\n  exec y\nfi",
        "",
        "2: `exec x` depends on a condition, and is not followed; 4: `exec y` depends on a condition, and is not \
             followed",
    ),
    (
        "a file of settings",
        ". /etc/default/qmail\nexec x",
        "x",
        "1: /etc/default/qmail is read by the script and not here",
    ),
    ("a limit", "ulimit -n 100\nexec x", "x", "1: `ulimit -n 100` is not carried over"),
    ("another program", "qmail-clean\nexec x", "x", "1: `qmail-clean` is run by the script and not here"),
    ("a function", "f() {\n  A=1\n}\nexec x $A", "x !$A depends on a condition, line 2!", ""),
    (
        "a case",
        "case $1 in\n start) exec x ;;\n stop) echo no ;;\nesac\nexec y",
        "y",
        "2: `exec x` depends on a condition, and is not followed",
    ),
    (
        "a pipe",
        "tcpserver 0 25 x 2>&1 | splogger smtpd 3",
        "tcpserver 0 25 x",
        "1: output is piped to another program, which is not carried over",
    ),
    (
        "in the background",
        "tcpserver 0 25 x &",
        "",
        "1: `tcpserver 0 25 x` depends on a condition, and is not followed",
    ),
    ("no shell", "#!/usr/bin/perl\nexec 'x';", "", "1: is no script of sh"),
    ("a program", "\x7fELF\0", "", "1: is a program, no script"),
];

#[test]
fn the_real_scripts_are_understood() {
    let smtpfront = told(include_str!("../../../tests/samples/service/smtpfront-qmail.run"));
    let command = "envuidgid qmaild softlimit -m 300000000 tcpserver -v -U -H -R -l mx.example.org -x /etc/tcp.smtp.cdb \
                   -c 20 0 25 /usr/sbin/smtpfront-qmail";
    assert_eq!(smtpfront.0, command);
    assert_eq!(smtpfront.1, "QMAILHOME=/var/qmail SMTPGREETING=mx.example.org TIMEOUT=20");
    let smtpd = told(include_str!("../../../tests/samples/service/qmail-smtpd.run"));
    let command = "softlimit -m 300000000 tcpserver -v -H -R -l mx.example.org -x /etc/tcp.smtp.cdb -c 20 -u 64011 -g 64010 \
                   0 2500 /var/qmail/bin/qmail-smtpd";
    assert_eq!((smtpd.0.as_str(), smtpd.1.as_str()), (command, ""));
    let life = told(include_str!("../../../tests/samples/service/life-with-qmail.run"));
    assert!(life.0.ends_with("-c 30 -u 64011 -g 64010 0 smtp /var/qmail/bin/qmail-smtpd"), "{life:?}");
    assert_eq!((smtpfront.2, smtpd.2, life.2), (vec![], vec![], vec![]));
}

#[test]
fn words_know_their_line_and_their_source() {
    let script = read(b"A=`head -1 /var/qmail/control/me`\nB=$A\nexec x \\\n  -l \"$B\"\n", &Host);
    let word = script.command.last().unwrap();
    assert_eq!((word.line, word.known()), (4, Some("mx.example.org")));
    assert_eq!(word.sources, [Substitution::FirstLine("/var/qmail/control/me".to_owned())]);
}

/// The chain: parts before, the server with its options, parts behind.
fn chain(text: &str) -> String {
    let chain = Chain::of(&read(text.as_bytes(), &Host).command);
    let execs = |execs: &[Exec]| {
        let exec = |exec: &Exec| exec.words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
        execs.iter().map(exec).collect::<Vec<_>>().join(" | ")
    };
    let server = chain.server.map_or("none".to_owned(), |server| {
        let option = |(letter, word): &(char, Word)| format!("{letter}={}", word.text);
        let options = server.options.iter().map(option).collect::<Vec<_>>().join(" ");
        format!("{options} at {} {}", server.address.text, server.port.text)
    });
    let remarks: String = chain.remarks.iter().map(|remark| format!(" ({})", remark.what)).collect();
    format!("{} [{server}] {}{remarks}", execs(&chain.before), execs(&chain.behind))
}

#[test]
fn chains_are_cut_at_their_programs() {
    let table = [
        ("exec tcpserver 0 25 smtpd -v", " [ at 0 25] smtpd -v"),
        ("exec tcpserver -vRHl0 -c40 -x /a -- 0 smtp p", " [v=-vRHl0 R=-vRHl0 H=-vRHl0 l=0 c=40 x=/a at 0 smtp] p"),
        (
            "exec softlimit -m 3 -o5 envdir /e tcpserver 0 25 rblsmtpd -b -r x.example -t 5 recordio p q",
            "softlimit -m 3 -o5 | envdir /e [ at 0 25] rblsmtpd -b -r x.example -t 5 | recordio | p q",
        ),
        ("exec env - A=b PATH=/x tcpserver 0 25 setuidgid u p", "env - A=b PATH=/x [ at 0 25] setuidgid u | p"),
        (
            "exec chpst -m3000000 tcpsvd -vhl0 -uqmaild -i./peers -c56 -C'14:421 no' 0 25 smtpfront-qmail",
            "chpst -m3000000 [v=-vhl0 h=-vhl0 l=0 u=qmaild i=./peers c=56 C=14:421 no at 0 25] smtpfront-qmail",
        ),
        (
            "exec strange -x 1 tcpserver 0 25 p",
            "strange -x 1 [ at 0 25] p (strange is not known here, and stays in front as it is)",
        ),
        ("exec tcpserver 0 25", " [none] tcpserver 0 25 (tcpserver has no address, no port or no program)"),
        ("exec setuidgid qmaill multilog t ./main", " [none] setuidgid qmaill | multilog t ./main"),
        ("exec softlimit", " [none] softlimit"),
        ("exec envdir", " [none] envdir"),
        ("", " [none] "),
    ];
    for (text, expected) in table {
        assert_eq!(chain(text), expected, "{text}");
    }
}
