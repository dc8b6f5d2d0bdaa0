//! Async embedders under tokio: awaited to be protected, and blocked on to be evaluated.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use embosk::embedder::{Async, AsyncEmbedder, Blocking, ByRole, Described, Identity, Normalizer};
use embosk::ndarray::{Array2, array};
use embosk::{BoxError, Embedder, Error, Key, Protected, Role, Rotation};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const LONG: Duration = Duration::from_secs(20);

/// Waits on the runtime's clock before it answers, as a client waits for its server.
#[derive(Default)]
struct Client {
    calls: AtomicUsize,
    running: AtomicUsize,
    most_running: AtomicUsize,
}

impl AsyncEmbedder for Client {
    async fn embed(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_running.fetch_max(running, Ordering::SeqCst);
        sleep(Duration::from_millis(20)).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        if texts.contains(&"fail") {
            return Err("the server is out".into());
        }
        let role = if role == Role::Query { 1.0 } else { 2.0 };
        Ok(Array2::from_shape_fn(
            (texts.len(), 2),
            |(row, at)| if at == 0 { role } else { texts[row].len() as f32 },
        ))
    }

    fn dimension(&self) -> Option<usize> {
        Some(2)
    }

    fn normalizer(&self) -> Option<Normalizer> {
        Some(Normalizer::none())
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::new("client", "1"))
    }

    fn has_unit_norm(&self) -> Option<bool> {
        Some(false)
    }

    fn has_roles(&self) -> bool {
        true
    }
}

/// One runtime of each kind.
fn runtimes() -> [Runtime; 2] {
    let multi = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    [Builder::new_current_thread().enable_all().build().unwrap(), multi]
}

fn blocking(client: Arc<Client>) -> Blocking {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    Blocking::new(client, move |request| runtime.block_on(request)).unwrap()
}

#[test]
fn documents_and_queries_are_awaited_side_by_side() {
    for runtime in runtimes() {
        let client = Arc::new(Client::default());
        let protected = Arc::new(Protected::new(Async(Arc::clone(&client))));
        runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for length in 0..8 {
                let protected = Arc::clone(&protected);
                tasks.spawn(async move {
                    let text = "x".repeat(length);
                    let documents = protected.embed_documents(&[text.as_str()]).await.unwrap();
                    let owned: Vec<String> = Vec::from([text]);
                    let queries = protected.embed_queries(&owned).await.unwrap();
                    assert_eq!(documents, array![[2.0, length as f32]]);
                    assert_eq!(queries, array![[1.0, length as f32]]);
                });
            }
            while let Some(task) = tasks.join_next().await {
                task.unwrap();
            }
        });
        assert_eq!(client.calls.load(Ordering::SeqCst), 16);
        assert!(client.most_running.load(Ordering::SeqCst) > 1, "one waits while another is asked");
    }
}

#[test]
fn what_is_awaited_is_what_a_plain_embedder_gives() {
    let rotation = || Rotation::new(&Key::from_bytes([1; 32]), 2).unwrap();
    let awaited = Protected::new(Async(Client::default())).with(rotation());
    let plain = Protected::new(blocking(Arc::default())).with(rotation());
    for runtime in runtimes() {
        let documents = runtime.block_on(awaited.embed_documents(&["a", "bc"])).unwrap();
        assert_eq!(documents, plain.embed_documents(&["a", "bc"]).unwrap());
        assert_ne!(documents, array![[2.0, 1.0], [2.0, 2.0]], "it is protected");
    }
}

#[test]
fn closures_and_functions_are_async_embedders() {
    async fn lengths(texts: Vec<String>) -> Result<Vec<Vec<f32>>, std::io::Error> {
        Ok(texts.iter().map(|text| vec![text.len() as f32]).collect())
    }
    let client = Arc::new(Client::default());
    let cloning = {
        let client = Arc::clone(&client);
        move |texts: Vec<String>| {
            let client = Arc::clone(&client);
            async move {
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                client.embed(Role::Document, &texts).await
            }
        }
    };
    let borrowed = &client;
    let lending = async |texts: Vec<String>| {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        borrowed.embed(Role::Document, &texts).await
    };
    let by_role = ByRole(|role: Role, texts: Vec<String>| async move {
        Ok::<_, BoxError>(Array2::from_elem((texts.len(), 1), if role == Role::Query { 1.0 } else { 2.0 }))
    });
    for runtime in runtimes() {
        runtime.block_on(async {
            assert_eq!(Protected::new(Async(lengths)).embed_queries(&["abc"]).await.unwrap(), array![[3.0]]);
            let by_clone = Protected::new(Async(cloning.clone())).embed_documents(&["a"]).await.unwrap();
            let by_reference = Protected::new(Async(lending)).embed_documents(&["a"]).await.unwrap();
            assert_eq!((&by_clone, &by_reference), (&array![[2.0, 1.0]], &array![[2.0, 1.0]]));
            let protected = Protected::new(Async(by_role));
            assert_eq!(protected.embed_queries(&["a"]).await.unwrap(), array![[1.0]]);
            assert_eq!(protected.embed_documents(&["a"]).await.unwrap(), array![[2.0]]);
        });
    }
}

#[test]
fn errors_come_through_and_the_next_call_works() {
    let protected = Protected::new(Async(Client::default()));
    let embedder = blocking(Arc::default());
    for runtime in runtimes() {
        let failed = runtime.block_on(protected.embed_documents(&["a", "fail"]));
        assert!(matches!(&failed, Err(Error::Embedder(cause)) if cause.to_string() == "the server is out"));
        assert!(runtime.block_on(protected.embed_documents(&["a"])).is_ok());
        let short = Protected::new(Async(async |_: Vec<String>| Ok::<_, BoxError>(Array2::ones((1, 2)))));
        let refused = runtime.block_on(short.embed_documents(&["a", "b"]));
        assert!(matches!(refused, Err(Error::Rows { texts: 2, rows: 1 })), "{refused:?}");
    }
    assert_eq!(embedder.embed(Role::Document, &["fail"]).unwrap_err().to_string(), "the server is out");
    assert!(embedder.embed(Role::Document, &["a"]).is_ok());
}

/// Blocks within a task, which in a runtime of one thread is the thread that all tasks run on.
#[test]
fn blocking_neither_panics_nor_deadlocks_within_a_runtime() {
    for runtime in runtimes() {
        let client = Arc::new(Client::default());
        let embedder = Arc::new(blocking(Arc::clone(&client)));
        let done = runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for _ in 0..4 {
                let embedder = Arc::clone(&embedder);
                tasks.spawn(async move { embedder.embed(Role::Query, &["abc"]).unwrap() });
            }
            let embedded = embedder.embed(Role::Document, &["ab"]).unwrap();
            assert_eq!(embedded, array![[2.0, 2.0]]);
            timeout(LONG, tasks.join_all()).await.unwrap()
        });
        assert!(done.iter().all(|vectors| vectors == array![[1.0, 3.0]]));
        assert_eq!(client.calls.load(Ordering::SeqCst), 5);
        // dropped within a runtime, where a runtime itself must not be
        runtime.block_on(async move { drop(embedder) });
    }
}

#[test]
fn threads_share_a_blocking_embedder() {
    let embedder = blocking(Arc::default());
    std::thread::scope(|scope| {
        for length in 0..6 {
            let embedder = &embedder;
            scope.spawn(move || {
                let vectors = embedder.embed(Role::Document, &["x".repeat(length).as_str()]).unwrap();
                assert_eq!(vectors, array![[2.0, length as f32]], "each gets its own answer");
            });
        }
    });
}

#[test]
fn blocking_and_arc_say_what_the_client_says() {
    let shared: Arc<Client> = Arc::default();
    assert_eq!(AsyncEmbedder::identity(&shared), Some(Identity::new("client", "1")));
    let embedder: &dyn Embedder = &blocking(shared);
    assert_eq!(
        (embedder.dimension(), embedder.has_unit_norm(), embedder.has_roles()),
        (Some(2), Some(false), true)
    );
    assert_eq!(embedder.normalizer().unwrap().name(), "none");
    assert_eq!(embedder.identity(), Some(Identity::new("client", "1")));
    let described = Described::new(Client::default()).dimension(3).unit_norm(true);
    let embedder: &dyn Embedder = &Blocking::new(described, |_| ()).unwrap();
    assert_eq!(
        (embedder.dimension(), embedder.has_unit_norm(), embedder.has_roles()),
        (Some(3), Some(true), true)
    );
    assert_eq!(embedder.identity(), Some(Identity::new("client", "1")));
}

#[test]
fn who_waits_learns_that_the_embedder_panicked_or_was_not_driven() {
    let idle = Blocking::new(Client::default(), |request| drop(request)).unwrap();
    let message = idle.embed(Role::Document, &["a"]).unwrap_err().to_string();
    assert!(message.contains("not driven to its end"), "{message}");
    let runtime = Builder::new_current_thread().build().unwrap();
    // without `enable_all` the clock that the client waits on panics
    let panicking = Blocking::new(Client::default(), move |request| runtime.block_on(request)).unwrap();
    for _ in 0..2 {
        let message = panicking.embed(Role::Document, &["a"]).unwrap_err().to_string();
        assert!(message.contains("the embedder panicked"), "{message}");
    }
}

#[cfg(feature = "evaluate")]
#[test]
fn an_evaluation_runs_within_a_runtime() {
    use embosk::evaluate::{Corpus, Evaluation};

    for runtime in runtimes() {
        let client = Arc::new(Client::default());
        let evaluation = Evaluation::new(blocking(Arc::clone(&client))).corpus(Corpus::records(300, 1));
        let report = runtime.block_on(async move { evaluation.run() }).unwrap();
        assert_eq!(report.signature["embedder"], "client");
        assert!(report.warnings.is_empty(), "{:?}", report.warnings);
        assert_eq!(client.calls.load(Ordering::SeqCst), 3, "documents, a few of them again, and queries");
    }
}
