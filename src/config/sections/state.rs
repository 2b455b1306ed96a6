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
        Some(("redb", file)) if !file.is_empty() => Ok(Settings::File(file.into())),
        Some(("memory", "")) => Ok(Settings::Memory),
        Some(("redis" | "rediss", _)) => {
            Err(format!("no state is shared in this version: write \"redb:{DEFAULT_FILE}\" or \"memory:\""))
        }
        None if !text.is_empty() && text != "memory" => Err(format!("write \"redb:{text}\"")),
        _ => Err(format!("write \"memory:\" or \"redb:{DEFAULT_FILE}\"")),
    });
    url.map_or_else(|| Settings::File(DEFAULT_FILE.into()), |url| url.value)
}

const GROUPS: [(&str, Group); 2] = [("relayclient", Group::RelayClient), ("authenticated", Group::Authenticated)];
const DEFAULT_FILE: &str = "portcullis-state.redb";
