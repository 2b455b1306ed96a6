//! What is released, built of the program that these tests run: the Debian package, judged by lintian, installed into
//! copies of Debian 12 and 13, where a supervisor runs it, upgraded and purged; the image, unpacked and run; `cargo
//! install`. Nothing of it touches this host.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;

use std::fs;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use proxy::Client;
use proxy::PORTCULLIS;
use proxy::host::free_address;
use proxy::host::until;

#[test]
fn the_package_is_clean_and_runs_on_debian_12_and_13() {
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("portcullis.deb");
    let mut make = Command::new("make");
    make.arg("deb").env("PROFILE", "dev").env("FAST", "1").env("OUTPUT", &package).current_dir(repository());
    succeeds(as_from_a_shell(&mut make));
    let judged = succeeds(Command::new("lintian").args(["--allow-root", "--fail-on", "error,warning"]).arg(&package));
    assert_eq!(judged, "", "every tag is fixed, or overridden with a reason");
    let newer = newer(&package, folder.path());
    for release in ["bookworm", "trixie"] {
        lives_on(release, &package, &newer);
    }
}

fn lives_on(release: &str, package: &Path, newer: &Path) {
    // Not in /tmp, which may forbid the devices of a root folder.
    let folder = tempfile::tempdir_in(target()).unwrap();
    let host = Root::copy(&target().join("debian-roots").join(release), folder.path());
    host.install(package);
    host.run("portcullis check -c /usr/share/doc/portcullis/examples/portcullis.toml");
    for page in ["portcullis.1", "portcullis-queue-quarantine.1"] {
        assert!(host.file(&format!("usr/share/man/man1/{page}.gz")).exists(), "{page}");
    }
    assert!(!host.file("etc/portcullis.toml").exists(), "the operator's file is the operator's");

    let (smtp, admin) = (free_address().unwrap(), free_address().unwrap());
    host.write("etc/portcullis.toml", &configuration(smtp, admin));
    host.run(BY_RUNIT);
    let _supervisor = host.supervise();
    until("it answers", || TcpStream::connect(smtp).is_ok());
    Client::connect(smtp).hello().mail("a@b.example", "Subject: installed");
    host.run("portcullis block --yes --for 1d 192.0.2.7");

    host.write("etc/default/portcullis", "PORTCULLIS_CONFIG=/elsewhere\n");
    host.install(newer);
    host.run("sv -w 60 restart portcullis");
    until("it answers", || TcpStream::connect(smtp).is_ok());
    Client::connect(smtp).hello().mail("a@b.example", "Subject: upgraded");
    assert_eq!(host.run("cat /etc/default/portcullis"), "PORTCULLIS_CONFIG=/elsewhere\n", "an upgrade keeps it");
    assert!(host.run("portcullis blocks").contains("192.0.2.7"), "an upgrade keeps the state");
    assert_eq!(host.run("ls /var/lib/portcullis/mail/new | wc -l"), "2\n");

    host.run("sv -w 60 down portcullis; rm /etc/service/portcullis; dpkg --purge portcullis");
    let left = host.run("find / -xdev -name '*portcullis*' -not -path '/proc/*' | sort");
    assert_eq!(left, "/etc/portcullis.toml\n/etc/sv/portcullis\n/var/log/portcullis\n", "only what the operator made");
}

/// Of config/runit/run and docs/install.md.
const BY_RUNIT: &str = "
    install -d -o portcullis -m 700 /var/lib/portcullis
    install -d -o _runit-log /var/log/portcullis
    cp -r /usr/share/portcullis/runit /etc/sv/portcullis
    ln -s /etc/sv/portcullis /etc/service/portcullis";

fn configuration(smtp: SocketAddr, admin: SocketAddr) -> String {
    format!(
        "[server]\nlisten = [\"{smtp}\"]\nuser = \"portcullis\"\n[backend]\nmaildir = \"/var/lib/portcullis/mail\"\n\
         [state]\nurl = \"redb:/var/lib/portcullis/state.redb\"\n\
         [admin]\nlisten = \"{admin}\"\ntoken_file = \"/var/lib/portcullis/token\"\n"
    )
}

/// The same package as of a later version.
fn newer(package: &Path, folder: &Path) -> PathBuf {
    let (files, newer) = (folder.join("files"), folder.join("newer.deb"));
    succeeds(Command::new("dpkg-deb").arg("-R").args([package, &files]));
    let control = fs::read_to_string(files.join("DEBIAN/control")).unwrap();
    let version = format!("Version: {}-1\n", env!("CARGO_PKG_VERSION"));
    assert!(control.contains(&version), "{control}");
    fs::write(files.join("DEBIAN/control"), control.replace(&version, "Version: 99.0-1\n")).unwrap();
    succeeds(Command::new("dpkg-deb").args(["-Znone", "-b"]).args([&files, &newer]));
    newer
}

#[test]
fn the_image_is_one_and_runs() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    succeeds(Command::new("strip").arg("-o").args([&at("portcullis"), Path::new(PORTCULLIS)]));
    let mut image = Command::new(repository().join("config/release/image.py"));
    image.arg(at("portcullis")).arg("--to").arg(at("image")).current_dir(repository());
    succeeds(&mut image);
    let source = format!("{}:{}", at("image").display(), env!("CARGO_PKG_VERSION"));
    succeeds(Command::new("umoci").args(["unpack", "--image", &source]).arg(at("bundle")));
    let runtime: serde_json::Value = serde_json::from_slice(&fs::read(at("bundle/config.json")).unwrap()).unwrap();
    let process = &runtime["process"];
    assert_eq!(process["args"], serde_json::json!(["/usr/bin/portcullis", "serve"]));
    assert_eq!(process["user"]["uid"], 65532);

    let container = Root(at("bundle/rootfs"));
    // Every runtime makes these (runtime-spec, Default Devices).
    fs::create_dir(container.file("dev")).unwrap();
    for (device, minor) in [("null", "3"), ("urandom", "9")] {
        succeeds(
            Command::new("mknod").args(["-m", "666"]).arg(container.file("dev").join(device)).args(["c", "1", minor]),
        );
    }
    let refused = container.contained("serve").output().unwrap();
    assert!(!refused.status.success(), "without a backend it does not start");
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("/etc/portcullis/portcullis.toml:") && told.contains("no backend"), "{told}");

    let (smtp, admin) = (free_address().unwrap(), free_address().unwrap());
    let mounted = configuration(smtp, admin).replace("user = \"portcullis\"\n", "");
    container.write("etc/portcullis/portcullis.toml", &mounted);
    let _running = Running(container.contained("serve").stderr(Stdio::null()).spawn().unwrap());
    until("it answers", || TcpStream::connect(smtp).is_ok());
    Client::connect(smtp).hello().mail("a@b.example", "Subject: contained");
    // The health check.
    succeeds(&mut container.contained("status"));
}

#[test]
fn a_release_needs_a_clean_tree_and_a_dated_section() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let git = |words: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=x", "-c", "user.email=x@y.example"]).args(words).current_dir(folder.path());
        succeeds(&mut git);
    };
    let told = || {
        let mut release = Command::new(at("config/release/release.sh"));
        let output = release.arg("--check").current_dir("/").output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    fs::create_dir_all(at("config/release")).unwrap();
    for file in ["Cargo.toml", "Cargo.lock", "config/release/release.sh"] {
        fs::copy(repository().join(file), at(file)).unwrap();
    }
    let version = env!("CARGO_PKG_VERSION");
    fs::write(at("CHANGELOG.md"), "# Changelog\n\n## [Unreleased]\n").unwrap();
    git(&["init", "-q"]);
    assert_eq!(told(), (false, "No release: there are changes that are not committed; git status\n".to_owned()));

    let commit = || {
        git(&["add", "--all"]);
        git(&["commit", "-q", "-m", "x"]);
    };
    commit();
    let (may, words) = told();
    assert!(
        !may && words
            .contains(&format!("CHANGELOG.md has no dated section of this version, such as: ## [{version}] - "))
    );

    fs::write(at("CHANGELOG.md"), format!("# Changelog\n\n## [{version}] - 2026-11-30\n")).unwrap();
    commit();
    assert_eq!(told(), (true, String::new()));
    git(&["tag", &format!("v{version}"), "HEAD~1"]);
    let (may, words) = told();
    assert!(!may && words.contains("is at another commit"), "{words}");
}

#[test]
fn cargo_installs_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["install", "--quiet", "--locked", "--offline", "--debug", "--path"]).arg(repository());
    succeeds(as_from_a_shell(cargo.arg("--root").arg(folder.path())));
    let version = succeeds(Command::new(folder.path().join("bin/portcullis")).arg("--version"));
    assert_eq!(version.lines().next(), Some(concat!("portcullis ", env!("CARGO_PKG_VERSION"))));
}

/// A root folder of a Debian, or of an image.
struct Root(PathBuf);

impl Root {
    fn copy(from: &Path, folder: &Path) -> Self {
        assert!(from.is_dir(), "{}: make packages", from.display());
        let root = folder.join("root");
        succeeds(Command::new("cp").arg("-a").args([from, &root]));
        Self(root)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    fn install(&self, package: &Path) {
        fs::copy(package, self.file("tmp/new.deb")).unwrap();
        self.run("dpkg --force-confold --install /tmp/new.deb && rm /tmp/new.deb");
    }

    /// A shell's commands, as root of this folder; what they print.
    fn run(&self, script: &str) -> String {
        succeeds(self.entered().args(["/bin/sh", "-euc", script]))
    }

    /// Its runit, over /etc/service.
    fn supervise(&self) -> Running {
        Running(self.entered().args(["runsvdir", "-P", "/etc/service"]).stdin(Stdio::null()).spawn().unwrap())
    }

    /// In mounts and processes of its own; what runs there ends with it.
    fn entered(&self) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child"]);
        command.arg(format!("--mount-proc={}", self.file("proc").display())).arg("chroot").arg(&self.0);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// The program of an image, as an engine would start it.
    fn contained(&self, word: &str) -> Command {
        let mut command = Command::new("/usr/sbin/chroot");
        command.arg("--userspec=65532:65532").arg(&self.0).args(["/usr/bin/portcullis", word]);
        command.env_clear().env("PORTCULLIS_CONFIG", "/etc/portcullis/portcullis.toml");
        command
    }
}

/// A process that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where cargo builds, and the programs for the tests lie.
fn target() -> PathBuf {
    Path::new(PORTCULLIS).ancestors().nth(2).unwrap().to_owned()
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Without what cargo has told this test about its crate: build scripts would run again because of it, and ring with them.
fn as_from_a_shell(command: &mut Command) -> &mut Command {
    let told = |name: &str| {
        ["CARGO_MANIFEST_", "CARGO_PKG_", "OUT_DIR", "PORTCULLIS_"].iter().any(|own| name.starts_with(own))
    };
    for (name, _) in std::env::vars().filter(|(name, _)| told(name)) {
        command.env_remove(name);
    }
    command
}

/// What it prints.
fn succeeds(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{out}\n{err}");
    out.into_owned()
}
