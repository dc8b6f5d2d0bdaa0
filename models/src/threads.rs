//! Runs models on several cores, one batch per thread.
//!
//! Most of a small model's operations are too short to be worth splitting, so whole batches are spread over threads
//! instead, and every matrix product stays on the calling thread. If there is a single batch, the products of
//! `linear` are shared with rayon's pool.
//!
//! Nothing here changes the process: the threads belong to a call and end with it, subnormal numbers are flushed to
//! zero only on these, and the settings of the matrix library stay as the program left them.

use std::cell::Cell;
use std::num::NonZero;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// Returns how many batches run in parallel: the cores that this process may use.
pub fn threads() -> usize {
    // asked once: the answer is read from files
    static THREADS: OnceLock<usize> = OnceLock::new();
    *THREADS.get_or_init(|| thread::available_parallelism().map_or(1, NonZero::get))
}

thread_local! {
    /// Whether this thread computes its products alone.
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Returns how many threads may share a product that this thread computes.
pub(crate) fn for_a_product() -> usize {
    if ALONE.get() { 1 } else { threads() }
}

/// Runs `work` on every job, several at once, and returns the results in the order of the jobs.
///
/// The threads that do the work flush subnormal numbers to zero, because these would slow training severalfold.
///
/// # Errors
/// The first error, in the order of the jobs.
pub fn in_parallel<J: Sync, T: Send, E: Send>(
    jobs: &[J],
    work: impl Fn(&J) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    let side_by_side = threads().min(jobs.len());
    // if every thread of rayon's waits here, none is left to share a product
    let shares_products = side_by_side == 1 && rayon::current_thread_index().is_none();
    thread::scope(|scope| {
        for _ in 0..side_by_side {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                ALONE.set(!shares_products);
                flushing_subnormals(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(job) = jobs.get(index) else { break };
                        // The receiver outlives the scope, so sending cannot fail.
                        let _ = sender.send((index, work(job)));
                    }
                });
            });
        }
    });
    drop(sender);
    let mut results: Vec<(usize, Result<T, E>)> = receiver.into_iter().collect();
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Runs `work` with subnormal numbers flushed to zero on this thread, then restores the thread's mode.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) fn flushing_subnormals<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: the flag is this thread's own and is put back when `work` ends; nothing in `work`
    // depends on subnormal results.
    #[allow(unsafe_code)]
    unsafe {
        no_denormals::no_denormals(work)
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn flushing_subnormals<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_jobs_and_the_first_error_counts() {
        let jobs: Vec<usize> = (0..50).collect();
        let doubled = in_parallel(&jobs, |job| Ok::<_, usize>(2 * job)).unwrap();
        assert!(doubled.iter().enumerate().all(|(at, value)| *value == 2 * at));
        let odd = in_parallel(&jobs, |job| if job % 20 == 7 { Err(*job) } else { Ok(()) });
        assert_eq!(odd.unwrap_err(), 7);
        assert_eq!(in_parallel(&[], |(): &()| Ok::<_, ()>(())), Ok(Vec::new()));
    }

    /// Subnormal numbers are flushed where the work is done, and nowhere else.
    #[test]
    fn subnormal_numbers_are_flushed_on_our_own_threads_alone() {
        let half = || black_box(f32::MIN_POSITIVE) * black_box(0.5);
        for jobs in [1, 8] {
            let found = in_parallel(&vec![(); jobs], |()| Ok::<_, ()>(half())).unwrap();
            assert!(found.iter().all(|value| *value == 0.0) || cfg!(not(target_arch = "x86_64")));
            assert!(half() > 0.0);
        }
        assert!(flushing_subnormals(half) < half());
        let panicked = std::panic::catch_unwind(|| flushing_subnormals(|| panic!("stopped")));
        assert!(panicked.is_err() && half() > 0.0);
    }
}
