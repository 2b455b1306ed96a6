//! The Debian package, built, installed into an empty root, upgraded over a changed /etc/default, and purged; and
//! `cargo install`. Nothing of it touches this host.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;

use tempfile::TempDir;

#[test]
fn the_package_is_built_installed_upgraded_and_purged() {
    let root = Root::new();
    let package = root.0.path().join("portcullis.deb");
    // The program that these tests run; nothing else is compiled.
    succeeds(
        Command::new("make")
            .arg("deb")
            .env("PROFILE", "dev")
            .env("FAST", "1")
            .env("OUTPUT", &package)
            .current_dir(repository()),
    );
    root.dpkg(&["--install", package.to_str().unwrap()]);

    let help = succeeds(Command::new(root.file("usr/bin/portcullis")).arg("--help"));
    for command in commands(&help) {
        let page = fs::read(root.file(&format!("usr/share/man/man1/portcullis-{command}.1.gz"))).unwrap();
        assert_eq!(page[..2], [0x1f, 0x8b], "{command}: gzip");
    }
    let completions = fs::read_to_string(root.file("usr/share/bash-completion/completions/portcullis")).unwrap();
    assert!(completions.contains("quarantine") || completions.contains("explain"), "{completions}");
    for service in
        ["service/run", "service/log/run", "runit/run", "runit/log/run", "runit/check", "s6/run", "s6/log/run"]
    {
        let mode = fs::metadata(root.file(&format!("usr/share/portcullis/{service}"))).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{service} can be run");
    }
    for file in ["lib/systemd/system/portcullis.service", "share/doc/portcullis/examples/portcullis.toml"] {
        assert!(root.file("usr").join(file).exists(), "{file}");
    }
    for page in ["docs/playbook.md", "docs/reference/replies.md"] {
        assert!(root.file("usr/share/doc/portcullis").join(page).exists(), "{page}");
    }
    assert!(!root.file("etc/portcullis.toml").exists(), "the operator's file is the operator's");
    let example = root.file("usr/share/doc/portcullis/examples/portcullis.toml");
    succeeds(Command::new(root.file("usr/bin/portcullis")).args(["check", "-c"]).arg(example));

    let environment = root.file("etc/default/portcullis");
    fs::write(&environment, "PORTCULLIS_CONFIG=/elsewhere\n").unwrap();
    root.dpkg(&["--install", package.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&environment).unwrap(), "PORTCULLIS_CONFIG=/elsewhere\n", "an upgrade keeps it");
    root.dpkg(&["--purge", "portcullis"]);
    assert!(!environment.exists() && !root.file("usr/bin/portcullis").exists());
}

#[test]
fn cargo_installs_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["install", "--quiet", "--locked", "--offline", "--debug", "--path"]).arg(repository());
    succeeds(cargo.arg("--root").arg(folder.path()));
    let version = succeeds(Command::new(folder.path().join("bin/portcullis")).arg("--version"));
    assert_eq!(version.trim(), format!("portcullis {}", env!("CARGO_PKG_VERSION")));
}

/// Where dpkg thinks that the system is.
struct Root(TempDir);

impl Root {
    fn new() -> Self {
        let root = Self(tempfile::tempdir().unwrap());
        for folder in ["var/lib/dpkg/info", "var/lib/dpkg/updates"] {
            fs::create_dir_all(root.file(folder)).unwrap();
        }
        fs::write(root.file("var/lib/dpkg/status"), "").unwrap();
        root
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join("root").join(name)
    }

    fn dpkg(&self, arguments: &[&str]) {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", self.file("").display())).args(["--force-depends", "--force-not-root"]);
        succeeds(dpkg.args(["--force-confold", "--force-bad-path", "--log=/dev/null"]).args(arguments));
    }
}

/// The commands that `--help` lists.
fn commands(help: &str) -> Vec<String> {
    let list = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let first = |line: &str| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')).map(str::to_owned);
    let lines = list.lines().filter_map(first);
    let commands: Vec<String> = lines.map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert!(commands.len() >= 9, "{help}");
    commands.into_iter().filter(|command| command != "help").collect()
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What it prints.
fn succeeds(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{out}\n{err}");
    out.into_owned()
}
