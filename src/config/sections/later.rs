//! `[admin]` and `[alert]`: read and checked, but without a function in this version. A value that
//! asks for more protection than there is, is a fault; one that asks for a convenience, a warning; what this version
//! does anyway, silent.

use crate::config::reader::Section;
use crate::config::sections::server::listen_address;

/// `[admin]`: nothing listens.
pub(crate) fn admin(section: &mut Section<'_>) {
    let listen = section.parsed("listen", |text| match text.strip_prefix("unix:") {
        None if text.is_empty() => Ok(()),
        None => listen_address(text).map(|_| ()),
        Some("") => Err("write \"unix:/run/portcullis.sock\"".to_owned()),
        Some(_) => Ok(()),
    });
    let token_file = section.text("token_file").filter(|file| file.value != "portcullis-token");
    let is_default = section.text_is("listen", &["", "127.0.0.1:8025"]);
    let first = listen.filter(|_| !is_default).map(|listen| listen.at).or(token_file.map(|file| file.at));
    if let Some(at) = first {
        section.findings().warn(at, "[admin] has no effect in this version");
    }
}

/// `[alert]`: nobody is told.
pub(crate) fn alert(section: &mut Section<'_>) {
    let webhook = section.parsed("webhook", |text| match text {
        "" => Ok(None),
        url if url.starts_with("http://") || url.starts_with("https://") => Ok(Some(())),
        _ => Err("write a URL such as \"https://example.org/hook\"".to_owned()),
    });
    let webhook = webhook.filter(|webhook| webhook.value.is_some()).map(|webhook| webhook.at);
    let command = section.list("command", "\"/usr/local/bin/page\"", |text| Ok(text.to_owned()));
    let command = command.and_then(|words| words.first().map(|word| word.at));
    if let Some(at) = webhook.or(command) {
        section.findings().warn(at, "[alert] has no effect in this version");
    }
}
