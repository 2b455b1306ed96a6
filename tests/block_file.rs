//! `block --file` and `unblock --file`: badmailfrom changed by the built program, while others read and change it too.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;

use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use proxy::Client;
use proxy::Proxy;
use proxy::Site;

#[test]
fn what_it_says_and_does() {
    let site = Site::new("", "");
    let path = "control/badmailfrom";
    let text = || fs::read_to_string(site.path(path)).unwrap();
    site.write(path, "# the incident\n@Spam.example\n\nbob@b.example");
    let table: &[(&[&str], i32, &str, &str)] = &[
        (
            &["block", "NewsLetter@SillyPlace.com.", "--file"],
            0,
            "newsletter@sillyplace.com: added at control/badmailfrom:5\n",
            "# the incident\n@Spam.example\n\nbob@b.example\nnewsletter@sillyplace.com\n",
        ),
        (
            &["block", "newsletter@sillyplace.com", "--file", path],
            0,
            "newsletter@sillyplace.com: already there at control/badmailfrom:5\n",
            "# the incident\n@Spam.example\n\nbob@b.example\nnewsletter@sillyplace.com\n",
        ),
        (
            &["block", "@spam.example", "--file"],
            0,
            "@spam.example: already there at control/badmailfrom:2\n",
            "# the incident\n@Spam.example\n\nbob@b.example\nnewsletter@sillyplace.com\n",
        ),
        (
            &["unblock", "@SPAM.example", "--file"],
            0,
            "@spam.example: removed from control/badmailfrom:2\n",
            "# the incident\n\nbob@b.example\nnewsletter@sillyplace.com\n",
        ),
        (
            &["unblock", "@spam.example", "--file"],
            1,
            "@spam.example: is not in control/badmailfrom\n",
            "# the incident\n\nbob@b.example\nnewsletter@sillyplace.com\n",
        ),
        (
            &["unblock", "bob@b.example", "--file", "--json"],
            0,
            "{\"done\":\"removed\",\"file\":\"control/badmailfrom\",\"key\":\"bob@b.example\",\"line\":3}\n",
            "# the incident\n\nnewsletter@sillyplace.com\n",
        ),
    ];
    for (arguments, code, told, after) in table {
        let outcome = site.run(arguments);
        assert_eq!((outcome.code, outcome.out.as_str()), (*code, *told), "{arguments:?}: {outcome:?}");
        assert_eq!(text(), *after, "{arguments:?}");
    }
    let left = fs::read_dir(site.path("control")).unwrap().count();
    assert_eq!(left, 3, "nothing is left beside the control files");
}

#[test]
fn what_it_refuses_changes_nothing() {
    let site = Site::new("", "");
    let before = "a@b.example\0c@d.example\n";
    site.write("control/badmailfrom", before);
    let inode = fs::metadata(site.path("control/badmailfrom")).unwrap().ino();
    let table: &[(&[&str], i32, &str)] = &[
        (&["block", "sillyplace.com", "--file"], 64, "write an address"),
        (&["block", "192.0.2.1", "--file"], 64, "tcprules"),
        (&["block", "#a@b.example", "--file"], 64, "comment"),
        (&["block", "a@b\nc@d", "--file"], 64, "write an address"),
        (&["block", "--file", "a@b.example"], 64, "<KEY>"),
        (&["block", "a@b.example", "--file", "--for", "2h"], 64, "--for"),
        (&["unblock", "nobody", "--file"], 64, "write an address"),
        (&["unblock", "a@b.example", "--file"], 1, ""),
        (&["block", "a@b.example", "--file", "control"], 1, "not a regular file"),
        (&["block", "a@b.example", "--file", "absent/badmailfrom"], 1, "No such file"),
        (&["block", "a@b.example", "--file", "-c", "absent.toml"], 1, "absent.toml"),
    ];
    for (arguments, code, told) in table {
        let outcome = site.run(arguments);
        assert_eq!(outcome.code, *code, "{arguments:?}: {outcome:?}");
        assert!(outcome.err.contains(told), "{arguments:?}: {outcome:?}");
    }
    assert_eq!(fs::read_to_string(site.path("control/badmailfrom")).unwrap(), before);
    assert_eq!(fs::metadata(site.path("control/badmailfrom")).unwrap().ino(), inode, "it is the same file");
    assert!(!site.path("absent").exists());
}

#[test]
fn owner_and_mode_stay_and_links_are_followed() {
    let site = Site::new("", "");
    site.write("list", "a@b.example\n");
    let list = site.path("list");
    fs::set_permissions(&list, Permissions::from_mode(0o640)).unwrap();
    let is_root = nix::unistd::Uid::effective().is_root();
    if is_root {
        std::os::unix::fs::chown(&list, Some(7), Some(8)).unwrap();
    }
    fs::remove_file(site.path("control/badmailfrom")).unwrap();
    symlink("../list", site.path("control/badmailfrom")).unwrap();
    let owner = fs::metadata(&list).unwrap();
    assert_eq!(site.run(&["block", "c@d.example", "--file"]).code, 0);
    let now = fs::metadata(&list).unwrap();
    assert_eq!((now.mode(), now.uid(), now.gid()), (owner.mode(), owner.uid(), owner.gid()));
    assert_eq!(now.mode() & 0o7777, 0o640);
    assert_ne!(now.ino(), owner.ino(), "a new file took its name");
    assert!(fs::symlink_metadata(site.path("control/badmailfrom")).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&list).unwrap(), "a@b.example\nc@d.example\n");

    let made = site.path("control/other");
    assert_eq!(site.run(&["block", "a@b.example", "--file", "control/other"]).code, 0);
    assert_eq!(fs::metadata(&made).unwrap().mode() & 0o777, 0o644, "qmail's users can read what was not there");
    symlink("nowhere", site.path("control/dangling")).unwrap();
    let outcome = site.run(&["block", "a@b.example", "--file", "control/dangling"]);
    assert!(outcome.code == 1 && outcome.err.contains("a link to a file that does not exist"), "{outcome:?}");
}

/// As another user, because root may write anywhere; without root the test's own user is as good.
#[test]
fn a_folder_that_may_not_be_written_is_told() {
    let site = Site::new("", "");
    site.write("control/badmailfrom", "a@b.example\n");
    let folder = site.path("control");
    fs::set_permissions(site.path(""), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o555)).unwrap();
    // The program may lie where only root goes.
    fs::copy(proxy::PORTCULLIS, site.path("portcullis")).unwrap();
    let mut command = Command::new(site.path("portcullis"));
    command.args(["block", "c@d.example", "--file", "control/badmailfrom"]).current_dir(site.path(""));
    if nix::unistd::Uid::effective().is_root() {
        command.uid(65534);
    }
    let output = command.output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("nothing was changed: run it as root"), "{err}");
    assert_eq!(fs::read_to_string(site.path("control/badmailfrom")).unwrap(), "a@b.example\n");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 3);
}

#[test]
fn readers_see_all_of_it_and_writers_lose_nothing() {
    let site = Site::new("", "");
    let first: String = (0..2000).map(|number| format!("first{number}@b.example\n")).collect();
    site.write("control/badmailfrom", &first);
    let path = site.path("control/badmailfrom");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut readings = 0;
            while !over.load(Ordering::Relaxed) {
                let text = fs::read_to_string(&path).unwrap();
                assert!(text.starts_with(&first) && text.ends_with('\n'), "{} octets", text.len());
                readings += 1;
            }
            readings
        });
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let site = &site;
                scope.spawn(move || {
                    for number in 0..8 {
                        let key = format!("w{writer}n{number}@b.example");
                        let outcome = site.run(&["block", &key, "--file", "control/badmailfrom"]);
                        assert_eq!(outcome.code, 0, "{outcome:?}");
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        over.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 30);
    });
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 2032);
    for writer in 0..4 {
        (0..8).for_each(|number| assert!(text.contains(&format!("\nw{writer}n{number}@b.example\n"))));
    }
}

#[test]
fn the_running_proxy_obeys() {
    let site = Site::new("", "");
    let mut proxy = Proxy::start(&site);
    let mail = |proxy: &Proxy| {
        let mut client: Client = proxy.client().hello();
        client.say("MAIL FROM:<Newsletter@sillyplace.com>")
    };
    assert!(mail(&proxy).starts_with("250 "));
    assert_eq!(site.run(&["block", "newsletter@sillyplace.com", "--file"]).code, 0);
    proxy.wait_for("reloaded");
    assert!(mail(&proxy).starts_with("554 5.7.1 "));
    assert_eq!(site.run(&["unblock", "newsletter@sillyplace.com", "--file"]).code, 0);
    proxy.wait_for("reloaded");
    assert!(mail(&proxy).starts_with("250 "));
}
