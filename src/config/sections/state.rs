//! `[repeat]` and `[state]`: what is remembered, for how long and where. It must not open the state.

use crate::config::faults::Written;
use crate::config::reader::Section;
use crate::config::sections::time_limit;
use crate::config::units;
use crate::policy::repeat::Except;
use crate::policy::repeat::RepeatRules;
use crate::policy::throttle::Group;
use crate::store::state::Settings;

pub(crate) fn repeat(section: &mut Section<'_>) -> RepeatRules {
    let default = RepeatRules::default();
    let window = section.parsed("window", time_limit);
    let absorb = section.choice("unacknowledged", &[("absorb", true), ("deliver", false)]);
    let limit = section.number("limit", 0..=1_000_000);
    let min_size = section.quantity("min_size", units::size);
    let except = section.choices("except", "\"relayclient\"", &GROUPS);
    RepeatRules {
        window: window.map_or(default.window, |window| window.value),
        absorb: absorb.map_or(default.absorb, |absorb| absorb.value),
        limit: limit.and_then(|limit| u32::try_from(limit.value).ok()).unwrap_or(default.limit),
        min_size: min_size.map_or(default.min_size, |size| size.value),
        except: except.map_or(default.except, |written| groups(&written)),
    }
}

fn groups(written: &[Written<Group>]) -> Except {
    let has = |group| written.iter().any(|written| written.value == group);
    Except { relay_client: has(Group::RelayClient), authenticated: has(Group::Authenticated) }
}

pub(crate) fn state(section: &mut Section<'_>) -> Settings {
    let url = section.parsed("url", |text| match text.split_once(':') {
        Some(("redb", file)) if !file.is_empty() => Ok(Some(Settings::File(file.into()))),
        Some(("redis" | "rediss", host)) if host.starts_with("//") => Ok(None),
        Some(("memory", "")) => Ok(Some(Settings::Memory)),
        _ => Err("write \"memory:\", \"redb:FILE\" or \"redis://HOST\"".to_owned()),
    });
    match url {
        None => Settings::File(DEFAULT_FILE.into()),
        Some(url) => url.value.unwrap_or_else(|| {
            section.findings().fault(url.at, "no state is shared in this version; write url = \"redb:FILE\"");
            Settings::Memory
        }),
    }
}

const GROUPS: [(&str, Group); 2] = [("relayclient", Group::RelayClient), ("authenticated", Group::Authenticated)];
const DEFAULT_FILE: &str = "portcullis-state.redb";
