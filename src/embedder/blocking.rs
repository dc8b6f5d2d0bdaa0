//! An async embedder for callers that cannot await, such as an evaluation.

use std::fmt;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use ndarray::Array2;

use super::{AsyncEmbedder, Embedder, Identity, Normalizer, Similarity};
use crate::{BoxError, Error, Role};

/// One call of an embedder, to be driven to completion.
pub type Request<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// An async embedder that runs on its own thread, so that callers may block on it.
///
/// Calls are sent to that thread over a channel, one after the other. The caller waits without polling
/// anything, so a call inside an async runtime neither panics nor deadlocks, even if the runtime has a single
/// thread. It does block the caller's thread: if other tasks must continue, run an evaluation in
/// `spawn_blocking` or on its own thread.
///
/// The caller decides how a future is driven, so any executor works. With tokio, move a runtime to the thread:
///
/// ```
/// use embosk::embedder::Blocking;
/// use embosk::{BoxError, Embedder, Role};
/// use ndarray::Array2;
///
/// async fn embed(texts: Vec<String>) -> Result<Array2<f32>, BoxError> {
///     Ok(Array2::ones((texts.len(), 8)))
/// }
///
/// let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// let embedder = Blocking::new(embed, move |request| runtime.block_on(request))?;
/// assert_eq!(embedder.embed(Role::Document, &["a letter"])?.dim(), (1, 8));
/// # Ok::<(), BoxError>(())
/// ```
///
/// # Clients that are bound to another runtime
/// A client's open connections are served by the runtime in which they were opened. If the caller blocks that
/// runtime's only thread, such a connection never answers. Give `Blocking` its own client, which no other
/// runtime has used. With reqwest this is a new `reqwest::Client`, because clones share their connections.
pub struct Blocking {
    calls: Sender<Call>,
    dimension: Option<usize>,
    normalizer: Option<Normalizer>,
    identity: Option<Identity>,
    unit_norm: Option<bool>,
    roles: bool,
    similarity: Option<Similarity>,
}

/// A request that is sent to the thread.
struct Call {
    role: Role,
    texts: Vec<String>,
    answer: SyncSender<Result<Array2<f32>, BoxError>>,
}

impl Blocking {
    /// Starts the thread. `drive` runs on it, and must return when the given request has completed. The
    /// thread ends after the `Blocking` is dropped.
    ///
    /// # Errors
    /// [`Error::Setting`] if the system cannot start a thread.
    pub fn new(
        embedder: impl AsyncEmbedder + 'static,
        drive: impl FnMut(Request<'_>) + Send + 'static,
    ) -> Result<Self, Error> {
        let (calls, received) = channel();
        let (dimension, normalizer, identity) =
            (embedder.dimension(), embedder.normalizer(), embedder.identity());
        let (unit_norm, roles, similarity) =
            (embedder.has_unit_norm(), embedder.has_roles(), embedder.similarity());
        thread::Builder::new()
            .name("embosk-embedder".into())
            .spawn(move || serve(&embedder, drive, &received))
            .map_err(|error| {
                Error::Setting(format!("no thread could be started for the embedder: {error}"))
            })?;
        Ok(Self { calls, dimension, normalizer, identity, unit_norm, roles, similarity })
    }
}

/// Answers calls until no caller is left.
fn serve(embedder: &impl AsyncEmbedder, mut drive: impl FnMut(Request<'_>), calls: &Receiver<Call>) {
    for Call { role, texts, answer } in calls {
        drive(Box::pin(async move {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            // a caller that has stopped waiting needs no answer
            let _ = answer.send(embedder.embed(role, &texts).await);
        }));
    }
}

impl Embedder for Blocking {
    fn embed(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        let (answer, answered) = sync_channel(1);
        let texts = texts.iter().map(ToString::to_string).collect();
        let gone = "the thread of the async embedder has ended: the embedder panicked, or its request was not \
                    driven to its end";
        self.calls.send(Call { role, texts, answer }).map_err(|_| gone)?;
        answered.recv().map_err(|_| gone)?
    }

    fn dimension(&self) -> Option<usize> {
        self.dimension
    }

    fn normalizer(&self) -> Option<Normalizer> {
        self.normalizer.clone()
    }

    fn identity(&self) -> Option<Identity> {
        self.identity.clone()
    }

    fn has_unit_norm(&self) -> Option<bool> {
        self.unit_norm
    }

    fn has_roles(&self) -> bool {
        self.roles
    }

    fn similarity(&self) -> Option<Similarity> {
        self.similarity
    }
}

impl fmt::Debug for Blocking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking")
            .field("identity", &self.identity)
            .field("dimension", &self.dimension)
            .finish_non_exhaustive()
    }
}
