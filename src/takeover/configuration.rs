//! The plan as a commented configuration. Every line of it is a key with where it comes from, or a comment. It must not
//! decide about a value.

use std::fmt::Write;

use crate::takeover::Findings;
use crate::takeover::plan::Setting;
use crate::text::readable::shown;

/// The text of `portcullis.toml`.
pub(super) fn text(findings: &Findings) -> String {
    let mut text = head(findings);
    let mut section = "";
    for setting in &findings.plan.settings {
        if setting.section != section {
            section = setting.section;
            let _ = write!(text, "\n[{section}]\n");
        }
        write_setting(&mut text, setting);
    }
    text
}

fn head(findings: &Findings) -> String {
    let service = findings.takes_over.as_ref().map(|service| service.display().to_string());
    let mut text = match &service {
        Some(service) => format!("# Portcullis in place of {}, written by `portcullis init`.\n", shown(service)),
        None => "# Portcullis, written by `portcullis init`, which found no service to take over.\n".to_owned(),
    };
    text.push_str(
        "# The comment above each key is its origin: file, line and text. A key that is missing here has its default;\n\
         # the commented default configuration lists them all.\n",
    );
    if !findings.plan.errors.is_empty() {
        text.push_str("#\n# Errors; until they are settled no backend is set:\n");
        findings.plan.errors.iter().for_each(|error| _ = writeln!(text, "#   {}", shown(error)));
    }
    if !findings.plan.remarks.is_empty() {
        text.push_str("#\n# Not understood, or not carried over:\n");
        findings.plan.remarks.iter().for_each(|remark| _ = writeln!(text, "#   {}", shown(remark)));
    }
    text
}

fn write_setting(text: &mut String, setting: &Setting) {
    let Setting { key, value, from, active, .. } = setting;
    let _ = writeln!(text, "# {}", shown(from));
    match (key.is_empty(), active) {
        (true, _) => {}
        (false, true) => _ = writeln!(text, "{key} = {value}"),
        (false, false) => _ = writeln!(text, "# {key} = {value}"),
    }
}
