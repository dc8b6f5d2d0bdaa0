//! Who is worked on, who waits, and who is told to come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::error::Refusal;
use super::limits::Limits;
use super::metrics::Metrics;

/// The places for requests.
#[derive(Debug)]
pub(super) struct Admission {
    /// Of those who wait or are worked on.
    inside: Arc<Semaphore>,
    /// Of those who are worked on.
    work: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// A place in the server, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    place: OwnedSemaphorePermit,
    _waiting: Counted,
}

/// A turn, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _inside: OwnedSemaphorePermit,
    _work: OwnedSemaphorePermit,
    _working: Counted,
}

impl Admission {
    pub(super) fn new(limits: &Limits, metrics: Arc<Metrics>) -> Self {
        let most = |count: usize| count.clamp(1, Semaphore::MAX_PERMITS / 2);
        let (work, queue) = (most(limits.concurrency), limits.queue.min(Semaphore::MAX_PERMITS / 2));
        Self { inside: Arc::new(Semaphore::new(work + queue)), work: Arc::new(Semaphore::new(work)), metrics }
    }

    /// Refuses if there is no place, and takes none.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.inside.available_permits() == 0 { Err(full()) } else { Ok(()) }
    }

    /// Takes a place, if there is one.
    pub(super) fn enter(&self) -> Result<Ticket, Refusal> {
        let place = Arc::clone(&self.inside).try_acquire_owned().map_err(|_| full())?;
        Ok(Ticket { place, _waiting: Counted::new(&self.metrics, |metrics| &metrics.waiting) })
    }

    /// Waits for a turn.
    pub(super) async fn turn(&self, ticket: Ticket, deadline: Instant) -> Result<Turn, Refusal> {
        match timeout_at(deadline, Arc::clone(&self.work).acquire_owned()).await {
            Ok(Ok(work)) => Ok(Turn {
                _inside: ticket.place,
                _work: work,
                _working: Counted::new(&self.metrics, |metrics| &metrics.working),
            }),
            _ => Err(Refusal::busy(
                "queue_timeout",
                "no turn came within the time of a request; try again later",
            )),
        }
    }
}

fn full() -> Refusal {
    Refusal::busy("queue_full", "the server is busy and its queue is full; try again later").closes()
}

/// Counts up, and down again when it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    metrics: Arc<Metrics>,
    gauge: fn(&Metrics) -> &AtomicI64,
}

impl Counted {
    pub(super) fn new(metrics: &Arc<Metrics>, gauge: fn(&Metrics) -> &AtomicI64) -> Self {
        gauge(metrics).fetch_add(1, Ordering::Relaxed);
        Self { metrics: Arc::clone(metrics), gauge }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.gauge)(&self.metrics).fetch_sub(1, Ordering::Relaxed);
    }
}
