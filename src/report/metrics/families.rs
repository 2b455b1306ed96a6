//! Families of metrics as text, in Prometheus's format or in OpenMetrics's, as a scraper asks for it. It must not count
//! anything.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::EncodeCounterValue;
use prometheus_client::encoding::EncodeGaugeValue;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::NoLabelSet;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::encoding::text;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// What a scraper reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus's text format, version 0.0.4.
    Text,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

/// Where families are written to. Names go without our prefix, and those of counters without `_total`.
#[derive(Debug)]
pub struct Families<'a> {
    encoder: DescriptorEncoder<'a>,
    format: Format,
    prefix: &'static str,
}

/// The numbers of a histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct Buckets {
    /// The sum of all values.
    pub sum: f64,
    /// The number of values.
    pub count: u64,
    /// The values within each bound and above the one before; the last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
}

/// The text of all that `write` writes, each name with `portcullis_` before it.
pub fn text(
    format: Format,
    write: impl Fn(&mut Families<'_>) -> fmt::Result + Send + Sync + 'static,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape { write: Arc::new(write), format }));
    let mut text = String::new();
    match format {
        Format::Text => prometheus_text::encode(&mut text, &registry)?,
        Format::OpenMetrics => text::encode(&mut text, &registry)?,
    }
    Ok(text)
}

impl Format {
    /// By the value of an Accept header (RFC 9110, section 12.5.1): OpenMetrics where it is named and nothing says that
    /// plain text is preferred.
    pub fn accepted(accept: &str) -> Self {
        let quality = |kind: &str| accept.split(',').filter_map(|range| quality_of(range, kind)).max();
        match (quality("application/openmetrics-text"), quality("text/plain")) {
            (Some(open), plain) if open > 0 && plain.is_none_or(|plain| open >= plain) => Self::OpenMetrics,
            _ => Self::Text,
        }
    }

    /// The value of Content-Type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Thousandths, where a media range is of this kind.
fn quality_of(range: &str, kind: &str) -> Option<u32> {
    let mut parts = range.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(kind) {
        return None;
    }
    let given = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    given.map_or(Some(1000), |q| q.parse::<f32>().ok().map(|q| (q.clamp(0.0, 1.0) * 1000.0) as u32))
}

impl Families<'_> {
    /// A counter without labels.
    pub fn counter<V: EncodeCounterValue + EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        count: V,
    ) -> fmt::Result {
        self.counters(name, help, [([("", ""); 0], count)])
    }

    /// A counter with a value for each set of labels.
    pub fn counters<'l, V: EncodeCounterValue + EncodeGaugeValue, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = ([(&'l str, &'l str); N], V)>,
    ) -> fmt::Result {
        // Of OpenMetrics's families no two may have one name, and a counter's is without `_total`: there the counter
        // beside a gauge of its name has no type.
        if self.format == Format::OpenMetrics && name == BESIDE_A_GAUGE {
            return self.values(&format!("{name}_total"), help, MetricType::Unknown, series);
        }
        self.values(name, help, MetricType::Counter, series)
    }

    fn values<'l, V: EncodeCounterValue + EncodeGaugeValue, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        series: impl IntoIterator<Item = ([(&'l str, &'l str); N], V)>,
    ) -> fmt::Result {
        let name = self.full(name);
        let mut family = self.encoder.encode_descriptor(&name, help, None, kind)?;
        for (labels, value) in series {
            let mut metric = family.encode_family(&labels)?;
            match kind {
                MetricType::Counter => metric.encode_counter::<NoLabelSet, V, f64>(&value, None)?,
                _ => metric.encode_gauge(&value)?,
            }
        }
        Ok(())
    }

    /// A gauge without labels.
    pub fn gauge<V: EncodeCounterValue + EncodeGaugeValue>(&mut self, name: &str, help: &str, value: V) -> fmt::Result {
        self.gauges(name, help, [([("", ""); 0], value)])
    }

    /// A gauge with a value for each set of labels.
    pub fn gauges<'l, V: EncodeCounterValue + EncodeGaugeValue, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = ([(&'l str, &'l str); N], V)>,
    ) -> fmt::Result {
        self.values(name, help, MetricType::Gauge, series)
    }

    /// What does not change while the process runs: a gauge of 1, with `_info` behind the name.
    pub fn info(&mut self, name: &str, help: &str, labels: &impl EncodeLabelSet) -> fmt::Result {
        let name = self.full(name);
        self.encoder.encode_descriptor(&name, help, None, MetricType::Info)?.encode_info(labels)
    }

    /// A histogram for each set of labels.
    pub fn histograms<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = ([(&'l str, &'l str); N], Buckets)>,
    ) -> fmt::Result {
        let name = self.full(name);
        let mut family = self.encoder.encode_descriptor(&name, help, None, MetricType::Histogram)?;
        for (labels, Buckets { sum, count, buckets }) in series {
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }

    /// What every process has, under the names that all programs give it.
    pub fn of_process(&mut self, write: impl FnOnce(&mut Self) -> fmt::Result) -> fmt::Result {
        let prefix = std::mem::replace(&mut self.prefix, "process_");
        let written = write(self);
        self.prefix = prefix;
        written
    }

    fn full(&self, name: &str) -> String {
        [self.prefix, name].concat()
    }
}

/// The name that `connections_total` and the gauge `connections` share.
const BESIDE_A_GAUGE: &str = "connections";

struct Scrape<W> {
    write: Arc<W>,
    format: Format,
}

impl<W> fmt::Debug for Scrape<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrape").field("format", &self.format).finish_non_exhaustive()
    }
}

impl<W: Fn(&mut Families<'_>) -> fmt::Result + Send + Sync + 'static> Collector for Scrape<W> {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        (self.write)(&mut Families { encoder, format: self.format, prefix: "portcullis_" })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_scraper_gets_the_format_it_asks_for() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;\
                          version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html, text/plain", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("application/openmetrics-text; version=1.0.0; q=0", Format::Text),
            ("text/plain;q=0.9, application/openmetrics-text;q=0.3", Format::Text),
            ("text/plain;q=0.3, Application/OpenMetrics-Text; q=0.9", Format::OpenMetrics),
            ("application/openmetrics-text;q=x", Format::Text),
            (prometheus, Format::OpenMetrics),
        ] {
            assert_eq!(Format::accepted(accept), format, "{accept}");
        }
    }

    #[test]
    fn families_in_both_formats() {
        let write = |to: &mut Families<'_>| {
            to.counters("connections", "Came in.", [([("kind", "a\"b")], 1_u64), ([("kind", "c")], 0)])?;
            to.counter("sent_bytes", "Sent.", 5_u64)?;
            to.gauge("connections", "Open.", 2_u64)?;
            to.info("build", "Built.", &[("version", "1")])?;
            to.gauges("ends", "When.", [([("file", "x.pem")], 1.5)])?;
            to.of_process(|to| to.counter("cpu_seconds", "Used.", 0.25))?;
            let buckets = vec![(0.5, 1), (1.0, 1), (f64::INFINITY, 1)];
            to.histograms("time", "Took.", [([("step", "a")], Buckets { sum: 1.5, count: 3, buckets })])
        };
        let plain = "# HELP portcullis_connections_total Came in.\n# TYPE portcullis_connections_total counter\n\
            portcullis_connections_total{kind=\"a\\\"b\"} 1\nportcullis_connections_total{kind=\"c\"} 0\n\
            # HELP portcullis_sent_bytes_total Sent.\n# TYPE portcullis_sent_bytes_total counter\n\
            portcullis_sent_bytes_total 5\n\
            # HELP portcullis_connections Open.\n# TYPE portcullis_connections gauge\nportcullis_connections 2\n\
            # HELP portcullis_build_info Built.\n# TYPE portcullis_build_info gauge\n\
            portcullis_build_info{version=\"1\"} 1\n\
            # HELP portcullis_ends When.\n# TYPE portcullis_ends gauge\nportcullis_ends{file=\"x.pem\"} 1.5\n\
            # HELP process_cpu_seconds_total Used.\n# TYPE process_cpu_seconds_total counter\n\
            process_cpu_seconds_total 0.25\n\
            # HELP portcullis_time Took.\n# TYPE portcullis_time histogram\n\
            portcullis_time_bucket{step=\"a\",le=\"0.5\"} 1\nportcullis_time_bucket{step=\"a\",le=\"1\"} 2\n\
            portcullis_time_bucket{step=\"a\",le=\"+Inf\"} 3\nportcullis_time_sum{step=\"a\"} 1.5\n\
            portcullis_time_count{step=\"a\"} 3\n";
        assert_eq!(text(Format::Text, write).unwrap(), plain);
        let open = text(Format::OpenMetrics, write).unwrap();
        let heads: Vec<_> = open.lines().filter(|line| line.starts_with("# TYPE")).collect();
        assert_eq!(
            heads,
            [
                "# TYPE portcullis_connections_total unknown",
                "# TYPE portcullis_sent_bytes counter",
                "# TYPE portcullis_connections gauge",
                "# TYPE portcullis_build info",
                "# TYPE portcullis_ends gauge",
                "# TYPE process_cpu_seconds counter",
                "# TYPE portcullis_time histogram",
            ]
        );
        assert!(open.contains("\nportcullis_connections_total{kind=\"c\"} 0\n"), "{open}");
        assert!(open.ends_with("# EOF\n"), "{open}");
    }
}
