//! Embedders behind an address, with a server that misbehaves on purpose.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use embosk::embedder::{ApiKey, EmbeddingCache, HttpEmbedder, Roles, Service};
use embosk::{BoxError, Embedder, Role};
use ndarray::Array2;
use serde_json::json;

use crate::common::server::{Reply, Request, Server, body};

/// How many fixed texts are sent first; a new cache has them sent twice.
const PROBES: usize = 6;

const TEXTS: [&str; 5] = ["a letter", "hunter2 is the password", "", "会议", "the last"];

/// A vector that tells a text from others, and that is the same whatever else is sent.
fn vector(text: &str) -> Vec<f32> {
    let count =
        |letter: usize| text.bytes().filter(|&byte| usize::from(byte) % 31 % 16 == letter).count() as f32;
    (0..16).map(|letter| count(letter) + 0.1 * letter as f32 + text.len() as f32 / 7.0).collect()
}

fn vectors(request: &Request) -> Vec<Vec<f32>> {
    request.texts().into_iter().map(vector).collect()
}

fn expected(texts: &[&str]) -> Array2<f32> {
    Array2::from_shape_fn((texts.len(), 16), |(row, at)| vector(texts[row])[at])
}

/// Answers the fixed texts, and then `answer`s requests by their number.
fn after_probes(answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Server {
    let seen = Mutex::new((Vec::<String>::new(), 0));
    Server::start(move |_, request| {
        let number = {
            let mut seen = seen.lock().unwrap();
            let (probes, requests) = &mut *seen;
            if probes.len() < PROBES {
                probes.extend(request.texts().iter().map(ToString::to_string));
            }
            let is_probe = request.texts().iter().all(|text| probes.iter().any(|probe| probe == text));
            *requests += usize::from(!is_probe);
            if is_probe { 0 } else { *requests }
        };
        if number == 0 { Reply::Vectors(vectors(request)) } else { answer(number - 1, request) }
    })
}

/// How many texts each request had, without those of the fixed texts.
fn sizes(server: &Server) -> Vec<usize> {
    let mut texts = 0;
    let sizes = server.requests().iter().map(|request| request.texts().len()).collect::<Vec<_>>();
    sizes
        .into_iter()
        .skip_while(|size| {
            texts += size;
            texts <= PROBES
        })
        .collect()
}

type Fail = Box<dyn Fn(&Request) -> Reply + Send + Sync>;

fn service(server: &Server) -> Service {
    Service::new(&server.name("m")).unwrap().concurrency(1)
}

fn embed(embedder: &HttpEmbedder) -> Result<Array2<f32>, String> {
    embedder.embed(Role::Document, &TEXTS).map_err(|error: BoxError| error.to_string())
}

fn refused(status: u16, headers: Vec<(&'static str, String)>) -> Reply {
    Reply::Status(status, headers, json!({"error": {"message": "hunter2", "code": "hunter2"}}).to_string())
}

#[test]
fn texts_come_back_as_vectors_in_their_order() {
    let server = after_probes(|_, request| Reply::Vectors(vectors(request)));
    let key = ApiKey::new("sk-planted").unwrap();
    let embedder = service(&server).key(key).dimensions(16).batch(2).connect().unwrap();
    assert_eq!(embed(&embedder).unwrap(), expected(&TEXTS));
    assert_eq!(Embedder::dimension(&embedder), Some(16));
    assert_eq!(sizes(&server), [2, 2, 1]);
    let requests = server.requests();
    for request in requests.iter() {
        assert_eq!((request.path.as_str(), &request.body["model"]), ("/v1/embeddings", &json!("m")));
        assert_eq!(request.headers["authorization"], "Bearer sk-planted");
        assert_eq!(request.body["dimensions"], 16);
        assert_eq!(request.body.get("encoding_format"), None, "not every server knows it");
    }
}

#[test]
fn a_batch_is_bounded_by_its_length_too() {
    let server = after_probes(|_, request| Reply::Vectors(vectors(request)));
    let embedder = service(&server).batch_bytes(25).connect().unwrap();
    assert_eq!(embed(&embedder).unwrap(), expected(&TEXTS));
    assert_eq!(sizes(&server), [1, 2, 2], "8 bytes and 23, 23 and none and 6, 6 and 8");
}

#[test]
fn several_requests_run_at_a_time_and_no_more() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let server = {
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        after_probes(move |_, request| {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(40));
            running.fetch_sub(1, Ordering::SeqCst);
            Reply::Vectors(vectors(request))
        })
    };
    let embedder = service(&server).batch(1).concurrency(3).connect().unwrap();
    let texts: Vec<String> = (0..12).map(|n| n.to_string()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(embedder.embed(Role::Document, &texts).unwrap(), expected(&texts));
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

/// What passes is tried again, and nothing is lost.
#[test]
fn passing_failures_are_waited_out() {
    let date = || httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2));
    let cases: [(&str, Fail, f64); 8] = [
        ("429 without a time", Box::new(|_| refused(429, Vec::new())), 0.25),
        ("429 with seconds", Box::new(|_| refused(429, vec![("retry-after", "1".into())])), 1.0),
        ("429 with a date", Box::new(move |_| refused(429, vec![("retry-after", date())])), 1.0),
        ("500", Box::new(|_| refused(500, Vec::new())), 0.25),
        ("503", Box::new(|_| refused(503, vec![("Retry-After", "0".into())])), 0.0),
        ("half a body", Box::new(|request| Reply::Half(body(&vectors(request)), 90)), 0.25),
        (
            "half an answer",
            Box::new(|request| Reply::Status(200, vec![], body(&vectors(request))[..90].into())),
            0.25,
        ),
        ("gone", Box::new(|_| Reply::Gone), 0.25),
    ];
    for (name, fail, least) in cases {
        let server = after_probes(move |number, request| match number {
            0 => fail(request),
            _ => Reply::Vectors(vectors(request)),
        });
        let embedder = service(&server).connect().unwrap();
        let began = Instant::now();
        assert_eq!(embed(&embedder).as_ref(), Ok(&expected(&TEXTS)), "{name}");
        let waited = began.elapsed().as_secs_f64();
        assert!((least..least + 2.5).contains(&waited), "{name}: {waited}");
        assert_eq!(server.requests().len(), 3, "{name}");
        assert_eq!(embedder.sent(), PROBES + TEXTS.len(), "{name}: another attempt sends nothing new");
    }
}

/// What does not pass is an error at once, or after the attempts, that says what was wrong and nothing that was sent.
#[test]
fn lasting_failures_are_refused_clearly() {
    let edited = |edit: fn(&mut Vec<serde_json::Value>)| -> Fail {
        Box::new(move |request: &Request| {
            let mut answer: serde_json::Value = serde_json::from_str(&body(&vectors(request))).unwrap();
            edit(answer["data"].as_array_mut().unwrap());
            Reply::Status(200, Vec::new(), answer.to_string())
        })
    };
    let nan = |request: &Request| {
        Reply::Status(
            200,
            Vec::new(),
            body(&vectors(request)).replacen("\"embedding\":[", "\"embedding\":[NaN,", 1),
        )
    };
    let quota = json!({"error": {"message": "hunter2", "code": "insufficient_quota"}}).to_string();
    let cases: [(Fail, &str, usize); 14] = [
        (edited(|data| drop(data.pop())), "5 texts were sent, and the answer has 4", 1),
        (edited(|data| data[1]["index"] = 0.into()), "indices are not those of the texts", 1),
        (edited(|data| data[2]["embedding"] = json!([1.0])), "differ in dimension: 16 and 1", 1),
        (
            edited(|data| data.iter_mut().for_each(|row| row["embedding"] = json!([1.0]))),
            "had 16 dimensions",
            1,
        ),
        (edited(|data| data[3]["embedding"] = json!(vec![1e60; 16])), "not finite", 1),
        (Box::new(nan), "cannot be read at line 1", 1),
        (Box::new(|_| refused(401, Vec::new())), "EMBOSK_API_KEY", 1),
        (Box::new(|_| refused(404, Vec::new())), "the model is unknown", 1),
        (Box::new(|_| refused(302, vec![("location", "http://localhost/hunter2".into())])), "redirects", 1),
        (Box::new(move |_| Reply::Status(429, Vec::new(), quota.clone())), "insufficient_quota", 1),
        (Box::new(|_| refused(429, vec![("retry-after", "4000".into())])), "wait of 4000 s", 1),
        (Box::new(|_| refused(500, Vec::new())), "after 2 attempts", 2),
        (Box::new(|_| Reply::Gone), "after 2 attempts", 2),
        (
            Box::new(|request| Reply::Slow(Duration::from_secs(3), vectors(request))),
            "no answer within 0.5 s",
            2,
        ),
    ];
    for (fail, part, attempts) in cases {
        let server = after_probes(move |_, request| fail(request));
        let embedder = service(&server).retries(1).timeout(Duration::from_millis(500)).connect().unwrap();
        let message = embed(&embedder).unwrap_err();
        assert!(message.contains(part), "{part}: {message}");
        assert!(message.starts_with("http://127.0.0.1:") && !message.contains("hunter2"), "{message}");
        assert_eq!(server.requests().len(), 1 + attempts, "{part}");
    }
}

#[test]
fn answers_out_of_order_and_in_base64_are_read() {
    let server = Server::start(|_, request| {
        let bytes =
            |text: &str| vector(text).iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let coded = |text: &str| base64::engine::general_purpose::STANDARD.encode(bytes(text));
        let rows = request.texts().into_iter().enumerate();
        let mut data: Vec<_> =
            rows.map(|(index, text)| json!({"embedding": coded(text), "index": index})).collect();
        data.reverse();
        Reply::Status(200, Vec::new(), json!({ "data": data }).to_string())
    });
    let embedder = service(&server).base64(true).connect().unwrap();
    assert_eq!(embed(&embedder).unwrap(), expected(&TEXTS));
    assert!(server.requests().iter().all(|request| request.body["encoding_format"] == "base64"));
}

/// Servers bound their batches, and say so with one of several statuses.
#[test]
fn a_batch_that_is_refused_is_sent_in_parts() {
    for status in [400, 413, 422] {
        let server = after_probes(move |_, request| match request.texts().len() {
            0..=2 => Reply::Vectors(vectors(request)),
            _ => refused(status, Vec::new()),
        });
        let embedder = service(&server).connect().unwrap();
        assert_eq!(embed(&embedder).unwrap(), expected(&TEXTS));
        assert_eq!(embedder.sent(), PROBES + TEXTS.len(), "what was refused does not count");
        let before = server.requests().len();
        embed(&embedder).unwrap();
        assert_eq!(server.requests().len(), before + 3, "the limit is remembered");
    }
    let server = after_probes(|_, _| refused(400, Vec::new()));
    let message = embed(&service(&server).connect().unwrap()).unwrap_err();
    assert!(message.contains("a single text of 8 characters") && !message.contains("hunter2"), "{message}");
}

#[test]
fn nothing_is_sent_twice_and_an_interrupted_run_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let is_down = Arc::new(AtomicBool::new(true));
    let server = {
        let is_down = Arc::clone(&is_down);
        after_probes(move |number, request| match number {
            2 if is_down.load(Ordering::SeqCst) => refused(401, Vec::new()),
            _ => Reply::Vectors(vectors(request)),
        })
    };
    let cache = || EmbeddingCache::new(place.path()).unwrap();
    let embedder = || service(&server).batch(1).cache(cache()).connect().unwrap();
    assert!(embed(&embedder()).is_err());
    is_down.store(false, Ordering::SeqCst);
    let sent = |text: &str| server.sent().get(text).copied().unwrap_or_default();
    for _ in 0..2 {
        let embedder = embedder();
        assert_eq!(embed(&embedder).unwrap(), expected(&TEXTS));
        assert_eq!(
            embedder.embed(Role::Query, &TEXTS).unwrap(),
            expected(&TEXTS),
            "the server knows no roles"
        );
        let counts: Vec<usize> = TEXTS.iter().map(|text| sent(text)).collect();
        assert_eq!(counts, [1, 1, 2, 1, 1], "the refused one twice, and all others once");
    }
    // what came while another request failed is kept as well
    let texts: Vec<String> = (0..40).map(|n| format!("text {n}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let server = after_probes(|number, request| match number {
        10 => refused(401, Vec::new()),
        _ => Reply::Vectors(vectors(request)),
    });
    let embedder =
        || Service::new(&server.name("m")).unwrap().batch(1).concurrency(4).cache(cache()).connect().unwrap();
    assert!(embedder().embed(Role::Document, &texts).is_err());
    assert_eq!(embedder().embed(Role::Document, &texts).unwrap(), expected(&texts));
    let sent = server.sent();
    let twice = texts.iter().filter(|text| sent[**text] == 2).count();
    assert!(twice == 1 && texts.iter().all(|text| sent[*text] <= 2), "{sent:?}");
}

#[test]
fn a_bound_on_what_is_sent_holds() {
    let place = tempfile::tempdir().unwrap();
    let server = after_probes(|_, request| Reply::Vectors(vectors(request)));
    let embedder = |most| {
        let cache = EmbeddingCache::new(place.path()).unwrap();
        service(&server).batch(1).cache(cache).max_queries(most).connect().unwrap()
    };
    let message = embed(&embedder(2 * PROBES + 3)).unwrap_err();
    assert!(message.contains("15 texts may be sent") && message.contains("goes on from there"), "{message}");
    assert_eq!(server.sent().values().sum::<usize>(), 2 * PROBES + 3);
    assert_eq!(embed(&embedder(PROBES + 2)).unwrap(), expected(&TEXTS));
    assert_eq!(server.sent().values().sum::<usize>(), 3 * PROBES + 5);
}

#[test]
fn roles_are_prompts_fields_or_models() {
    let server = Server::start(|_, request| Reply::Vectors(vectors(request)));
    let asked = |roles: Roles, role: Role| {
        let embedder = service(&server).roles(roles).connect().unwrap();
        assert!(embedder.has_roles());
        let vectors = embedder.embed(role, &["x"]).unwrap();
        (server.requests().last().unwrap().body.clone(), vectors)
    };
    let (body, vectors) = asked(Roles::preset("e5").unwrap(), Role::Query);
    assert_eq!((&body["input"], vectors), (&json!(["query: x"]), expected(&["query: x"])));
    let (body, _) = asked(Roles::preset("e5").unwrap(), Role::Document);
    assert_eq!(body["input"], json!(["passage: x"]));
    let (body, _) = asked(Roles::preset("cohere").unwrap(), Role::Query);
    assert_eq!((&body["input"], &body["input_type"]), (&json!(["x"]), &json!("search_query")));
    let (body, _) = asked(Roles::preset("jina").unwrap(), Role::Document);
    assert_eq!(body["task"], "retrieval.passage");
    let mut roles = Roles::default();
    roles.query = roles.query.model("for queries");
    let (body, _) = asked(roles, Role::Query);
    assert_eq!(body["model"], "for queries");
}

#[test]
fn vectors_of_other_settings_are_kept_apart() {
    let place = tempfile::tempdir().unwrap();
    let server = Server::start(|_, request| Reply::Vectors(vectors(request)));
    let sent = |service: Service| {
        let embedder = service.cache(EmbeddingCache::new(place.path()).unwrap()).connect().unwrap();
        let before = server.sent().get("x").copied().unwrap_or_default();
        embedder.embed(Role::Document, &["x"]).unwrap();
        server.sent().get("x").copied().unwrap_or_default() - before
    };
    let named = |model: &str| Service::new(&server.name(model)).unwrap();
    assert_eq!(sent(named("m")), 1);
    assert_eq!(sent(named("m").batch(7).base64(true)), 0, "how they are sent makes no difference");
    assert_eq!(sent(named("other")), 1);
    assert_eq!(sent(named("m").roles(Roles::preset("voyage").unwrap())), 1);
    assert_eq!(sent(named("m").dimensions(16)), 1);
}

/// Noise is not another model, and another model is refused before its vectors are mixed with cached ones.
#[test]
fn a_model_that_changed_behind_its_address_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let kind = Arc::new(AtomicUsize::new(0));
    let server = {
        let kind = Arc::clone(&kind);
        Server::start(move |_, request| {
            let changed = |text: &str| {
                let mut vector = vector(text);
                match kind.load(Ordering::SeqCst) {
                    0 => {}
                    1 => {
                        vector
                            .iter_mut()
                            .enumerate()
                            .for_each(|(at, value)| *value += 1e-4 * (at % 3) as f32);
                    }
                    2 => vector.iter_mut().for_each(|value| *value = value.powi(3)),
                    _ => vector.truncate(8),
                }
                vector
            };
            Reply::Vectors(request.texts().into_iter().map(changed).collect())
        })
    };
    let connect = || service(&server).cache(EmbeddingCache::new(place.path()).unwrap()).connect();
    let identity = |embedder: &HttpEmbedder| Embedder::identity(embedder).unwrap();
    let first = connect().unwrap();
    kind.store(1, Ordering::SeqCst);
    assert_eq!(identity(&connect().unwrap()), identity(&first));
    let uncached = service(&server).connect().unwrap();
    assert_eq!(identity(&uncached).hash, identity(&first).hash, "noise does not show without a cache either");
    for (changed, part) in [(2, "a fixed text has a cosine of"), (3, "8 dimensions, and 16 then")] {
        kind.store(changed, Ordering::SeqCst);
        let message = connect().unwrap_err().to_string();
        assert!(
            message.contains(part) && message.contains("remove ") && message.contains("--cache"),
            "{message}"
        );
        assert_ne!(identity(&service(&server).connect().unwrap()).hash, identity(&first).hash);
    }

    // the fixed texts that damage has left are enough to see it
    for entry in fs::read_dir(place.path()).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        if bytes.len() > 1_000 {
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(&path, bytes).unwrap();
        }
    }
    kind.store(2, Ordering::SeqCst);
    let message = connect().unwrap_err().to_string();
    assert!(message.contains("a fixed text has a cosine of"), "{message}");
    kind.store(0, Ordering::SeqCst);
    assert_eq!(identity(&connect().unwrap()), identity(&first), "the damaged one is mended");
}

/// A cache would hide the noise from whoever asks for a text twice.
#[test]
fn an_address_that_adds_noise_is_refused_before_anything_is_cached() {
    let place = tempfile::tempdir().unwrap();
    let server = Server::start(|number, request| {
        let noisy = |text: &str| {
            let mut vector = vector(text);
            vector[number % 16] += 3.0;
            vector
        };
        Reply::Vectors(request.texts().into_iter().map(noisy).collect())
    });
    for _ in 0..2 {
        let connected = service(&server).cache(EmbeddingCache::new(place.path()).unwrap()).connect();
        let message = connected.unwrap_err().to_string();
        assert!(message.contains("other vectors each time") && message.contains("adds noise"), "{message}");
    }
}

#[test]
fn a_dimension_that_the_server_ignores_is_refused() {
    let server = Server::start(|_, request| Reply::Vectors(vectors(request)));
    let message = service(&server).dimensions(8).connect().unwrap_err().to_string();
    assert!(message.contains("8 dimensions were asked for, and the server returned 16"), "{message}");
}

#[test]
fn what_the_model_does_not_see_is_measured() {
    let lower = Server::start(|_, request| {
        Reply::Vectors(request.texts().into_iter().map(|text| vector(&text.to_lowercase())).collect())
    });
    let plain = Server::start(|_, request| Reply::Vectors(vectors(request)));
    for (server, expected) in [(&lower, "anna"), (&plain, "Anna")] {
        let embedder = service(server).connect().unwrap();
        assert_eq!(Embedder::normalizer(&embedder).unwrap().apply("Anna"), expected);
    }
}

#[test]
fn a_rehearsal_counts_and_sends_nothing() {
    let place = tempfile::tempdir().unwrap();
    let server = Server::start(|_, request| Reply::Vectors(vectors(request)));
    let named = || service(&server).cache(EmbeddingCache::new(place.path()).unwrap());
    named().connect().unwrap().embed(Role::Document, &TEXTS[..2]).unwrap();
    let before = server.requests().len();
    let embedder = named().rehearsal(true).connect().unwrap();
    for _ in 0..2 {
        assert_eq!(embed(&embedder).unwrap().dim(), (TEXTS.len(), 16));
    }
    assert_eq!(embedder.rehearsed().unwrap().texts, 3, "two are cached");
    assert_eq!((embedder.sent(), server.requests().len()), (0, before));
}

#[test]
fn a_long_wait_is_told() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let server = after_probes(|number, request| match number {
        0 => refused(429, vec![("retry-after", "2".into())]),
        _ => Reply::Vectors(vectors(request)),
    });
    let notices = Arc::clone(&told);
    let service = service(&server).notice(move |notice| notices.lock().unwrap().push(notice.to_owned()));
    embed(&service.connect().unwrap()).unwrap();
    let told = told.lock().unwrap();
    assert!(told.len() == 1 && told[0].contains("attempt 2 of 7 in 2 s"), "{told:?}");
}

#[test]
fn nothing_shows_the_key() {
    let server = Server::start(|_, _| refused(403, Vec::new()));
    let service = service(&server).key(ApiKey::new("sk-planted").unwrap());
    let message = format!("{service:?} {}", service.clone().connect().unwrap_err());
    assert!(message.contains("refuses the key") && !message.contains("planted"), "{message}");
}
