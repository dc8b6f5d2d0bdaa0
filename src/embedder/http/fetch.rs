//! Many texts: in batches, several at a time, with patience.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use ndarray::Array2;

use super::client::Failure;
use super::patience;
use crate::Error;

/// How texts are sent.
#[derive(Debug)]
pub(super) struct Sending {
    /// Texts in one request; fewer once the server refused so many.
    pub(super) count: AtomicUsize,
    /// Bytes of text in one request, unless a single text has more.
    pub(super) bytes: usize,
    /// Requests at a time.
    pub(super) concurrency: usize,
    /// Attempts after the first.
    pub(super) retries: u32,
    /// A server that asks for a longer wait is given up on.
    pub(super) longest_wait: Duration,
    pub(super) allowance: Allowance,
}

/// One request for the vectors of some texts.
pub(super) type Ask<'a> = &'a (dyn Fn(&[&str]) -> Result<Array2<f32>, Failure> + Sync);

/// What fetching is told and tells.
pub(super) struct Fetching<'a> {
    pub(super) ask: Ask<'a>,
    /// Says that the server is waited for.
    pub(super) notice: &'a (dyn Fn(&str) + Sync),
}

/// How many texts may be sent, and how many were.
#[derive(Debug)]
pub(super) struct Allowance {
    pub(super) most: Option<usize>,
    pub(super) sent: AtomicUsize,
}

impl Allowance {
    fn take(&self, texts: usize) -> Result<(), String> {
        let sent = self.sent.fetch_add(texts, Ordering::Relaxed) + texts;
        match self.most {
            Some(most) if sent > most => {
                self.give_back(texts);
                Err(format!(
                    "{most} texts may be sent in all (--max-queries), and this run needs more; vectors that have come are in \
                     the cache, so a run with a higher limit goes on from there"
                ))
            }
            _ => Ok(()),
        }
    }

    fn give_back(&self, texts: usize) {
        self.sent.fetch_sub(texts, Ordering::Relaxed);
    }
}

/// Takes the place of a batch's first text, and its vectors.
pub(super) type Keep<'a> = dyn FnMut(usize, &Array2<f32>) -> Result<(), Error> + 'a;

/// Vectors and the place of the first one's text, or why there are none.
type Arrival = Result<(usize, Array2<f32>), String>;

impl Sending {
    /// Fetches the vectors of all texts. Each batch goes to `keep` when it is there, with the place of its first text,
    /// also if another one fails; the first failure is returned.
    pub(super) fn fetch(
        &self,
        fetching: &Fetching<'_>,
        texts: &[&str],
        keep: &mut Keep<'_>,
    ) -> Result<(), Error> {
        let batches = Mutex::new(self.batches(texts));
        let is_over = AtomicBool::new(false);
        let (sender, arrivals) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..self.concurrency.max(1) {
                let (sender, batches, is_over) = (sender.clone(), &batches, &is_over);
                scope.spawn(move || self.work(fetching, texts, batches, is_over, &sender));
            }
            drop(sender);
            let mut failure = None;
            for arrival in arrivals {
                let kept = match arrival {
                    Ok((first, vectors)) => keep(first, &vectors),
                    Err(message) => Err(Error::Embedder(message.into())),
                };
                if let Err(error) = kept {
                    is_over.store(true, Ordering::Relaxed);
                    failure.get_or_insert(error);
                }
            }
            failure.map_or(Ok(()), Err)
        })
    }

    /// Consecutive texts, as many together as both limits allow.
    fn batches(&self, texts: &[&str]) -> VecDeque<Range<usize>> {
        let most = self.count.load(Ordering::Relaxed).max(1);
        let mut batches = VecDeque::new();
        let (mut start, mut bytes) = (0, 0);
        for (at, text) in texts.iter().enumerate() {
            if at > start && (at - start == most || bytes + text.len() > self.bytes) {
                batches.push_back(start..at);
                (start, bytes) = (at, 0);
            }
            bytes += text.len();
        }
        if start < texts.len() {
            batches.push_back(start..texts.len());
        }
        batches
    }

    fn work(
        &self,
        fetching: &Fetching<'_>,
        texts: &[&str],
        batches: &Mutex<VecDeque<Range<usize>>>,
        is_over: &AtomicBool,
        sender: &mpsc::Sender<Arrival>,
    ) {
        let next = || batches.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        while let Some(batch) = next().filter(|_| !is_over.load(Ordering::Relaxed)) {
            let mut tell = |arrival: Arrival| {
                if arrival.is_err() {
                    is_over.store(true, Ordering::Relaxed);
                }
                // whoever is gone waits for nothing
                let _ = sender.send(arrival);
            };
            self.ask_in_parts(fetching, texts, batch, is_over, &mut tell);
        }
    }

    /// Asks for a batch; one that the server refuses is asked for in halves, down to single texts.
    fn ask_in_parts(
        &self,
        fetching: &Fetching<'_>,
        texts: &[&str],
        batch: Range<usize>,
        is_over: &AtomicBool,
        tell: &mut dyn FnMut(Arrival),
    ) {
        // the limit may have fallen since the batch was made
        let most = self.count.load(Ordering::Relaxed).max(1);
        if batch.len() > most {
            let middle = batch.start + most;
            self.ask_in_parts(fetching, texts, batch.start..middle, is_over, tell);
            return self.ask_in_parts(fetching, texts, middle..batch.end, is_over, tell);
        }
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        match self.ask_patiently(fetching, &texts[batch.clone()], is_over) {
            Ok(vectors) => tell(Ok((batch.start, vectors))),
            Err(Failure::TooMuch(_)) if batch.len() > 1 => {
                self.allowance.give_back(batch.len());
                self.count.fetch_min(batch.len().div_ceil(2), Ordering::Relaxed);
                self.ask_in_parts(fetching, texts, batch, is_over, tell);
            }
            Err(Failure::TooMuch(message)) => {
                let length = texts[batch.start].chars().count();
                tell(Err(format!("{message}; it was sent a single text of {length} characters")));
            }
            Err(Failure::Passing(message, _) | Failure::Final(message)) => tell(Err(message)),
        }
    }

    fn ask_patiently(
        &self,
        fetching: &Fetching<'_>,
        texts: &[&str],
        is_over: &AtomicBool,
    ) -> Result<Array2<f32>, Failure> {
        self.allowance.take(texts.len()).map_err(Failure::Final)?;
        let mut attempt = 1;
        loop {
            let (message, asked) = match (fetching.ask)(texts) {
                Err(Failure::Passing(message, asked)) => (message, asked),
                answered => return answered,
            };
            if attempt > self.retries {
                return Err(Failure::Final(format!(
                    "{message}; after {attempt} attempts nobody tries again"
                )));
            }
            let wait = patience::wait(attempt, asked);
            if asked.unwrap_or_default() > self.longest_wait {
                return Err(Failure::Final(format!(
                    "{message}; it asks for a wait of {} s, which is too long: run again later",
                    wait.as_secs()
                )));
            }
            if wait.as_secs() >= 2 {
                (fetching.notice)(&format!(
                    "{message}; attempt {} of {} in {} s",
                    attempt + 1,
                    self.retries + 1,
                    wait.as_secs()
                ));
            }
            if !rest(wait, is_over) {
                return Err(Failure::Final(message));
            }
            attempt += 1;
        }
    }
}

/// Waits, but not for what nobody needs any more. Returns whether somebody does.
fn rest(wait: Duration, is_over: &AtomicBool) -> bool {
    const SLICE: Duration = Duration::from_millis(100);
    let mut left = wait;
    while !left.is_zero() && !is_over.load(Ordering::Relaxed) {
        std::thread::sleep(left.min(SLICE));
        left = left.saturating_sub(SLICE);
    }
    !is_over.load(Ordering::Relaxed)
}
