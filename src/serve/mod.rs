//! A sidecar that speaks OpenAI's `/v1/embeddings` and returns protected vectors (feature `serve`).
//!
//! A client in any language points its base URL at the [`Server`]. The server has the vectors from a [`Source`], which is
//! another service or an embedder that runs here, and protects them by the stack of the [tenant](Tenants) who asks.
//! `embosk serve` runs it from the command line.
//!
//! ```no_run
//! use embosk::serve::{Server, Source, Tenants, Upstream};
//! use embosk::{BoxError, Registry};
//!
//! # async fn run() -> Result<(), BoxError> {
//! let tenants = Tenants::everyone_by("rotation(key=env:EMBOSK_KEY)", &Registry::default())?;
//! let upstream = Upstream::new("http://localhost:11434/v1")?;
//! let server = Server::new(Source::upstream(upstream), tenants)?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8787").await?;
//! server.run(listener, std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The manual has a chapter on it: `docs/start/sidecar.md`.

mod admission;
mod error;
mod handler;
mod ids;
mod limits;
mod listen;
mod metrics;
mod record;
mod request;
mod response;
mod role;
mod routes;
mod source;
mod stacks;
mod state;
mod stream;
mod tenants;
mod tls;
mod upstream;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::net::TcpListener;

use self::source::Kind;
use self::state::Shared;
use self::tls::Tls;
use crate::Error;

pub use self::limits::Limits;
pub use self::source::Source;
pub use self::tenants::Tenants;
pub use self::upstream::Upstream;

/// A server that answers `POST /v1/embeddings` with protected vectors.
#[derive(Debug)]
pub struct Server {
    source: Source,
    tenants: Tenants,
    limits: Limits,
    tls: Option<Tls>,
}

/// Exchanges the tenants and the certificate of a running server.
#[derive(Debug, Clone)]
pub struct Reloader(Arc<Shared>);

impl Server {
    /// Creates a server with the usual [`Limits`].
    ///
    /// If the source knows the dimension of its vectors, stacks that have none yet are bound to it, which may take
    /// seconds.
    ///
    /// # Errors
    /// [`Error::Setting`] if tenants have keys for the upstream, and there is none that may be sent keys.
    pub fn new(source: Source, tenants: Tenants) -> Result<Self, Error> {
        check(&source, &tenants)?;
        bind(&source, &tenants);
        Ok(Self { source, tenants, limits: Limits::default(), tls: None })
    }

    /// Sets the limits.
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Speaks TLS. One PEM file has the server's certificate, followed by those that lead to its authority, and the other
    /// its private key. Default: plain HTTP.
    ///
    /// # Errors
    /// [`Error::File`] if the files do not hold a certificate and its key.
    pub fn tls(self, certificates: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self { tls: Some(Tls::read(certificates.as_ref(), key.as_ref())?), ..self })
    }

    /// Serves until `shutdown` is ready, and then finishes the requests that are under way.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn run(self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let (_, running) = self.start(listener, shutdown)?;
        running.await;
        Ok(())
    }

    /// Returns what exchanges the tenants, and the future that serves, as [`run`](Self::run) does.
    ///
    /// # Errors
    /// [`Error::Setting`] if everyone may ask, and the listener can be reached from other machines.
    pub fn start<S: Future<Output = ()>>(
        mut self,
        listener: TcpListener,
        shutdown: S,
    ) -> Result<(Reloader, impl Future<Output = ()> + use<S>), Error> {
        let is_local = listener.local_addr().is_ok_and(listen::is_local);
        if !is_local && !self.tenants.are_known() {
            return Err(Error::Setting(
                "the address can be reached from other machines, and everyone who reaches it could ask; listen on 127.0.0.1, \
                 or give tenants with tokens"
                    .into(),
            ));
        }
        if !is_local && self.tls.is_none() {
            tracing::warn!(
                "clients on other machines send tokens and texts in the clear, unless a proxy before this speaks TLS; \
                 --tls-cert does it here"
            );
        }
        if let Kind::Upstream(upstream) = &mut self.source.0 {
            upstream.keep_idle(self.limits.concurrency)?;
        }
        let shared = Arc::new(Shared::new(self.source, self.tenants, self.limits, self.tls));
        let router = routes::router(Arc::clone(&shared));
        let running = listen::run(listener, router, Arc::clone(&shared), shutdown);
        Ok((Reloader(shared), running))
    }
}

impl Reloader {
    /// Rereads the server's certificate and key, if it has some. If they cannot be used, it keeps those that it has.
    /// Open connections keep theirs.
    ///
    /// # Errors
    /// As [`Server::tls`].
    pub fn reread_tls(&self) -> Result<(), Error> {
        self.0.tls.as_ref().map_or(Ok(()), Tls::reread).inspect_err(|_| {
            self.0.metrics.failed_certificates.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Exchanges the tenants, if they could be read; otherwise they stay as they are. Requests under way keep theirs.
    /// It may take seconds, because rotations are made before the exchange.
    ///
    /// # Errors
    /// The error of `tenants`, and [`Error::Setting`] if the server cannot have them.
    pub fn reload(&self, tenants: Result<Tenants, Error>) -> Result<(), Error> {
        let exchange = |tenants: Tenants| {
            check(&self.0.source, &tenants)?;
            if self.0.tenants().are_known() && !tenants.are_known() {
                return Err(Error::Setting("tenants with tokens cannot be exchanged for everyone".into()));
            }
            bind(&self.0.source, &tenants);
            tenants.warm_up(&self.0.tenants());
            self.0.set_tenants(tenants);
            Ok(())
        };
        let done = tenants.and_then(exchange);
        let metrics = &self.0.metrics;
        let count = if done.is_ok() { &metrics.reloads } else { &metrics.failed_reloads };
        count.fetch_add(1, Ordering::Relaxed);
        done
    }
}

fn bind(source: &Source, tenants: &Tenants) {
    if let Some(dimension) = source.dimension() {
        tenants.bind(dimension);
    }
}

fn check(source: &Source, tenants: &Tenants) -> Result<(), Error> {
    let takes_keys = match &source.0 {
        Kind::Upstream(upstream) => upstream.takes_keys(),
        Kind::Local { .. } => false,
    };
    if tenants.have_upstream_keys() && !takes_keys {
        return Err(Error::Setting(
            "a tenant has a key for the upstream, and there is no upstream that keys are sent to safely; use https, or leave \
             the key out"
                .into(),
        ));
    }
    Ok(())
}
