//! What all requests share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::admission::Admission;
use super::limits::Limits;
use super::metrics::Metrics;
use super::source::{Kind, Source};
use super::tenants::Tenants;
use super::tls::Tls;

/// How long it is remembered whether the upstream can be reached.
const REMEMBERED: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) source: Source,
    tenants: RwLock<Arc<Tenants>>,
    pub(super) limits: Limits,
    pub(super) admission: Admission,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tls: Option<Tls>,
    is_draining: AtomicBool,
    number: AtomicU64,
    reachable: Mutex<Option<(Instant, bool)>>,
}

impl Shared {
    pub(super) fn new(source: Source, tenants: Tenants, limits: Limits, tls: Option<Tls>) -> Self {
        let metrics = Arc::<Metrics>::default();
        // numbers go on after a restart, so that logs stay unambiguous
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let first = u64::try_from(now.as_nanos()).unwrap_or_default();
        Self {
            source,
            tenants: RwLock::new(Arc::new(tenants)),
            admission: Admission::new(&limits, Arc::clone(&metrics)),
            limits,
            metrics,
            tls,
            is_draining: AtomicBool::new(false),
            number: AtomicU64::new(first),
            reachable: Mutex::new(None),
        }
    }

    /// The tenants as they are now; a request keeps those that it found.
    pub(super) fn tenants(&self) -> Arc<Tenants> {
        Arc::clone(&self.tenants.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_tenants(&self, tenants: Tenants) {
        *self.tenants.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tenants);
    }

    pub(super) fn next_number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    pub(super) fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// Whether the upstream can be reached.
    pub(super) async fn is_reachable(&self) -> bool {
        let Kind::Upstream(upstream) = &self.source.0 else { return true };
        let mut known = self.reachable.lock().await;
        match *known {
            Some((when, is_reachable)) if when.elapsed() < REMEMBERED => is_reachable,
            _ => {
                let is_reachable = upstream.is_reachable().await;
                *known = Some((Instant::now(), is_reachable));
                is_reachable
            }
        }
    }
}
