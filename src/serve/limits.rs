//! How much is taken, and how long it may take.

use std::time::Duration;

/// The limits of a [`Server`](super::Server).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// The most bytes of a request's body. Default: 4 MiB.
    pub body: usize,
    /// The most bytes of an upstream's answer. Default: 128 MiB.
    pub answer: usize,
    /// The most inputs of a request. Default: 2048, as OpenAI has it.
    pub inputs: usize,
    /// How many requests are worked on at a time. Default: 64.
    pub concurrency: usize,
    /// How many more requests may wait. Others are refused with status 429. Default: 256.
    pub queue: usize,
    /// How many connections are open at a time; others wait to be accepted. Default: 1024.
    pub connections: usize,
    /// How long a request may take, waiting included. Default: 60 s.
    pub timeout: Duration,
    /// How long a shutdown waits for requests that are under way. Default: 65 s.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 4 << 20,
            answer: 128 << 20,
            inputs: 2048,
            concurrency: 64,
            queue: 256,
            connections: 1024,
            timeout: Duration::from_mins(1),
            grace: Duration::from_secs(65),
        }
    }
}
