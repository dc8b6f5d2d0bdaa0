//! One batch a thread: how models run on several cores.
//!
//! Most of a small model's operations are too short to be worth splitting, so whole batches are
//! spread over threads instead and every matrix product stays on the thread that asked for it. Where
//! there is a single batch, its products are split.

use std::cell::Cell;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Once, OnceLock};
use std::thread;

/// How many batches run side by side: the cores that this process may use.
pub fn threads() -> usize {
    // asked once: the answer is read from files
    static THREADS: OnceLock<usize> = OnceLock::new();
    *THREADS.get_or_init(|| thread::available_parallelism().map_or(1, NonZero::get))
}

thread_local! {
    /// Whether this thread makes its products alone.
    static ONE_OF_MANY: Cell<bool> = const { Cell::new(false) };
}

/// How many threads a product may use that this thread asks for.
pub(crate) fn for_a_product() -> usize {
    if ONE_OF_MANY.get() { 1 } else { threads() }
}

/// Runs `work` on every job, several at once, and returns the results in the order of the jobs.
///
/// Subnormal numbers are flushed to zero on the threads that do the work; they would slow training
/// severalfold. The first call makes matrix products in this process single-threaded.
///
/// # Errors
/// The first error, in the order of the jobs.
pub fn in_parallel<J: Sync, T: Send, E: Send>(
    jobs: &[J],
    work: impl Fn(&J) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    keep_products_on_their_thread();
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    let side_by_side = threads().min(jobs.len());
    // a thread of rayon's waits here, and if all of them do, nobody is left to share a product
    let share_products = side_by_side == 1 && rayon::current_thread_index().is_none();
    thread::scope(|scope| {
        for _ in 0..side_by_side {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                ONE_OF_MANY.set(!share_products);
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

fn keep_products_on_their_thread() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| gemm::set_threading_threshold(usize::MAX));
}

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
    use std::time::Duration;

    use super::super::product::{Rows, product};
    use super::*;

    /// A product large enough to be shared, asked for on every thread of rayon's at once.
    #[test]
    fn threads_of_rayons_do_not_wait_for_each_other() {
        use rayon::prelude::*;

        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let (x, weight) = (vec![0.5; 64 * 512], vec![0.25; 512 * 512]);
            let sums: Vec<f32> = (0..16)
                .into_par_iter()
                .map(|_| {
                    let job = |()| Ok::<_, ()>(product(&x, Rows::F32(&weight), 512)[0]);
                    in_parallel(&[()], |&unit| job(unit)).unwrap()[0]
                })
                .collect();
            sender.send(sums).unwrap();
        });
        assert_eq!(receiver.recv_timeout(Duration::from_secs(60)).unwrap(), vec![64.0; 16]);
    }
}
