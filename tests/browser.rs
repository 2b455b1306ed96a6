//! The page in a real browser, on a running proxy through which real mail flows: live, blocked and undone, searched, with
//! names that are markup, narrow, dark, large, without a script, by keyboard, under ten updates a second, and judged by axe.
//! Pictures are kept in target/browser. It must not judge beauty.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/browser.rs"]
mod browser;
#[path = "support/proxy.rs"]
mod proxy;

use std::fs;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use browser::Browser;
use portcullis::store::clock::Clock;
use portcullis::store::clock::Time;
use portcullis::store::clock::Wall;
use portcullis::store::state::Settings;
use portcullis::store::state::State;
use proxy::Proxy;
use proxy::Site;
use serde_json::Value;
use serde_json::json;

#[test]
fn a_storm_is_seen_while_it_happens_blocked_from_the_page_and_let_in_again() {
    let stage = Stage::new();
    let Stage { browser, proxy, .. } = &stage;
    browser.go(&stage.url);
    browser.until_text("#sentence", "Quiet.");
    assert!(browser.eval("return document.getElementById('press').hidden").as_bool().unwrap());
    storm(proxy);
    browser.until_text("#sentence", "A storm: <newsletter@sillyplace.com>");
    browser.until_text("#verdict", "Under control");
    browser.until_text("#storms", "newsletter@sillyplace.com");
    browser.until_text("#senders", "newsletter@sillyplace.com");
    browser.until_text("#records", "repeat");
    browser.until("document.querySelector('.bars .refused').getAttribute('d').length > 10");
    assert!(browser.eval("return document.title").as_str().unwrap().starts_with("▲ Storm · "));
    browser.picture("storm");
    browser.click("#press button");
    browser.until_text("#dialog", "Block newsletter@sillyplace.com for 24 h?");
    browser.until_text("#dialog", "It would have hit 30 messages of the last hour, of which 3 were accepted.");
    assert!(browser.text("#dialog code").ends_with("/portcullis-token"), "{}", browser.text("#dialog code"));
    browser.picture("login");
    browser.keys("#token", "wrong\n");
    browser.until_text("#dialog .error-text", "this is not the token");
    browser.keys("#token", &format!("{}\n", stage.token));
    browser.until_text("#dialog .primary", "Block for 24 h");
    browser.picture("block");
    browser.click("#dialog .primary");
    browser.until_text("#toasts", "newsletter@sillyplace.com is blocked");
    let mut client = proxy.client().hello();
    client.dialog(&[("MAIL FROM:<newsletter@sillyplace.com>", "554")]);
    browser.until_text("#blocks", "newsletter@sillyplace.com");
    browser.until_text("#press", "Undo the block of newsletter@sillyplace.com");
    browser.picture("undo");
    browser.click("#toasts button");
    browser.until_text("#toasts", "is not blocked any more");
    client.dialog(&[("MAIL FROM:<newsletter@sillyplace.com>", "250")]);
    browser.until("document.getElementById('blocks').hidden");
    // The login lasts: nobody is asked again. And the button that blocked takes it back.
    browser.click("#toasts button");
    browser.until_text("#toasts", "newsletter@sillyplace.com is blocked");
    browser.until_text("#press", "Undo the block");
    browser.click("#press button");
    browser.until_text("#dialog", "Remove the block of newsletter@sillyplace.com?");
    browser.click("#dialog .primary");
    browser.until_text("#toasts", "is not blocked any more");
    stage.is_clean();
}

#[test]
fn records_are_searched_and_explained() {
    let stage = Stage::new();
    let Stage { browser, proxy, .. } = &stage;
    mail(proxy, "<ann@partner.example>", 1);
    mail(proxy, "<bob@partner.example>", 2);
    browser.go(&stage.url);
    browser.until("document.querySelectorAll('#records tbody tr').length === 2");
    browser.keys("#q", "ANN");
    browser.until("document.querySelectorAll('#records tbody tr').length === 1");
    assert!(browser.text("#records tbody").contains("ann@partner.example"));
    browser.click("#records tbody a");
    browser.until_text("#records .detail", "The same message now: accepted");
    assert!(browser.text("#records .detail").contains("MAIL FROM:<ann@partner.example>"));
    browser.picture("explain");
    // What comes meanwhile does not move what is read.
    mail(proxy, "<ann@partner.example>", 3);
    browser.until(
        "!document.getElementById('fresh').hidden || document.querySelectorAll('#records tbody tr').length === 3",
    );
    browser.until("document.querySelector('#records .detail')");
    stage.is_clean();
}

#[test]
fn names_of_strangers_are_text() {
    let stage = Stage::new();
    let Stage { browser, proxy, .. } = &stage;
    let evil = "\"<script>alert(1)</script>\"@evil.example";
    mail(proxy, &format!("<{evil}>"), 1);
    mail(proxy, "<\"<img/src=x/onerror=alert(2)>\"@evil.example>", 2);
    let mut client = proxy.client();
    client.reply();
    client.dialog(&[("EHLO \u{202e}moc.knab\u{200b}", "250"), ("MAIL FROM:<ann@partner.example>", "250")]);
    client.dialog(&[("RCPT TO:<joe@elsewhere.example>", "553"), ("QUIT", "221")]);
    for scripts in [true, false] {
        browser.scripts(scripts);
        browser.go(&stage.url);
        browser.until_text("#senders", evil);
        browser.until_text("#records", evil);
        let foreign = "return document.querySelectorAll('main script, main img, main iframe').length";
        assert_eq!(browser.eval(foreign), json!(0));
        let hidden = "return /[\\u202a-\\u202e\\u2066-\\u2069\\u200b]/.test(document.documentElement.textContent)";
        assert_eq!(browser.eval(hidden), json!(false), "what cannot be seen is written out");
    }
    stage.is_clean();
}

#[test]
fn without_a_script_there_are_tables_and_forms() {
    let stage = Stage::new();
    let Stage { browser, proxy, .. } = &stage;
    storm(proxy);
    mail(proxy, "<ann@partner.example>", 1);
    browser.scripts(false);
    browser.go(&stage.url);
    assert!(browser.text("#sentence").starts_with("A storm: <newsletter@sillyplace.com>"));
    assert!(
        browser.eval("return document.querySelector('.bars .refused').getAttribute('d').length").as_u64() > Some(10)
    );
    browser.picture("no-script");
    browser.click("#senders th:first-child a");
    assert_eq!(browser.text("#senders tbody td"), "ann@partner.example");
    browser.click("#senders th:nth-child(5) a");
    assert_eq!(browser.text("#senders tbody td"), "newsletter@sillyplace.com");
    assert_eq!(browser.text("#senders th[aria-sort=descending]"), "Refused");
    browser.click("nav a[data-range=day]");
    assert_eq!(browser.text("nav a[aria-current]"), "Day");
    browser.keys("#q", "newsletter\n");
    assert!(browser.text("#records").contains("newsletter@sillyplace.com"));
    browser.click("#records tbody a");
    browser.until_text("#record", "The same message now");
    browser.click("#press button");
    assert!(browser.text("#ask").contains("Block newsletter@sillyplace.com for 24 h?"));
    browser.keys("#token", "wrong\n");
    browser.until_text("#ask", "this is not the token");
    browser.keys("#token", &format!("{}\n", stage.token));
    browser.until_text("#ask", "Block newsletter@sillyplace.com for 24 h?");
    browser.picture("no-script-ask");
    browser.click("#ask .primary");
    assert!(browser.text("#ask").contains("newsletter@sillyplace.com is blocked"), "{}", browser.text("body"));
    let mut client = proxy.client().hello();
    client.dialog(&[("MAIL FROM:<newsletter@sillyplace.com>", "554")]);
    browser.click("#blocks tbody button");
    browser.until_text("#ask", "Remove the block of newsletter@sillyplace.com?");
    browser.click("#ask .primary");
    assert!(browser.text("#ask").contains("newsletter@sillyplace.com is not blocked"));
    client.dialog(&[("MAIL FROM:<newsletter@sillyplace.com>", "250")]);
    stage.is_clean();
}

#[test]
fn it_fits_a_telephone_a_dark_room_and_twice_the_size() {
    let stage = Stage::new();
    let Stage { browser, proxy, .. } = &stage;
    storm(proxy);
    mail(proxy, &format!("<{}@{}.example>", "verylongname".repeat(5), "domain.".repeat(12).trim_end_matches('.')), 1);
    for (name, width, zoom, dark) in [
        ("wide", 1280, 1, false),
        ("dark", 1280, 1, true),
        ("narrow", 320, 1, false),
        ("telephone", 360, 1, true),
        ("zoom", 1280, 2, false),
    ] {
        browser.size(width, 900, zoom);
        browser.dark(dark);
        browser.go(&stage.url);
        browser.until_text("#records", "newsletter@sillyplace.com");
        let sizes = browser.eval("return [document.documentElement.scrollWidth, innerWidth]");
        assert!(sizes[0].as_u64() <= sizes[1].as_u64(), "{name} scrolls to the side: {sizes}");
        whole(browser, name, width, zoom);
        assert_eq!(judged(browser), Vec::<String>::new(), "{name}");
    }
    browser.size(1280, 900, 1);
    for dark in [false, true] {
        browser.dark(dark);
        browser.go(&stage.url);
        browser.until_text("#records", "newsletter@sillyplace.com");
        browser.click("#press button");
        browser.until("document.getElementById('dialog').open && document.getElementById('token')");
        assert_eq!(judged(browser), Vec::<String>::new(), "the login, dark: {dark}");
        browser.press("\u{e00c}");
        browser.until("!document.getElementById('dialog').open");
        browser.click("#records tbody a");
        browser.until_text("#records .detail", "The same message now");
        browser.eval("document.querySelector('.mail details').open = true");
        assert_eq!(judged(browser), Vec::<String>::new(), "details, dark: {dark}");
    }
    browser.click("#press button");
    browser.keys("#token", &format!("{}\n", stage.token));
    browser.until_text("#dialog .primary", "Block for 24 h");
    assert_eq!(judged(browser), Vec::<String>::new(), "the question before a block");
    browser.click("#dialog .primary");
    browser.until_text("#toasts", "is blocked");
    browser.until("!document.getElementById('blocks').hidden");
    assert_eq!(judged(browser), Vec::<String>::new(), "a block, and what takes it back");
    stage.is_clean();
}

#[test]
fn the_keyboard_is_enough() {
    let stage = Stage::new();
    let Stage { browser, proxy, .. } = &stage;
    storm(proxy);
    browser.go(&stage.url);
    browser.until_text("#records", "newsletter@sillyplace.com");
    tab_to(browser, "active.closest('#press')");
    browser.press("\u{e007}");
    browser.until("document.getElementById('dialog').open");
    browser.press("\u{e00c}");
    browser.until("!document.getElementById('dialog').open && document.activeElement.closest('#press')");
    tab_to(browser, "active.id === 'pick'");
    let last = browser.text("#readout");
    browser.press("\u{e012}");
    browser.until(&format!("document.getElementById('readout').innerText !== {}", json!(last)));
    let spoken = "document.getElementById('pick').getAttribute('aria-valuetext')";
    browser.until(&format!("{spoken} === document.getElementById('readout').textContent"));
    tab_to(browser, "active.closest('#senders th')?.innerText.startsWith('Refused')");
    browser.press("\u{e007}");
    browser.until("document.activeElement.closest('th').getAttribute('aria-sort') === 'descending'");
    tab_to(browser, "active.closest('#records tbody')");
    browser.press("\u{e007}");
    browser.until("document.querySelector('#records .detail')");
    tab_to(browser, "active.closest('#press')");
    browser.press("\u{e007}");
    browser.until("document.activeElement.id === 'token'");
    browser.press(&format!("{}\n", stage.token));
    browser.until("document.activeElement.closest('#dialog .primary')?.innerText === 'Block for 24 h'");
    browser.press("\u{e007}");
    browser.until_text("#toasts", "is blocked");
    tab_to(browser, "active.closest('#toasts')?.innerText && active.innerText === 'Undo'");
    browser.press("\u{e007}");
    browser.until_text("#toasts", "is not blocked any more");
    stage.is_clean();
}

#[test]
fn ten_updates_a_second_move_neither_focus_nor_selection() {
    let stage = Stage::new();
    let Stage { browser, proxy, .. } = &stage;
    storm(proxy);
    let fast = json!({ "source": FAST });
    browser.devtools("Page.addScriptToEvaluateOnNewDocument", &fast);
    browser.go(&stage.url);
    browser.until("window.sent > 10");
    browser.until("document.querySelector('#storms .who')");
    browser.eval("document.querySelector('#senders tbody button').focus()");
    browser.eval("getSelection().selectAllChildren(document.querySelector('#storms .who'))");
    browser.eval("window.focused = document.activeElement; window.storm = document.querySelector('#storms li')");
    browser.until("window.sent > 60");
    assert_eq!(browser.eval("return document.activeElement === window.focused && window.focused.isConnected"), true);
    assert_eq!(browser.eval("return getSelection().toString()"), "newsletter@sillyplace.com");
    assert_eq!(browser.eval("return document.querySelector('#storms li') === window.storm"), true);
    browser.until_text("#storms", "copies");
    let copies = browser.text("#storms b");
    browser.until(&format!("document.querySelector('#storms b').innerText !== {}", json!(copies)));
    stage.is_clean();
}

#[test]
fn a_page_whose_proxy_has_gone_says_so_and_goes_on_with_the_next() {
    let Stage { browser, proxy, url, token, _site: site, .. } = Stage::new();
    storm(&proxy);
    browser.go(&url);
    browser.until_text("#sentence", "A storm");
    assert_eq!(browser.text("#link"), "");
    drop(proxy);
    browser.until_text("#link", "No connection to the proxy since ");
    assert!(browser.text("#sentence").starts_with("A storm"), "what was known is still shown");
    browser.picture("gone");
    let proxy = Proxy::start(&site);
    browser.until("document.getElementById('link').hidden");
    browser.until_text("#sentence", "Quiet.");
    browser.keys("#new-key", "newsletter@sillyplace.com\n");
    browser.keys("#token", &format!("{token}\n"));
    browser.until_text("#dialog .primary", "Block for 24 h");
    browser.click("#dialog .primary");
    browser.until_text("#blocks", "newsletter@sillyplace.com");
    proxy.client().hello().dialog(&[("MAIL FROM:<newsletter@sillyplace.com>", "554")]);
}

#[test]
fn sessions_are_seen_while_they_are_open() {
    let stage = Stage::new();
    let Stage { browser, proxy, .. } = &stage;
    browser.go(&stage.url);
    browser.until_text(".sessions", "No session is open.");
    let mut client = proxy.client().hello();
    client.dialog(&[("MAIL FROM:<ann@partner.example>", "250"), ("RCPT TO:<joe@example.org>", "250"), ("DATA", "354")]);
    browser.until_text("#sessions", "ann@partner.example");
    browser.until_text("#sessions", "data");
    let others: Vec<_> = (0..9).map(|_| proxy.client().hello()).collect();
    browser.until_text("#sessions-title", "8 of 10");
    assert!(browser.text("#sessions tbody tr").contains("ann@partner.example"), "the one with a message comes first");
    browser.picture("sessions");
    drop((client, others));
    browser.until_text(".sessions", "No session is open.");
    stage.is_clean();
}

/// A page whose tables are all full.
#[test]
fn it_is_small_and_from_here_alone() {
    let stage = Stage::new();
    for number in 0..8 {
        copies(&stage.proxy, &format!("newsletter-{number}@sillyplace-{number}.example.com"), 6);
        mail(&stage.proxy, &format!("<colleague-{number}@partner-{number}.example.com>"), number);
    }
    for number in 0..12 {
        let body =
            format!("{{\"key\":\"other-{number}@sillyplace.example\",\"seconds\":600,\"why\":\"asked for by joe\"}}");
        let head = format!("POST /api/v1/blocks HTTP/1.1\r\nHost: {}\r\nConnection: close", stage.address);
        let fields = format!("Authorization: Bearer {}\r\nContent-Type: application/json", stage.token);
        let answer = asked(&stage, &format!("{head}\r\n{fields}\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let clients: Vec<_> = (0..12).map(|_| stage.proxy.client().hello()).collect();
    let answer = asked(&stage, &format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", stage.address));
    assert!(answer.len() <= 52_000, "{} octets", answer.len());
    assert!(!answer.contains("unsafe-inline") && answer.contains("script-src 'sha256-"), "{answer}");
    for full in ["8 of 12", "And 3 storms more", "And 2 blocks more"] {
        assert!(answer.contains(full), "{full}: {answer}");
    }
    drop(clients);
    stage.browser.go(&stage.url);
    stage.browser.until_text("#records", "newsletter");
    let loaded = stage.browser.eval("return performance.getEntriesByType('resource').map(it => it.name)");
    let loaded: Vec<String> = serde_json::from_value(loaded).unwrap();
    assert!(loaded.iter().all(|url| url.starts_with(&stage.url) || url.starts_with("data:")), "{loaded:?}");
    // The first one is of a browser that has painted nothing yet.
    let paints = (0..3).map(|_| {
        stage.browser.go(&stage.url);
        stage.browser.until("performance.getEntriesByName('first-contentful-paint').length");
        stage.browser.eval("return Math.round(performance.getEntriesByName('first-contentful-paint')[0].startTime)")
    });
    println!("{} octets, first paint after {:?} ms", answer.len(), paints.collect::<Vec<_>>());
    stage.is_clean();
}

#[test]
fn a_backend_that_is_down_is_the_first_sentence() {
    let site = Site::new("", "");
    let text = fs::read_to_string(site.path("portcullis.toml")).unwrap();
    let nobody = proxy::host::free_address().unwrap();
    site.write("portcullis.toml", &text.replacen("maildir = \"mail\"", &format!("tcp = \"{nobody}\""), 1));
    let stage = Stage::at(site);
    let Stage { browser, proxy, .. } = &stage;
    let mut client = proxy.client().hello();
    client.dialog(&[("MAIL FROM:<ann@partner.example>", "451")]);
    browser.go(&stage.url);
    browser.until_text("#sentence", "The backend is down since ");
    browser.until_text("#verdict", "Needs you");
    browser.until_text(".facts .bad", "Down");
    assert!(browser.eval("return document.title").as_str().unwrap().starts_with("■ Trouble · "));
    browser.picture("down");
    assert_eq!(judged(browser), Vec::<String>::new());
    stage.is_clean();
}

#[test]
fn who_wants_no_motion_sees_none() {
    let stage = Stage::new();
    let features = json!({ "features": [{ "name": "prefers-reduced-motion", "value": "reduce" }] });
    stage.browser.devtools("Emulation.setEmulatedMedia", &features);
    stage.browser.go(&stage.url);
    let moving = "return [...document.querySelectorAll('*')].map(it => getComputedStyle(it))
        .filter(it => it.animationName !== 'none' || parseFloat(it.transitionDuration) > 0).length";
    assert_eq!(stage.browser.eval(moving), json!(0));
    stage.is_clean();
}

/// Two pictures of a real storm for README.md.
#[test]
fn the_pictures_are_of_a_real_storm() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
    if std::env::var_os("BLESS").is_some() {
        let site = Site::new("", "");
        an_hour_before(&site);
        let stage = Stage::at(site);
        for (sender, messages) in [("ann@partner.example", 6), ("bob@shop.example", 4), ("lists@university.example", 9)]
        {
            (0..messages).for_each(|number| mail(&stage.proxy, &format!("<{sender}>"), number));
        }
        storm(&stage.proxy);
        for (name, dark) in [("page", false), ("page-dark", true)] {
            stage.browser.size(1180, 860, 1);
            stage.browser.dark(dark);
            stage.browser.go(&stage.url);
            stage.browser.until_text("#records", "newsletter@sillyplace.com");
            fs::copy(stage.browser.picture(name), folder.join(format!("{name}.png"))).unwrap();
        }
    }
    for name in ["page.png", "page-dark.png"] {
        let length = fs::metadata(folder.join(name)).expect("`make pictures` makes it").len();
        assert!((10_000..200_000).contains(&length), "{name} has {length} octets");
    }
}

/// A proxy with its page on a port of its own, and a browser.
struct Stage {
    browser: Browser,
    proxy: Proxy,
    address: String,
    url: String,
    token: String,
    _site: Site,
}

impl Stage {
    fn new() -> Self {
        Self::at(Site::new("", ""))
    }

    fn at(site: Site) -> Self {
        let address = site.admin_over_tcp();
        let proxy = Proxy::start(&site);
        let token = fs::read_to_string(site.path("portcullis-token")).unwrap().trim().to_owned();
        let browser = Browser::start();
        browser.size(1280, 900, 1);
        Self { browser, proxy, url: format!("http://{address}/"), address, token, _site: site }
    }

    /// Nothing failed in the page, and its policy had nothing to forbid.
    fn is_clean(&self) {
        let mut lines = self.browser.console();
        // The answers to a change before the login, and to a wrong token.
        lines.retain(|line| !line.contains("401 (Unauthorized)"));
        assert_eq!(lines, Vec::<String>::new());
    }
}

/// What an HTTP server answers, to the end.
fn asked(stage: &Stage, request: &str) -> String {
    let mut stream = TcpStream::connect(&stage.address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Fills the state of a proxy with the mail of an ordinary hour, in which a sender's retries were absorbed.
fn an_hour_before(site: &Site) {
    let clock = Arc::new(Wall::new());
    let now = clock.now().seconds();
    let state = State::open(&Settings::File(site.path("portcullis-state.redb")), clock).unwrap();
    for ago in (1..60_u32).rev() {
        let wave = u64::from(ago * 7 % 11 + ago * 5 % 7);
        let burst = if (34..42).contains(&ago) { 10 - u64::from(ago.abs_diff(37)) * 2 } else { 0 };
        state.tables().history.count(Time::from_seconds(now - ago * 60), |counts| {
            counts.accepted += 9 + wave;
            counts.refused += u64::from(ago % 3 == 0) * 2 + burst / 4;
            counts.deferred += u64::from(ago % 4 == 1) * 2;
            counts.absorbed += burst;
            counts.bytes += 400_000 * (wave + burst + 3);
        });
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert!(runtime.block_on(state.flush()));
}

/// The message that comes over and over.
fn storm(proxy: &Proxy) {
    copies(proxy, "newsletter@sillyplace.com", 30);
}

/// A sender's message, over and over.
fn copies(proxy: &Proxy, sender: &str, number: usize) {
    let date = jiff::fmt::rfc2822::to_string(&jiff::ZonedDateTime::now()).unwrap();
    let head = format!("Message-ID: <news.{sender}>\r\nDate: {date}\r\nSubject: News");
    for _ in 0..number {
        let mut client = proxy.client().hello();
        client.dialog(&[(&*format!("MAIL FROM:<{sender}>"), "250"), ("RCPT TO:<joe@example.org>", "250")]);
        client.dialog(&[("DATA", "354")]);
        let text = "All the news of the week.\r\n".repeat(8000);
        client.say(&format!("{head}\r\n\r\n{text}."));
        client.send("QUIT\r\n");
        client.rest();
    }
}

/// A message that is nobody's copy.
fn mail(proxy: &Proxy, sender: &str, number: usize) {
    let mut client = proxy.client().hello();
    client.dialog(&[(&format!("MAIL FROM:{sender}"), "250"), ("RCPT TO:<joe@example.org>", "250"), ("DATA", "354")]);
    let reply =
        client.say(&format!("Subject: {number}\r\nMessage-ID: <{number}.{}@x>\r\n\r\nHello.\r\n.", sender.len()));
    assert!(reply.starts_with("250"), "{reply}");
    client.dialog(&[("QUIT", "221")]);
}

/// Keeps a picture of the whole page.
fn whole(browser: &Browser, name: &str, width: u32, zoom: u32) {
    let height = browser.eval("return document.documentElement.scrollHeight").as_u64().unwrap();
    browser.size(width, u32::try_from(height).unwrap() * zoom, zoom);
    browser.picture(name);
    browser.size(width, 900, zoom);
}

/// Presses the tab key until what has the focus (`active`) is that.
fn tab_to(browser: &Browser, what: &str) {
    let reached = (0..200).any(|_| {
        browser.press("\u{e004}");
        browser.eval(&format!("const active = document.activeElement; return Boolean({what})")) == true
    });
    assert!(reached, "no way by the tab key to {what}");
}

/// What axe finds, each with where.
fn judged(browser: &Browser) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/npm/node_modules/axe-core/axe.min.js");
    let axe = fs::read_to_string(path).expect("tests/support/packages.sh installs it");
    browser.eval(&axe);
    browser.eval(
        "window.found = null; axe.run({ resultTypes: ['violations'] }).then(it => { window.found = it.violations })",
    );
    browser.until("window.found");
    let found = browser.eval("return window.found.map(it => [it.id, it.help, ...it.nodes.map(it => it.html)])");
    found.as_array().unwrap().iter().map(Value::to_string).collect()
}

/// Server-sent events as the page gets them, but ten times a second, each with other numbers.
const FAST: &str = "
    window.sent = 0;
    window.EventSource = class extends EventTarget {
        constructor() {
            super();
            fetch('/').then(it => it.text()).then(html => setInterval(() => {
                window.sent++;
                const page = new DOMParser().parseFromString(html, 'text/html');
                for (const node of page.querySelectorAll('.counts td:nth-child(5), .facts b, #storms b, [data-live=clock] time')) {
                    node.textContent = window.sent + node.textContent.replace(/^[0-9.]+/, '');
                }
                const rows = page.querySelector('#senders tbody');
                rows.append(rows.firstElementChild);
                this.dispatchEvent(new MessageEvent('page', { data: page.querySelector('main').outerHTML }));
            }, 100));
        }
    };
";
