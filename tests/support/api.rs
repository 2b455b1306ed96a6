//! A client of the admin interface that believes nothing: every answer below `/api/v1` is held against the served
//! description, and every answer at all against the headers that it has to have. It must not follow or retry anything.
#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests; each uses its part")]

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::sync::LazyLock;

use serde_json::Value;
use serde_json::json;

use crate::proxy::Site;
use crate::proxy::host::LONG;

/// The admin interface of a running proxy, over TCP.
pub(crate) struct Api {
    pub(crate) address: String,
    pub(crate) token: String,
    document: LazyLock<Value, Box<dyn FnOnce() -> Value>>,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Api {
    /// The interface of a site that has it at this address, and whose proxy runs.
    pub(crate) fn of(site: &Site, address: &str) -> Self {
        let token = fs::read_to_string(site.path("portcullis-token")).unwrap().trim().to_owned();
        let at = address.to_owned();
        let document = move || plain(&at, "GET /api/v1/openapi.json", "", "").json();
        Self { address: address.to_owned(), token, document: LazyLock::new(Box::new(document)) }
    }

    /// An answer to the operator.
    pub(crate) fn operator(&self, request: &str, body: &str) -> Answer {
        self.ask(request, &format!("Authorization: Bearer {}\n", self.token), body)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), "", "")
    }

    /// The answer to `METHOD PATH` with these header lines, checked. A body is JSON, unless a header says otherwise.
    pub(crate) fn ask(&self, request: &str, headers: &str, body: &str) -> Answer {
        let answer = plain(&self.address, request, headers, body);
        let (method, target) = request.split_once(' ').unwrap();
        assert!(!answer.body.contains(&self.token), "{request}: the token is in the answer");
        answer.is_hardened(request);
        if target.starts_with("/api/v1/") && method != "HEAD" {
            self.is_as_described(method, target.split('?').next().unwrap(), &answer);
        }
        answer
    }

    /// Holds an answer against the description.
    fn is_as_described(&self, method: &str, path: &str, answer: &Answer) {
        let what = format!("{method} {path}: {answer:?}");
        let Some(responses) = self.responses(method, path) else {
            assert!([401, 403, 404, 405, 429].contains(&answer.code), "not described: {what}");
            return self.holds(&json!({ "$ref": "#/components/schemas/Error" }), &answer.json(), &what);
        };
        let described = &responses[answer.code.to_string()];
        assert!(described.is_object(), "this code is not described: {what}");
        let kind = answer.header("content-type").unwrap_or_default();
        let schema = &described["content"][kind]["schema"];
        assert!(schema.is_object(), "the type {kind} is not described: {what}");
        if kind == "application/json" {
            self.holds(schema, &answer.json(), &what);
        }
    }

    /// The described responses of an operation, whose path may have a `{part}`.
    fn responses(&self, method: &str, path: &str) -> Option<Value> {
        let matches = |template: &str| {
            let mut parts = template.split('/').zip(path.split('/'));
            template.split('/').count() == path.split('/').count()
                && parts.all(|(template, part)| template == part || template.starts_with('{'))
        };
        let paths = self.document["paths"].as_object().unwrap();
        let (_, found) = paths.iter().find(|(template, _)| matches(template))?;
        found.get(method.to_ascii_lowercase()).map(|operation| operation["responses"].clone())
    }

    /// Holds a value against a schema of the description; what the description does not name must not be there.
    pub(crate) fn holds(&self, schema: &Value, value: &Value, what: &str) {
        let mut schema = schema.clone();
        let mut components = self.document["components"].clone();
        let mut parts = Vec::new();
        parts_of_others(&self.document["components"], &mut parts);
        for (name, component) in components["schemas"].as_object_mut().unwrap() {
            if !parts.contains(&format!("#/components/schemas/{name}")) {
                close(component);
            }
        }
        schema["components"] = components;
        let validator = jsonschema::validator_for(&schema).unwrap();
        let faults: Vec<String> =
            validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(faults.is_empty(), "{what}\n{}", faults.join("\n"));
    }

    /// The server-sent events of a path, from now on.
    pub(crate) fn events(&self, path: &str) -> Events {
        self.events_with(path, "")
    }

    /// Those that only the operator may see.
    pub(crate) fn operator_events(&self, path: &str) -> Events {
        self.events_with(path, &format!("Authorization: Bearer {}\r\n", self.token))
    }

    fn events_with(&self, path: &str, headers: &str) -> Events {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.address).unwrap();
        let mut reader = BufReader::new(stream);
        let head = head_of(&mut reader);
        assert!(head[0].starts_with("HTTP/1.1 200"), "{head:?}");
        Events { reader, rest: Vec::new() }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    /// Octets as they are, and the code of the answer; 0 if there is none.
    pub(crate) fn raw(&self, octets: &[u8]) -> u16 {
        let mut stream = self.connect();
        let _ = stream.write_all(octets);
        let mut answer = Vec::new();
        let _ = stream.take(64 << 10).read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        let code = answer.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
        code.and_then(|code| code.parse().ok()).unwrap_or_default()
    }

    /// Logs a page in; its cookie as it is sent back.
    pub(crate) fn log_in(&self) -> String {
        let answer = self.ask("POST /login", "", &json!({ "token": self.token }).to_string());
        assert_eq!(answer.code, 200, "{answer:?}");
        answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn is_hardened(&self, request: &str) {
        let policy = self.header("content-security-policy").unwrap_or_default();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{request}: {self:?}"
        );
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"), "{request}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{request}");
        let referrer = self.header("referrer-policy").unwrap();
        assert!(["no-referrer", "same-origin"].contains(&referrer), "{request}: {referrer}");
        assert_eq!(self.header("access-control-allow-origin"), None, "{request}");
        if self.code >= 400 && self.header("content-type") == Some("application/json") && !self.body.is_empty() {
            assert!(self.json()["error"].is_string(), "{request}: {self:?}");
        }
        for (code, header) in [(401, "www-authenticate"), (405, "allow"), (429, "retry-after")] {
            assert!(self.code != code || self.header(header).is_some(), "{request}: {self:?} without {header}");
        }
    }
}

/// Server-sent events.
pub(crate) struct Events {
    reader: BufReader<TcpStream>,
    rest: Vec<u8>,
}

impl Events {
    /// The next event of this name; its data.
    pub(crate) fn next(&mut self, name: &str) -> Value {
        let mut is_it = false;
        loop {
            let line = self.line();
            match line.split_once(": ") {
                Some(("event", found)) => is_it = found == name,
                Some(("data", data)) if is_it => return serde_json::from_str(data).unwrap(),
                _ => {}
            }
        }
    }

    /// Whether the stream ends here.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.line().is_empty() && {
            let mut last = String::new();
            self.reader.read_line(&mut last).unwrap();
            last.trim() == "0"
        }
    }

    fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.rest.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return String::from_utf8(line).unwrap().trim_end().to_owned();
            }
            let mut size = String::new();
            assert!(self.reader.read_line(&mut size).unwrap() > 0, "the stream has ended");
            let mut chunk = vec![0; usize::from_str_radix(size.trim(), 16).unwrap() + 2];
            self.reader.read_exact(&mut chunk).unwrap();
            self.rest.extend_from_slice(&chunk[..chunk.len() - 2]);
        }
    }
}

/// One request on a connection of its own, and its answer.
fn plain(address: &str, request: &str, headers: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let has = |name: &str| headers.lines().any(|line| line.to_ascii_lowercase().starts_with(name));
    let mut head = format!("{request} HTTP/1.1\nConnection: close\n{headers}");
    if !has("host:") {
        head.push_str(&format!("Host: {address}\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\n", body.len()));
        if !has("content-type:") {
            head.push_str("Content-Type: application/json\n");
        }
    }
    let _ = stream.write_all(format!("{}\r\n", head.replace('\n', "\r\n")).as_bytes());
    let _ = stream.write_all(body.as_bytes());
    let mut reader = BufReader::new(stream);
    let head = head_of(&mut reader);
    let code = head[0].split(' ').nth(1).unwrap().parse().unwrap();
    let headers = head[1..].iter().map(|line| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    });
    let mut body = Vec::new();
    let _ = reader.read_to_end(&mut body);
    Answer { code, headers: headers.collect(), body: String::from_utf8(body).unwrap() }
}

fn head_of(reader: &mut impl BufRead) -> Vec<String> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "no answer: {head:?}");
        match line.trim_end() {
            "" => return head,
            line => head.push(line.to_owned()),
        }
    }
}

/// The schemas that are a part of another one, which has more properties.
fn parts_of_others(value: &Value, parts: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            let all = object.get("allOf").and_then(Value::as_array).into_iter().flatten();
            parts.extend(all.filter_map(|part| part["$ref"].as_str().map(str::to_owned)));
            object.values().for_each(|value| parts_of_others(value, parts));
        }
        Value::Array(all) => all.iter().for_each(|value| parts_of_others(value, parts)),
        _ => {}
    }
}

/// Makes a property that is not described a fault.
fn close(schema: &mut Value) {
    let is_object = schema["properties"].is_object() || schema["allOf"].is_array();
    if let (true, Some(object)) = (is_object, schema.as_object_mut()) {
        object.insert("unevaluatedProperties".to_owned(), false.into());
    }
}
