//! The threads that work for Python. They belong to one process: a child that was forked has none of its parent's
//! threads, rayon's included, and would wait for them forever.

use std::process;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// Fewer numbers are protected by the calling thread alone.
pub(crate) const FEW: usize = 1 << 15;

/// The size of a thread's call stack, in bytes: that of a program's first thread.
pub(crate) const STACK: usize = 16 << 20;

type OfProcess = Option<(u32, Arc<ThreadPool>)>;

static THREADS: Mutex<OfProcess> = Mutex::new(None);

/// The process that loaded this library. The children that it forks have other numbers.
static LOADED_BY: OnceLock<u32> = OnceLock::new();

/// Notes which process this is. It is called when Python loads the library.
pub(crate) fn note_process() {
    LOADED_BY.get_or_init(process::id);
}

/// Runs work on a batch of this many numbers: on the threads of this process if it is large.
pub(crate) fn on_threads<T: Send>(numbers: usize, work: impl FnOnce() -> T + Send) -> T {
    match (numbers > FEW || is_forked()).then(of_this_process).flatten() {
        Some(threads) => threads.install(work),
        None => work(),
    }
}

/// Runs work that uses rayon's threads. In a forked child, it uses the threads of this process in their place.
pub(crate) fn with_threads<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    on_threads(0, work)
}

/// Runs long work that uses rayon's threads, and may call Python's code. In a forked child, it has threads of its own:
/// where all others wait for that code, the code can still use those of this process.
pub(crate) fn with_own_threads<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    match is_forked().then(start).flatten() {
        Some(threads) => threads.install(work),
        None => work(),
    }
}

fn is_forked() -> bool {
    LOADED_BY.get().is_some_and(|&process| process != process::id())
}

/// The threads of this process; none if they could not be started.
fn of_this_process() -> Option<Arc<ThreadPool>> {
    let process = process::id();
    let mut threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    match &*threads {
        Some((of, threads)) if *of == process => return Some(Arc::clone(threads)),
        // the parent's threads are not there to be waited for
        Some(_) => std::mem::forget(threads.take()),
        None => {}
    }
    let started = Arc::new(start()?);
    *threads = Some((process, Arc::clone(&started)));
    Some(started)
}

fn start() -> Option<ThreadPool> {
    ThreadPoolBuilder::new().thread_name(|at| format!("embosk {at}")).stack_size(STACK).build().ok()
}
