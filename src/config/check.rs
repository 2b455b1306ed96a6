//! The faults that several keys make together. Pure; what a key alone can tell is checked where it is read. It must not
//! open files.

use std::collections::HashSet;
use std::net::SocketAddr;

use crate::backend::Identity;
use crate::backend::Target;
use crate::config::build;
use crate::config::checked::AdminListen;
use crate::config::faults::Findings;
use crate::config::faults::Written;
use crate::config::file::File;
use crate::config::sections::message::Message;
use crate::config::sections::server::Server;
use crate::front;

/// Reports what does not fit together.
pub(crate) fn check(file: &File, findings: &Findings) {
    listeners(&file.server, findings);
    admin(file, findings);
    limits(&file.server, findings);
    one_backend(file, findings);
    open_relay(file, findings);
    certificates(file, findings);
    holding(&file.message, findings);
    held(file, findings);
    throttle_names(file, findings);
    alert_names(file, findings);
}

fn listeners(server: &Server, findings: &Findings) {
    let all: Vec<&Written<SocketAddr>> = server.listen.iter().flatten().chain(&server.listen_tls).collect();
    for (index, listener) in all.iter().enumerate() {
        let earlier = all[..index].iter().find(|earlier| front::settings::overlap(earlier.value, listener.value));
        let Some(earlier) = earlier else { continue };
        let address = listener.value;
        let what = match earlier.value == address {
            true => format!("{address} is listed twice; write it once"),
            false => format!("{address} and {} are the same port; leave one of them out", earlier.value),
        };
        findings.fault_with(listener.at, what, earlier.at);
    }
    if let (Some(at), true) = (server.empty_listen, server.listen_tls.is_empty()) {
        findings.missing(at, "nothing is listened on; write listen = [\"127.0.0.1:2525\"]");
    }
}

/// The admin interface, which is on a port of its own.
fn admin(file: &File, findings: &Findings) {
    let AdminListen::Tcp(address) = file.admin.listen else { return };
    let all = file.server.listen.iter().flatten().chain(&file.server.listen_tls);
    for listener in all.filter(|listener| front::settings::overlap(listener.value, address)) {
        let what = format!("{} is the port of the admin interface, admin.listen; write another port", listener.value);
        findings.fault(listener.at, what);
    }
}

fn limits(server: &Server, findings: &Findings) {
    let per_client = server.max_connections_per_client.as_ref();
    if let Some(more) = per_client.filter(|per_client| per_client.value > server.max_connections) {
        let what = format!("this is more than server.max_connections, {}, which rules", server.max_connections);
        findings.warn(more.at, what);
    }
    if let (Some(group), None) = (&server.group, &server.user) {
        findings.fault(group.at, "server.group needs a user; write user = \"...\" too");
    }
}

fn one_backend(file: &File, findings: &Findings) {
    let backend = &file.backend;
    if backend.written.is_empty() {
        let what = format!("no backend; write one of {BACKENDS} in [backend], such as maildir = \"./portcullis-mail\"");
        findings.missing(backend.at, what);
    }
    for second in backend.written.iter().skip(1) {
        findings.fault(*second, format!("there is another backend above; write exactly one of {BACKENDS}"));
    }
}

/// A program that takes messages whole can have none before the final dot. What was streamed cannot leave out recipients
/// that have it: they would get it again with each retry.
fn held(file: &File, findings: &Findings) {
    let what = match file.backend.targets.first().map(|target| &target.value) {
        Some(Target::Queue(_)) => "backend.queue takes messages whole, so they have to be held; write hold = true",
        Some(Target::Lmtp(_)) => {
            "with backend.lmtp a message that only some recipients got is retried for the others, so it has to be held; \
             leave it out"
        }
        _ => return,
    };
    if let Some(hold) = file.message.hold.as_ref().filter(|hold| !hold.value) {
        findings.fault(hold.at, what);
    }
}

/// A tcp backend sees our address, which it may well relay for; an LMTP server delivers to its own users (RFC 2033). And
/// what a spawned one sees in RELAYCLIENT, it relays.
fn open_relay(file: &File, findings: &Findings) {
    let stranger = |listener: &&Written<SocketAddr>| !listener.value.ip().to_canonical().is_loopback();
    let server = &file.server;
    let queue = file.backend.targets.iter().find(|target| matches!(target.value, Target::Queue(_)));
    let unguarded = queue.filter(|_| file.qmail.control.is_none());
    let Some(open) = server.listen.iter().flatten().chain(&server.listen_tls).find(stranger) else {
        if let Some(queue) = unguarded {
            let what =
                "without qmail.control every client on this host may send to anybody, and no list of qmail's is read";
            findings.warn(queue.at, what);
        }
        return;
    };
    let tcp = file.backend.targets.iter().find(|target| matches!(target.value, Target::Tcp(_)));
    let unknown = file.backend.identity == Identity::None;
    if let (Some(tcp), None, true) = (tcp, &file.qmail.control, unknown) {
        let what = format!(
            "this backend would see every client of {} as ourselves, an open relay; \
             write qmail.control = \"...\" with an rcpthosts, or backend.identity, or listen on 127.0.0.1 only",
            open.value
        );
        findings.missing(tcp.at, what);
    }
    if let Some(queue) = unguarded {
        let what = format!(
            "qmail-queue takes mail for any recipient, so every client of {} could relay; \
             write qmail.control = \"...\" with an rcpthosts, or listen on 127.0.0.1 only",
            open.value
        );
        findings.missing(queue.at, what);
    }
    if let Some((name, _)) = file.backend.environment.iter().find(|(name, _)| name.value == "RELAYCLIENT") {
        let what = format!(
            "RELAYCLIENT lets every client of {} relay; write it for your own networks in qmail.tcprules",
            open.value
        );
        findings.fault(name.at, what);
    }
}

fn certificates(file: &File, findings: &Findings) {
    let tls = &file.tls;
    if tls.is_written {
        return;
    }
    let instead = "write certificate = \"...\" and key = \"...\" in [tls]";
    if let Some(at) = tls.required {
        findings.missing(at, format!("tls.required without a certificate would refuse all mail; {instead}"));
    }
    if let Some(listener) = file.server.listen_tls.first() {
        findings.missing(listener.at, format!("server.listen_tls needs a certificate; {instead}"));
    }
    if let Some(more) = tls.more.first() {
        findings.missing(more.at, format!("tls.more needs a first certificate; {instead}"));
    }
}

fn holding(message: &Message, findings: &Findings) {
    let value = |written: &Option<Written<u64>>, default| written.as_ref().map_or(default, |size| size.value);
    let memory = value(&message.hold_memory, build::HOLD_MEMORY);
    let total = value(&message.hold_total, build::HOLD_TOTAL);
    if memory > total {
        let at = message.hold_memory.as_ref().or(message.hold_total.as_ref()).map(|written| written.at);
        let what = "message.hold_memory, of one message, is more than message.hold_total, of all; write a smaller one";
        findings.fault(at.expect("the defaults fit"), what);
    }
}

fn throttle_names(file: &File, findings: &Findings) {
    let mut seen = HashSet::new();
    for (throttle, at) in file.throttles.iter().flatten() {
        if !seen.insert(&throttle.name) {
            findings.fault(*at, format!("there is a throttle {:?} above; write another name", &*throttle.name));
        }
    }
}

fn alert_names(file: &File, findings: &Findings) {
    // Those without a name have their numbers.
    let numbers = file.alerts.iter().enumerate().filter(|(_, alert)| alert.name.is_none());
    let mut seen: HashSet<String> = numbers.map(|(at, _)| (at + 1).to_string()).collect();
    for name in file.alerts.iter().filter_map(|alert| alert.name.as_ref()) {
        if !seen.insert(name.value.clone()) {
            findings.fault(name.at, format!("there is another alert {:?}; write another name", name.value));
        }
    }
}

/// The keys of which `[backend]` has exactly one.
const BACKENDS: &str = "maildir, queue, tcp, lmtp and spawn";
