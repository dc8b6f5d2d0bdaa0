//! The threads that protect large batches. They belong to one process: a child that was forked has none of its
//! parent's threads, and would wait for them forever.

use std::sync::{Arc, Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// Fewer numbers are protected by the calling thread alone.
pub(crate) const FEW: usize = 1 << 15;

type OfProcess = Option<(u32, Arc<ThreadPool>)>;

static THREADS: Mutex<OfProcess> = Mutex::new(None);

/// Runs work on a batch of this many numbers: on the threads of this process if it is large.
pub(crate) fn on_threads<T: Send>(numbers: usize, work: impl FnOnce() -> T + Send) -> T {
    match (numbers > FEW).then(of_this_process).flatten() {
        Some(threads) => threads.install(work),
        None => work(),
    }
}

/// The threads of this process; none if they could not be started.
fn of_this_process() -> Option<Arc<ThreadPool>> {
    let process = std::process::id();
    let mut threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    match &*threads {
        Some((of, threads)) if *of == process => return Some(Arc::clone(threads)),
        // the parent's threads are not there to be waited for
        Some(_) => std::mem::forget(threads.take()),
        None => {}
    }
    let started = Arc::new(ThreadPoolBuilder::new().thread_name(|at| format!("embosk {at}")).build().ok()?);
    *threads = Some((process, Arc::clone(&started)));
    Some(started)
}
