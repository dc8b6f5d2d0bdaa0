//! `embosk serve` between a client and an upstream of the test's own, both of which misbehave.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use embosk::embedder;
use embosk::ndarray::Array2;
use embosk::{Defense, Embedder, Key, Rng, Role, Rotation, Stack};
use serde_json::{Value, json};

use crate::common::server::{Reply, Request, Server, body};
use crate::common::sidecar::{self, Answer, Sidecar, fails, vectors};

const TEXT: &str = "planted text of nobody";
const TOKEN: &str = "planted-token-of-nobody";
const KEY: &str = "sk-planted-key-of-nobody";
const DIM: usize = 8;

/// A vector of norm 1 that the text decides.
fn vector(text: &str) -> Vec<f32> {
    let sum = |salt: u32| text.bytes().fold(salt, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let values: Vec<f32> = (0..DIM as u32).map(|at| (sum(at + 1) % 1000) as f32 - 500.0).collect();
    let norm = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.iter().map(|value| value / norm).collect()
}

/// A vector for each input, which may be tokens.
fn answered(request: &Request) -> Reply {
    let input = &request.body["input"];
    let inputs = match input.as_array() {
        Some(list) if !list[0].is_number() => list.clone(),
        _ => vec![input.clone()],
    };
    let text = |input: &Value| input.as_str().map_or_else(|| input.to_string(), str::to_owned);
    Reply::Vectors(inputs.iter().map(|input| vector(&text(input))).collect())
}

/// Holds answers back until the test opens it.
#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn pass(&self) {
        drop(self.opened.wait_while(self.is_open.lock().unwrap(), |is_open| !*is_open).unwrap());
    }
}

/// An upstream that holds back its answers for the model `slow`.
fn gated() -> (Server, Arc<Gate>) {
    let gate = Arc::<Gate>::default();
    let held = Arc::clone(&gate);
    let upstream = Server::start(move |_, request| {
        if request.body["model"] == "slow" {
            held.pass();
        }
        answered(request)
    });
    (upstream, gate)
}

fn upstream() -> Server {
    Server::start(|_, request| answered(request))
}

/// The rotation of `embosk.key` in the folder of a sidecar.
fn rotation(sidecar: &Sidecar) -> Stack {
    Stack::new().with(Rotation::deferred(&Key::from_file(sidecar.folder().join("embosk.key")).unwrap()))
}

fn rotated(stack: &Stack, texts: &[&str]) -> Array2<f32> {
    let rows: Vec<f32> = texts.iter().flat_map(|text| vector(text)).collect();
    let mut rows = Array2::from_shape_vec((texts.len(), DIM), rows).unwrap();
    stack.protect(Role::Document, rows.view_mut(), &mut Rng::from_os().unwrap()).unwrap();
    rows
}

const ROTATION: &str = "--defense rotation(key=file:embosk.key)";

fn behind(upstream: &Server, line: &str) -> Sidecar {
    Sidecar::start(&format!("--upstream {} {line}", upstream.base()), &[])
}

#[test]
fn every_form_of_input_and_output_is_protected() {
    let upstream = upstream();
    let sidecar = behind(&upstream, ROTATION);
    let stack = rotation(&sidecar);

    let one = sidecar.ask(json!({"model": "m", "input": TEXT, "user": "u"}));
    let expected = rotated(&stack, &[TEXT]);
    assert_eq!(vectors(&one), [expected.row(0).to_vec()]);
    assert_eq!(one.header("x-embosk-fingerprint"), stack.fingerprint());
    assert!(one.header("x-embosk-fingerprint").ends_with("dim=8)"), "{}", one.header("x-embosk-fingerprint"));
    assert_eq!((&one.body["model"], &one.body["object"]), (&json!("m"), &json!("list")));
    assert_eq!(one.body["usage"]["total_tokens"], 1);

    let texts = ["a", TEXT, "b", TEXT];
    let many = sidecar.ask(json!({"model": "m:query", "input": texts, "encoding_format": "base64"}));
    let expected = rotated(&stack, &texts);
    assert_eq!(vectors(&many), expected.rows().into_iter().map(|row| row.to_vec()).collect::<Vec<_>>());
    assert!(many.body["data"][3]["embedding"].is_string());

    for (tokens, texts) in [(json!([5, 6]), vec!["[5,6]"]), (json!([[5], [6, 7]]), vec!["[5]", "[6,7]"])] {
        let answer = sidecar.ask(json!({"model": "m", "input": tokens}));
        let expected = rotated(&stack, &texts);
        assert_eq!(vectors(&answer), expected.rows().into_iter().map(|row| row.to_vec()).collect::<Vec<_>>());
    }

    let requests = upstream.requests();
    assert_eq!(requests[0].body, json!({"model": "m", "input": TEXT, "user": "u"}));
    assert_eq!(requests[1].body, json!({"model": "m", "input": texts}));
    assert_eq!(requests[2].body["input"], json!([5, 6]));
    assert!(requests.iter().all(|request| request.headers["authorization"] == format!("Bearer {KEY}")));
    assert!(requests.iter().all(|request| request.path == "/v1/embeddings"));
    drop(requests);

    let stored = stack.fingerprint();
    let again = sidecar.post(
        "/v1/embeddings",
        &[("x-embosk-fingerprint", &stored)],
        &json!({"model": "m", "input": "a"}),
    );
    assert_eq!(again.status, 200);
    let other = [("x-embosk-fingerprint", "embosk2 none")];
    let refused = sidecar.post("/v1/embeddings", &other, &json!({"model": "m", "input": "a"}));
    assert_eq!((refused.code(409), refused.header("x-should-retry")), ("other_space", "false"));
    sidecar.stop();
}

#[test]
fn a_stored_space_is_compared_before_the_first_vectors_leave() {
    let upstream = upstream();
    let sidecar = behind(&upstream, ROTATION);
    let stack = rotation(&sidecar);
    rotated(&stack, &["a"]);
    let stored = [("x-embosk-fingerprint", &*stack.fingerprint())];
    let ask = |dimensions: Value| {
        let body = json!({"model": "m", "input": "a", "dimensions": dimensions});
        sidecar.post("/v1/embeddings", &stored, &body)
    };
    assert_eq!(ask(json!(4)).code(409), "other_space");
    assert_eq!(ask(json!(4)).code(409), "other_space");
    assert_eq!(ask(Value::Null).status, 200);
    sidecar.stop();
}

#[test]
fn dimensions_are_cut_before_the_key_turns_the_space() {
    let upstream = upstream();
    let sidecar = behind(&upstream, ROTATION);
    let answer = sidecar.ask(json!({"model": "m", "input": ["a", "b"], "dimensions": 4}));
    assert_eq!(upstream.requests()[0].body["dimensions"], 4);
    let short = |text: &str| {
        let cut = &vector(text)[..4];
        let norm = cut.iter().map(|value| value * value).sum::<f32>().sqrt();
        cut.iter().map(|value| value / norm).collect::<Vec<f32>>()
    };
    let clean: f32 = short("a").iter().zip(short("b")).map(|(a, b)| a * b).sum();
    let found = vectors(&answer);
    let cosine: f32 = found[0].iter().zip(&found[1]).map(|(a, b)| a * b).sum();
    assert!((clean - cosine).abs() < 1e-5, "{clean} and {cosine}");
    assert!(found[0].iter().zip(short("a")).any(|(a, b)| (a - b).abs() > 1e-3));
    assert!(answer.header("x-embosk-fingerprint").ends_with("dim=4)"));
    // each dimension has a rotation of its own
    let whole = sidecar.ask(json!({"model": "m", "input": "a"}));
    assert_eq!(vectors(&whole), [rotated(&rotation(&sidecar), &["a"]).row(0).to_vec()]);
    let other = sidecar.ask(json!({"model": "m", "input": "a", "dimensions": 2}));
    assert_eq!(vectors(&other)[0].len(), 2);
    let again = sidecar.ask(json!({"model": "m", "input": ["a", "b"], "dimensions": 4}));
    assert_eq!(vectors(&again), found);
    assert_eq!(sidecar.ask(json!({"model": "m", "input": "a", "dimensions": 9})).code(400), "invalid_value");
    sidecar.stop();
}

#[test]
fn a_role_is_named_where_it_matters() {
    let upstream = upstream();
    let sidecar = behind(&upstream, "--defense gaussian(sigma=0.1,on=documents)");
    let request = |model: &str| json!({"model": model, "input": "a"});
    let clean = |answer: &Answer| vectors(answer) == [vector("a")];
    for (path, role, model) in [
        ("/v1/embeddings", "", "m:ROLE"),
        ("/v1/embeddings", "ROLE", "m"),
        ("/ROLE/v1/embeddings", "", "m"),
        ("/ROLE/v1/embeddings", "ROLE", "m:ROLE"),
    ] {
        for (name, is_clean) in [("query", true), ("document", false)] {
            let named = |text: &str| text.replace("ROLE", name);
            let header = named(role);
            let headers = [("x-embosk-role", header.as_str())];
            let headers = if header.is_empty() { &[][..] } else { &headers };
            let answer = sidecar.post(&named(path), headers, &request(&named(model)));
            assert_eq!(clean(&answer), is_clean, "{path} {role} {model} {name}");
            assert_eq!(answer.body["model"], "m");
        }
    }
    assert!(upstream.requests().iter().all(|request| request.body["model"] == "m"));
    assert_eq!(sidecar.ask(request("m")).code(400), "role_required");
    let conflict = sidecar.post("/query/v1/embeddings", &[], &request("m:document"));
    assert_eq!(conflict.code(400), "conflicting_roles");
    let unknown = sidecar.post("/v1/embeddings", &[("x-embosk-role", "planted")], &request("m"));
    assert_eq!(unknown.code(400), "invalid_role");
    sidecar.stop();
}

#[test]
fn the_upstream_is_told_the_role_as_the_model_wants_it() {
    let upstream = upstream();
    let sidecar = behind(&upstream, &format!("{ROTATION} --api-roles auto"));
    let ask = |model: &str, input: Value| sidecar.ask(json!({"model": model, "input": input}));
    let (texts, begun) = (json!(["a", "b"]), json!(["search_query: a", "search_query: b"]));
    for (model, input, sent) in [
        ("nomic-embed-text:document", json!("a"), json!({"input": "search_document: a"})),
        ("nomic-embed-text:query", texts.clone(), json!({"input": begun})),
        ("voyage-3.5:document", texts.clone(), json!({"input": texts, "input_type": "document"})),
        ("voyage-3.5:query", json!([5, 6]), json!({"input": [5, 6], "input_type": "query"})),
        ("jina-embeddings-v3:query", json!("a"), json!({"input": "a", "task": "retrieval.query"})),
        ("bge-small-en-v1.5:document", json!([5, 6]), json!({"input": [5, 6]})),
        // nothing is known of it, so nothing is sent, and the role does not matter
        ("m", json!("a"), json!({"input": "a"})),
    ] {
        let answer = ask(model, input);
        assert_eq!(answer.status, 200, "{model}: {}", answer.text);
        let mut expected = sent;
        let name = model.split(':').next().unwrap();
        expected["model"] = name.into();
        assert_eq!(upstream.requests().last().unwrap().body, expected);
        assert_eq!(answer.body["model"], name);
    }
    assert_eq!(ask("nomic-embed-text", json!("a")).code(400), "role_required");
    assert_eq!(ask("nomic-embed-text:query", json!([5, 6])).code(400), "invalid_value");
    let typed =
        |kind: &str| sidecar.ask(json!({"model": "voyage-3.5:query", "input": "a", "input_type": kind}));
    assert_eq!(typed("query").status, 200);
    assert_eq!(typed("planted").code(400), "conflicting_roles");
    sidecar.stop();
}

#[test]
fn keyed_noise_differs_where_the_upstream_is_told_another_role() {
    let upstream = upstream();
    let line = "--defense gaussian(sigma=0.1,key=file:embosk.key) --api-roles e5";
    let sidecar = behind(&upstream, line);
    let noise = |role: &str, begun: &str| {
        let answer = sidecar.ask(json!({"model": format!("m:{role}"), "input": "a"}));
        let found = vectors(&answer).remove(0);
        found.iter().zip(vector(begun)).map(|(found, clean)| found - clean).collect::<Vec<f32>>()
    };
    let (document, query) = (noise("document", "passage: a"), noise("query", "query: a"));
    assert_eq!(noise("query", "query: a"), query);
    let apart = document.iter().zip(&query).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
    // as for any two texts: 0.1 for each coordinate of both
    assert!(apart > 0.1, "{apart}");
    sidecar.stop();
}

#[test]
fn keyed_noise_is_by_id_or_by_text() {
    let upstream = upstream();
    let sidecar = behind(&upstream, "--defense gaussian(sigma=0.1,key=file:embosk.key)");
    let with = |ids: &str, input: Value| {
        let headers = [("x-embosk-ids", ids)];
        let headers = if ids.is_empty() { &[][..] } else { &headers };
        sidecar.post("/v1/embeddings", headers, &json!({"model": "m", "input": input}))
    };
    let both = vectors(&with("", json!(["a", "b"])));
    assert_eq!(vectors(&with("", json!("b"))), both[1..]);
    assert_ne!(both[0], vector("a"));
    let by_id = vectors(&with(r#"["1","2"]"#, json!(["a", "b"])));
    assert_eq!(vectors(&with(r#"["2"]"#, json!("b"))), by_id[1..]);
    assert_ne!(by_id[1], both[1]);
    for ids in [r#"["1"]"#, r#"["1","1"]"#, "planted"] {
        assert_eq!(with(ids, json!(["a", "b"])).code(400), "invalid_ids");
    }
    sidecar.stop();
}

#[test]
fn an_embedder_of_our_own_needs_no_upstream() {
    let sidecar = Sidecar::start(ROTATION, &[]);
    let stack = rotation(&sidecar);
    // the embedder's dimension is known before there are vectors
    rotated(&stack, &["a"]);
    let stored = [("x-embosk-fingerprint", &*stack.fingerprint())];
    let refused = sidecar.post("/v1/embeddings", &stored, &json!({"model": "m", "input": "a"}));
    assert_eq!(refused.code(409), "other_space");
    let stack = rotation(&sidecar);
    let texts = ["Rent is due on the first of May.", "when is the rent due?"];
    let answer = sidecar.ask(json!({"model": "any:document", "input": texts, "encoding_format": "base64"}));
    let mut expected = embedder::reference().unwrap().embed(Role::Document, &texts).unwrap();
    stack.protect(Role::Document, expected.view_mut(), &mut Rng::from_os().unwrap()).unwrap();
    for (row, found) in expected.rows().into_iter().zip(vectors(&answer)) {
        assert!(row.iter().zip(found).all(|(a, b)| (a - b).abs() < 1e-5));
    }
    assert_eq!(answer.body["model"], "reference");
    // as Python's tokenizers counts them
    assert_eq!(answer.body["usage"], json!({"prompt_tokens": 17, "total_tokens": 17}));
    assert_eq!(answer.header("x-embosk-fingerprint"), stack.fingerprint());
    assert_eq!(sidecar.ask(json!({"model": "m", "input": [1, 2]})).code(400), "invalid_value");
    let typed = sidecar.ask(json!({"model": "m", "input": "a", "input_type": "query"}));
    assert_eq!(typed.code(400), "unsupported_parameter");
    assert_eq!(sidecar.get("/ready").status, 200);
    let log = sidecar.stop();
    assert!(log.lines().any(|line| line.contains("protects") && line.contains("dim=")), "{log}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_crash_writes_no_memory_to_the_disk() {
    let upstream = upstream();
    let sidecar = behind(&upstream, ROTATION);
    let limits = fs::read_to_string(format!("/proc/{}/limits", sidecar.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    sidecar.stop();
}

/// A file that only its owner can read.
fn tenants(sidecar: &std::path::Path, text: &str) {
    let path = sidecar.join("tenants.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn tenants_have_tokens_stacks_and_keys_of_their_own() {
    let upstream = upstream();
    let (first, second) = (format!("{TOKEN}-1"), format!("{TOKEN}-2"));
    let both = format!(
        "[[tenant]]\nname = \"one\"\ntoken = \"{first}\"\n\n[[tenant]]\nname = \"two\"\ntoken = \"env:TWO\"\n\
         defense = \"none\"\nupstream_key = \"env:TWO_KEY\"\n"
    );
    let folder = tempfile::tempdir().unwrap();
    tenants(folder.path(), &both);
    let line = format!("--upstream {} {ROTATION} --tenants tenants.toml --listen 0.0.0.0:0", upstream.base());
    let sidecar = Sidecar::start_in(folder, &line, &[("TWO", &second), ("TWO_KEY", "sk-planted-other")]);
    let stack = rotation(&sidecar);
    let ask = |token: &str| {
        let bearer = format!("Bearer {token}");
        sidecar.post("/v1/embeddings", &[("authorization", &bearer)], &json!({"model": "m", "input": "a"}))
    };
    assert_eq!(vectors(&ask(&first)), [rotated(&stack, &["a"]).row(0).to_vec()]);
    assert_eq!(vectors(&ask(&second)), [vector("a")]);
    assert_eq!(ask(&second).header("x-embosk-fingerprint"), "embosk2 none");
    let keys: Vec<String> =
        upstream.requests().iter().map(|request| request.headers["authorization"].clone()).collect();
    assert_eq!(keys[..2], [format!("Bearer {KEY}"), "Bearer sk-planted-other".to_owned()]);
    assert_eq!(ask(TOKEN).code(401), "invalid_api_key");
    let none = sidecar.ask(json!({"model": "m", "input": "a"}));
    assert_eq!(none.code(401), "invalid_api_key");
    for path in ["/health", "/ready", "/metrics"] {
        assert_eq!(sidecar.get(path).status, 200, "{path}");
    }

    // a broken file changes nothing
    tenants(sidecar.folder(), "[[tenant]]\nname = planted");
    sidecar.signal("HUP");
    sidecar.until_metric("embosk_tenant_reload_failures_total 1");
    assert_eq!(ask(&first).status, 200);
    // nor does a pipe that nobody writes to
    let path = sidecar.folder().join("tenants.toml");
    fs::remove_file(&path).unwrap();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    sidecar.signal("HUP");
    sidecar.until_metric("embosk_tenant_reload_failures_total 2");
    assert_eq!(ask(&first).status, 200);
    fs::remove_file(&path).unwrap();
    tenants(sidecar.folder(), &both.replace(&first, &format!("{TOKEN}-3")));
    sidecar.signal("HUP");
    sidecar.until_metric("embosk_tenant_reloads_total 1");
    assert_eq!(ask(&first).code(401), "invalid_api_key");
    assert_eq!((ask(&format!("{TOKEN}-3")).status, ask(&second).status), (200, 200));
    let log = sidecar.stop();
    assert!(log.contains("\"tenant\":\"two\"") && log.contains("stay as they were"), "{log}");
}

#[test]
fn tenants_have_rotations_of_their_own() {
    let upstream = Server::start(|_, request| {
        let dim = if request.body["model"] == "short" { DIM / 2 } else { DIM };
        Reply::Vectors(vec![vector("a")[..dim].to_vec()])
    });
    let folder = tempfile::tempdir().unwrap();
    let tenant = |name: &str| format!("[[tenant]]\nname = \"{name}\"\ntoken = \"{TOKEN}-{name}\"\n\n");
    tenants(folder.path(), &(tenant("one") + &tenant("two")));
    let line = format!("--upstream {} {ROTATION} --tenants tenants.toml", upstream.base());
    let sidecar = Sidecar::start_in(folder, &line, &[]);
    let ask = |name: &str, model: &str| {
        let bearer = format!("Bearer {TOKEN}-{name}");
        sidecar.post("/v1/embeddings", &[("authorization", &bearer)], &json!({"model": model, "input": "a"}))
    };
    assert_eq!(vectors(&ask("one", "short"))[0].len(), DIM / 2);
    assert_eq!(vectors(&ask("two", "m"))[0].len(), DIM);
    assert_eq!(ask("one", "m").code(502), "wrong_dimension");
    sidecar.stop();
}

#[test]
fn what_cannot_be_served_safely_is_refused_at_the_start() {
    for (line, expected) in [
        ("--defense none --listen 0.0.0.0:0", "can be reached from other machines"),
        ("--defense none --listen [::]:0", "can be reached from other machines"),
        ("", "--defense"),
        ("--defense rerank(candidates=9,key=file:embosk.key)", "ends in `rerank`"),
        ("--defense none --embedder http://localhost/v1#m", "--upstream"),
        ("--defense none --upstream http://embosk.example/v1", "in the clear"),
        ("--defense none --upstream http://user:planted@localhost/v1", "before the @"),
        ("--defense none --upstream https://localhost/v1 --api-key-env planted", "variable's name"),
        ("--defense none --upstream https://localhost/v1 --api-roles bert", "no such preset"),
        ("--defense none --api-roles auto", "--upstream"),
        ("--defense none --listen 8787", "write HOST:PORT"),
        (
            "--defense none --upstream localhost:11434/v1",
            "--upstream: the upstream's address: it cannot be read",
        ),
        ("--defense none --tenants missing.toml", "no such file"),
        ("--defense none --tenants .", "not a regular file"),
        ("--defense none --timeout 0", "above 0"),
        ("--defense none --max-inputs 0", "at least 1"),
        ("--defense gaussian(sigma=0.01..0.1/3)", "range"),
    ] {
        let (code, stderr) = fails(line);
        assert_eq!(code, 2, "{line}: {stderr}");
        assert!(stderr.contains(expected), "{line}: {stderr}");
    }
}

#[test]
fn the_upstream_may_fail_in_every_way() {
    let gate = Arc::<Gate>::default();
    let held = Arc::clone(&gate);
    let upstream = Server::start(move |_, request| match request.body["model"].as_str().unwrap() {
        "gone" => Reply::Gone,
        "mangled" => Reply::Bytes(format!("HTTP/1.1 two hundred\r\n{TEXT}\r\n\r\n")),
        "chunked" => Reply::Bytes(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{TEXT}\r\n")),
        "garbage" => Reply::Status(200, Vec::new(), format!("<html>{TEXT}</html>")),
        "fewer" => Reply::Vectors(Vec::new()),
        "wider" => Reply::Vectors(vec![vec![1.0; DIM + 1]]),
        "empty" => Reply::Vectors(vec![Vec::new()]),
        "large" => Reply::Status(200, Vec::new(), r#"{"data":[{"embedding":[1e39]}]}"#.into()),
        "half" => Reply::Half(body(&[vector("a")]), 40),
        "cut" => {
            let whole = body(&[vector("a")]);
            Reply::Status(200, Vec::new(), whole[..whole.len() / 2].to_owned())
        }
        "slow" => {
            held.pass();
            Reply::Gone
        }
        "longest" => Reply::Status(200, Vec::new(), " ".repeat(2 << 20)),
        "busy" => Reply::Status(429, vec![("retry-after", "7".into())], TEXT.into()),
        "down" => Reply::Status(500, Vec::new(), TEXT.into()),
        "away" => Reply::Status(302, vec![("location", "http://localhost:1/".into())], String::new()),
        "locked" => Reply::Status(401, Vec::new(), format!("wrong key: {KEY}")),
        "long" => Reply::Status(
            400,
            Vec::new(),
            format!(r#"{{"error":{{"code":"context_length_exceeded","message":"{TEXT}"}}}}"#),
        ),
        "unknown" => Reply::Status(404, Vec::new(), TEXT.into()),
        _ => answered(request),
    });
    let sidecar = behind(&upstream, ROTATION);
    let ask = |model: &str| sidecar.ask(json!({"model": model, "input": TEXT}));
    assert_eq!(ask("m").status, 200);
    for (model, status, code) in [
        ("gone", 502, "upstream_broken"),
        ("mangled", 502, "upstream_broken"),
        ("chunked", 502, "upstream_incomplete"),
        ("garbage", 502, "upstream_invalid"),
        ("fewer", 502, "upstream_invalid"),
        ("wider", 502, "wrong_dimension"),
        ("empty", 502, "upstream_invalid"),
        ("large", 502, "upstream_invalid"),
        ("half", 502, "upstream_incomplete"),
        ("cut", 502, "upstream_incomplete"),
        ("longest", 502, "upstream_invalid"),
        ("busy", 429, "upstream_busy"),
        ("down", 502, "upstream_failed"),
        ("away", 502, "upstream_redirects"),
        ("locked", 502, "upstream_key"),
        ("long", 400, "upstream_refused"),
        ("unknown", 404, "model_not_found"),
    ] {
        assert_eq!(ask(model).code(status), code, "{model}");
        assert_eq!(ask("m").status, 200, "after {model}");
    }
    assert_eq!(ask("busy").header("retry-after"), "7");
    assert_eq!(sidecar.get("/ready").status, 200);
    sidecar.stop();

    let hasty = behind(&upstream, &format!("{ROTATION} --timeout 1"));
    assert_eq!(hasty.ask(json!({"model": "slow", "input": TEXT})).code(504), "upstream_timeout");
    gate.open();
    hasty.stop();

    let narrow = behind(&upstream, &format!("{ROTATION} --max-answer 50"));
    assert_eq!(narrow.ask(json!({"model": "m", "input": TEXT})).code(502), "upstream_invalid");
    narrow.stop();

    // nobody listens there
    let sidecar = Sidecar::start(&format!("--upstream http://127.0.0.1:1/v1 {ROTATION}"), &[]);
    assert_eq!(sidecar.ask(json!({"model": "m", "input": TEXT})).code(502), "upstream_unreachable");
    assert_eq!(
        (sidecar.get("/ready").code(503), sidecar.get("/health").status),
        ("upstream_unreachable", 200)
    );
    sidecar.stop();
}

#[test]
fn bad_requests_are_answered_in_openais_format() {
    let upstream = upstream();
    let line = format!("{ROTATION} --max-body 1000 --max-inputs 3");
    let sidecar = Sidecar::start(&format!("--upstream {}#m {line}", upstream.base()), &[]);
    let code = |request: Value| sidecar.ask(request).code(400);
    assert_eq!(code(json!({"model": "m"})), "invalid_value");
    assert_eq!(code(json!({"model": "m", "input": ["a", "b", "c", "d"]})), "too_many_inputs");
    assert_eq!(code(json!({"model": "m", "input": "a", "output_dtype": "int8"})), "unsupported_parameter");
    assert_eq!(code(json!([TEXT])), "invalid_json");
    let refused = sidecar.ask(json!({"model": "m", "input": "a", "encoding_format": TEXT}));
    assert_eq!(refused.body["error"]["param"], "encoding_format");
    assert_eq!(refused.body["error"]["type"], "invalid_request_error");
    assert_eq!(sidecar.ask(json!({"model": "other", "input": "a"})).code(404), "model_not_found");
    assert_eq!(sidecar.ask(json!({"input": "a"})).status, 200);
    for length in [2000, 2_000_000] {
        let large = sidecar.ask(json!({"model": "m", "input": "a".repeat(length)}));
        assert_eq!(large.code(413), "body_too_large");
    }
    // a body whose length is not announced
    let mut stream = sidecar.connect();
    let head = "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = format!("{:x}\r\n{}\r\n0\r\n\r\n", 2_000_000, "a".repeat(2_000_000));
    stream.write_all(format!("{head}{chunk}").as_bytes()).unwrap();
    assert_eq!(sidecar::read(stream).code(413), "body_too_large");
    let task = sidecar.ask(json!({"model": "m", "input": "a", "task": [TEXT]}));
    assert_eq!((task.code(400), &task.body["error"]["param"]), ("invalid_value", &json!("task")));
    assert_eq!(sidecar.get("/v1/embeddings").code(405), "method_not_allowed");
    assert_eq!(sidecar.get(&format!("/{TOKEN}")).code(404), "unknown_path");
    let page = [("origin", "http://planted.example")];
    let refused = sidecar.post("/v1/embeddings", &page, &json!({"model": "m", "input": "a"}));
    assert_eq!(refused.code(403), "origin_refused");
    sidecar.stop();
}

#[test]
fn a_full_server_says_when_to_come_back() {
    let (upstream, gate) = gated();
    let sidecar = behind(&upstream, &format!("{ROTATION} --concurrency 1 --queue 1"));
    thread::scope(|scope| {
        let slow = || sidecar.ask(json!({"model": "slow", "input": "a"}));
        let working = scope.spawn(slow);
        sidecar.until_metric("embosk_requests_working 1");
        let waiting = scope.spawn(slow);
        sidecar.until_metric("embosk_requests_waiting 1");
        let refused = slow();
        assert_eq!(refused.code(429), "queue_full");
        assert_eq!(refused.header("retry-after"), "1");
        gate.open();
        assert_eq!((working.join().unwrap().status, waiting.join().unwrap().status), (200, 200));
    });
    sidecar.until_metric("embosk_requests_working 0");
    assert_eq!(sidecar.ask(json!({"model": "m", "input": "a"})).status, 200);
    sidecar.stop();
}

#[test]
fn a_body_takes_a_place_only_when_it_is_whole_or_long() {
    let upstream = upstream();
    let sidecar = behind(&upstream, &format!("{ROTATION} --concurrency 1 --queue 1"));
    let send = |length: usize, body: &str| {
        let mut stream = sidecar.connect();
        let head = "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n";
        stream.write_all(format!("{head}content-length: {length}\r\n\r\n").as_bytes()).unwrap();
        // it waits for the body
        let mut said = [0; 25];
        stream.read_exact(&mut said).unwrap();
        assert_eq!(said, *b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(body.as_bytes()).unwrap();
        stream
    };
    let ask = || sidecar.ask(json!({"model": "m", "input": "a"}));
    let silent: Vec<_> = (0..4).map(|_| send(100_000, "")).collect();
    let half: Vec<_> = (0..4).map(|_| send(100_000, "{")).collect();
    assert_eq!(ask().status, 200);
    let long: Vec<_> = (0..2).map(|_| send(100_000, &"a".repeat(70_000))).collect();
    sidecar.until_metric("embosk_requests_waiting 2");
    assert_eq!(ask().code(429), "queue_full");
    drop((silent, half, long));
    sidecar.until_metric("embosk_requests_waiting 0");
    assert_eq!(ask().status, 200);
    sidecar.stop();
}

#[test]
fn clients_may_hang_up_or_talk_nonsense() {
    let (upstream, gate) = gated();
    let sidecar = behind(&upstream, &format!("{ROTATION} --concurrency 1 --queue 0"));
    let slow = json!({"model": "slow", "input": TEXT}).to_string();
    let head = format!("POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", slow.len());
    let mut stream = sidecar.connect();
    stream.write_all(format!("{head}{slow}").as_bytes()).unwrap();
    sidecar.until_metric("embosk_requests_working 1");
    drop(stream);
    sidecar.until_metric("embosk_requests_abandoned_total 1");
    sidecar.until_metric("embosk_requests_working 0");
    gate.open();

    // half a body, which never becomes whole
    let hasty = behind(&upstream, &format!("{ROTATION} --timeout 1"));
    let mut stream = hasty.connect();
    stream.write_all(format!("{head}{}", &slow[..10]).as_bytes()).unwrap();
    assert_eq!(sidecar::read(stream).code(408), "body_timeout");
    hasty.stop();
    let mut stream = sidecar.connect();
    stream.write_all(format!("{head}{}", &slow[..10]).as_bytes()).unwrap();
    drop(stream);

    for nonsense in [
        "GET\r\n\r\n".to_owned(),
        format!("{TEXT}\r\n\r\n"),
        "POST /v1/embeddings HTTP/1.1\r\ncontent-length: -5\r\n\r\n".to_owned(),
        "POST /v1/embeddings HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nplanted\r\n".to_owned(),
        "POST /v1/embeddings HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 9\r\n\r\n{}".to_owned(),
        "\u{16}\u{3}\u{1}\u{2}".to_owned(),
        format!("GET /health HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(4_000_000)),
    ] {
        let mut stream = sidecar.connect();
        let _ = stream.write_all(nonsense.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let answer = sidecar::read_any(stream);
        assert!(!answer.contains(" 200 "), "{nonsense:.40}: {answer}");
    }
    sidecar.until_metric("embosk_requests_waiting 0");
    assert_eq!(sidecar.ask(json!({"model": "m", "input": "a"})).status, 200);
    sidecar.stop();
}

/// Idle clients keep nobody out, and their memory does not grow. `EMBOSK_IDLE=10000` holds so many, and waits until the
/// sidecar closes them, which takes a minute.
#[test]
fn requests_are_answered_beside_idle_connections() {
    let wanted: Option<usize> = std::env::var("EMBOSK_IDLE").ok().map(|count| count.parse().unwrap());
    let count = wanted.unwrap_or(300);
    let upstream = upstream();
    // fewer files than connections, until the sidecar raises the limit
    let line = format!("--upstream {} {ROTATION} --max-connections {}", upstream.base(), count + 10);
    let sidecar = Sidecar::start_limited("-S -n 128", &line);
    let ask = || assert_eq!(sidecar.ask(json!({"model": "m", "input": "a"})).status, 200);
    ask();
    let before = resident_kib(&sidecar);
    if wanted.is_some() {
        allow_files();
    }
    let idle: Vec<_> = (0..count).map(|_| sidecar.connect()).collect();
    sidecar.until_metric(&format!("embosk_connections {}", count + 1));
    ask();
    let held = resident_kib(&sidecar);
    assert!(held <= before + 8192 + 32 * count, "{before} KiB, and {held} with {count} connections");
    if wanted.is_some() {
        let watch = |_| {
            thread::sleep(Duration::from_secs(1));
            resident_kib(&sidecar)
        };
        let most = (0..65).map(watch).max().unwrap();
        eprintln!(
            "{count} idle connections: {before} KiB resident before, {held} KiB with them, {most} KiB at most"
        );
        assert!(most <= held + held / 10);
        sidecar.until_metric("embosk_connections 1");
        ask();
    }
    let log = sidecar.stop();
    assert!(!log.contains("cannot be taken") && !log.contains("too few files"), "{log}");
    drop(idle);
}

#[test]
fn a_low_limit_of_open_files_leaves_fewer_connections() {
    let upstream = upstream();
    let line = format!("--upstream {} {ROTATION} --concurrency 8", upstream.base());
    let sidecar = Sidecar::start_limited("-n 108", &line);
    // 108 less 16 for the upstream and 64 others
    sidecar.until_logged("\"connections\":28");
    let _idle: Vec<_> = (0..20).map(|_| sidecar.connect()).collect();
    sidecar.until_metric("embosk_connections 21");
    assert_eq!(sidecar.ask(json!({"model": "m", "input": "a"})).status, 200);
    sidecar.stop();
}

/// The memory of a sidecar, where the system says it.
fn resident_kib(sidecar: &Sidecar) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", sidecar.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().unwrap())
}

/// Lets this process open as many files as it may.
fn allow_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

#[test]
fn a_shutdown_finishes_what_is_under_way() {
    let (upstream, gate) = gated();
    let mut sidecar = behind(&upstream, &format!("{ROTATION} --concurrency 2 --queue 20"));
    let idle = sidecar.connect();
    thread::scope(|scope| {
        let requests: Vec<_> =
            (0..8).map(|_| scope.spawn(|| sidecar.ask(json!({"model": "slow", "input": "a"})))).collect();
        sidecar.until_metric("embosk_requests_waiting 6");
        sidecar.signal("TERM");
        sidecar.until_logged("shutting down");
        gate.open();
        for request in requests {
            assert_eq!(request.join().unwrap().status, 200);
        }
    });
    assert!(sidecar.wait().success());
    assert!(sidecar.log().contains("all requests are answered"), "{}", sidecar.log());
    drop(idle);
}

#[test]
fn a_shutdown_waits_no_longer_than_its_grace() {
    let mut sidecar = Sidecar::start(&format!("{ROTATION} --grace 0.1"), &[]);
    // minutes of work for one thread
    let texts = vec!["Rent is due on the first of May. ".repeat(60); 2000];
    let body = json!({"model": "m", "input": texts}).to_string();
    let mut stream = sidecar.connect();
    let head = format!("POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    sidecar.until_metric("embosk_requests_working 1");
    sidecar.signal("TERM");
    assert!(sidecar.wait().success());
    assert!(sidecar.log().contains("some requests are not answered"), "{}", sidecar.log());
}

#[test]
fn no_secret_is_shown() {
    let upstream = Server::start(|number, request| match number % 3 {
        0 => answered(request),
        1 => Reply::Status(500, Vec::new(), format!("{TEXT} {KEY}")),
        _ => Reply::Status(200, Vec::new(), TEXT.into()),
    });
    let folder = tempfile::tempdir().unwrap();
    tenants(folder.path(), &format!("[[tenant]]\nname = \"one\"\ntoken = \"{TOKEN}\"\n"));
    let line = format!("--upstream {} {ROTATION} --tenants tenants.toml --log-level trace", upstream.base());
    let sidecar = Sidecar::start_in(folder, &line, &[]);
    let key = fs::read_to_string(sidecar.folder().join("embosk.key")).unwrap();
    let bearer = format!("Bearer {TOKEN}");
    let wrong = format!("Bearer {TOKEN}-planted");
    let ids = format!("[\"{TEXT}\"]");
    let mut answers = Vec::new();
    for body in [
        json!({"model": TEXT, "input": TEXT}),
        json!({"model": "m", "input": [TEXT], "user": TEXT, TEXT: TEXT}),
        json!({"model": "m", "input": [TEXT, 1]}),
        json!({"model": "m", "input": TEXT, "dimensions": TEXT}),
        json!({"model": "m", "input": TEXT, "input_type": TEXT}),
        json!({"model": "m", "input": TEXT}),
    ] {
        for headers in [
            vec![("authorization", bearer.as_str())],
            vec![("authorization", &wrong)],
            vec![("authorization", &bearer), ("x-embosk-ids", &ids), ("x-embosk-role", TEXT)],
            vec![("authorization", &bearer), ("x-embosk-ids", TEXT)],
            vec![("authorization", &bearer), ("x-embosk-fingerprint", TEXT)],
        ] {
            for path in ["/v1/embeddings".to_owned(), format!("/v1/{TOKEN}?{KEY}")] {
                let answer = sidecar.post(&path, &headers, &body);
                // the model of an answer is what was asked for
                answers.extend((answer.status != 200).then(|| answer.body.to_string()));
            }
        }
    }
    let metrics = sidecar.get("/metrics").text;
    assert!(metrics.contains("embosk_requests_total{status=\"200\",code=\"ok\"}"), "{metrics}");
    let log = sidecar.stop();
    assert!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{log}");
    assert!(log.contains("\"status\":502") && log.contains("\"tenant\":\"one\""), "{log}");
    let number = vector(TEXT)[0].to_string();
    for shown in answers.iter().chain([&metrics, &log]) {
        for secret in ["planted", KEY, TOKEN, TEXT, key.trim(), &key[8..40], number.trim_start_matches('-')] {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
    }
}
