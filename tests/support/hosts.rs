//! Hosts as people have them: what their files say, and what `init` has to make of it. Each is set on the same ground: the
//! usual users, a qmail home in /var/qmail, tcprules, and the programs. It must not run anything.

/// One host.
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    /// Files below the root, and their text; a name that begins with `+` is a program, with `@` a link.
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// 0: all that receiving mail needs was found.
    pub(crate) code: i32,
    /// Lines, or parts of lines, of the output or of a file that was written.
    pub(crate) told: &'static [&'static str],
    /// Texts that stand nowhere.
    pub(crate) never: &'static [&'static str],
}

pub(crate) const STAGES: &[Stage] = &[
    Stage {
        name: "Life with qmail, and the logs of multilog's manual",
        files: &[
            ("var/qmail/supervise/qmail-smtpd/run", include_str!("../samples/service/life-with-qmail.run")),
            (
                "var/qmail/supervise/qmail-smtpd/log/run",
                "#!/bin/sh\nexec /usr/local/bin/setuidgid qmaill /usr/local/bin/multilog t s100000 n20 \
                 /var/log/qmail/smtpd '-*' '+* * status: *' =/var/log/qmail/status 2>&1\n",
            ),
            ("@service/qmail-smtpd", "/var/qmail/supervise/qmail-smtpd"),
        ],
        code: 0,
        told: &[
            "takes over /service/qmail-smtpd\n",
            "mind       /service/qmail-smtpd/log/run:2: -* +* * status: * =/var/log/qmail/status: stays with the old log",
            "exec /usr/local/bin/setuidgid qmaill /usr/local/bin/multilog t s100000 n20 /var/log/qmail/portcullis\n",
            "ln -s NEW/service /service/portcullis ",
            "svc -d /service/qmail-smtpd; svc -u /service/portcullis\n",
        ],
        never: &["=/var/log/qmail/status\n", "error  "],
    },
    Stage {
        name: "qmailrocks: qmail-scanner, rblsmtpd, SMTP AUTH",
        files: &[(
            "service/qmail-smtpd/run",
            "#!/bin/sh\nQMAILQUEUE=\"/var/qmail/bin/qmail-scanner-queue.pl\" ; export QMAILQUEUE\n\
             QMAILDUID=`id -u vpopmail`\nNOFILESGID=`id -g vpopmail`\n\
             MAXSMTPD=`cat /var/qmail/control/concurrencyincoming`\nLOCAL=`head -1 /var/qmail/control/me`\n\
             if [ -z \"$QMAILDUID\" -o -z \"$NOFILESGID\" -o -z \"$MAXSMTPD\" -o -z \"$LOCAL\" ]; then\n\
             echo QMAILDUID, NOFILESGID, MAXSMTPD, or LOCAL is unset in\necho $0\nexit 1\nfi\n\
             exec /usr/local/bin/softlimit -m 40000000 \\\n/usr/local/bin/tcpserver -v -H -R -l \"$LOCAL\" \\\n\
             -x /etc/tcp.smtp.cdb -c \"$MAXSMTPD\" \\\n-u \"$QMAILDUID\" -g \"$NOFILESGID\" 0 smtp \\\n\
             /usr/local/bin/rblsmtpd -r bl.spamcop.net  \\\n\
             /var/qmail/bin/qmail-smtpd mail.example.com \\\n/home/vpopmail/bin/vchkpw /usr/bin/true 2>&1\n",
        )],
        code: 0,
        told: &[
            "QMAILQUEUE = \"/var/qmail/bin/qmail-scanner-queue.pl\"",
            "user = \"vpopmail\"",
            "\"/usr/local/bin/rblsmtpd\", \"-r\", \"bl.spamcop.net\", \"/var/qmail/bin/qmail-smtpd\", \"mail.example.com\", \
             \"/home/vpopmail/bin/vchkpw\", \"/usr/bin/true\"]",
            "mind       /service/qmail-smtpd/run:16: rblsmtpd ",
        ],
        never: &["error  "],
    },
    Stage {
        name: "qmailtoaster of today: getent, spamdyke, blacklists of a control file",
        files: &[
            ("var/qmail/control/blacklists", "-r zen.spamhaus.org -r bl.spamcop.net\n"),
            ("+usr/bin/spamdyke", ""),
            ("etc/spamdyke/spamdyke.conf", "graylist-level=none\n"),
            (
                "var/qmail/supervise/smtp/run",
                "#!/bin/sh\nQMAILDUID=`id -u vpopmail`\nNOFILESGID=`id -g vpopmail`\n\
                 MAXSMTPD=`cat /var/qmail/control/concurrencyincoming`\nSPAMDYKE=\"/usr/bin/spamdyke\"\n\
                 SPAMDYKE_CONF=\"/etc/spamdyke/spamdyke.conf\"\nSMTPD=\"/var/qmail/bin/qmail-smtpd\"\n\
                 TCP_CDB=\"/etc/tcp.smtp.cdb\"\nHOSTNAME=`hostname`\n\
                 VCHKPW=$(getent passwd vpopmail | cut -d: -f6)/bin/vchkpw\nBLACKLIST=`cat /var/qmail/control/blacklists`\n\
                 export SMTPAUTH=\"1\"\n\
                 exec /usr/bin/softlimit -m 64000000 \\\n     /usr/bin/tcpserver -v -R -H -l $HOSTNAME -x $TCP_CDB \
                 -c \"$MAXSMTPD\" \\\n     -u \"$QMAILDUID\" -g \"$NOFILESGID\" 0 smtp \\\n     /usr/bin/rblsmtpd $BLACKLIST \
                 $SPAMDYKE --config-file $SPAMDYKE_CONF $SMTPD $VCHKPW /bin/true 2>&1\n",
            ),
            (
                "var/qmail/supervise/smtp/log/run",
                "#!/bin/sh\nLOGSIZE=`cat /var/qmail/control/logsize`\nexec /usr/bin/setuidgid qmaill /usr/bin/multilog t \
                 s100000 n100 /var/log/qmail/smtp 2>&1\n",
            ),
            ("@service/smtp", "/var/qmail/supervise/smtp"),
        ],
        code: 0,
        told: &[
            "\"-r\", \"zen.spamhaus.org\", \"-r\", \"bl.spamcop.net\", \"/usr/bin/spamdyke\", \"--config-file\", \
             \"/etc/spamdyke/spamdyke.conf\", \"/var/qmail/bin/qmail-smtpd\", \"/home/vpopmail/bin/vchkpw\", \"/bin/true\"]",
            "mind       /service/smtp/run:16: spamdyke ",
            "SMTPAUTH = \"1\"",
        ],
        never: &["error  ", "getent passwd vpopmail | cut"],
    },
    Stage {
        name: "Shupp's toaster: env -, simscan from tcprules",
        files: &[(
            "service/qmail-smtpd/run",
            "#!/bin/sh\nQMAILDUID=`id -u qmaild`\nNOFILESGID=`id -g qmaild`\nexport IGNORED=1\n\
             exec env - PATH=\"/var/qmail/bin:/usr/local/bin:/usr/bin\" QMAILQUEUE=/var/qmail/bin/simscan \\\n \
             softlimit -m 30000000 tcpserver -H -R -v -c100 -x/etc/tcp.smtp.cdb -u$QMAILDUID -g$NOFILESGID 0 smtp \
             qmail-smtpd 2>&1\n",
        )],
        code: 0,
        told: &["exec env - ", "QMAILQUEUE = \"/var/qmail/bin/simscan\"", "max = 100"],
        never: &["IGNORED", "error  "],
    },
    Stage {
        name: "a scanner where it is installed, chosen by if",
        files: &[
            ("+var/qmail/bin/simscan", ""),
            (
                "service/smtp/run",
                "#!/bin/bash\nexec 2>&1\nif [ -x /var/qmail/bin/simscan ]; then\n  export QMAILQUEUE=/var/qmail/bin/simscan\nfi\n\
                 [[ -d /opt/clam && -x /opt/clam/q ]] && export QMAILQUEUE=/opt/clam/q\n\
                 exec envuidgid qmaild tcpserver -URH -x /etc/tcp.smtp.cdb 0 25 /var/qmail/bin/qmail-smtpd\n",
            ),
        ],
        code: 0,
        told: &["QMAILQUEUE = \"/var/qmail/bin/simscan\""],
        never: &["error  ", "/opt/clam"],
    },
    Stage {
        name: "straight into qmail, offered beside smtpfront-qmail with plug-ins, variables and files",
        files: &[
            ("+var/qmail/bin/qmail-queue", ""),
            ("var/qmail/control/badhelo", "spammer\n"),
            (
                "service/smtp/run",
                "#!/bin/sh\nexport QMAILHOME=/var/qmail QMAILQUEUE=/opt/scan MAXRCPTS=50 DATABYTES=9\n\
                 exec tcpserver -RH -x /etc/tcp.smtp.cdb -u qmaild 0 25 rblsmtpd -r bl.example \\\n\
                 /usr/sbin/smtpfront-qmail relayclient spamassassin own-plugin\n",
            ),
        ],
        code: 0,
        told: &[
            "\nspawn = [\"/usr/bin/rblsmtpd\", ",
            "#   /service/smtp/run:3: rblsmtpd: is not started: deny such clients in qmail.tcprules\n",
            "#   /service/smtp/run:4: plug-in check-fqdn: refused addresses without a full domain, and completed them: nothing",
            "#   /service/smtp/run:4: plug-in spamassassin: scanned messages: set QMAILQUEUE to a program that scans\n",
            "#   /service/smtp/run:4: plug-in own-plugin: is not started: nothing replaces it\n",
            "#   /service/smtp/run:2: QMAILQUEUE: /opt/scan gets the messages, as before\n",
            "#   /service/smtp/run:2: MAXRCPTS: limited recipients: write server.max_recipients\n",
            "#   /etc/tcp.smtp.cdb: MAXRCPTS: limited recipients: write server.max_recipients\n",
            "#   /etc/tcp.smtp.cdb: QMAILQUEUE: its program gets the messages, as before\n",
            "#   /var/qmail/control/badhelo: nothing reads it then\n",
            "# queue = \"/var/qmail/bin/qmail-queue\"\n",
        ],
        never: &["error  ", "\nqueue = ", "DATABYTES: ", "plug-in relayclient"],
    },
    Stage {
        name: "straight into qmail, offered beside a qmail-smtpd that logs clients in, with TLS and validrcptto.cdb",
        files: &[
            ("+var/qmail/bin/qmail-queue", ""),
            ("var/qmail/control/servercert.pem", ""),
            ("var/qmail/control/validrcptto.cdb", ""),
            (
                "service/smtp/run",
                "#!/bin/sh\nexec tcpserver -RH -u qmaild 0 25 /var/qmail/bin/qmail-smtpd mx.example.org /bin/checkpassword /bin/true\n",
            ),
        ],
        code: 0,
        told: &[
            "#   /service/smtp/run:2: /var/qmail/bin/qmail-smtpd mx.example.org /bin/checkpassword /bin/true: logged clients in: \
             AUTH ends; keep backend.spawn if they do\n",
            "#   /var/qmail/control/servercert.pem: nothing reads it then: write [tls] if clients use STARTTLS\n",
            "#   /var/qmail/control/validrcptto.cdb: nothing reads it then: name it in recipients.known\n",
            "# known = [\"/var/qmail/control/validrcptto.cdb\"]\n",
        ],
        never: &["error  ", "\nqueue = ", "\nknown = "],
    },
    Stage {
        name: "nothing of qmail-queue where it is not, or where the program is no part of qmail",
        files: &[
            ("+var/qmail/bin/qmail-queue", ""),
            ("+usr/sbin/other-smtpd", ""),
            ("service/smtp/run", "#!/bin/sh\nexec tcpserver -RH -u qmaild 0 25 /usr/sbin/other-smtpd\n"),
        ],
        code: 0,
        told: &["\nspawn = [\"/usr/sbin/other-smtpd\"]\n"],
        never: &["queue = ", "qmail-queue"],
    },
    Stage {
        name: "a scanner that depends on something else",
        files: &[(
            "service/smtp/run",
            "#!/bin/sh\nif grep -q clamav /etc/services; then QMAILQUEUE=/opt/clam/q; export QMAILQUEUE; fi\n\
             exec tcpserver -RH -u qmaild 0 25 /var/qmail/bin/qmail-smtpd\n",
        )],
        code: 1,
        told: &[
            "error      /service/smtp/run:2: the value of QMAILQUEUE: $QMAILQUEUE depends on a condition, line 2",
            "# spawn = [\"/var/qmail/bin/qmail-smtpd\"]",
            "The configuration is NOT complete",
        ],
        never: &["\nspawn = "],
    },
    Stage {
        name: "a scanner in a file of settings that is there, and one that is not",
        files: &[
            (
                "etc/default/qmail",
                "# scanners\nQMAILQUEUE='/usr/bin/qmail-dk' # sign\nDKQUEUE=${DKQUEUE:-/var/qmail/bin/qmail-queue}\n",
            ),
            (
                "service/smtp/run",
                "#!/bin/sh\nset -a\n[ -r /etc/default/qmail ] && . /etc/default/qmail\n[ -r /etc/none ] && . /etc/none\nset +a\n\
                 exec tcpserver -RH -u qmaild 0 25 /var/qmail/bin/qmail-smtpd\n",
            ),
        ],
        code: 0,
        told: &["QMAILQUEUE = \"/usr/bin/qmail-dk\"", "DKQUEUE = \"/var/qmail/bin/qmail-queue\""],
        never: &["error  ", "/etc/none"],
    },
    Stage {
        name: "Debian: runit, chpst, svlogd",
        files: &[
            (
                "etc/sv/qmail-smtpd/run",
                "#!/bin/sh\nexec 2>&1\ncd /etc/sv/qmail-smtpd\nexec chpst -m 30000000 -e ./env \\\n  \
             tcpsvd -vhl0 -u qmaild -c 40 0.0.0.0 smtp /usr/sbin/smtpfront-qmail\n",
            ),
            ("etc/sv/qmail-smtpd/env/QMAILQUEUE", "/usr/bin/qmail-scan\n"),
            (
                "etc/sv/qmail-smtpd/log/run",
                "#!/bin/sh\nset -e\nLOG=/var/log/qmail-smtpd\ntest -d \"$LOG\" || mkdir -p -m2750 \"$LOG\"\n\
             exec chpst -u _runit-log svlogd -tt \"$LOG\"\n",
            ),
            ("etc/runit/1", ""),
            ("@etc/service/qmail-smtpd", "/etc/sv/qmail-smtpd"),
        ],
        code: 0,
        told: &[
            "chpst -e /etc/sv/qmail-smtpd/env ",
            "exec chpst -u _runit-log svlogd -tt /var/log/portcullis\n",
            "sv down /etc/service/qmail-smtpd; sv up /etc/service/portcullis",
        ],
        never: &["error  "],
    },
    Stage {
        name: "Debian: a unit of systemd with a file of variables",
        files: &[
            (
                "lib/systemd/system/mailfront.service",
                "[Unit]\nDescription=smtp\n[Service]\nUser=qmaild\n\
              EnvironmentFile=-/etc/default/mailfront\nEnvironmentFile=-/etc/default/none\nEnvironment=\"PLUGINS=check-fqdn\"\n\
              ExecStart=/usr/bin/tcpserver -RHv -l mx.example.org 0 smtp /usr/sbin/smtpfront-qmail\n",
            ),
            ("etc/default/mailfront", "QMAILQUEUE=/usr/bin/qmail-scan\n"),
            ("@etc/systemd/system/multi-user.target.wants/mailfront.service", "/lib/systemd/system/mailfront.service"),
        ],
        code: 0,
        told: &[
            "QMAILQUEUE = \"/usr/bin/qmail-scan\"",
            "PLUGINS = \"check-fqdn\"",
            "systemctl stop mailfront.service; systemctl start portcullis\n",
            "systemctl stop portcullis; systemctl start mailfront.service\n",
            "systemctl enable portcullis; systemctl disable mailfront.service\n",
        ],
        never: &["error  "],
    },
    Stage {
        name: "systemd: a socket and a service for each connection",
        files: &[
            (
                "etc/systemd/system/qmail-smtpd.socket",
                "[Socket]\nListenStream=25\nAccept=yes\nMaxConnections=30\n\n\
              [Install]\nWantedBy=sockets.target\n",
            ),
            (
                "etc/systemd/system/qmail-smtpd@.service",
                "[Service]\nUser=qmaild\nEnvironment=QMAILQUEUE=/var/qmail/bin/simscan\n\
              ExecStart=-/var/qmail/bin/tcp-env /var/qmail/bin/qmail-smtpd\nStandardInput=socket\n",
            ),
            ("@etc/systemd/system/sockets.target.wants/qmail-smtpd.socket", "/etc/systemd/system/qmail-smtpd.socket"),
        ],
        code: 0,
        told: &[
            "takes over /etc/systemd/system/qmail-smtpd.socket\n",
            "listen = [\"[::]:25\"]",
            "max = 30",
            "user = \"qmaild\"",
            "spawn = [\"/var/qmail/bin/qmail-smtpd\"]",
            "systemctl stop qmail-smtpd.socket; systemctl start portcullis\n",
            "systemctl enable portcullis; systemctl disable qmail-smtpd.socket\n",
        ],
        never: &["error  ", "qmail-smtpd@.service; ", "stop qmail-smtpd@"],
    },
    Stage {
        name: "netqmail with SPAMCONTROL, and greetdelay",
        files: &[
            ("+usr/local/bin/greetdelay", ""),
            ("var/qmail/control/badhelo", "evil\n"),
            ("var/qmail/control/badrcptpatterns", "*spam*\n"),
            (
                "service/qmail-smtpd/run",
                "#!/bin/sh\nQMAILDUID=`id -u qmaild`\nexport GREETDELAY=15\nexport TARPITCOUNT=5 HELOCHECK='!' MFDNSCHECK=''\n\
                 exec tcpserver -p -R -x /etc/tcp.smtp.cdb -u $QMAILDUID -g `id -g qmaild` -c ${MAXSMTPD:-20} 0 smtp \
                 greetdelay /var/qmail/bin/qmail-smtpd 2>&1\n",
            ),
        ],
        code: 0,
        told: &[
            "max = 20",
            "HELOCHECK = \"!\"",
            "mind       /service/qmail-smtpd/run:5: greetdelay ",
            "mind       /var/qmail/control/badhelo: ",
            "mind       /var/qmail/control/badrcptpatterns: ",
        ],
        never: &["error  "],
    },
    Stage {
        name: "s/qmail: sslserver on every address, STARTTLS by its variables",
        files: &[(
            "service/qmail-smtpd/run",
            "#!/bin/sh\nQMAILU=`id -u qmaild`\nQMAILG=`id -g qmaild`\nHOSTNAME=`hostname`\nexport UCSPITLS=\"\"\n\
             exec softlimit -m 30000000 sslserver -seVn -Rp -l $HOSTNAME -Xx /etc/tcp.smtp.cdb -u $QMAILU -g $QMAILG \
             :0 25 /var/qmail/bin/qmail-smtpd 2>&1\n",
        )],
        code: 1,
        told: &[
            "listen = [\"[::]:25\"]",
            "error      /service/qmail-smtpd/run:6: TLS of sslserver is not carried over",
        ],
        never: &["\nspawn = "],
    },
    Stage {
        name: "indimail: a folder of variables",
        files: &[
            ("service/qmail-smtpd.25/variables/QMAILQUEUE", "/usr/sbin/qmail-multi\n"),
            (
                "service/qmail-smtpd.25/run",
                "#!/bin/sh\nexec 2>&1\nif [ ! -d /run/svscan ]; then mkdir -p /run/svscan; fi\n\
                 exec /usr/bin/envdir variables /usr/bin/tcpserver -v -H -R -x /etc/tcp.smtp.cdb -c 30 -o -b 150 -u indimail \
                 -g 555 0 25 /var/qmail/bin/qmail-smtpd\n",
            ),
        ],
        code: 0,
        told: &["exec /usr/bin/envdir /service/qmail-smtpd.25/variables ", "there is no user indimail"],
        never: &[],
    },
    Stage {
        name: "notqmail with daemontools-encore, all in one function",
        files: &[
            (
                "service/smtpd/run",
                "#!/bin/ksh\nfunction main {\n  typeset -x QMAILQUEUE=/usr/local/bin/q\n  for limit in 20; do\n    exec setlock -n ./lock \
                 tcpserver -HRl0 -c $limit -u qmaild -x /etc/tcp.smtp.cdb 0:25 recordio fixcrio /var/qmail/bin/qmail-smtpd\n  \
                 done\n}\nmain \"$@\"\n",
            ),
            ("service/smtpd/log", ""),
        ],
        code: 0,
        told: &["QMAILQUEUE = \"/usr/local/bin/q\"", "max = 20", "listen = [\"0.0.0.0:25\"]", "\"/usr/bin/recordio\""],
        never: &["error  "],
    },
    Stage {
        name: "s6 with execline",
        files: &[
            ("+usr/bin/s6-softlimit", ""),
            (
                "run/service/smtpd/run",
                "#!/command/execlineb -P\n# smtp\nfdmove -c 2 1\nexport QMAILQUEUE /var/qmail/bin/simscan\n\
                 backtick -n MAX { cat /var/qmail/control/concurrencyincoming }\nimportas -u MAX MAX\n\
                 s6-softlimit -o 500 s6-setuidgid qmaild\ns6-tcpserver -c ${MAX} \"0.0.0.0\" 25\n/var/qmail/bin/qmail-smtpd\n",
            ),
            (
                "run/service/smtpd/log/run",
                "#!/command/execlineb -P\ns6-setuidgid qmaill exec -c s6-log n20 s1000000 T /var/log/smtpd\n",
            ),
        ],
        code: 0,
        told: &[
            "QMAILQUEUE = \"/var/qmail/bin/simscan\"",
            "user = \"qmaild\"",
            "s6-svc -d /run/service/smtpd; s6-svc -u /run/service/portcullis\n",
            "s6-svscanctl -a /run/service\n",
        ],
        never: &["error  "],
    },
    Stage {
        name: "execline with what is not followed",
        files: &[(
            "run/service/smtpd/run",
            "#!/usr/bin/execlineb\nifelse { test -x /x } { export QMAILQUEUE /x s6-tcpserver 0 25 /var/qmail/bin/qmail-smtpd }\n\
             s6-tcpserver 0 25 /var/qmail/bin/qmail-smtpd\n",
        )],
        code: 1,
        told: &["error      /run/service/smtpd/run:2: `ifelse` is not understood"],
        never: &["\nspawn = "],
    },
    Stage {
        name: "perl",
        files: &[(
            "service/smtpd/run",
            "#!/usr/bin/perl\nexec 'tcpserver', '0', '25', '/var/qmail/bin/qmail-smtpd';\n",
        )],
        code: 1,
        told: &["error      /service/smtpd/run:1: is not a shell script", "NOT complete"],
        never: &["\nspawn = "],
    },
    Stage {
        name: "xinetd beside a folder of services",
        files: &[
            (
                "etc/xinetd.d/smtp",
                "# default: on\nservice smtp\n{\n\tsocket_type\t= stream\n\tprotocol\t= tcp\n\twait\t\t= no\n\tuser\t\t= qmaild\n\
                 \tdisable\t\t= no\n\tinstances\t= 30\n\tenv\t\t= QMAILQUEUE=/var/qmail/bin/simscan\n\
                 \tserver\t\t= /var/qmail/bin/tcp-env\n\tserver_args\t= -R /var/qmail/bin/qmail-smtpd\n}\n",
            ),
            ("service/.keep", ""),
        ],
        code: 0,
        told: &[
            "QMAILQUEUE = \"/var/qmail/bin/simscan\"",
            "ln -s NEW/service /service/portcullis ",
            "disable = yes/;}' /etc/xinetd.d/smtp && kill -HUP $(pidof xinetd); svc -u /service/portcullis\n",
            "svc -d /service/portcullis; sed -i ",
        ],
        never: &["error  ", "/etc/xinetd.d/portcullis", "svc -u /etc/"],
    },
    Stage {
        name: "inetd, and nothing that watches services",
        files: &[(
            "etc/inetd.conf",
            "#:MAIL:\nftp stream tcp nowait root /x x\n\
                  127.0.0.1:smtp stream tcp nowait qmaild /var/qmail/bin/tcp-env tcp-env /var/qmail/bin/qmail-smtpd\n",
        )],
        code: 0,
        told: &[
            "listen = [\"127.0.0.1:25\"]",
            "kill -HUP $(pidof inetd inetutils-inetd); setsid NEW/service/run </dev/null >>/var/log/portcullis/current 2>&1 &\n",
            "kill $(pidof portcullis); sed -i 's/^#portcullis# //' /etc/inetd.conf && ",
            "No folder of services that a supervisor watches was found",
        ],
        never: &["error  ", "ln -s"],
    },
    Stage {
        name: "rules of tcpsvd that would be left out",
        files: &[
            ("service/smtp/run", "#!/bin/sh\nexec tcpsvd -i ./peers -u qmaild 0 25 /var/qmail/bin/qmail-smtpd\n"),
            ("service/smtp/peers/0", "+QMAILQUEUE=/var/qmail/bin/simscan\n"),
        ],
        code: 1,
        told: &["error      /service/smtp/run:2: tcpsvd -i ./peers: instructions of tcpsvd are not read"],
        never: &["\nspawn = "],
    },
    Stage {
        name: "rules that cannot be read",
        files: &[(
            "service/smtp/run",
            "#!/bin/sh\nexec tcpserver -RH -x /etc/other.cdb -u qmaild 0 25 /var/qmail/bin/qmail-smtpd\n",
        )],
        code: 1,
        told: &["error      /etc/other.cdb: no such file, so no rules are set"],
        never: &["\nspawn = "],
    },
    Stage {
        name: "a folder of variables whose name is not known",
        files: &[(
            "service/smtp/run",
            "#!/bin/sh\nexec envdir $ENVDIR tcpserver -RH -u qmaild 0 25 /var/qmail/bin/qmail-smtpd\n",
        )],
        code: 1,
        told: &["error      /service/smtp/run:2: envdir: $ENVDIR is not set by the script"],
        never: &["\nspawn = "],
    },
    Stage {
        name: "splogger behind a pipe",
        files: &[(
            "service/smtp/run",
            "#!/bin/sh\ntcpserver -RH -u qmaild 0 25 /var/qmail/bin/qmail-smtpd 2>&1 | /var/qmail/bin/splogger smtpd 3\n",
        )],
        code: 0,
        told: &[
            "output is piped to another program",
            "exec setuidgid qmaill multilog t s1000000 n20 /var/log/portcullis\n",
        ],
        never: &["error  ", "splogger smtpd 3\n"],
    },
    Stage {
        name: "loggers that are not ours to copy",
        files: &[
            ("service/smtp/run", "#!/bin/sh\nexec tcpserver -RH -u qmaild 0 25 /var/qmail/bin/qmail-smtpd\n"),
            ("service/smtp/log/run", "#!/bin/sh\nexec setuidgid qmaill cyclog -s1000000 -n10 /var/log/smtp\n"),
        ],
        code: 0,
        told: &[
            "mind       /service/smtp/log/run:2: cyclog is not carried over; the new log is in a folder of its own",
            "exec setuidgid qmaill multilog t s1000000 n20 /var/log/portcullis\n",
        ],
        never: &["error  ", "/var/log/smtp\n"],
    },
    Stage {
        name: "a shell inside",
        files: &[
            ("service/smtp/env/MAX", "33\n"),
            ("service/smtp/env/QMAILQUEUE", "/var/qmail/bin/simscan\n"),
            (
                "service/smtp/run",
                "#!/bin/sh\nexec envdir ./env sh -c 'exec tcpserver -RH -c $MAX -u qmaild 0 25 /var/qmail/bin/qmail-smtpd'\n",
            ),
        ],
        code: 0,
        told: &["max = 33", "exec /usr/bin/envdir /service/smtp/env ", "spawn = [\"/var/qmail/bin/qmail-smtpd\"]"],
        never: &["error  "],
    },
    Stage {
        name: "a script that becomes another",
        files: &[
            (
                "var/qmail/rc.smtp",
                "#!/usr/bin/env bash\nexport QMAILQUEUE=/var/qmail/bin/simscan\n\
              exec tcpserver -RH -u qmaild ${1:-0} 25 /var/qmail/bin/qmail-smtpd\n",
            ),
            ("service/smtp/run", "#!/bin/sh\nexec 2>&1\nexec softlimit -m 9000000 /var/qmail/rc.smtp\n"),
        ],
        code: 0,
        told: &[
            "spawn = [\"/usr/bin/softlimit\", \"-m\", \"9000000\", \"/var/qmail/bin/qmail-smtpd\"]",
            "# /service/smtp/run:3: exported",
            "QMAILQUEUE = \"/var/qmail/bin/simscan\"",
        ],
        never: &["error  "],
    },
    Stage {
        name: "everything runs as root, and the size is not a number",
        files: &[
            ("var/qmail/control/databytes", "10MB\n"),
            ("service/smtp/run", "#!/bin/sh\nexec tcpserver -RH ::1 25 /var/qmail/bin/qmail-smtpd\n"),
        ],
        code: 0,
        told: &[
            "listen = [\"[::1]:25\"]",
            "the server runs as root: set server.user",
            "control/databytes contains \"10MB\", which qmail reads as 10",
        ],
        never: &["error  "],
    },
    Stage {
        name: "RELAYCLIENT for everybody",
        files: &[(
            "service/smtp/run",
            "#!/bin/sh\nexport RELAYCLIENT=\nexec tcpserver -RH -u qmaild 0 25 /var/qmail/bin/qmail-smtpd\n",
        )],
        code: 1,
        told: &["error      /service/smtp/run:2: RELAYCLIENT for every client is an open relay: left out"],
        never: &["RELAYCLIENT = "],
    },
    Stage {
        name: "Portcullis is there already",
        files: &[
            (
                "etc/portcullis/service/run",
                "#!/bin/sh\nexec softlimit -o 32768 \\\n  portcullis serve -c /etc/portcullis/portcullis.toml 2>&1\n",
            ),
            ("@service/portcullis", "/etc/portcullis/service"),
            ("service/smtp/run", "#!/bin/sh\nexec tcpserver -RH -u qmaild 0 25 /var/qmail/bin/qmail-smtpd\n"),
            ("service/smtp/down", ""),
        ],
        code: 1,
        told: &[
            "serving    Portcullis runs on this host already: /service/portcullis, configuration /etc/portcullis/portcullis.toml\n",
            "portcullis check -c /etc/portcullis/portcullis.toml && svc -h /service/portcullis\n",
            "svc -t /service/portcullis\n",
            "Nothing was written.\n",
        ],
        never: &["takes over", "port not understood"],
    },
    Stage {
        name: "Portcullis, of an earlier run that was not finished",
        files: &[
            (
                "etc/portcullis/service/run",
                "#!/bin/sh\nexec /usr/bin/portcullis serve -c /etc/portcullis/portcullis.toml 2>&1\n",
            ),
            ("etc/portcullis/service/down", ""),
            ("etc/portcullis/STEPS", ""),
            ("@service/portcullis", "/etc/portcullis/service"),
            ("service/smtp/run", "#!/bin/sh\nexec tcpserver -RH -u qmaild 0 25 /var/qmail/bin/qmail-smtpd\n"),
        ],
        code: 1,
        told: &[
            "earlier    an earlier init left Portcullis here, not started: /service/portcullis",
            "follow its steps: /etc/portcullis/STEPS\n",
            "rm /service/portcullis\n",
        ],
        never: &["takes over"],
    },
    Stage {
        name: "Portcullis as a unit of systemd, in use",
        files: &[
            (
                "usr/lib/systemd/system/portcullis.service",
                "[Service]\nEnvironmentFile=-/etc/default/portcullis\nExecStart=portcullis serve\n",
            ),
            (
                "@etc/systemd/system/multi-user.target.wants/portcullis.service",
                "/usr/lib/systemd/system/portcullis.service",
            ),
        ],
        code: 1,
        told: &["serving    Portcullis runs", "systemctl reload portcullis.service\n"],
        never: &["takes over"],
    },
    Stage {
        name: "Portcullis as a package alone",
        files: &[
            (
                "usr/lib/systemd/system/portcullis.service",
                "[Service]\nEnvironmentFile=-/etc/default/portcullis\nExecStart=portcullis serve\n",
            ),
            ("service/smtp/run", "#!/bin/sh\nexec tcpserver -RH -u qmaild 0 25 /var/qmail/bin/qmail-smtpd\n"),
        ],
        code: 0,
        told: &["takes over /service/smtp\n"],
        never: &["error  ", "serving"],
    },
    Stage {
        name: "a scanner that a loop exports",
        files: &[
            ("etc/smtpd.env/QMAILQUEUE", "/opt/q\n"),
            (
                "service/smtp/run",
                "#!/bin/sh\nfor f in /etc/smtpd.env/*; do\n  export `basename $f`=\"`cat $f`\"\ndone\n\
                 exec tcpserver -RH -u qmaild 0 25 /var/qmail/bin/qmail-smtpd\n",
            ),
        ],
        code: 1,
        told: &[
            "error      /service/smtp/run:3: `export` depends on a condition, and may set any variable",
            "NOT complete",
        ],
        never: &["\nspawn = "],
    },
    Stage {
        name: "bash: its quotes, command, builtin, and what is appended",
        files: &[(
            "service/smtp/run",
            "#!/bin/bash -e\ncommand export QMAILQUEUE=$'/opt/q'\nbuiltin export OPTS=a B=1; OPTS+=b\nexport -n B\n\
             ulimit -n 512\ncommand exec nice -n 5 tcpserver -RH -u qmaild 0 25 /var/qmail/bin/qmail-smtpd\n",
        )],
        code: 0,
        told: &[
            "QMAILQUEUE = \"/opt/q\"",
            "OPTS = \"ab\"",
            "exec nice -n 5 ",
            "mind       /service/smtp/run:5: `ulimit -n 512` is not carried over",
        ],
        never: &["error  ", "B = \"1\""],
    },
    Stage {
        name: "a root folder of its own",
        files: &[(
            "service/smtp/run",
            "#!/bin/sh\nexec chroot /jail /usr/bin/tcpserver -RH -u 7791 0 25 /var/qmail/bin/qmail-smtpd\n",
        )],
        code: 1,
        told: &["error      /service/smtp/run:2: chroot is not understood: it may change the user, the root folder"],
        never: &["\nspawn = "],
    },
    Stage {
        name: "a root folder of chpst",
        files: &[(
            "service/smtp/run",
            "#!/bin/sh\nexec chpst -/ /jail -u qmaild /usr/bin/tcpserver -RH 0 25 /var/qmail/bin/qmail-smtpd\n",
        )],
        code: 1,
        told: &["error      /service/smtp/run:2: chpst -/ is not carried over"],
        never: &["\nspawn = "],
    },
    Stage {
        name: "a folder of variables behind a program that is not known",
        files: &[
            ("service/smtp/env/QMAILQUEUE", "/opt/q\n"),
            (
                "service/smtp/run",
                "#!/bin/sh\nexec cgexec -g cpu:smtp envdir ./env setuidgid qmaild tcpserver -RH 0 25 \
                 /var/qmail/bin/qmail-smtpd\n",
            ),
        ],
        code: 1,
        told: &["error      /service/smtp/run:2: cgexec is not understood: it may change the user"],
        never: &["\nspawn = "],
    },
    Stage {
        name: "ionice and a folder of variables",
        files: &[
            ("+usr/bin/ionice", ""),
            ("service/smtp/env/QMAILQUEUE", "/opt/q\n"),
            (
                "service/smtp/run",
                "#!/bin/sh\nexec ionice -c2 -n7 envdir ./env setuidgid qmaild tcpserver -RH 0 25 \
                 /var/qmail/bin/qmail-smtpd\n",
            ),
        ],
        code: 0,
        told: &["exec /usr/bin/ionice -c2 -n7 /usr/bin/envdir /service/smtp/env ", "user = \"qmaild\""],
        never: &["error  ", "runs as root"],
    },
    Stage {
        name: "indimail of today: envdir -c, and a shell inside",
        files: &[
            ("service/qmail-smtpd.25/variables/SOFT_MEM", "536870912\n"),
            ("service/qmail-smtpd.25/variables/QMAILQUEUE", "/usr/sbin/qmail-multi\n"),
            (
                "service/qmail-smtpd.25/run",
                "#!/bin/sh\nexec 2>&1\nexec /usr/bin/env -i PATH=\"/bin:/usr/bin\" /usr/bin/envdir -c variables sh -c '\n\
                 exec /usr/bin/softlimit -m $SOFT_MEM -o 1024 /usr/bin/tcpserver -v -H -R -c 25 -u qmaild 0 25 \
                 /var/qmail/bin/qmail-smtpd mx.example.org /usr/sbin/vchkpw /usr/bin/true\n'\n",
            ),
        ],
        code: 0,
        told: &[
            "exec env - /usr/bin/envdir -c /service/qmail-smtpd.25/variables ",
            "\"-m\", \"536870912\", \"-o\", \"1024\", \"/var/qmail/bin/qmail-smtpd\"",
        ],
        never: &["error  "],
    },
    Stage {
        name: "env takes a variable away",
        files: &[(
            "service/smtp/run",
            "#!/bin/sh\nexport QMAILQUEUE=/opt/q DEBUG=1\n\
             exec env -u DEBUG A=b tcpserver -RH -u qmaild 0 25 /var/qmail/bin/qmail-smtpd\n",
        )],
        code: 0,
        told: &["QMAILQUEUE = \"/opt/q\"", "A = \"b\"", "\nexec /"],
        never: &["error  ", "mind  ", "DEBUG ="],
    },
    Stage {
        name: "numbers and more groups in chpst -u",
        files: &[(
            "service/smtp/run",
            "#!/bin/sh\nexec chpst -u :7791:89:2108 tcpserver -RH 0 25 /var/qmail/bin/qmail-smtpd\n",
        )],
        code: 0,
        told: &[
            "user = \"qmaild\"",
            "group = \"vchkpw\"",
            "mind       /service/smtp/run:2: more groups than one (2108) are not carried over",
        ],
        never: &["error  "],
    },
    Stage {
        name: "systemd: a drop-in sets the scanner, and a group",
        files: &[
            (
                "lib/systemd/system/smtp.service",
                "[Service]\nUser=qmaild\nGroup=vchkpw\nLimitAS=100M\nEnvironment=OLD=1\n\
                 ExecStart=/usr/bin/tcpserver -RH 0 25 \\\n  /var/qmail/bin/qmail-smtpd\nEnvironment=LATE=1\n",
            ),
            ("etc/systemd/system/smtp.service.d/scan.conf", "[Service]\nEnvironment=\nEnvironment=QMAILQUEUE=/opt/q\n"),
            ("@etc/systemd/system/multi-user.target.wants/smtp.service", "/lib/systemd/system/smtp.service"),
        ],
        code: 0,
        told: &[
            "QMAILQUEUE = \"/opt/q\"",
            "group = \"vchkpw\"",
            "spawn = [\"/var/qmail/bin/qmail-smtpd\"]",
            "mind       /lib/systemd/system/smtp.service:4: LimitAS=100M is not carried over",
        ],
        never: &["error  ", "OLD =", "LATE ="],
    },
    Stage {
        name: "systemd: variables behind the command, and a shell",
        files: &[
            (
                "etc/systemd/system/smtp.service",
                "[Service]\nExecStart=/bin/sh -c 'export A=1; exec /usr/bin/tcpserver -RH -u qmaild 0 25 \
                 /var/qmail/bin/qmail-smtpd'\nEnvironment=QMAILQUEUE=/opt/q\n",
            ),
            ("@etc/systemd/system/multi-user.target.wants/smtp.service", "/etc/systemd/system/smtp.service"),
        ],
        code: 0,
        told: &["QMAILQUEUE = \"/opt/q\"", "A = \"1\"", "user = \"qmaild\"", "listen = [\"0.0.0.0:25\"]"],
        never: &["error  "],
    },
    Stage {
        name: "systemd: a root folder, and specifiers",
        files: &[
            (
                "etc/systemd/system/smtp.service",
                "[Service]\nUser=qmaild\nRootDirectory=/jail\nExecStart=/usr/bin/tcpserver -RH -l %H 0 25 \
                 /var/qmail/bin/qmail-smtpd\n",
            ),
            ("@etc/systemd/system/multi-user.target.wants/smtp.service", "/etc/systemd/system/smtp.service"),
        ],
        code: 1,
        told: &[
            "error      /etc/systemd/system/smtp.service:3: RootDirectory=/jail is not carried over",
            "error      /etc/systemd/system/smtp.service:4: ExecStart=",
            ": specifiers of systemd are not understood",
        ],
        never: &["\nspawn = "],
    },
    Stage {
        name: "xinetd lets only some in",
        files: &[(
            "etc/xinetd.d/smtp",
            "service smtp\n{\n  user = qmaild\n  group = vchkpw\n  only_from = 10.0.0.0/8\n  rlimit_as = 30M\n  \
             server = /var/qmail/bin/qmail-smtpd\n}\n",
        )],
        code: 1,
        told: &[
            "group = \"vchkpw\"",
            "error      /etc/xinetd.d/smtp:5: only_from = 10.0.0.0/8 is not carried over: write it as tcprules",
            "mind       /etc/xinetd.d/smtp:6: rlimit_as = 30M is not carried over",
        ],
        never: &["\nspawn = "],
    },
    Stage {
        name: "Plesk: xinetd, and the rules of xinetd.conf for all services",
        files: &[
            (
                "etc/xinetd.conf",
                "defaults\n{\n  no_access = 192.0.2.0/24\n  per_source = 10\n}\nincludedir /etc/xinetd.d\n",
            ),
            (
                "etc/xinetd.d/smtp_psa",
                "service smtp\n{\n  wait = no\n  disable = no\n  user = root\n  instances = UNLIMITED\n  env = SMTPAUTH=1\n  \
                 server = /var/qmail/bin/tcp-env\n  server_args = -Rt0 /var/qmail/bin/relaylock /var/qmail/bin/qmail-smtpd \
                 /var/qmail/bin/smtp_auth /var/qmail/bin/true\n}\n",
            ),
        ],
        code: 1,
        told: &[
            "SMTPAUTH = \"1\"",
            "spawn = [\"/var/qmail/bin/relaylock\", \"/var/qmail/bin/qmail-smtpd\", \"/var/qmail/bin/smtp_auth\", ",
            "no_access = 192.0.2.0/24 is not carried over: write it as tcprules",
        ],
        never: &["\nspawn = "],
    },
    Stage {
        name: "inetd: another program for IPv6",
        files: &[(
            "etc/inetd.conf",
            "smtp stream tcp4 nowait qmaild:vchkpw /var/qmail/bin/tcp-env tcp-env /var/qmail/bin/qmail-smtpd\n\
             smtp stream tcp6 nowait qmaild:vchkpw /opt/scan scan /var/qmail/bin/qmail-smtpd\n",
        )],
        code: 1,
        told: &[
            "group = \"vchkpw\"",
            "error      /etc/inetd.conf:2: a second service of port 25, which is another, is not carried over",
        ],
        never: &["\nspawn = "],
    },
    Stage {
        name: "netqmail with the TLS patch, and its plugins",
        files: &[
            ("var/qmail/control/servercert.pem", "certificate and key\n"),
            (
                "service/smtp/run",
                "#! /bin/sh\n\n\t# 'odd' \"comment\nNOPLUGINS=\nexport NOPLUGINS SPPFILE=control/smtpplugins.mx\n  exec   env\t\
                 QMAILQUEUE='/opt/q --mode=strict a=b'   \\\n\tsoftlimit -a 50000000 tcpserver -x/etc/tcp.smtp.cdb -RH \
                 -u7791 -g2108 -b50 -c100 0   25  \\\n   qmail-smtpd # trailing\n",
            ),
        ],
        code: 0,
        told: &[
            "NOPLUGINS = \"\"",
            "SPPFILE = \"control/smtpplugins.mx\"",
            "QMAILQUEUE = \"/opt/q --mode=strict a=b\"",
            "max = 100",
            "mind       /var/qmail/control/servercert.pem: a qmail-smtpd with the TLS patch offers STARTTLS by it",
        ],
        never: &["error  "],
    },
    Stage {
        name: "variables of a file, exported at once",
        files: &[
            ("etc/smtpd.env", "# scanner\nQMAILQUEUE=/opt/q\nA=1\n"),
            (
                "service/smtp/run",
                "#!/bin/sh\nexport $(grep -v '^#' /etc/smtpd.env)\n\
                 exec tcpserver -RH -u qmaild 0 25 /var/qmail/bin/qmail-smtpd\n",
            ),
        ],
        code: 0,
        told: &["QMAILQUEUE = \"/opt/q\"", "A = \"1\""],
        never: &["error  "],
    },
];
