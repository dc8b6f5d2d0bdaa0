//! Long work beside Python: on a thread of its own, while Python's thread looks for Ctrl-C.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;

use crate::error::raise;
use crate::threads::{STACK, with_own_threads};

/// How often Python's thread looks.
const LOOKS: Duration = Duration::from_millis(100);

/// Runs `work` on another thread. On Ctrl-C, or whatever else a signal raises, `stop` becomes true, and the exception is
/// raised once the work has ended: a thread that is left in Python's code would break an interpreter that shuts down. A
/// second one is raised at once.
pub(crate) fn beside<T: Send + 'static>(
    py: Python<'_>,
    stop: &Arc<AtomicBool>,
    work: impl FnOnce() -> T + Send + 'static,
) -> PyResult<T> {
    let (send, receive) = channel();
    let started = thread::Builder::new().name("embosk".into()).stack_size(STACK).spawn(move || {
        // nobody receives once Python has gone on
        let _ = send.send(with_own_threads(work));
    });
    started.map_err(|error| raise("EvaluationError", format!("no thread could be started: {error}")))?;
    let receive = Mutex::new(receive);
    let mut interrupt: Option<PyErr> = None;
    loop {
        let received =
            py.detach(|| receive.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(LOOKS));
        match received {
            Ok(done) => return interrupt.map_or(Ok(done), Err),
            Err(RecvTimeoutError::Timeout) => match (py.check_signals(), &interrupt) {
                (Ok(()), _) => {}
                (Err(raised), None) => {
                    stop.store(true, Ordering::Relaxed);
                    interrupt = Some(raised);
                }
                (Err(again), Some(_)) => return Err(again),
            },
            Err(RecvTimeoutError::Disconnected) => {
                return Err(raise(
                    "EvaluationError",
                    "it ended by a fault of embosk, which stderr shows; please report it",
                ));
            }
        }
    }
}
