//! Counts and times, in the text format of Prometheus. Labels are fixed words: nothing of a request is one.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The upper ends of the buckets of times, in seconds.
const BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// What the server counts.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    /// By status and reason.
    requests: Mutex<BTreeMap<(u16, &'static str), u64>>,
    pub(super) abandoned: AtomicU64,
    pub(super) inputs: AtomicU64,
    pub(super) reloads: AtomicU64,
    pub(super) failed_reloads: AtomicU64,
    pub(super) failed_certificates: AtomicU64,
    pub(super) connections: AtomicI64,
    pub(super) waiting: AtomicI64,
    pub(super) working: AtomicI64,
    whole: Histogram,
    pub(super) upstream: Histogram,
    pub(super) protecting: Histogram,
}

impl Metrics {
    /// Counts an answered request; `code` is why it was refused, or `ok`.
    pub(super) fn answered(&self, status: u16, code: &'static str, took: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((status, code)).or_default() += 1;
        drop(requests);
        self.whole.observe(took);
    }

    /// Everything, in the text format.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) {
        head(text, "requests_total", "counter", "Answered requests for embeddings, by status and reason.");
        for ((status, code), count) in self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            line(text, "requests_total", &format!("{{status=\"{status}\",code=\"{code}\"}}"), count);
        }
        let counters = [
            ("requests_abandoned_total", "Requests whose client hung up before the answer.", &self.abandoned),
            ("inputs_total", "Inputs whose protected vectors were returned.", &self.inputs),
            ("tenant_reloads_total", "Times that the tenants were read anew.", &self.reloads),
            (
                "tenant_reload_failures_total",
                "Times that the tenants could not be read, and stayed as they were.",
                &self.failed_reloads,
            ),
            (
                "certificate_reload_failures_total",
                "Times that the certificate could not be reread, and stayed as it was.",
                &self.failed_certificates,
            ),
        ];
        for (name, help, value) in counters {
            head(text, name, "counter", help);
            line(text, name, "", value.load(Ordering::Relaxed));
        }
        let gauges = [
            ("connections", "Open connections.", &self.connections),
            ("requests_waiting", "Requests that wait for their turn.", &self.waiting),
            ("requests_working", "Requests that are worked on.", &self.working),
        ];
        for (name, help, value) in gauges {
            head(text, name, "gauge", help);
            line(text, name, "", value.load(Ordering::Relaxed));
        }
        self.whole.write(text, "request_seconds", "From the head of a request to its answer.");
        self.upstream.write(
            text,
            "embedding_seconds",
            "The upstream's answer, or the local embedder's work.",
        );
        self.protecting.write(text, "protecting_seconds", "Reading, protecting and writing the vectors.");
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // writing to a string cannot fail
    let _ = writeln!(text, "# HELP embosk_{name} {help}\n# TYPE embosk_{name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = writeln!(text, "embosk_{name}{labels} {value}");
}

/// Times by size.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// One more than there are ends.
    counts: [AtomicU64; BUCKETS.len() + 1],
    micros: AtomicU64,
}

impl Histogram {
    pub(super) fn observe(&self, time: Duration) {
        let at = BUCKETS.iter().position(|end| time.as_secs_f64() <= *end).unwrap_or(BUCKETS.len());
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn write(&self, text: &mut String, name: &str, help: &str) {
        head(text, name, "histogram", help);
        let mut so_far = 0;
        for (at, count) in self.counts.iter().enumerate() {
            so_far += count.load(Ordering::Relaxed);
            let end = BUCKETS.get(at).map_or_else(|| "+Inf".to_owned(), ToString::to_string);
            line(text, &format!("{name}_bucket"), &format!("{{le=\"{end}\"}}"), so_far);
        }
        let seconds = Duration::from_micros(self.micros.load(Ordering::Relaxed)).as_secs_f64();
        line(text, &format!("{name}_sum"), "", seconds);
        line(text, &format!("{name}_count"), "", so_far);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_times_are_printed() {
        let metrics = Metrics::default();
        metrics.answered(200, "ok", Duration::from_millis(2));
        metrics.answered(429, "queue_full", Duration::from_mins(1));
        let text = metrics.text();
        for line in [
            "embosk_requests_total{status=\"200\",code=\"ok\"} 1",
            "embosk_requests_total{status=\"429\",code=\"queue_full\"} 1",
            "embosk_request_seconds_bucket{le=\"0.0025\"} 1",
            "embosk_request_seconds_bucket{le=\"+Inf\"} 2",
            "embosk_request_seconds_sum 60.002",
            "# TYPE embosk_connections gauge",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
