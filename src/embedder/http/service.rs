//! How a service is asked.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::address::{self, Address};
use super::fetch::{Allowance, Sending};
use super::key::ApiKey;
use super::roles::Roles;
use super::{EmbeddingCache, HttpEmbedder, Notice};
use crate::digest::Digest;
use crate::{Error, Role};

/// An embedding service and how to ask it; [`connect`](Self::connect) makes the embedder.
#[derive(Clone)]
pub struct Service {
    pub(super) address: Address,
    pub(super) key: Option<ApiKey>,
    pub(super) roles: Roles,
    pub(super) dimensions: Option<usize>,
    pub(super) in_base64: bool,
    pub(super) timeout: Duration,
    pub(super) cache: Option<EmbeddingCache>,
    pub(super) notice: Notice,
    pub(super) is_rehearsal: bool,
    batch: usize,
    batch_bytes: usize,
    concurrency: usize,
    retries: u32,
    longest_wait: Duration,
    most: Option<usize>,
}

impl Service {
    /// Creates the service at `http(s)://host[:port]/v1#model`.
    ///
    /// # Errors
    /// [`Error::Setting`] if the address cannot be read, names no model, or has a place that may hold a key.
    pub fn new(address: &str) -> Result<Self, Error> {
        Ok(Self {
            address: Address::parse(address)?,
            key: None,
            roles: Roles::default(),
            dimensions: None,
            in_base64: false,
            timeout: Duration::from_mins(2),
            cache: None,
            notice: Arc::new(|_| ()),
            is_rehearsal: false,
            batch: 64,
            batch_bytes: 100_000,
            concurrency: 4,
            retries: 6,
            longest_wait: Duration::from_mins(10),
            most: None,
        })
    }

    /// Returns the host, with its port if the address has one.
    pub fn host(&self) -> &str {
        &self.address.host
    }

    /// Returns whether the service runs on this machine, by its host.
    #[cfg(feature = "cli")]
    pub(crate) fn is_local(&self) -> bool {
        self.address.is_local()
    }

    /// Returns whether an embedder's name is an address.
    pub fn is_address(name: &str) -> bool {
        address::is_address(name)
    }

    /// Sets the key, which is sent as `Authorization: Bearer`, and to Azure as `api-key` too. Default: none.
    pub fn key(self, key: ApiKey) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Sets how documents and queries are told apart. Default: not at all.
    pub fn roles(self, roles: Roles) -> Self {
        Self { roles, ..self }
    }

    /// Asks for vectors of so many dimensions. Default: as many as the model has.
    pub fn dimensions(self, dimensions: usize) -> Self {
        Self { dimensions: Some(dimensions), ..self }
    }

    /// Asks for vectors in Base64, which are shorter; both forms are read in any case. Default: not.
    pub fn base64(self, base64: bool) -> Self {
        Self { in_base64: base64, ..self }
    }

    /// Sets how many texts a request holds at most. A server that refuses so many is sent fewer. Default: 64.
    pub fn batch(self, texts: usize) -> Self {
        Self { batch: texts.max(1), ..self }
    }

    /// Sets how many bytes of text a request holds at most, unless a single text has more. Default: 100,000.
    pub fn batch_bytes(self, bytes: usize) -> Self {
        Self { batch_bytes: bytes, ..self }
    }

    /// Sets how many requests run at a time. Default: 4.
    pub fn concurrency(self, requests: usize) -> Self {
        Self { concurrency: requests.max(1), ..self }
    }

    /// Sets how long one attempt may take. Default: two minutes.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sets how often a request is tried again that failed in passing. Default: 6 times, with waits from half a second
    /// to a minute, or as the server's `Retry-After` says.
    pub fn retries(self, retries: u32) -> Self {
        Self { retries, ..self }
    }

    /// Sets the longest wait that a server's `Retry-After` may ask for. Default: ten minutes.
    pub fn longest_wait(self, wait: Duration) -> Self {
        Self { longest_wait: wait, ..self }
    }

    /// Sets how many texts may be sent in all; the next one is an error. Default: any number.
    pub fn max_queries(self, texts: usize) -> Self {
        Self { most: Some(texts), ..self }
    }

    /// Keeps every vector, and sends no text whose vector is kept. Default: no cache.
    pub fn cache(self, cache: EmbeddingCache) -> Self {
        Self { cache: Some(cache), ..self }
    }

    /// Calls `notice` with a sentence where the server is waited for. Default: nothing.
    pub fn notice(self, notice: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { notice: Arc::new(notice), ..self }
    }

    /// Sends nothing: texts are counted, and get vectors that say nothing. Default: not.
    pub fn rehearsal(self, is_rehearsal: bool) -> Self {
        Self { is_rehearsal, ..self }
    }

    /// Embeds a few fixed texts, and returns the embedder. With a [cache](Self::cache), their vectors are compared with
    /// those of earlier runs. If the cache has none, the texts are embedded twice, to see whether the vectors are equal.
    ///
    /// # Errors
    /// [`Error::Embedder`] if the service cannot be reached or refuses, and [`Error::Setting`] if its vectors have
    /// another dimension than was asked for, or differ each time, or the model is another one than when the cache was
    /// made.
    pub fn connect(self) -> Result<HttpEmbedder, Error> {
        if self.key.is_some() && self.address.is_open() {
            (self.notice)(&format!(
                "{}: the key goes through the network unprotected; use https",
                self.address
            ));
        }
        HttpEmbedder::connect(self)
    }

    pub(super) fn sending(&self) -> Sending {
        Sending {
            count: AtomicUsize::new(self.batch),
            bytes: self.batch_bytes,
            concurrency: self.concurrency,
            retries: self.retries,
            longest_wait: self.longest_wait,
            allowance: Allowance { most: self.most, sent: AtomicUsize::new(0) },
        }
    }

    /// Tells vectors apart that may differ: by the address, the model, and what is sent with texts in a role. How they
    /// are sent makes no difference.
    pub(super) fn cache_key(&self, role: Role) -> String {
        let settings = self.roles.of(role);
        let (field, value) = settings.field.as_ref().map_or(("", ""), |(field, value)| (field, value));
        let dimensions = self.dimensions.map_or_else(String::new, |dimensions| dimensions.to_string());
        let model = settings.model.as_ref().unwrap_or(&self.address.model);
        let parts = [self.address.endpoint.as_str(), model, &dimensions, &settings.prompt, field, value];
        format!("address {}", Digest::of(parts).hex())
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("address", &self.address.to_string())
            .field("key", &self.key)
            .field("roles", &self.roles)
            .field("dimensions", &self.dimensions)
            .finish_non_exhaustive()
    }
}
