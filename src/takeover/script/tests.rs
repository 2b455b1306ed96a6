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
            Substitution::Account(database, name) if database == "passwd" && name == "qmaild" => {
                "qmaild:x:64011:64010::/var/qmail:/bin/true\n".to_owned()
            }
            _ => return Err("there is no such user".to_owned()),
        })
    }

    /// Only /x is there, and /hidden cannot be seen.
    fn file_is(&self, _: char, path: &str) -> Option<bool> {
        (path != "/hidden").then_some(["/x", "/var/qmail/control/rcpthosts"].contains(&path))
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
        script.remarks.iter().map(told_remark).collect(),
    )
}

fn told_remark(remark: &Remark) -> String {
    format!("{}: {}{}", remark.line, if remark.is_error { "error: " } else { "" }, remark.what)
}

#[test]
fn variables_reach_the_command() {
    for (what, text, command, exported) in REACHES {
        assert_eq!(told(text), (command.to_owned(), exported.to_owned(), vec![]), "{what}");
    }
}

/// A title, the script, its command, and what it exports.
const REACHES: [(&str, &str, &str, &str); 57] = [
    ("export of a name that is made", "A=B; B=1\nexport $A\nexec p", "p", "B=1"),
    ("export of words that are made", "A='B=1 C=2'\nexport $A \"D=3 4\"\nexec p", "p", "B=1 C=2 D=3 4"),
    ("quotes of bash, and +=", "export A=$'b c' B=x\nB+=y\nC+=z; export C\nexec p", "p", "A=b c B=xy C=z"),
    ("command and builtin", "command export A=1; builtin export B=2\ncommand exec p", "p", "A=1 B=2"),
    ("exported no more", "export A=1 B=2 C=3; export -n A; declare +x B\nexec p", "p", "C=3"),
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
    ("one that is not taken", "exec x `cat /var/qmail/control/me || echo 1`", "x mx.example.org", ""),
    ("a default", "exec x ${A:-1} ${A-b} \"${A:=c d}\"", "x 1 b c d", ""),
    ("a default that is not taken", "A=2 B=\nexec x ${A:-1} \"${B-1}\" ${B:-1} ${A:+3} ${C:+4}", "x 2  1 3", ""),
    ("a default for the outside's", "exec x ${PATH:-/bin}", "x !$PATH is not set by the script!", ""),
    ("a default that must be", "exec x ${A:?no}", "x !$A is not set by the script!", ""),
    ("an account", "H=$(getent passwd qmaild | cut -d: -f6)\nexec x $H/bin", "x /var/qmail/bin", ""),
    ("another way to it", "U=`getent passwd qmaild | awk -F: '{print $3}'`\nexec x -u $U", "x -u 64011", ""),
    (
        "no such account",
        "exec x `getent passwd joe | cut -d: -f6`",
        "x !`getent passwd joe`: there is no such user!",
        "",
    ),
    ("a filter of a file", "exec x $(cut -f1 /var/qmail/control/me)", "x mx.example.org", ""),
    ("a shell's cat", "exec x $(</var/qmail/control/me)", "x mx.example.org", ""),
    ("a folder of its own", "cd \"$(dirname \"$0\")\"\nexec x `basename $0`", "x run", ""),
    ("a default that is kept", ": ${A:=1} ${B=2}\nexport A\nexec x $A$B", "x 12", "A=1"),
    ("the system", "[ `uname -s` = Linux ] && A=1\nexec x $A `echo 2 3`", "x 1 2 3", ""),
    ("a folder", "cd /var/qmail/control\nexec x `cat me`", "x mx.example.org", ""),
    ("the branch that the host has", "if [ -x /x ]; then export A=1; else export B=1; fi\nexec x", "x", "A=1"),
    ("and that it has not", "if [ -x /y ]; then export A=1; else export B=1; fi\nexec x", "x", "B=1"),
    ("a short one", "[ -x /x ] && export A=1\n[ -x /x ] || export B=1\nexec x", "x", "A=1"),
    ("another branch", "if [ -d /y ]; then A=1\nelif test -n a; then A=2\nelse A=3; fi\nexec x $A", "x 2", ""),
    ("a case", "A=b\ncase $A in\n a|c) B=1 ;;\n (b) B=2;;\n *) B=3\nesac\nexec x $B", "x 2", ""),
    ("the other case", "case a in b) B=1 ;; *) B=3 ;; esac; exec x $B", "x 3", ""),
    ("a loop", "for i in a b; do A=\"$A0$i\"; done\nexec x $i", "x b", ""),
    ("a loop never begun", "while [ -f /y ]; do A=1; done\nexec x", "x", ""),
    ("a function", "f() {\n A=$1\n}\nf b\nexec x $A", "x b", ""),
    ("a function of ksh", "function f { typeset -x A=1; }\nf\nexec x", "x", "A=1"),
    ("a group", "{ A=1; export A; }\n( B=1; export B )\nexec x", "x", "A=1"),
    ("a branch that starts", "if [ -x /x ]; then\n exec y 1\nelse\n exec y 2\nfi", "y 1", ""),
    ("a here-document", "cat <<E\nexec z\nE\nexec x", "x", ""),
    ("options of exec", "exec -a name -c x y", "x y", ""),
    ("nothing after the command", "exec x\nexec y", "x", ""),
    ("nothing after an exit", "exit 0\nexec y", "", ""),
    ("only a redirection", "exec 2>&1\nexec x", "x", ""),
];

#[test]
fn what_is_not_followed_is_told_with_its_line() {
    for (what, text, command, remarks) in NOT_FOLLOWED {
        let (found, _, told) = told(text);
        assert_eq!((found.as_str(), told.join("; ").as_str()), (command, remarks), "{what}");
    }
}

/// A title, the script, its command, and what is told.
const NOT_FOLLOWED: [(&str, &str, &str, &str); 28] = [
    ("a guard says nothing", "if [ -z \"$A\" -o ! -f /hidden ]; then\n echo unset\n exit 1\nfi\nexec x", "x", ""),
    ("a short guard neither", "[ -f /hidden ] || exit 1\nexec x", "x", ""),
    ("one that holds", "[ -f /y ] || exit 1\nexec x", "x", "1: on this host the script would end here: `exit 1`"),
    (
        "a branch that sets",
        "A=1\nif [ -f /hidden ]; then A=2; fi\nexec x $A",
        "x !$A depends on a condition, line 2!",
        "",
    ),
    ("a short one", "[ -f /hidden ] && A=1\nexec $A", "!$A depends on a condition, line 1!", ""),
    (
        "a branch that takes away",
        "A=1\ngrep -q x /x && unset A B\nexec x $A",
        "x !$A depends on a condition, line 2!",
        "",
    ),
    (
        "a branch that starts",
        "if grep -q x /x; then\n  exec x\nelse\n  exec y\nfi",
        "",
        "2: error: `exec x` depends on a condition, and is not followed; 4: error: `exec y` depends on a condition, \
             and is not followed",
    ),
    (
        "a file of settings",
        ". /etc/default/qmail\nexec x",
        "x",
        "1: error: /etc/default/qmail, which the script reads: there is no such file; what it sets is not known",
    ),
    (
        "one that is there",
        "A=1\n. /var/qmail/control/me\nexec x",
        "x",
        "2: `mx.example.org` is run by the script, but not by init",
    ),
    (
        "one that is perhaps read",
        "[ -f /hidden ] && . /hidden\nexec x",
        "x",
        "1: error: `. /hidden` depends on a condition, and is not followed",
    ),
    ("a limit", "ulimit -n 100\nexec x", "x", "1: `ulimit -n 100` is not carried over"),
    (
        "a folder that is not known",
        "cd $A\nexec x",
        "x",
        "1: error: `cd $A` is not understood: relative file names would not be found",
    ),
    ("another program", "qmail-clean\nexec x", "x", "1: `qmail-clean` is run by the script, but not by init"),
    (
        "words that are made",
        "eval A=$B\nexec x",
        "x",
        "1: error: `eval A=$B` is not understood: it may set any variable",
    ),
    ("a function that is never called", "f() {\n  A=1\n}\nexec x $A", "x !$A is not set by the script!", ""),
    ("a value that is read", "read A </x\nexec x $A", "x !$A is filled by read!", ""),
    ("a value that is printed", "printf -v A '%s' b\nexec x $A", "x !$A is filled by printf!", ""),
    (
        "a value that is perhaps printed",
        "A=1\ngrep -q x /x && printf -v A %s b\nexec x $A",
        "x !$A is filled by printf!",
        "",
    ),
    ("an export of what is not known", "export $(wc /x)\nexec x", "x", "1: error: `wc /x` is not understood"),
    (
        "variables of a file, in a loop",
        "while read -r l; do export \"$l\"; done </x\nexec x",
        "x",
        "1: error: `export` depends on a condition, and may set any variable",
    ),
    (
        "a case",
        "case $1 in\n start) exec x ;;\n stop) echo no ;;\nesac\nexec y",
        "y",
        "2: error: `exec x` depends on a condition, and is not followed",
    ),
    ("a loop", "for i in /etc/*; do A=$i; done\nexec x $A", "x !$A depends on a condition, line 1!", ""),
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
        "1: error: `tcpserver 0 25 x` depends on a condition, and is not followed",
    ),
    ("a group that never ends", "{ A=1\nexec x $A", "x 1", ""),
    ("what nothing opened", "fi; done\n) exec x", "x", ""),
    ("not a shell", "#!/usr/bin/perl\nexec 'x';", "", "1: error: is not a shell script"),
    ("a program", "\x7fELF\0", "", "1: error: is a program, not a script"),
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
            "strange -x 1 [ at 0 25] p (strange is not known to init, and stays before the program as it is)",
        ),
        (
            "exec chroot /jail tcpserver 0 25 p",
            "chroot /jail [ at 0 25] p (chroot is not understood: it may change the user, the root folder or the environment)",
        ),
        (
            "exec strange envdir ./e tcpserver 0 25 p",
            "strange envdir ./e [ at 0 25] p (strange is not understood: it may change the user, the root folder or the \
             environment)",
        ),
        ("exec env -u A -i B=c envdir -c e tcpserver 0 25 p", "env -u A -i B=c | envdir -c e [ at 0 25] p"),
        ("exec ionice -c2 -n 7 taskset -c 0,1 tcpserver 0 25 p", "ionice -c2 -n 7 | taskset -c 0,1 [ at 0 25] p"),
        ("exec tcpserver 0:25 p", " [ at 0 25] p"),
        ("exec tcpserver [::]:smtp p q", " [ at [::] smtp] p q"),
        ("exec tcpserver :0 25 p", " [ at :0 25] p"),
        ("exec tcpserver ::1 25 p", " [ at ::1 25] p"),
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
