//! The server behind the proxy: whether it answers, how much of it is in use, and how fast it is. It must not ask it.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::backend::Usage;
use crate::front::Services;
use crate::report::metrics::Metrics;
use crate::report::metrics::latency::Counts;
use crate::session::record::Span;

/// The server behind the proxy.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Backend {
    /// Its address or program, as the configuration has it.
    pub(crate) target: String,
    /// Whether it answers, as far as is known.
    pub(crate) up: bool,
    /// Since when it does not, in seconds since the epoch.
    pub(crate) down_since: Option<u32>,
    /// What was tried last, and what came of it.
    pub(crate) error: Option<String>,
    #[serde(flatten)]
    pub(crate) usage: Usage,
    pub(crate) latency: Latencies,
}

/// How long the backend's steps took within the last minutes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Latencies {
    /// From the request for a session to the end of its EHLO.
    pub(crate) open_ms: Quantiles,
    /// From MAIL to its reply.
    pub(crate) mail_ms: Quantiles,
    /// From RCPT to its reply.
    pub(crate) rcpt_ms: Quantiles,
    /// From the end of a message to its reply.
    pub(crate) dot_ms: Quantiles,
}

/// The median of some durations and the time that 99 of 100 did not exceed, in milliseconds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Quantiles {
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    /// The number of durations.
    pub(crate) count: u64,
}

impl Backend {
    /// The backend now.
    pub(crate) fn of(services: &Services) -> Self {
        let down = services.health.down();
        Self {
            target: services.backends.target().to_string(),
            up: down.is_none(),
            down_since: down.as_ref().map(|down| down.since.seconds()),
            error: down.map(|down| down.error),
            usage: services.backends.usage(),
            latency: Latencies::of(&services.reports.metrics),
        }
    }
}

impl Latencies {
    fn of(metrics: &Metrics) -> Self {
        let lately = |span| Quantiles::of(&metrics.lately(span));
        Self {
            open_ms: lately(Span::BackendOpen),
            mail_ms: lately(Span::BackendMail),
            rcpt_ms: lately(Span::BackendRcpt),
            dot_ms: lately(Span::BackendDot),
        }
    }
}

impl Quantiles {
    fn of(counts: &Counts) -> Self {
        let ms = |time: Duration| (time.as_secs_f64() * 1e5).round() / 100.0;
        Self { p50: counts.quantile(0.5).map(ms), p99: counts.quantile(0.99).map(ms), count: counts.count() }
    }
}
