//! `[alert]`: read and checked, but without a function in this version. A value that asks for more protection than
//! there is, is a fault; one that asks for a convenience, a warning; what this version does anyway, silent. It must not
//! set anything.

use crate::config::reader::Section;

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
