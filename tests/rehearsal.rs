//! `explain` against `serve`: by generated configurations and messages, what a rehearsal over a look at the state says is what
//! a session says whose questions are answered by that state, and the state is as it was.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::BytesMut;
use jiff::Timestamp;
use portcullis::front::answers;
use portcullis::front::answers::Claims;
use portcullis::front::look::Look;
use portcullis::policy::Policy;
use portcullis::policy::client::ClientRule;
use portcullis::policy::hops::HopRules;
use portcullis::policy::list::AddressList;
use portcullis::policy::list::Dialect;
use portcullis::policy::list::location::Location;
use portcullis::policy::local::LocalDomains;
use portcullis::policy::repeat::RepeatRules;
use portcullis::policy::size::Cap;
use portcullis::policy::throttle::Action;
use portcullis::policy::throttle::BlockLength;
use portcullis::policy::throttle::Count;
use portcullis::policy::throttle::Group;
use portcullis::policy::throttle::Throttle;
use portcullis::policy::throttle::key::Seed;
use portcullis::policy::throttle::part::Part;
use portcullis::rehearsal::backend::Backend;
use portcullis::rehearsal::message;
use portcullis::rehearsal::message::Message;
use portcullis::rehearsal::rehearse::Said;
use portcullis::rehearsal::rehearse::rehearse;
use portcullis::session::Session;
use portcullis::session::io::Admission;
use portcullis::session::io::Delivery;
use portcullis::session::io::Now;
use portcullis::session::io::Output;
use portcullis::session::io::Peer;
use portcullis::session::record::Record;
use portcullis::session::settings::Auth;
use portcullis::session::settings::BackendProtocol;
use portcullis::session::settings::Settings;
use portcullis::session::settings::Timeouts;
use portcullis::session::snapshot::Snapshot;
use portcullis::smtp::data::BareNewline;
use portcullis::store::clock::Time;
use portcullis::store::clock::Virtual;
use portcullis::store::state::State;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::sample::subsequence;

/// How the client takes what it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Takes,
    Loses,
    /// Nobody knows yet.
    Hangs,
}

/// A message, and what comes of it.
#[derive(Clone, Debug)]
struct Try {
    message: Message,
    /// An index into [`TEXTS`].
    text: Option<usize>,
    fate: Fate,
    /// How long after the one before.
    minutes: u64,
}

#[derive(Clone, Debug)]
struct Case {
    snapshot: Arc<Snapshot>,
    offer: Vec<String>,
    blocks: Vec<&'static str>,
    tries: Vec<Try>,
}

/// A state, and the sessions that still hold claims in it.
struct World {
    state: Arc<State>,
    clock: Arc<Virtual>,
    hanging: Vec<Claims>,
}

/// What a session says to one of its client's lines, with code, reason and rule of what was refused.
type Heard = Vec<(String, Option<String>)>;

const TEXTS: [&str; 9] = [
    "Message-ID: <1@x>\nDate: Mon, 23 Nov 2026 00:58:45 +0000\nSubject: one\n\ntext\n",
    "Message-ID: <2@x>\nDate: Mon, 23 Nov 2026 00:58:45 +0000\nSubject: two\n\nanother\n",
    "Subject: nobody can tell\n\ntext\n",
    "Message-ID: <3@x>\r\nDate: Mon, 23 Nov 2026 00:58:45 +0000\r\n\r\na bare\nline\r\n",
    "Subject: NUL\n\na\0b\n",
    "Received: by a; x\nReceived: by b; x\nReceived: by c; x\n\nround\n",
    "Delivered-To: joe@example.org\nDelivered-To: joe@example.org\n\nround\n",
    "Subject: b\u{fc}ro\n\n.dots\n..\n",
    LONG,
];
const LONG: &str = concat!(
    "Message-ID: <4@x>\nDate: Mon, 23 Nov 2026 00:58:45 +0000\n\n",
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\n",
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\n",
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\n",
);

const OFFERS: [(&str, f64); 6] =
    [("8BITMIME", 0.5), ("AUTH PLAIN", 0.9), ("DSN", 0.5), ("PIPELINING", 0.5), ("SIZE 250", 0.1), ("SMTPUTF8", 0.7)];

fn settings() -> impl Strategy<Value = Settings> {
    let auth = prop_oneof![8 => Just(Auth::Always), 1 => Just(Auth::Off), 1 => Just(Auth::Tls)];
    let newline = select(vec![BareNewline::Normalize, BareNewline::Reject]);
    let rare = || prop::bool::weighted(0.1);
    (
        select(vec![1u32, 3, 100, 100]),
        1u32..4,
        auth,
        newline,
        rare(),
        prop::bool::weighted(0.8),
        (rare(), rare(), rare(), prop::bool::weighted(0.3)),
    )
        .prop_map(
            |(
                max_recipients,
                max_errors,
                auth,
                bare_newline,
                tls_required,
                hold,
                (xclient, starttls, add_received, lmtp),
            )| {
                let minute = Duration::from_secs(60);
                let timeout = Timeouts { greeting: minute, command: minute, data: minute, session: minute };
                Settings {
                    hostname: "mx.example.org".into(),
                    banner: "mx.example.org ESMTP".into(),
                    contact: "ask@example.org".into(),
                    max_recipients,
                    max_errors,
                    auth,
                    starttls: true,
                    tls_required,
                    timeout,
                    min_rate: 500,
                    hold,
                    bare_newline,
                    bare_newline_exempt_relay_client: false,
                    backend_protocol: if lmtp { BackendProtocol::Lmtp } else { BackendProtocol::Smtp },
                    backend_reply: minute,
                    backend_connect: minute,
                    hide_user: false,
                    add_received,
                    backend_starttls: starttls,
                    xclient,
                }
            },
        )
}

fn throttle() -> impl Strategy<Value = Throttle> {
    let counts = vec![
        Count::AuthFailures,
        Count::Bytes,
        Count::Connections,
        Count::Mails,
        Count::Messages,
        Count::Recipients,
        Count::Rejections,
        Count::Retries,
        Count::UnknownRecipients,
    ];
    let parts = vec![Part::Client, Part::ClientNet, Part::Helo, Part::Recipient, Part::Sender, Part::User];
    let groups = || subsequence(vec![Group::Authenticated, Group::NullSender, Group::RelayClient], 0..2);
    let action = select(vec![Action::Block, Action::Defer, Action::Disconnect]);
    let numbers = (1u64..4, select(vec![0u32, 0, 1, 2]), prop::bool::weighted(0.1));
    let throttle = (0u32..4, select(counts), subsequence(parts, 0..3), groups(), groups(), action, numbers).prop_map(
        |(number, count, per, only, except, action, (burst, escalate, shadow))| Throttle {
            name: format!("throttle-{number}").into(),
            count,
            per,
            only,
            except,
            cells: if count == Count::Bytes { 200 } else { 2 },
            period: Duration::from_hours(3),
            burst: if count == Count::Bytes { 150 * burst } else { burst },
            action,
            block: BlockLength::default(),
            escalate,
            shadow,
        },
    );
    let throttle = throttle.prop_filter("impossible", |throttle| throttle.faults().is_none());
    prop_oneof![2 => throttle, 1 => select(pointed())]
}

/// Throttles that are about what a session, or the one before it, has done.
fn pointed() -> Vec<Throttle> {
    let [retrying_sender, bounces, ..] = <[Throttle; 4]>::try_from(Throttle::shipped()).unwrap();
    let refusals = Throttle { burst: 1, except: vec![], per: vec![Part::ClientNet], ..retrying_sender };
    vec![
        Throttle { burst: 1, ..bounces },
        Throttle { action: Action::Block, ..refusals.clone() },
        Throttle { count: Count::Rejections, name: "rejections".into(), ..refusals.clone() },
        refusals,
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    let throttles = vec(throttle(), 0..4);
    let limits = (option::of(select(vec![120u64, 300, 5000, 5000])), option::of(select(vec![110u64, 280, 5000])));
    let repeat = (prop::bool::weighted(0.8), 0u32..3, select(vec![1u64, 200]));
    let flags = (prop::bool::weighted(0.7), any::<bool>(), any::<bool>());
    (throttles, limits, repeat, flags).prop_map(
        |(throttles, (limit, databytes), (absorb, limit_of_copies, min_size), (is_local, routing, capped))| {
            let list = |name: &str, text: &[u8]| AddressList::parse(name.into(), Dialect::Extended, text).unwrap();
            let mut policy = Policy {
                senders: vec![list("badmailfrom", b"bad@x.example\n")],
                recipients: vec![list("badrcptto", b"trap@example.org\n")],
                local: is_local.then(|| LocalDomains::parse("rcpthosts".into(), b"example.org\n")),
                routing,
                throttles: Throttle::with_shares(throttles),
                repeat: RepeatRules { absorb, limit: limit_of_copies, min_size, ..RepeatRules::default() },
                hops: HopRules { max: 2, own: 1 },
                ..Policy::default()
            };
            policy.size.limit = limit;
            policy.size.databytes = databytes;
            let caps = capped.then(|| Cap { recipients: list("size.recipients", b"sue@example.org\n"), limit: 200 });
            policy.size.caps.extend(caps);
            for (key, deny, variables) in [
                ("192.0.2.66", true, vec![]),
                ("10.", false, vec![(Box::from(b"RELAYCLIENT".as_slice()), Box::default())]),
            ] {
                let location = Location { source: "tcp.smtp".into(), line: 1 };
                assert!(policy.clients.insert(key.as_bytes().into(), ClientRule { deny, variables, location }));
            }
            policy
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    let often = |often: &'static str, rarely: Vec<&'static str>| prop_oneof![5 => Just(often), 3 => select(rarely)];
    let recipients = vec![
        "sue@example.org",
        "sue@example.org",
        "Joe@example.org",
        "trap@example.org",
        "a@else.example",
        "c%else.example@example.org",
        "b\u{fc}ro@example.org",
        "<root>",
    ];
    let senders = vec!["b@x.example", "b@x.example", "<>", "<>", "<>", "bad@x.example", "\u{e4}@x"];
    let clients = vec!["192.0.2.9", "192.0.2.66", "10.0.0.1", "10.0.0.1", "2001:db8::1"];
    let (client, sender) = (often("192.0.2.1", clients), often("a@x.example", senders));
    let size = option::weighted(0.4, select(vec![0u64, 80, 250, 350, 9000]));
    let helo = prop_oneof![20 => Just("c.example"), 10 => Just("d.example"), 1 => Just("a\u{1}")];
    let session = (any::<bool>(), prop::bool::weighted(0.1), helo);
    (client, vec(often("joe@example.org", recipients), 1..5), sender, size, session).prop_map(
        |(client, recipients, sender, size, (tls, logs_in, helo))| Message {
            client: client.parse().unwrap(),
            host: None,
            helo: helo.to_owned(),
            tls,
            user: logs_in.then(|| "joe".to_owned()),
            sender: sender.to_owned(),
            recipients: recipients.into_iter().map(str::to_owned).collect(),
            size,
            eight_bit: None,
        },
    )
}

fn attempt() -> impl Strategy<Value = Try> {
    let fate = select(vec![Fate::Takes, Fate::Takes, Fate::Loses, Fate::Hangs]);
    let text = option::weighted(0.8, 0..TEXTS.len());
    // A storm of recipients that nobody knows, now and then.
    let storm = prop::bool::weighted(0.03);
    (message(), text, fate, select(vec![0u64, 0, 1, 20, 300]), storm).prop_map(
        |(mut message, text, fate, minutes, storm)| {
            message.eight_bit = text.map(|text| !TEXTS[text].is_ascii());
            if storm {
                message.recipients = (0..60).map(|number| format!("{number}@else.example")).collect();
            }
            Try { message, text, fate, minutes }
        },
    )
}

fn case() -> impl Strategy<Value = Case> {
    let blocks = subsequence(vec!["192.0.2.9", "b@x.example"], 0..2);
    // Often the same message again: that is what most rules are about.
    let tries = (attempt(), vec((attempt(), prop::bool::weighted(0.7)), 1..7)).prop_map(|(first, others)| {
        let message = |(other, same): (Try, bool)| if same { Try { fate: other.fate, ..first.clone() } } else { other };
        std::iter::once(first.clone()).chain(others.into_iter().map(message)).collect()
    });
    let offer = OFFERS.map(|(keyword, how_often)| {
        prop::bool::weighted(how_often).prop_map(move |is_offered| is_offered.then(|| keyword.to_owned()))
    });
    (settings(), policy(), offer, blocks, tries).prop_map(|(settings, policy, offer, blocks, tries)| Case {
        snapshot: Arc::new(Snapshot { policy, settings }),
        offer: offer.into_iter().flatten().collect(),
        blocks,
        tries,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn explain_says_what_serve_says_and_leaves_no_trace(case in case()) {
        let (mut explained, mut twin) = (World::new(&case), World::new(&case));
        for attempt in &case.tries {
            explained.pass(attempt.minutes);
            twin.pass(attempt.minutes);
            let foretold = explained.foretell(&case, attempt);
            let heard = explained.serve(&case, attempt);
            prop_assert_eq!(&foretold, &heard, "{:?}", attempt);
            prop_assert_eq!(&twin.serve(&case, attempt), &heard, "explained before, {:?}", attempt);
            prop_assert_eq!(explained.contents(), twin.contents(), "{:?}", attempt);
        }
    }
}

impl World {
    fn new(case: &Case) -> Self {
        let clock = Arc::new(Virtual::new(Time::from_seconds(1_795_395_525)));
        let state = Arc::new(State::in_memory(Seed::new([7; 16]), clock.clone()));
        for block in &case.blocks {
            state.tables().blocks.add(&block.parse().unwrap(), Duration::from_hours(1), "").unwrap();
        }
        Self { state, clock, hanging: Vec::new() }
    }

    fn pass(&mut self, minutes: u64) {
        self.clock.advance(Duration::from_secs(60 * minutes));
    }

    fn foretell(&self, case: &Case, attempt: &Try) -> Vec<Heard> {
        let script = attempt.message.clone().script().unwrap();
        let body = attempt.text.map(|text| message::as_sent(TEXTS[text].as_bytes())).unwrap_or_default();
        let (backend, look) = (Backend::of(Some(&case.offer)), Look::at(self.state.clone()));
        let (steps, _) = rehearse(&case.snapshot, &self.state.tables().seed, &script, backend, &body, look);
        let said = |said: &Said| {
            let refused =
                (said.code >= 400).then(|| format!("{} {:?} {:?}", said.code, said.reason.unwrap(), said.rule));
            (said.line.clone(), refused)
        };
        steps.iter().map(|step| step.said.iter().map(said).collect()).collect()
    }

    fn serve(&mut self, case: &Case, attempt: &Try) -> Vec<Heard> {
        let mut served = Served::begin(self, case, attempt);
        served.play(attempt);
        let (heard, mut claims) = (served.heard, served.claims);
        match attempt.fate {
            Fate::Takes => _ = claims.deliver(Delivery::Acknowledged),
            Fate::Loses => _ = claims.deliver(Delivery::Unacknowledged),
            Fate::Hangs => self.hanging.push(claims),
        }
        heard
    }

    /// All that can be counted from outside.
    fn contents(&self) -> String {
        let tables = self.state.tables();
        let memories =
            [tables.oversizes.len(), tables.escalations.len(), tables.refusals.len(), tables.familiars.len()];
        format!("{:?} {memories:?} {} {}", tables.blocks.list(), tables.throttles.len(), tables.ledger.len())
    }
}

/// A session whose questions are answered by the state, and counted there.
struct Served {
    session: Session,
    state: Arc<State>,
    claims: Claims,
    offer: Vec<String>,
    input: BytesMut,
    replies: BytesMut,
    in_message: bool,
    lmtp: bool,
    /// Replies to the dot.
    dots: usize,
    said: String,
    records: Vec<Record>,
    heard: Vec<Heard>,
    now: Now,
}

impl Served {
    fn begin(world: &World, case: &Case, attempt: &Try) -> Self {
        let now = Now { monotonic: Instant::now(), wall: Timestamp::UNIX_EPOCH };
        let peer = Peer::direct((attempt.message.client, 40000).into(), "127.0.0.1:25".parse().unwrap());
        let mut session =
            Session::new("session".into(), case.snapshot.clone(), world.state.tables().seed.clone(), peer, now);
        session.start(Admission::Granted, Duration::ZERO, attempt.message.tls.then_some("TLSv1.3"), now);
        Self {
            session,
            state: world.state.clone(),
            claims: Claims::default(),
            offer: case.offer.clone(),
            input: BytesMut::new(),
            replies: BytesMut::new(),
            in_message: false,
            lmtp: false,
            dots: 1,
            said: String::new(),
            records: Vec::new(),
            heard: Vec::new(),
            now,
        }
    }

    /// A client that goes as far as it is let.
    fn play(&mut self, attempt: &Try) {
        let Message { helo, user, sender, recipients, size, eight_bit, .. } = &attempt.message;
        let greeted = self.say("");
        if !greeted || !self.say(&format!("EHLO {helo}\r\n")) {
            return;
        }
        // "\0joe\0x"
        if user.is_some() && !self.say("AUTH PLAIN AGpvZQB4\r\n") {
            return;
        }
        let path = |address: &str| if address.starts_with('<') { address.to_owned() } else { format!("<{address}>") };
        let size = size.map(|size| format!(" SIZE={size}")).unwrap_or_default();
        let body = if *eight_bit == Some(true) { " BODY=8BITMIME" } else { "" };
        let utf8 = if format!("{sender}{recipients:?}").is_ascii() { "" } else { " SMTPUTF8" };
        if !self.say(&format!("MAIL FROM:{}{size}{body}{utf8}\r\n", path(sender))) {
            return;
        }
        let taken = recipients.iter().filter(|recipient| self.say(&format!("RCPT TO:{}\r\n", path(recipient)))).count();
        let Some(text) = attempt.text.filter(|_| taken > 0) else { return };
        if self.say("DATA\r\n") {
            let text = String::from_utf8(message::as_sent(TEXTS[text].as_bytes())).unwrap();
            self.say(&text);
        }
    }

    /// Whether it is answered by a yes.
    fn say(&mut self, octets: &str) -> bool {
        if self.session.is_over() {
            return false;
        }
        self.input.extend_from_slice(octets.as_bytes());
        while let Some(output) = self.session.advance(&mut self.input, false, self.now) {
            self.obey(output);
        }
        let said = std::mem::take(&mut self.said);
        let last = said.lines().filter(|line| line.as_bytes()[3] == b' ');
        let mut records = std::mem::take(&mut self.records).into_iter();
        let heard: Heard = last
            .map(|line| {
                let code: u16 = line[..3].parse().unwrap();
                let refused = (code >= 400).then(|| {
                    let record = records.find(|record| record.code == Some(code)).unwrap();
                    format!("{code} {:?} {:?}", record.reason.unwrap(), record.rule)
                });
                (line.to_owned(), refused)
            })
            .collect();
        let passes = heard.iter().all(|(_, refused)| refused.is_none());
        self.heard.push(heard);
        passes
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::Ask(ticket, question) => {
                let (answer, claim) = answers::answer(self.state.tables(), &question);
                self.claims.hold(claim);
                self.session.handle_answer(ticket, answer, self.now);
            }
            Output::Backend(octets) => {
                let reply = self.backend(&octets);
                self.replies.extend_from_slice(reply.as_bytes());
                self.session.handle_backend(&mut self.replies, true, self.now);
            }
            Output::BackendBody(_) => self.session.handle_body_sent(self.now),
            Output::BackendStartTls => self.session.handle_backend_open(false, self.now),
            Output::Client(octets) => self.said.push_str(str::from_utf8(&octets).unwrap()),
            Output::Count(event) => answers::count(self.state.tables(), &event),
            Output::Deliver(delivery) => _ = self.claims.deliver(delivery),
            Output::EndMessage => self.claims.hold(None),
            Output::HoldBegin { .. } => self.session.handle_hold(Ok(()), self.now),
            Output::OpenBackend { .. } => {
                (self.in_message, self.lmtp) = (false, false);
                self.session.handle_backend_open(false, self.now);
                self.session.handle_backend(&mut BytesMut::from("220 b\r\n"), true, self.now);
            }
            Output::Record(record) => self.records.push(Arc::unwrap_or_clone(record)),
            _ => {}
        }
    }

    fn backend(&mut self, octets: &[u8]) -> String {
        let text = String::from_utf8_lossy(octets);
        if self.in_message {
            self.in_message = text != ".\r\n";
            return if self.in_message { String::new() } else { "250 2.0.0 Ok\r\n".repeat(self.dots) };
        }
        self.in_message = text == "DATA\r\n";
        let verb = text.split([' ', '\r']).next().unwrap();
        self.lmtp |= verb == "LHLO";
        self.dots = match verb {
            "RCPT" if self.lmtp => self.dots + 1,
            "MAIL" => usize::from(!self.lmtp),
            _ => self.dots,
        };
        match verb {
            "AUTH" => "235 2.7.0 Ok\r\n".to_owned(),
            "DATA" => "354 go\r\n".to_owned(),
            "EHLO" | "LHLO" => {
                let offer: String = self.offer.iter().map(|keyword| format!("250-{keyword}\r\n")).collect();
                format!("250-b\r\n{offer}250-STARTTLS\r\n250 XCLIENT NAME ADDR\r\n")
            }
            "STARTTLS" | "XCLIENT" => "220 go\r\n".to_owned(),
            _ => "250 2.0.0 Ok\r\n".to_owned(),
        }
    }
}
