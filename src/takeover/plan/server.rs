//! `[server]`: tcpserver's address and user. It must not take an uncertain value for a certain one.

use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::path::Path;

use crate::takeover::plan::Planner;
use crate::takeover::plan::array;
use crate::takeover::plan::quoted;
use crate::takeover::script::Exec;
use crate::takeover::script::Server;
use crate::takeover::script::Word;
use crate::takeover::services;
use crate::takeover::services::Supervisor;

impl Planner<'_> {
    pub(super) fn server(&mut self) {
        let Some(server) = self.service.and_then(|service| service.chain.server.as_ref()) else {
            self.propose("server", "listen", array(["0.0.0.0:25"]), "no service that listens on port 25 could be read");
            self.propose("server", "user", quoted("qmaild"), "the user that Portcullis and its backends run as");
            return;
        };
        self.listen(server);
        self.user(server);
        self.hostname(server);
        self.per_client(server);
        if server.program.name() == "sslserver" {
            let what = "TLS of sslserver is not carried over: write [tls], and server.listen_tls if it begins with TLS";
            let error = self.place(server.program.line, what);
            self.plan.errors.push(error);
        }
        if let Some(banner) = server.option('B') {
            let remark = self.option('B', banner);
            self.plan.remarks.push(format!("{remark}: a banner before the server's own is not carried over"));
        }
    }

    fn listen(&mut self, server: &Server) {
        let program = match self.service.map(|service| service.supervisor) {
            Some(known @ (Supervisor::Xinetd | Supervisor::Inetd | Supervisor::Socket)) => known.name(),
            _ => server.program.name(),
        };
        let from = format!("{program} {} {}", server.address.text, server.port.text);
        let from = self.place(server.address.line, &from);
        match (self.ip(server), services::port(&server.port)) {
            (Some(ip), Some(port)) => {
                let address = SocketAddr::new(ip, port).to_string();
                self.set("server", "listen", array([address.as_str()]), from);
            }
            (ip, port) => {
                let word = if ip.is_none() { &server.address } else { &server.port };
                self.error(word, if port.is_none() { "the port" } else { "the address" });
                self.propose("server", "listen", array(["0.0.0.0:25"]), from);
            }
        }
    }

    /// `0` is every address, which for the IPv6 build of tcpserver means IPv6 too: the socket that it has tells which it is.
    fn ip(&self, server: &Server) -> Option<IpAddr> {
        let port = services::port(&server.port)?;
        match server.address.known()? {
            "0" => {
                let six = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
                let mut own = self.findings.listeners.iter().filter(|listener| listener.address.port() == port);
                let own = own.find(|listener| listener.program.as_deref() == Some(server.program.name()));
                Some(own.map(|own| own.address.ip()).filter(|ip| *ip == six).unwrap_or(IpAddr::from([0, 0, 0, 0])))
            }
            "*" => Some(IpAddr::from([0, 0, 0, 0])),
            // Of the tcpserver and sslserver that know IPv6.
            ":0" | "::0" | ":::" => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
            "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
            text => text.trim_matches(['[', ']']).parse().ok().or_else(|| self.host(text)),
        }
    }

    /// The first address of a name in /etc/hosts.
    fn host(&self, name: &str) -> Option<IpAddr> {
        let hosts = self.root.text(Path::new("/etc/hosts"))?;
        let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
        let mut found = lines.filter_map(|line| {
            let (address, names) = line.trim().split_once(char::is_whitespace)?;
            names.split_whitespace().any(|known| known == name).then(|| address.parse().ok())?
        });
        found.next()
    }

    fn user(&mut self, server: &Server) {
        let Some((word, from)) = self.user_word(server) else {
            self.propose("server", "user", quoted("qmaild"), "the script does not change the user");
            let remark = self.place(
                server.program.line,
                "the server runs as root: set server.user, else the backends run as root too",
            );
            self.plan.remarks.push(remark);
            return;
        };
        let from = self.place(word.line, &from);
        // chpst and tcpsvd have `user:group`, more groups, and a colon in front of numbers.
        let named = word.text.strip_prefix(':').unwrap_or(&word.text);
        let (text, groups) = named.split_once(':').unwrap_or((named, ""));
        let (group, more) = groups.split_once(':').unwrap_or((groups, ""));
        if !more.is_empty() {
            let remark = self.place(word.line, &format!("more groups than one ({more}) are not carried over"));
            self.plan.remarks.push(remark);
        }
        let Some(user) = self.accounts.user(&Word { text: text.to_owned(), ..word.clone() }) else {
            self.error(&word, "the user");
            return self.propose("server", "user", quoted("qmaild"), from);
        };
        if !self.accounts.has_user(&user) {
            let remark = self.place(word.line, &format!("there is no user {user} in /etc/passwd"));
            self.plan.remarks.push(remark);
        }
        self.set("server", "user", quoted(&user), from);
        self.group(server, &user, group);
        self.plan.user = Some(user);
    }

    /// The user, by `-u`, else `-U` after envuidgid, else by another program of the chain that changes user.
    fn user_word(&self, server: &Server) -> Option<(Word, String)> {
        if let Some(user) = server.option('u') {
            return Some((user.clone(), format!("{} -u {}", server.program.name(), user.text)));
        }
        let chain = &self.service?.chain;
        let named = |exec: &Exec| exec.words.last().cloned();
        let by_environment = server.option('U').and_then(|_| {
            let exec = chain.before.iter().rev().find(|exec| exec.name().ends_with("envuidgid"))?;
            Some((named(exec)?, format!("{} {}, {} -U", exec.name(), named(exec)?.text, server.program.name())))
        });
        by_environment.or_else(|| {
            let changes = |exec: &Exec| {
                let word = match exec.name() {
                    "setuidgid" | "s6-setuidgid" => exec.words[exec.operand()?].clone(),
                    "chpst" => exec.options().into_iter().find(|(letter, _)| *letter == 'u')?.1,
                    _ => return None,
                };
                Some((word.clone(), format!("{} {}", exec.name(), word.text)))
            };
            chain.before.iter().chain(&chain.behind).find_map(changes)
        })
    }

    /// Sets the group, which has to be named only where it is not the user's own.
    fn group(&mut self, server: &Server, user: &str, named: &str) {
        let text = match server.option('g') {
            _ if !named.is_empty() => named,
            Some(word) => match word.known() {
                Some(text) => text,
                None => return self.error(word, "the group"),
            },
            None => return,
        };
        let line = server.option('g').map_or(server.program.line, |word| word.line);
        let Some(gid) = self.accounts.group_id(text) else {
            let remark = self.place(line, &format!("there is no group {text}"));
            return self.plan.remarks.push(remark);
        };
        if self.accounts.group_of(user) == Some(gid) {
            return;
        }
        match self.accounts.group_name(gid).map(str::to_owned) {
            Some(name) => {
                let from = self.place(line, &format!("the group {text}"));
                self.set("server", "group", quoted(&name), from);
            }
            None => {
                let remark = self.place(line, &format!("group {gid} has no name in /etc/group; write server.group"));
                self.plan.remarks.push(remark);
            }
        }
    }

    fn hostname(&mut self, server: &Server) {
        let me = self.home.and_then(|home| home.says("me")).map(str::to_owned);
        let automatic = match &me {
            Some(me) => format!("hostname comes from control/me, now {}", quoted(me)),
            None => "hostname is the host's name: there is no control/me".to_owned(),
        };
        match server.option('l') {
            Some(name) if name.unknown.is_some() => self.doubt(name, "-l, the name of this host"),
            Some(name) if name.text != "0" && !self.is_control(name, "me") && me.as_deref() != Some(&name.text) => {
                let from = self.option('l', name);
                return self.set("server", "hostname", quoted(&name.text), from);
            }
            _ => {}
        }
        self.tell("server", automatic);
    }

    /// tcpsvd -C, and of s6: connections of one address, and a text for the next one.
    fn per_client(&mut self, server: &Server) {
        let Some(word) = server.option('C').filter(|_| server.program.name() != "sslserver") else { return };
        let number = word.text.split(':').next().and_then(|number| number.parse::<u64>().ok());
        match number.filter(|number| *number > 0 && word.unknown.is_none()) {
            Some(number) => {
                let from = self.option('C', word);
                self.set("server", "max_connections_per_client", number.to_string(), from);
            }
            None => self.doubt(word, "-C, connections of one address"),
        }
    }
}
