//! Connections: taken one by one, and let go when their requests are answered.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::admission::Counted;
use super::state::Shared;
use super::stream::Impatient;
use super::tls::Tls;

/// How long the head of a request may take, and a connection be idle.
const HEAD: Duration = Duration::from_mins(1);

/// How long a client may take until both sides have agreed on keys.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a client may take no byte of an answer that waits for it.
const UNREAD: Duration = Duration::from_mins(1);

/// The most bytes of a head; ids of 2048 rows have room.
const HEAD_BYTES: usize = 512 << 10;

/// How long a server that shuts down still takes connections, and then waits for the requests on them.
const LAST_CALL: Duration = Duration::from_millis(200);

/// How long it waits before it tries again, if it can take no connection: there may be no file left for it.
const PAUSE: Duration = Duration::from_millis(50);

/// How often the log says so.
const REMARK: Duration = Duration::from_mins(1);

/// Serves until `shutdown`, and then finishes what is under way.
pub(super) async fn run(
    listener: TcpListener,
    router: Router,
    shared: Arc<Shared>,
    shutdown: impl Future<Output = ()>,
) {
    let connections = Connections {
        router,
        graceful: GracefulShutdown::new(),
        places: Arc::new(Semaphore::new(shared.limits.connections.clamp(1, Semaphore::MAX_PERMITS))),
        shared: Arc::clone(&shared),
        remarked: Mutex::default(),
    };
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            () = connections.take(&listener) => {}
        }
    }
    shared.drain();
    tracing::info!("shutting down");
    let _ = timeout(LAST_CALL, async {
        loop {
            connections.take(&listener).await;
        }
    })
    .await;
    connections.take_rest(listener);
    // a connection that is told before its first request was read is closed at once
    sleep(LAST_CALL).await;
    if timeout(shared.limits.grace, connections.graceful.shutdown()).await.is_ok() {
        tracing::info!("all requests are answered");
    } else {
        tracing::warn!("the time for a shutdown is over; some requests are not answered");
    }
}

struct Connections {
    router: Router,
    graceful: GracefulShutdown,
    places: Arc<Semaphore>,
    shared: Arc<Shared>,
    /// When the log last said that no connection could be taken.
    remarked: Mutex<Option<Instant>>,
}

impl Connections {
    /// Takes one connection, as soon as there is a place for it.
    async fn take(&self, listener: &TcpListener) {
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => self.serve(stream, place),
            Err(error) => {
                if is_due(&self.remarked, Instant::now()) {
                    tracing::warn!(kind = ?error.kind(), "connections cannot be taken; the server goes on trying");
                }
                sleep(PAUSE).await;
            }
        }
    }

    /// Takes the connections that were made and not taken yet. They would be lost with the listener.
    fn take_rest(&self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        while let Ok((stream, _)) = listener.accept() {
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            if let (Ok(stream), Ok(place)) = (stream, Arc::clone(&self.places).try_acquire_owned()) {
                self.serve(stream, place);
            }
        }
    }

    fn serve(&self, stream: TcpStream, place: OwnedSemaphorePermit) {
        let open = Counted::new(&self.shared.metrics, |metrics| &metrics.connections);
        let _ = stream.set_nodelay(true);
        let stream = Impatient::new(stream, UNREAD);
        let (router, watcher) = (self.router.clone(), self.graceful.watcher());
        let tls = self.shared.tls.as_ref().map(Tls::config);
        tokio::spawn(async move {
            match tls {
                None => answer(stream, router, watcher).await,
                Some(config) => {
                    let accepted = timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await;
                    if let Ok(Ok(stream)) = accepted {
                        answer(stream, router, watcher).await;
                    } else {
                        tracing::debug!("a client did not agree on TLS");
                    }
                }
            }
            drop((open, place));
        });
    }
}

/// Answers the requests of a connection.
async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, router: Router, watcher: Watcher) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = watcher.watch(connection).await {
        // hyper's words, which hold nothing of the request, are left out all the same
        let (malformed, timed_out) = (error.is_parse(), error.is_timeout());
        tracing::debug!(malformed, timed_out, "a connection ended early");
    }
}

/// Whether nothing was said for a minute before `now`, which is then noted.
fn is_due(remarked: &Mutex<Option<Instant>>, now: Instant) -> bool {
    let mut last = remarked.lock().unwrap_or_else(PoisonError::into_inner);
    let due = last.is_none_or(|last| now.duration_since(last) >= REMARK);
    if due {
        *last = Some(now);
    }
    due
}

/// Whether only this machine can reach an address.
pub(super) fn is_local(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_for_long_is_said_once_a_minute() {
        let (remarked, start) = (Mutex::default(), Instant::now());
        let due: Vec<u64> =
            (0..=120).filter(|&second| is_due(&remarked, start + Duration::from_secs(second))).collect();
        assert_eq!(due, [0, 60, 120]);
    }
}
