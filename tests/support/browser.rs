//! Debian's Chromium through its WebDriver, with a profile folder of its own. Both are ended with the value, by their own
//! id. It must not reach beyond this host, nor sleep: a wait is for a state of the page.
#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests; each uses its part")]

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use fantoccini::Client;
use fantoccini::ClientBuilder;
use fantoccini::Locator;
use fantoccini::elements::Element;
use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::proxy::host::LONG;
use crate::proxy::host::happens_within;

/// A browser with one window.
pub(crate) struct Browser {
    runtime: Runtime,
    client: Client,
    session: String,
    driver: Driver,
    _profile: TempDir,
}

/// A running chromedriver, whose end ends its browser.
struct Driver {
    child: Child,
    port: u16,
}

impl Browser {
    pub(crate) fn start() -> Self {
        let driver = Driver::start();
        let profile = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut arguments: Vec<String> = FLAGS.iter().map(|&flag| flag.to_owned()).collect();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let Value::Object(capabilities) = json!({
            "goog:chromeOptions": { "args": arguments, "binary": "/usr/bin/chromium" },
            "goog:loggingPrefs": { "browser": "ALL" },
        }) else {
            unreachable!("it is an object")
        };
        let client = runtime.block_on(async {
            let mut builder = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
            builder.capabilities(capabilities);
            builder.connect(&format!("http://127.0.0.1:{}", driver.port)).await.unwrap()
        });
        let session = runtime.block_on(client.session_id()).unwrap().unwrap();
        Self { runtime, client, session, driver, _profile: profile }
    }

    pub(crate) fn go(&self, url: &str) {
        self.runtime.block_on(self.client.goto(url)).unwrap();
    }

    /// What a script's `return` gives.
    pub(crate) fn eval(&self, script: &str) -> Value {
        self.runtime.block_on(self.client.execute(script, Vec::new())).unwrap()
    }

    pub(crate) fn text(&self, css: &str) -> String {
        let script = format!("return document.querySelector({})?.innerText ?? ''", json!(css));
        self.eval(&script).as_str().unwrap().to_owned()
    }

    /// Waits until a script's `return` is true.
    pub(crate) fn until(&self, what: &str) {
        let script = format!("return Boolean({what})");
        let happened = happens_within(LONG, || self.eval(&script) == json!(true));
        assert!(happened, "waited {LONG:?} for {what}\nconsole: {:?}\n{}", self.console(), self.text("body"));
    }

    /// Waits until an element has this text in it.
    pub(crate) fn until_text(&self, css: &str, text: &str) {
        let shown = format!("document.querySelector({})?.innerText", json!(css));
        self.until(&format!("({shown} ?? '').includes({})", json!(text)));
    }

    fn find(&self, css: &str) -> Element {
        let waited = self.runtime.block_on(self.client.wait().at_most(LONG).for_element(Locator::Css(css)));
        waited.unwrap_or_else(|error| panic!("{css}: {error}\n{}", self.text("body")))
    }

    pub(crate) fn click(&self, css: &str) {
        let element = self.find(css);
        self.runtime.block_on(element.click()).unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    /// Types into an element.
    pub(crate) fn keys(&self, css: &str, text: &str) {
        let element = self.find(css);
        self.runtime.block_on(element.send_keys(text)).unwrap();
    }

    /// Types into whatever has the focus.
    pub(crate) fn press(&self, text: &str) {
        let active = self.runtime.block_on(self.client.active_element()).unwrap();
        self.runtime.block_on(active.send_keys(text)).unwrap();
    }

    /// A command of the DevTools protocol.
    pub(crate) fn devtools(&self, command: &str, parameters: &Value) -> Value {
        let path = format!("/session/{}/goog/cdp/execute", self.session);
        self.driver.post(&path, &json!({ "cmd": command, "params": parameters }))
    }

    /// The size of the window's inside, and how large a CSS pixel is in it.
    pub(crate) fn size(&self, width: u32, height: u32, zoom: u32) {
        let size =
            json!({ "width": width / zoom, "height": height / zoom, "deviceScaleFactor": zoom, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    pub(crate) fn dark(&self, is_dark: bool) {
        let value = if is_dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    pub(crate) fn scripts(&self, run: bool) {
        self.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": !run }));
    }

    /// Keeps a picture of the window as target/browser/NAME.png.
    pub(crate) fn picture(&self, name: &str) -> PathBuf {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/browser");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{name}.png"));
        fs::write(&file, self.runtime.block_on(self.client.screenshot()).unwrap()).unwrap();
        file
    }

    /// What stands in the console since it was read last: errors, and what the policy of the page forbade.
    pub(crate) fn console(&self) -> Vec<String> {
        let lines = self.driver.post(&format!("/session/{}/se/log", self.session), &json!({ "type": "browser" }));
        lines.as_array().unwrap().iter().map(|line| line["message"].to_string()).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.runtime.block_on(self.client.clone().close());
    }
}

impl Driver {
    fn start() -> Self {
        let mut command = Command::new("chromedriver");
        let mut child = command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut ports = lines.filter_map(|line| {
            line.rsplit_once(" started successfully on port ")?.1.trim_end_matches('.').parse().ok()
        });
        let port = ports.next().expect("chromedriver says its port");
        Self { child, port }
    }

    /// The value that a request gives.
    fn post(&self, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let body = body.to_string();
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {}", body.len());
        write!(stream, "{head}\r\n\r\n{body}").unwrap();
        // It keeps the connection, whatever it is asked.
        let mut answer = BufReader::new(stream);
        let (mut length, mut line) = (0, String::new());
        while answer.read_line(&mut line).unwrap() > 2 {
            let field = line.trim_end().to_ascii_lowercase();
            assert!(!field.starts_with("http/") || field.contains(" 200"), "{path}: {field}");
            length = field.strip_prefix("content-length:").map_or(length, |it| it.trim().parse().unwrap());
            line.clear();
        }
        let mut body = vec![0; length];
        answer.read_exact(&mut body).unwrap();
        serde_json::from_slice::<Value>(&body).unwrap()["value"].take()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// For root in a container, and so that it asks no other host for anything.
const FLAGS: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];
