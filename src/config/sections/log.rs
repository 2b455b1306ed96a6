//! `[log]`: level, form and time of log lines. It must not start the log.

use crate::config::reader::Section;
use crate::report::Format;
use crate::report::Level;
use crate::report::Settings;
use crate::report::Time;

pub(crate) fn read(section: &mut Section<'_>) -> Settings {
    let format = section.choice("format", &FORMATS);
    let time = section.choice("time", &TIMES);
    let level = section.choice("level", &LEVELS);
    Settings {
        format: format.map_or(Format::Logfmt, |written| written.value),
        time: time.map_or(Time::Auto, |written| written.value),
        level: level.map_or(Level::Info, |written| written.value),
    }
}

const FORMATS: [(&str, Format); 3] = [("logfmt", Format::Logfmt), ("json", Format::Json), ("pretty", Format::Pretty)];

const TIMES: [(&str, Time); 3] = [("auto", Time::Auto), ("none", Time::None), ("rfc3339", Time::Rfc3339)];

const LEVELS: [(&str, Level); 4] =
    [("error", Level::Error), ("warn", Level::Warn), ("info", Level::Info), ("debug", Level::Debug)];
