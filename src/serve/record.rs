//! What is written of a request: numbers and fixed words, never a text, a vector, a key or a token.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::metrics::Metrics;
use super::tenants::Tenant;
use crate::Role;

/// A request under way. If it is dropped without an answer, its client has hung up, or the server has panicked.
pub(super) struct Record {
    id: String,
    began: Instant,
    metrics: Arc<Metrics>,
    is_answered: bool,
    pub(super) tenant: Option<Arc<Tenant>>,
    pub(super) role: Option<Role>,
    pub(super) inputs: usize,
    pub(super) bytes: usize,
}

impl Record {
    pub(super) fn new(number: u64, metrics: Arc<Metrics>) -> Self {
        Self {
            id: format!("{number:016x}"),
            began: Instant::now(),
            metrics,
            is_answered: false,
            tenant: None,
            role: None,
            inputs: 0,
            bytes: 0,
        }
    }

    /// The name of the request, made here.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Counts and logs the answer.
    pub(super) fn answered(mut self, status: u16, code: &'static str) {
        self.is_answered = true;
        self.write(status, code);
    }

    fn write(&self, status: u16, code: &'static str) {
        self.metrics.answered(status, code, self.began.elapsed());
        // an event's level is fixed where it is written
        macro_rules! log {
            ($level:ident, $message:literal) => {
                tracing::$level!(
                    request = self.id,
                    tenant = self.tenant_name(),
                    status,
                    code,
                    role = self.role_name(),
                    inputs = self.inputs,
                    bytes = self.bytes,
                    millis = self.millis(),
                    $message
                )
            };
        }
        if status < 500 {
            log!(info, "answered");
        } else {
            log!(warn, "failed");
        }
    }

    fn tenant_name(&self) -> &str {
        self.tenant.as_ref().map_or("", |tenant| &tenant.name)
    }

    fn role_name(&self) -> &'static str {
        match self.role {
            None => "",
            Some(Role::Document) => "document",
            Some(Role::Query) => "query",
        }
    }

    fn millis(&self) -> f64 {
        (self.began.elapsed().as_secs_f64() * 1e6).round() / 1e3
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        if std::thread::panicking() {
            // what the router answers then
            self.write(500, "internal_error");
        } else {
            self.metrics.abandoned.fetch_add(1, Ordering::Relaxed);
            tracing::info!(
                request = self.id,
                tenant = self.tenant_name(),
                inputs = self.inputs,
                bytes = self.bytes,
                millis = self.millis(),
                "the client hung up"
            );
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_panic_is_no_client_that_hung_up() {
        let metrics = Arc::<Metrics>::default();
        let record = Record::new(1, Arc::clone(&metrics));
        catch_unwind(AssertUnwindSafe(|| {
            let _record = record;
            panic!("as a handler may");
        }))
        .unwrap_err();
        assert_eq!(metrics.abandoned.load(Ordering::Relaxed), 0);
        let failed = "embosk_requests_total{status=\"500\",code=\"internal_error\"} 1";
        assert!(metrics.text().contains(failed), "{}", metrics.text());
        drop(Record::new(2, Arc::clone(&metrics)));
        assert_eq!(metrics.abandoned.load(Ordering::Relaxed), 1);
    }
}
