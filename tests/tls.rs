//! TLS as clients and probes see it: what comes before the handshake, old versions, weak ciphers, renegotiation, tickets,
//! certificates that change, and how many handshakes one client may have.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;

use std::fs;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use nix::sys::signal::Signal;
use proxy::Client;
use proxy::Proxy;
use proxy::Site;
use proxy::host::LONG;
use proxy::host::make_certificate;
use proxy::host::sockets;
use proxy::host::until;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::ClientConnection;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::StreamOwned;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::pki_types::pem::PemObject;

#[test]
fn starttls_throws_away_what_came_before() {
    let site = tls_site();
    let mut proxy = Proxy::start_with(&site, 2, &[]);
    let mut plain = proxy.client().hello();
    assert!(plain.say("EHLO client.example").contains("STARTTLS"));
    assert!(plain.say("STARTTLS").starts_with("220 "));
    let (mut secured, _) = secure(&site, plain.into_stream());
    let offered = secured.say("EHLO client.example");
    assert!(!offered.contains("STARTTLS"), "{offered}");
    secured.mail("a@b.example", "Subject: tls");
    let line = proxy.wait_for("mail session=");
    assert!(line.contains(" tls=TLSv1.3 "), "{line}");

    let mut injected = proxy.client().hello();
    injected.send("STARTTLS\r\nMAIL FROM:<evil@b.example>\r\nRCPT TO:<r@example.org>\r\n");
    let reply = injected.reply();
    if reply.starts_with("220 ") {
        let (mut secured, _) = secure(&site, injected.into_stream());
        secured.dialog(&[("EHLO client.example", "250"), ("RCPT TO:<r@example.org>", "503")]);
    } else {
        assert!(reply.starts_with("554 5.5.1 "), "{reply}");
    }
    let log = proxy.stop();
    assert!(!log.iter().any(|line| line.contains("evil@b.example")), "{log:?}");
}

#[test]
fn tls_from_the_first_octet() {
    let site = tls_site();
    let mut proxy = Proxy::start_with(&site, 2, &[]);
    let (secured, _) = secure(&site, TcpStream::connect(proxy.addresses[1]).unwrap());
    secured.hello().mail("a@b.example", "Subject: implicit");
    assert!(proxy.wait_for("mail session=").contains(" tls=TLSv1.3 "));
    let mut plain = Client::connect(proxy.addresses[1]);
    plain.send("EHLO client.example\r\n");
    assert!(!plain.rest().contains("220 "), "no greeting in the clear");
}

#[test]
fn a_handshake_that_does_not_come_holds_up_no_stop() {
    let site = tls_site();
    let mut proxy = Proxy::start_with(&site, 2, &[]);
    let _implicit = TcpStream::connect(proxy.addresses[1]).unwrap();
    let mut plain = proxy.client().hello();
    plain.dialog(&[("STARTTLS", "220")]);
    until("both are accepted", || sockets(proxy.pid()) == 4);
    let began = Instant::now();
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.wait().code(), Some(0));
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
}

#[test]
fn a_new_certificate_is_served_and_a_bad_pair_is_not() {
    let site = tls_site();
    let mut proxy = Proxy::start_with(&site, 2, &[]);
    let implicit = proxy.addresses[1];
    let served = || secure(&site, TcpStream::connect(implicit).unwrap()).1;
    let first = served();
    make_certificate(&site.path("tls"), &["localhost"]).unwrap();
    // The key comes before its certificate: the reading between the two is refused, and nothing is lost by it.
    let certificate = CertificateDer::from_pem_file(site.path("tls/certificate.pem")).unwrap();
    assert_ne!(certificate, first);
    proxy.wait_for("reloaded");
    until("the new one is served", || served() == certificate);
    let good = fs::read_to_string(site.path("tls/key.pem")).unwrap();
    site.rename_over("tls/key.pem", "no key\n");
    assert!(proxy.wait_for("key.pem").contains("level=error"));
    assert_eq!(served(), certificate, "the last good one stays");
    site.rename_over("tls/key.pem", &good);
    proxy.wait_for("reloaded");
    assert_eq!(served(), certificate);
}

#[test]
fn old_versions_and_weak_ciphers_are_refused_and_new_ones_are_not() {
    let site = tls_site();
    let proxy = Proxy::start_with(&site, 2, &[]);
    let rows: [(&[&str], &str); 8] = [
        (&["-tls1_2"], "Protocol  : TLSv1.2"),
        (&["-tls1_3"], "New, TLSv1.3"),
        (&["-tls1", "-cipher", "DEFAULT@SECLEVEL=0"], "SSL alert number"),
        (&["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], "SSL alert number"),
        (&["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"], "SSL alert number"),
        (&["-tls1_2", "-cipher", "ECDHE-RSA-AES256-SHA384:ECDHE-ECDSA-AES256-SHA384:@SECLEVEL=0"], "SSL alert number"),
        (&["-tls1_2", "-cipher", "aNULL:eNULL:@SECLEVEL=0"], "SSL alert number"),
        (&["-tls1_3", "-groups", "ffdhe2048"], "SSL alert number"),
    ];
    for (arguments, told) in rows {
        let seen = openssl(&proxy, arguments, "EHLO probe.example\r\nQUIT\r\n");
        assert!(seen.contains(told), "{arguments:?} {seen}");
        assert!(!seen.contains("Compression: zlib"), "{seen}");
        let serves = told.contains("TLSv1.");
        assert_eq!(seen.contains("250 ") && seen.contains("221 "), serves, "{arguments:?} {seen}");
    }
}

#[test]
fn nobody_renegotiates() {
    let site = tls_site();
    site.configure("listen_tls = [\"127.0.0.1:0\"]\ntimeout = { greeting = \"1s\" }", TLS);
    let proxy = Proxy::start_with(&site, 2, &[]);
    let seen = openssl(&proxy, &["-tls1_2"], "R\n");
    assert!(seen.contains("Protocol  : TLSv1.2") && seen.contains("RENEGOTIATING"), "{seen}");
    // Each handshake shows the certificate that it verifies.
    assert_eq!(seen.matches("depth=0").count(), 1, "{seen}");
}

#[test]
fn a_ticket_spares_the_next_handshake() {
    let site = tls_site();
    let proxy = Proxy::start_with(&site, 2, &[]);
    let ticket = site.path("ticket");
    let ticket = ticket.to_str().unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let first = openssl(&proxy, &[version, "-sess_out", ticket], "NOOP\r\nQUIT\r\n");
        assert!(first.contains("New, TLSv1."), "{first}");
        let second = openssl(&proxy, &[version, "-sess_in", ticket], "NOOP\r\nQUIT\r\n");
        assert!(second.contains("Reused, TLSv1."), "{version} {second}");
        assert!(!second.contains("Early data was accepted"), "{second}");
    }
}

#[test]
fn one_network_has_so_many_handshakes_at_a_time_and_others_have_theirs() {
    let site = tls_site();
    site.configure("listen_tls = [\"127.0.0.1:0\"]\nproxy_protocol_from = [\"127.0.0.0/8\"]", TLS);
    let proxy = Proxy::start_with(&site, 2, &[]);
    let begin = |client: &str| {
        let mut stream = TcpStream::connect(proxy.addresses[1]).unwrap();
        stream.write_all(format!("PROXY TCP4 {client} 127.0.0.1 4000 465\r\n").as_bytes()).unwrap();
        stream
    };
    let mut silent: Vec<TcpStream> = (0..251).map(|it| begin(&format!("192.0.2.{}", it % 8))).collect();
    until("one of them is closed", || {
        silent.iter_mut().any(|stream| {
            stream.set_nonblocking(true).unwrap();
            matches!(stream.read(&mut [0]), Ok(0))
        })
    });
    let (mut other, _) = secure(&site, begin("192.0.3.1"));
    assert!(other.reply().starts_with("220 "));
    let plain = |client: &str| {
        let mut stream = TcpStream::connect(proxy.addresses[0]).unwrap();
        stream.write_all(format!("PROXY TCP4 {client} 127.0.0.1 4000 25\r\n").as_bytes()).unwrap();
        Client::over(stream).hello()
    };
    let mut crowded = plain("192.0.2.9");
    assert_eq!(crowded.say("STARTTLS"), "454 4.7.0 TLS is not available at present, try again later");
    crowded.mail("a@b.example", "Subject: in the clear");
    assert!(plain("192.0.3.2").say("STARTTLS").starts_with("220 "));
    drop((silent, crowded));
    until("its places are given back", || sockets(proxy.pid()) == 3);
    let (mut again, _) = secure(&site, begin("192.0.2.1"));
    assert!(again.reply().starts_with("220 "));
}

#[test]
fn swaks_delivers_under_tls_either_way() {
    let site = tls_site();
    let proxy = Proxy::start_with(&site, 2, &[]);
    for (address, how) in [(proxy.addresses[0], "--tls"), (proxy.addresses[1], "--tls-on-connect")] {
        let output = Command::new("swaks")
            .args(["--server", &address.to_string(), how, "--from", "a@b.example", "--to", "joe@example.org"])
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{how} {out}");
        assert!(out.contains("TLS started"), "{how} {out}");
    }
    assert_eq!(site.mails(), 2);
}

/// What `openssl s_client` says, both streams, until the proxy closes; it says `input` to the listener with TLS when it has
/// been greeted.
fn openssl(proxy: &Proxy, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &proxy.addresses[1].to_string(), "-servername", "localhost"]);
    let pipes = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let errors = std::thread::spawn(move || {
        let mut errors = Vec::new();
        let _ = stderr.read_to_end(&mut errors);
        errors
    });
    let (mut said, mut piece, mut seen) = (false, [0; 4096], Vec::new());
    while let Ok(read @ 1..) = child.stdout.as_mut().unwrap().read(&mut piece) {
        seen.extend_from_slice(&piece[..read]);
        if !said && seen.windows(4).any(|word| word == b"220 ") {
            said = true;
            child.stdin.as_mut().unwrap().write_all(input.as_bytes()).unwrap();
        }
    }
    child.wait().unwrap();
    seen.extend(errors.join().unwrap());
    String::from_utf8_lossy(&seen).into_owned()
}

fn tls_site() -> Site {
    let site = Site::new("listen_tls = [\"127.0.0.1:0\"]", TLS);
    make_certificate(&site.path("tls"), &["localhost"]).unwrap();
    site
}

/// TLS over `stream`, and the certificate that was served.
fn secure(
    site: &Site,
    stream: TcpStream,
) -> (Client<StreamOwned<ClientConnection, TcpStream>>, CertificateDer<'static>) {
    stream.set_read_timeout(Some(LONG)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(site.path("tls/ca.pem")).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config =
        builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots).with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    let certificate = stream.conn.peer_certificates().unwrap()[0].clone().into_owned();
    (Client::over(stream), certificate)
}

const TLS: &str = "[tls]\ncertificate = \"tls/certificate.pem\"\nkey = \"tls/key.pem\"";
