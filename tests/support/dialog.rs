//! Dialogs: sessions as text files. The file is the expected transcript; its inputs are replayed and the whole is
//! compared, so that a change of behaviour is a readable diff. It must not decide anything.
//!
//! Inputs: `C` a line of the client, `P` the same but sent together with what follows, `W` raw octets (`\r \n \0 \xNN`),
//! `F` the client ends its side, `R` it resets, `B` a line of the backend, `!` the backend `lost` or `busy`, `@` seconds
//! pass, `S` we are to stop, `K` the time for that is up, `G` another client wants a backend session, `H` the hold breaks,
//! `X` connections are nearly used up, `Y` so is the hold (how much so), `E` others need the room of this message, `Z`
//! the place of this connection, `O` an operator blocks somebody.
//! Where the answers come late (`= answers late`), `A` is the answer to the question that is open, `A twice` the last one
//! again, `A wrong` one to a question of another kind.
//! `M` is `B` that arrives in the same octets as the `B` behind it.
//! `V` is `B` before what is meant for the backend was written to it. `U` what is said to the client is not written any
//! more (`U no`: again), `L` how the client took what was said before the close, and how its side ended: `heard`, `acknowledged fin`, `acknowledged
//! reset`, `lost reset`, `waited reset` (when we spoke unasked), `N` another connection (from another client).
//! Outputs: `c` to the client, `b` to the backend, `o` a backend session is opened, `q` it is ended by QUIT, `d` it is
//! dropped; `s` the held message is handed over with this envelope (`B` answers it); `a` a question is asked, or (`a none`) not waited for any more (`q kept`: left to other clients, `o kept`: one of theirs), `k` whether an acknowledgement was taken, or how many recipients were served of a message that is to come again, `h` a message is held, `t` the TLS handshake (`T` the backend's), `x` the client's connection is closed, `r` the record, `f` what a follower is told (`= followed`).
//! Settings come first, as `= name value`; `#` lines are comments.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::BytesMut;
use jiff::Timestamp;
use portcullis::front::answers;
use portcullis::front::answers::Claims;
use portcullis::policy::Policy;
use portcullis::policy::client::ClientRule;
use portcullis::policy::environment::Variables;
use portcullis::policy::known::KnownList;
use portcullis::policy::known::KnownRecipients;
use portcullis::policy::list::AddressList;
use portcullis::policy::list::Dialect;
use portcullis::policy::list::location::Location;
use portcullis::policy::local::LocalDomains;
use portcullis::policy::repeat::CopyKeys;
use portcullis::policy::size::Cap;
use portcullis::policy::throttle::Action;
use portcullis::policy::throttle::Count;
use portcullis::policy::throttle::Throttle;
use portcullis::policy::throttle::key::Seed;
use portcullis::policy::throttle::part::Part;
use portcullis::policy::virtualdomains::VirtualDomains;
use portcullis::session::Session;
use portcullis::session::io::Admission;
use portcullis::session::io::BackendEnd;
use portcullis::session::io::ClientEnd;
use portcullis::session::io::Delivery;
use portcullis::session::io::Farewell;
use portcullis::session::io::Form;
use portcullis::session::io::HoldEnd;
use portcullis::session::io::Line;
use portcullis::session::io::Now;
use portcullis::session::io::Output;
use portcullis::session::io::Peer;
use portcullis::session::io::Release;
use portcullis::session::io::Sending;
use portcullis::session::io::Side;
use portcullis::session::io::Submission;
use portcullis::session::question::Answer;
use portcullis::session::question::Question;
use portcullis::session::question::Ticket;
use portcullis::session::record::Record;
use portcullis::session::settings::Auth;
use portcullis::session::settings::BackendProtocol;
use portcullis::session::settings::Settings;
use portcullis::session::settings::Timeouts;
use portcullis::session::snapshot::Snapshot;
use portcullis::smtp::data::BareNewline;
use portcullis::smtp::reply::Offer;
use portcullis::smtp::reply_reader::ReplyReader;
use portcullis::smtp::stuffing::Stuffer;
use portcullis::store::clock::Time;
use portcullis::store::clock::Virtual;
use portcullis::store::state::State;

/// A dialog as written in the file.
#[derive(Clone, Debug)]
pub struct Dialog {
    pub head: Vec<String>,
    pub lines: Vec<String>,
}

/// The settings of the `=` lines.
#[derive(Debug)]
pub struct Scene {
    pub snapshot: Arc<Snapshot>,
    pub client: IpAddr,
    /// The backend's offer, if it is known.
    pub offer: Option<Arc<Offer>>,
    pub admission: Admission,
    pub greet_delay: Duration,
    pub no_room: bool,
    pub handshake_fails: bool,
    pub hold: Result<(), HoldEnd>,
    /// Whether backend sessions left in order are kept for another client.
    pub keeps: bool,
    /// Backend sessions that other clients have left.
    pub kept: usize,
    /// Whether answers come only when the dialog says so.
    pub answers_late: bool,
    /// Whether the backend of a test that plays it itself offers CHUNKING.
    pub chunking: bool,
    /// Whether the session is followed.
    pub followed: bool,
}

impl Dialog {
    pub fn parse(text: &str) -> Self {
        let is_head = |line: &&str| line.is_empty() || line.starts_with(['#', '=']);
        let head: Vec<String> = text.lines().take_while(is_head).map(str::to_owned).collect();
        let lines = text.lines().skip(head.len()).map(str::to_owned).collect();
        Self { head, lines }
    }

    /// Settings with short limits, one blocked sender, and what the head changes of that.
    pub fn scene(&self) -> Scene {
        let mut scene = Builder::default();
        for line in self.head.iter().filter_map(|line| line.strip_prefix("= ")) {
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            scene.set(name, value);
        }
        scene.build()
    }
}

struct Builder {
    policy: Policy,
    settings: Settings,
    client: IpAddr,
    offer: Offer,
    offer_unknown: bool,
    admission: Admission,
    greet_delay: Duration,
    variables: Vec<(Vec<u8>, Vec<u8>)>,
    no_room: bool,
    handshake_fails: bool,
    hold: Result<(), HoldEnd>,
    keeps: bool,
    kept: usize,
    answers_late: bool,
    chunking: bool,
    followed: bool,
}

impl Default for Builder {
    fn default() -> Self {
        let list = b"newsletter@sillyplace.com\n@blocked.example\n";
        let policy = Policy {
            senders: vec![AddressList::parse("badmailfrom".into(), Dialect::Qmail, list).unwrap()],
            throttles: Throttle::shipped(),
            ..Policy::default()
        };
        Self {
            policy,
            settings: settings(),
            client: "192.0.2.7".parse().unwrap(),
            offer: Offer::default(),
            offer_unknown: false,
            admission: Admission::Granted,
            greet_delay: Duration::ZERO,
            variables: Vec::new(),
            no_room: false,
            handshake_fails: false,
            hold: Ok(()),
            keeps: false,
            kept: 0,
            answers_late: false,
            chunking: false,
            followed: false,
        }
    }
}

impl Builder {
    #[allow(clippy::too_many_lines, reason = "a table")]
    fn set(&mut self, name: &str, value: &str) {
        let list =
            |source: &str| AddressList::parse(source.into(), Dialect::Extended, value.replace(' ', "\n").as_bytes());
        match name {
            "add_received" => self.settings.add_received = value == "yes",
            "admission" => {
                self.admission = match value {
                    "full" => Admission::Full,
                    "full_for_client" => Admission::FullForClient,
                    "stopping" => Admission::Stopping,
                    other => panic!("unknown admission {other}"),
                }
            }
            "answers" if value == "late" => self.answers_late = true,
            "auth" if value == "always" => self.settings.auth = Auth::Always,
            "auth" if value == "off" => self.settings.auth = Auth::Off,
            "backend" if value == "queue" => self.settings.backend_protocol = BackendProtocol::Queue,
            "badmailfrom" => self.policy.senders = vec![list("badmailfrom").unwrap()],
            "badrcptto" => self.policy.recipients = vec![list("badrcptto").unwrap()],
            "bare_newline" if value == "reject" => self.settings.bare_newline = BareNewline::Reject,
            "bare_newline_exempt" => self.settings.bare_newline_exempt_relay_client = true,
            // The whole budget of null senders at once.
            "bounces" => {
                let bounces = &mut self.policy.throttles[1];
                (bounces.cells, bounces.burst) = (value.parse().unwrap(), value.parse().unwrap());
            }
            "cap" => {
                let (limit, who) = value.split_once(' ').unwrap();
                let text = who.replace(' ', "\n");
                let recipients =
                    AddressList::parse("size.recipients".into(), Dialect::Extended, text.as_bytes()).unwrap();
                self.policy.size.caps.push(Cap { recipients, limit: limit.parse().unwrap() });
            }
            "contact" => self.settings.contact = value.into(),
            "client" => self.client = value.parse().unwrap(),
            "databytes" => self.policy.size.databytes = Some(value.parse().unwrap()),
            "deny" => self
                .policy
                .clients
                .insert(
                    value.as_bytes().into(),
                    ClientRule {
                        deny: true,
                        variables: Vec::new(),
                        location: Location { source: "tcp.smtp".into(), line: 3 },
                    },
                )
                .then_some(())
                .unwrap(),
            "env" => {
                let (name, value) = value.split_once('=').unwrap();
                self.variables.push((name.into(), value.into()));
            }
            "hide_user" => self.settings.hide_user = true,
            // A variable of the client's rule in tcprules.
            "rule" => {
                let (name, value) = value.split_once('=').unwrap();
                let variables = vec![(name.as_bytes().into(), value.as_bytes().into())];
                let location = Location { source: "tcp.smtp".into(), line: 3 };
                let rule = ClientRule { deny: false, variables, location };
                assert!(self.policy.clients.insert(self.client.to_string().as_bytes().into(), rule));
            }
            "greet_delay" => self.greet_delay = Duration::from_secs(value.parse().unwrap()),
            "handshake" if value == "fails" => self.handshake_fails = true,
            "hold" if value == "off" => self.settings.hold = false,
            "hold" if value == "full" => self.hold = Err(HoldEnd::NoRoom),
            "lmtp" => self.settings.backend_protocol = BackendProtocol::Lmtp,
            "keep_backend" => self.keeps = true,
            "kept" => self.kept = value.parse().unwrap(),
            "known" => {
                let text = format!("{}\n", value.replace(' ', "\n"));
                let list = KnownList::parse("known".into(), Dialect::Qmail, text.as_bytes()).unwrap();
                self.policy.known = KnownRecipients::new(vec![list]);
            }
            "limit" => self.policy.size.limit = Some(value.parse().unwrap()),
            "max_errors" => self.settings.max_errors = value.parse().unwrap(),
            "max_hops" => self.policy.hops.max = value.parse().unwrap(),
            "max_recipients" => self.settings.max_recipients = value.parse().unwrap(),
            "no_room" => self.no_room = true,
            "offer" if value == "unknown" => self.offer_unknown = true,
            "offer" => value.split(' ').for_each(|keyword| self.offer(keyword)),
            "repeat" => {
                let (limit, min_size) = value.split_once(' ').unwrap();
                self.policy.repeat.limit = limit.parse().unwrap();
                self.policy.repeat.min_size = min_size.parse().unwrap();
            }
            "rcpthosts" => self.policy.local = Some(LocalDomains::parse("rcpthosts".into(), value.as_bytes())),
            "routing" => self.policy.routing = true,
            "virtualdomains" => self.policy.virtual_domains = VirtualDomains::parse(value.as_bytes()),
            "starttls" => self.settings.starttls = true,
            "throttle" => self.throttle(value),
            "throttle_count" if value == "mails" => self.policy.throttles[0].count = Count::Mails,
            "throttle_count" if value == "bytes" => self.policy.throttles[0].count = Count::Bytes,
            "throttle_connections" => {
                self.throttle(value);
                let throttle = &mut self.policy.throttles[0];
                (throttle.count, throttle.per) = (Count::Connections, vec![Part::Client]);
            }
            "throttle_escalate" => self.policy.throttles[0].escalate = value.parse().unwrap(),
            // `COUNT BURST ACTION`, per client network and, for logins, user.
            "throttle_of" => {
                let words: Vec<&str> = value.split(' ').collect();
                let mut throttle = match words[0] {
                    "auth_failures" => Throttle::shipped().remove(2),
                    _ => Throttle {
                        count: Count::UnknownRecipients,
                        per: vec![Part::ClientNet],
                        ..Throttle::shipped().remove(3)
                    },
                };
                throttle.burst = words[1].parse().unwrap();
                throttle.action = match words[2] {
                    "defer" => Action::Defer,
                    "block" => Action::Block,
                    _ => Action::Disconnect,
                };
                throttle.name = words[0].replace('_', "-").into();
                self.policy.throttles = vec![throttle];
            }
            "chunking" => self.chunking = true,
            "followed" => self.followed = true,
            "backend_starttls" => self.settings.backend_starttls = true,
            "xclient" => self.settings.xclient = true,
            "tls_required" => self.settings.tls_required = true,
            other => panic!("unknown setting {other} {value}"),
        }
    }

    fn offer(&mut self, keyword: &str) {
        match keyword.split_once('=').unwrap_or((keyword, "")) {
            ("SIZE", limit) => self.offer.size = Some(limit.parse().unwrap()),
            ("8BITMIME", _) => self.offer.eight_bit_mime = true,
            ("SMTPUTF8", _) => self.offer.smtputf8 = true,
            ("AUTH", mechanisms) => self.offer.auth = Some(mechanisms.replace(',', " ")),
            other => panic!("unknown keyword {other:?}"),
        }
    }

    /// Changes the shipped retrying-sender: `ACTION BURST`.
    fn throttle(&mut self, value: &str) {
        let (action, burst) = value.split_once(' ').unwrap();
        let throttle = &mut self.policy.throttles[0];
        throttle.burst = burst.parse().unwrap();
        match action {
            "defer" => throttle.action = Action::Defer,
            "block" => throttle.action = Action::Block,
            "disconnect" => throttle.action = Action::Disconnect,
            "shadow" => throttle.shadow = true,
            other => panic!("unknown action {other}"),
        }
    }

    fn build(mut self) -> Scene {
        self.policy.variables = Arc::new(Variables::new(self.variables));
        self.policy.throttles = Throttle::with_shares(self.policy.throttles);
        Scene {
            snapshot: Arc::new(Snapshot { policy: self.policy, settings: self.settings }),
            client: self.client,
            offer: (!self.offer_unknown).then(|| self.offer.into()),
            admission: self.admission,
            greet_delay: self.greet_delay,
            no_room: self.no_room,
            handshake_fails: self.handshake_fails,
            hold: self.hold,
            keeps: self.keeps,
            kept: self.kept,
            answers_late: self.answers_late,
            chunking: self.chunking,
            followed: self.followed,
        }
    }
}

pub fn settings() -> Settings {
    Settings {
        hostname: "mx.example.org".into(),
        banner: "mx.example.org ESMTP".into(),
        contact: "".into(),
        max_recipients: 100,
        max_errors: 20,
        auth: Auth::Tls,
        starttls: false,
        tls_required: false,
        timeout: Timeouts {
            greeting: Duration::from_secs(30),
            command: Duration::from_secs(300),
            data: Duration::from_secs(180),
            session: Duration::from_secs(3600),
        },
        min_rate: 500,
        hold: true,
        bare_newline: BareNewline::Normalize,
        bare_newline_exempt_relay_client: false,
        backend_protocol: BackendProtocol::Smtp,
        backend_reply: Duration::from_secs(300),
        backend_connect: Duration::from_secs(10),
        hide_user: false,
        add_received: false,
        backend_starttls: false,
        xclient: false,
    }
}

/// A player of dialogs on a bare session.
pub struct Player {
    session: Session,
    scene: Scene,
    state: State,
    claims: Claims,
    /// The open question, and the last answer given.
    open: Option<(Ticket, Box<Question>)>,
    last: Option<(Ticket, Answer)>,
    /// Claims of connections whose end was not reported yet.
    earlier: Vec<Claims>,
    /// Whether output to the client is not written.
    unwritten: bool,
    clock: Arc<Virtual>,
    began: Instant,
    elapsed: Duration,
    input: BytesMut,
    replies: BytesMut,
    held: Vec<u8>,
    form: Form,
    /// Whether a message was handed over whole, and not answered yet.
    submitted: bool,
    /// A line to the backend without its end so far.
    unfinished: Vec<u8>,
    ended: bool,
    /// Octets of the client that arrive at a time.
    cut: usize,
    pub transcript: Vec<String>,
}

impl Player {
    pub fn new(dialog: &Dialog, cut: usize) -> Self {
        let scene = dialog.scene();
        let clock = Arc::new(Virtual::new(Time::from_seconds(1_795_395_525)));
        let began = Instant::now();
        let now = Now { monotonic: began, wall: Timestamp::UNIX_EPOCH };
        let peer = Peer::direct((scene.client, 40000).into(), "127.0.0.1:25".parse().unwrap());
        let session = Session::new("S".into(), scene.snapshot.clone(), Seed::new([7; 16]), peer, now);
        Self {
            session,
            scene,
            state: State::in_memory(Seed::new([7; 16]), clock.clone()),
            claims: Claims::default(),
            open: None,
            last: None,
            earlier: Vec::new(),
            unwritten: false,
            clock,
            began,
            elapsed: Duration::ZERO,
            input: BytesMut::new(),
            replies: BytesMut::new(),
            held: Vec::new(),
            form: Form::Wire,
            submitted: false,
            unfinished: Vec::new(),
            ended: false,
            cut,
            transcript: dialog.head.clone(),
        }
    }

    pub fn play(mut self, dialog: &Dialog) -> Vec<String> {
        self.session.follow(self.scene.followed);
        self.offer();
        let now = self.now();
        self.session.start(self.scene.admission, self.scene.greet_delay, None, now);
        self.drain();
        let (mut together, mut replies) = (Vec::new(), Vec::new());
        for line in &dialog.lines {
            let (kind, rest) = line.split_at(line.len().min(1));
            let rest = rest.strip_prefix(' ').unwrap_or(rest);
            if is_input(kind) {
                self.transcript.push(line.clone());
            }
            match kind {
                "P" => together.extend_from_slice(&[rest.as_bytes(), b"\r\n"].concat()),
                "C" => {
                    together.extend_from_slice(&[rest.as_bytes(), b"\r\n"].concat());
                    self.client(&std::mem::take(&mut together));
                }
                "W" => {
                    together.extend(unescape(rest));
                    self.client(&std::mem::take(&mut together));
                }
                "M" => replies.extend([rest.as_bytes(), b"\r\n"].concat()),
                "B" => {
                    replies.extend([rest.as_bytes(), b"\r\n"].concat());
                    self.backend(&std::mem::take(&mut replies), true);
                }
                "V" => self.backend(&[rest.as_bytes(), b"\r\n"].concat(), false),
                "#" | "" => self.transcript.push(line.clone()),
                _ => self.other(kind, rest),
            }
        }
        self.transcript
    }

    fn other(&mut self, kind: &str, rest: &str) {
        let now = self.now();
        match kind {
            "@" => self.pass(Duration::from_secs(rest.parse().unwrap())),
            "A" => self.late_answer(rest),
            "F" => self.ended = true,
            "R" => self.session.handle_client_reset(now),
            "G" => self.session.handle_backend_wanted(),
            "H" => self.session.handle_hold(Err(HoldEnd::Broken), now),
            "K" => self.session.handle_kill(now),
            "L" => {
                let end = match rest.rsplit(' ').next() {
                    Some("fin") => ClientEnd::Fin,
                    Some("reset") => ClientEnd::Reset,
                    _ => ClientEnd::Open,
                };
                let acknowledged = !rest.starts_with("lost");
                self.session.handle_farewell(Farewell {
                    acknowledged,
                    heard: rest.starts_with("heard"),
                    waited: rest.starts_with("waited"),
                    end,
                });
            }
            "N" => return self.reconnect(rest),
            "O" => drop(self.state.tables().blocks.add(&rest.parse().unwrap(), Duration::from_secs(3600), "").unwrap()),
            "U" => self.unwritten = rest != "no",
            "S" => self.session.handle_stop(now),
            "X" => self.session.handle_stress(true),
            "Y" => self.session.handle_pressure(rest.parse().unwrap()),
            "Z" => self.session.handle_place_wanted(now),
            "E" => self.session.handle_hold_wanted(now),
            "!" if self.submitted => {
                self.submitted = false;
                let end = if rest == "busy" { BackendEnd::Busy } else { BackendEnd::Lost };
                self.session.handle_submission(Err(end), now);
            }
            "!" if rest == "busy" => self.session.handle_backend_end(BackendEnd::Busy, now),
            "!" => self.session.handle_backend_end(BackendEnd::Lost, now),
            _ => return,
        }
        self.drain();
    }

    /// Begins another connection, from this client or another.
    fn reconnect(&mut self, client: &str) {
        let client = if client.is_empty() { self.scene.client } else { client.parse().unwrap() };
        let peer = Peer::direct((client, 40000).into(), "127.0.0.1:25".parse().unwrap());
        let now = self.now();
        self.session = Session::new("S".into(), self.scene.snapshot.clone(), Seed::new([7; 16]), peer, now);
        self.earlier.push(std::mem::take(&mut self.claims));
        (self.ended, self.unwritten) = (false, false);
        self.input.clear();
        self.replies.clear();
        self.session.follow(self.scene.followed);
        self.offer();
        self.session.start(self.scene.admission, self.scene.greet_delay, None, now);
        self.drain();
    }

    fn offer(&mut self) {
        if let Some(offer) = &self.scene.offer {
            self.session.handle_offer(offer.clone(), true);
        }
    }

    fn now(&self) -> Now {
        Now { monotonic: self.began + self.elapsed, wall: Timestamp::UNIX_EPOCH + self.elapsed }
    }

    fn client(&mut self, octets: &[u8]) {
        for piece in octets.chunks(self.cut) {
            self.session.handle_client_heard();
            self.input.extend_from_slice(piece);
            self.drain();
        }
    }

    fn backend(&mut self, octets: &[u8], written: bool) {
        if std::mem::take(&mut self.submitted) {
            let reply = ReplyReader::default().next(&mut octets.into()).unwrap().unwrap();
            self.session.handle_submission(Ok(reply), self.now());
            return self.drain();
        }
        for piece in octets.chunks(self.cut) {
            self.replies.extend_from_slice(piece);
            let now = self.now();
            self.session.handle_backend(&mut self.replies, written, now);
            self.drain();
        }
    }

    /// Passes virtual time, from one deadline to the next.
    fn pass(&mut self, time: Duration) {
        let end = self.elapsed + time;
        while let Some(deadline) = self.session.deadline() {
            let at = deadline.saturating_duration_since(self.began);
            if at > end || self.session.is_over() {
                break;
            }
            self.clock.advance(at.saturating_sub(self.elapsed));
            self.elapsed = self.elapsed.max(at);
            let now = self.now();
            self.session.handle_timeout(now);
            self.drain();
        }
        self.clock.advance(end.saturating_sub(self.elapsed));
        self.elapsed = end;
    }

    fn drain(&mut self) {
        self.obey_all();
        if !self.unwritten {
            self.session.handle_client_written();
        }
    }

    fn obey_all(&mut self) {
        let now = self.now();
        while let Some(output) = self.session.advance(&mut self.input, self.ended, now) {
            self.obey(output);
        }
    }

    fn obey(&mut self, output: Output) {
        let now = self.now();
        match output {
            Output::Ask(ticket, question) if self.scene.answers_late => {
                self.transcript.push(format!("a {}", name(&question)));
                self.open = Some((ticket, question));
            }
            Output::Ask(ticket, question) => self.answer(ticket, &question),
            Output::Backend(octets) => self.say("b", &octets),
            Output::BackendStartTls => {
                self.transcript.push("T".into());
                self.session.handle_backend_open(false, now);
            }
            Output::BackendBody(sending) => self.send_body(sending),
            Output::Client(octets) => self.say("c", &octets),
            Output::CloseClient => self.transcript.push("x".into()),
            Output::Hold(octets) => self.held.extend_from_slice(&octets),
            Output::HoldBegin { expected, form } => {
                self.transcript.push(format!("h {expected}"));
                self.form = form;
                self.held.clear();
                self.session.handle_hold(self.scene.hold, now);
            }
            Output::EndMessage => self.claims.hold(None),
            Output::Count(event) => answers::count(self.state.tables(), &event),
            Output::Deliver(delivery) => self.deliver(delivery),
            Output::Served(copies) => self.serve(&copies),
            Output::Learned(..) | Output::Login(_) | Output::Took(..) => {}
            Output::StopAsking => self.transcript.push("a none".into()),
            Output::OpenBackend { fresh, .. } => {
                let greeted = !fresh && self.scene.kept > 0;
                self.scene.kept -= usize::from(greeted);
                self.transcript.push(if greeted { "o kept" } else { "o" }.into());
                self.session.handle_backend_open(greeted, now);
            }
            Output::Record(record) => self.transcript.push(format!("r {}", describe(&record))),
            Output::Release(release) => self.release(release),
            Output::Said(line) => self.transcript.push(told(&line)),
            Output::Submit(submission) => self.submit(&submission),
            Output::StartTls => {
                self.input.clear();
                self.transcript.push("t".into());
                let version = (!self.scene.handshake_fails).then_some("TLSv1.3");
                self.session.handle_tls(version, now);
            }
        }
    }

    fn submit(&mut self, submission: &Submission) {
        let Submission { sender, recipients, .. } = submission;
        let to: String = recipients.iter().map(|to| format!(" T<{}>", escape(to))).collect();
        self.transcript.push(format!("s F<{}>{to}", escape(sender)));
        let mut held = std::mem::take(&mut self.held);
        if self.form == Form::Stored {
            held.retain(|octet| *octet != b'\r');
        }
        let lines = held.split_inclusive(|octet| *octet == b'\n');
        self.transcript.extend(lines.map(|line| format!("s {}", escape(line))));
        self.submitted = true;
    }

    fn send_body(&mut self, sending: Sending) {
        let held = sent(sending, std::mem::take(&mut self.held));
        self.say("b", &held);
        self.session.handle_body_sent(self.now());
    }

    fn release(&mut self, release: Release) {
        self.unfinished.clear();
        let word = match release {
            Release::Reusable if self.scene.keeps => "q kept",
            Release::Reusable | Release::Quit => "q",
            Release::Abort => "d",
        };
        self.transcript.push(word.into());
    }

    fn answer(&mut self, ticket: Ticket, question: &Question) {
        let (mut answer, claim) = answers::answer(self.state.tables(), question);
        match &mut answer {
            Answer::Handshake { granted } => *granted = !self.scene.no_room,
            Answer::Mail { has_room, .. } => *has_room = !self.scene.no_room,
            _ => {}
        }
        self.claims.hold(claim);
        self.last = Some((ticket, answer.clone()));
        self.session.handle_answer(ticket, answer, self.now());
    }

    fn late_answer(&mut self, rest: &str) {
        let now = self.now();
        match rest {
            "twice" => {
                let (ticket, answer) = self.last.clone().expect("nothing was answered");
                self.session.handle_answer(ticket, answer, now);
            }
            "wrong" => {
                let ticket = self.open.as_ref().expect("nothing is open").0;
                self.session.handle_answer(ticket, Answer::Handshake { granted: false }, now);
            }
            _ => {
                let (ticket, question) = self.open.take().expect("nothing is open");
                self.answer(ticket, &question);
            }
        }
    }

    fn serve(&mut self, copies: &[CopyKeys]) {
        self.transcript.push(format!("k {} served", copies.len()));
        self.claims.serve(copies);
    }

    fn deliver(&mut self, delivery: Delivery) {
        if self.claims.deliver(delivery) > 0 {
            let taken = delivery == Delivery::Acknowledged;
            self.transcript.push(if taken { "k taken" } else { "k lost" }.into());
        }
    }

    /// Adds a transcript line for each line of octets; a line without its end waits for it.
    fn say(&mut self, who: &str, octets: &[u8]) {
        let unfinished = if who == "b" { &mut self.unfinished } else { &mut Vec::new() };
        unfinished.extend_from_slice(octets);
        let end = unfinished.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
        let whole: Vec<u8> = unfinished.drain(..end).collect();
        for line in whole.split_inclusive(|octet| *octet == b'\n') {
            let text = line.strip_suffix(b"\r\n").unwrap_or(line);
            let text = format!("{who} {}", escape(text));
            self.transcript.push(text.trim_end().to_owned());
        }
    }
}

/// The held octets as they go to the backend.
pub fn sent(sending: Sending, mut held: Vec<u8>) -> Vec<u8> {
    match sending {
        Sending::AsHeld => {
            let dots = held.split(|octet| *octet == b'\n').any(|line| line.starts_with(b"."));
            assert!(!dots, "a line that begins with a dot is not stuffed");
        }
        Sending::Stuffed => held = Stuffer::default().stuff(held.into()).to_vec(),
        Sending::Chunk(octets) => {
            assert_eq!(octets, held.len() as u64, "announced");
            assert_eq!(held.split_off(held.len() - 2), b"\r\n", "the last line end");
        }
    }
    held
}

/// A line as a follower is told it.
fn told(line: &Line) -> String {
    let side = match line.side {
        Side::FromClient => "client ->",
        Side::ToClient => "-> client",
        Side::ToBackend => "-> backend",
        Side::FromBackend => "backend ->",
        Side::Event => "event",
    };
    format!("f {side} {}", escape(&line.text))
}

fn name(question: &Question) -> &'static str {
    match question {
        Question::Connect { .. } => "connect",
        Question::Copy(_) => "copy",
        Question::Envelope(_) => "envelope",
        Question::Handshake => "handshake",
        Question::Login(_) => "login",
        Question::Mail { .. } => "mail",
        Question::Recipient { .. } => "recipient",
        Question::Rejection { .. } => "rejection",
        Question::UnknownRecipients(_) => "unknown recipients",
    }
}

pub fn is_input(kind: &str) -> bool {
    kind.len() == 1 && "ACPWFRB!@SGHKMVLNOUXYZE".contains(kind)
}

fn describe(record: &Record) -> String {
    let mut text = record.kind.as_str().to_owned();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!(" {name}={value}"));
        }
    };
    add("verdict", record.verdict.map(|verdict| verdict.to_string()));
    add("code", record.code.map(|code| code.to_string()));
    add("reason", record.reason.map(|reason| reason.to_string()));
    add("user", record.user.clone());
    add("rule", record.rule.as_ref().map(ToString::to_string));
    add("sender", record.sender.clone());
    add("recipients", (!record.recipients.is_empty()).then(|| record.recipients.join(",")));
    add("size", record.size.map(|size| size.to_string()));
    add("id", record.id.clone());
    add("shadow", (!record.shadow.is_empty()).then(|| record.shadow.join(",")));
    add("words", record.words.as_ref().map(|words| escape(words.as_bytes())));
    add("folded", (!record.folded.is_empty()).then(|| record.folded.to_string()));
    add("counted_only", record.counted_only.then(|| "yes".to_owned()));
    text
}

pub fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'\\' {
            octets.push(*first);
            continue;
        }
        let (escape, tail) = rest.split_first().unwrap();
        rest = tail;
        match escape {
            b'r' => octets.push(b'\r'),
            b'n' => octets.push(b'\n'),
            b'0' => octets.push(0),
            b't' => octets.push(b'\t'),
            b'x' => {
                octets.push(u8::from_str_radix(std::str::from_utf8(&rest[..2]).unwrap(), 16).unwrap());
                rest = &rest[2..];
            }
            other => octets.push(*other),
        }
    }
    octets
}

pub fn escape(octets: &[u8]) -> String {
    let mut text = String::new();
    for octet in octets {
        match octet {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b' '..=b'~' => text.push(char::from(*octet)),
            other => text.push_str(&format!("\\x{other:02x}")),
        }
    }
    text
}
