//! The command with embedders behind an address: the shipped embedder behind a server of the test's own.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::OnceLock;

use embosk::embedder::{self, SentenceTransformer};
use embosk::{Embedder, Role};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::command;
use crate::common::server::{Reply, Request, Server};

const KEY: &str = "sk-planted-key";
const TEXT: &str = "planted text of nobody";

fn embosk(folder: &Path, line: &str, server: &Server) -> Output {
    let line = line.replace("ADDRESS", &server.name("reference"));
    command::embosk(folder, &line)
        .env("EMBOSK_CACHE", folder.join("cache"))
        .env("EMBOSK_API_KEY", KEY)
        .env("RUST_LOG", "trace")
        .env("RUST_BACKTRACE", "1")
        .output()
        .unwrap()
}

/// Stdout and stderr of a run that ends as it should.
#[track_caller]
fn runs(folder: &Path, line: &str, server: &Server) -> (String, String) {
    let Output { status, stdout, stderr } = embosk(folder, line, server);
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(matches!(status.code(), Some(0 | 3)), "{line}: {stderr}");
    (String::from_utf8(stdout).unwrap(), stderr)
}

fn reference() -> &'static SentenceTransformer {
    static REFERENCE: OnceLock<SentenceTransformer> = OnceLock::new();
    REFERENCE.get_or_init(|| embedder::reference().unwrap())
}

/// The shipped embedder.
fn serving() -> Server {
    Server::start(|_, request: &Request| {
        let vectors = Embedder::embed(reference(), Role::Document, &request.texts()).unwrap();
        Reply::Vectors(vectors.rows().into_iter().map(|row| row.to_vec()).collect())
    })
}

/// The report without what names the embedder. Its normalizer is measured, and has another name.
fn report(text: &str) -> Value {
    let mut report: Value = serde_json::from_str(text).unwrap();
    let signature = report["signature"].as_object_mut().unwrap();
    for name in ["embedder", "embedder_sha256", "normalizer"] {
        signature.remove(name);
    }
    report.as_object_mut().unwrap().remove("warnings");
    report
}

/// The same but for the last digits of numbers: those of a vector depend on the texts that share its batch.
#[track_caller]
fn alike(one: &Value, other: &Value, place: &str) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            assert!(one.keys().eq(other.keys()), "{place}");
            for (name, value) in one {
                alike(value, &other[name], &format!("{place}.{name}"));
            }
        }
        (Value::Array(one), Value::Array(other)) => {
            assert_eq!(one.len(), other.len(), "{place}");
            for (at, value) in one.iter().enumerate() {
                alike(value, &other[at], &format!("{place}[{at}]"));
            }
        }
        (Value::Number(one), Value::Number(other)) => {
            let far = (one.as_f64().unwrap() - other.as_f64().unwrap()).abs();
            assert!(far < 1e-5, "{place}: {one} and {other}");
        }
        _ => assert_eq!(one, other, "{place}"),
    }
}

#[test]
fn an_embedder_behind_an_address_gives_the_report_of_the_embedder() {
    let place = TempDir::new().unwrap();
    let server = serving();
    let retrieval =
        "evaluate --attack none --corpus records:120 --defense none --defense gaussian(sigma=0.05)";
    let attacked = "evaluate --attack reference --corpus records:120 --samples 6 --steps 1 --beam-width 1 \
                    --local-queries 0 --adversary naive --adversary leaked(40) --attacker-corpus records:300 \
                    --guess-candidates 8 --defense none --defense gaussian(sigma=0.05)";
    for line in [retrieval, attacked] {
        let here = runs(place.path(), &format!("{line} --format json --embedder reference"), &server).0;
        let there = runs(place.path(), &format!("{line} --format json --embedder ADDRESS"), &server).0;
        alike(&report(&there), &report(&here), "report");
        let signature = &serde_json::from_str::<Value>(&there).unwrap()["signature"];
        assert_eq!(signature["embedder"], json!(server.name("reference")));
    }
    let requests = server.requests();
    assert!(requests.iter().all(|request| request.headers["authorization"] == format!("Bearer {KEY}")));
    drop(requests);
    let mut sent: Vec<usize> = server.sent().into_values().filter(|&sent| sent > 1).collect();
    sent.sort_unstable();
    assert_eq!(sent, [3; 6], "each text once, but for the fixed ones: twice for a new cache, and then once");
}

#[test]
fn a_second_evaluation_sends_only_what_is_new() {
    let place = TempDir::new().unwrap();
    let server = serving();
    let line = "evaluate --attack guided --embedder ADDRESS --corpus records:80 --samples 2 --queries 60 \
                --adversary naive --attacker-corpus records:200 --guess-candidates 4 --format json --defense";
    let (_, told) = runs(place.path(), &format!("{line} none"), &server);
    assert!(told.contains("up to 60 hypotheses for each of 2 texts"), "{told}");
    let first = server.sent();
    let (again, _) = runs(place.path(), &format!("{line} none"), &server);
    let new = |before: &BTreeMap<String, usize>| {
        server.sent().into_iter().filter(|(text, _)| !before.contains_key(text)).count()
    };
    assert_eq!(new(&first), 0, "an equal run sends nothing but the fixed texts");
    assert!(!again.is_empty());
    runs(place.path(), &format!("{line} gaussian(sigma=0.05)"), &server);
    let added = new(&first);
    assert!(added > 0 && added <= 2 * 60, "hypotheses alone: {added}");
    let sent = server.sent();
    let twice: Vec<usize> = sent.values().copied().filter(|&sent| sent > 1).collect();
    assert_eq!(twice, [4; 6], "the fixed texts in each run, twice in the first one, and nothing else twice");
}

#[test]
fn a_dry_run_counts_and_sends_nothing() {
    let place = TempDir::new().unwrap();
    let server = serving();
    let line = "evaluate --attack guided --embedder ADDRESS --corpus records:80 --samples 2 --queries 60 \
                --adversary naive --attacker-corpus records:200 --guess-candidates 4 --defense none";
    let (counted, _) = runs(place.path(), &format!("{line} --dry-run"), &server);
    assert_eq!(server.requests().len(), 0);
    let first: usize = counted.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(counted.contains("at most 240 hypotheses"), "{counted}");
    assert!(counted.contains("at most 30000 single words"), "{counted}");
    // the usual attack on records is guided, too: none is shipped for this embedder
    let usual = line.replace("--attack guided ", "");
    assert_eq!(runs(place.path(), &format!("{usual} --dry-run"), &server).0, counted);
    let most = first + 12 + 120 + 30_000;
    let (told, errors) = runs(place.path(), &format!("{line} --max-queries {most}"), &server);
    // beside single words
    let sent: usize = server.sent().iter().filter(|(text, _)| text.contains(' ')).map(|(_, sent)| sent).sum();
    assert!(sent > first && sent <= first + 12 + 120, "{first} and {sent}: {told}{errors}");
    let (counted, _) = runs(place.path(), &format!("{line} --dry-run"), &server);
    assert!(counted.contains(": 0 texts"), "all is cached: {counted}");
    fs::write(place.path().join("texts.txt"), "one\ntwo\none\n").unwrap();
    let embed = "embed --embedder ADDRESS --input texts.txt --output v.npy";
    let (counted, _) = runs(place.path(), &format!("{embed} --dry-run"), &server);
    assert!(
        counted.contains(": 2 texts of about 2 tokens") && !place.path().join("v.npy").exists(),
        "{counted}"
    );
    let output = embosk(place.path(), &format!("{embed} --max-queries 7"), &server);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && message.contains("7 texts may be sent in all"), "{message}");
    runs(place.path(), &format!("{embed} --max-queries 8"), &server);
    let vectors: ndarray::Array2<f32> = ndarray_npy::read_npy(place.path().join("v.npy")).unwrap();
    let expected = Embedder::embed(reference(), Role::Document, &["one", "two", "one"]).unwrap();
    assert!(vectors.iter().zip(&expected).all(|(one, other)| (one - other).abs() < 1e-6));
}

#[test]
fn texts_are_recovered_through_an_address() {
    let place = TempDir::new().unwrap();
    let server = serving();
    fs::write(place.path().join("texts.txt"), "the letter is from anna\n").unwrap();
    let line = "invert --embedder ADDRESS --input texts.txt --attack guided --queries 80 --attacker-corpus records:100";
    let (counted, _) = runs(place.path(), &format!("{line} --dry-run"), &server);
    assert!(counted.contains("101 texts") && counted.contains("at most 80 hypotheses"), "{counted}");
    let longer = line.replace("--queries 80 ", "");
    let (counted, _) = runs(place.path(), &format!("{longer} --dry-run"), &server);
    assert!(counted.contains("at most 1500 hypotheses"), "{counted}");
    let (found, _) = runs(place.path(), line, &server);
    let found: Value = serde_json::from_str(&found).unwrap();
    assert!(found["cosine"].as_f64().unwrap() > 0.2 && found["queries"].as_u64().unwrap() <= 80, "{found}");
    let output = embosk(
        place.path(),
        "invert --embedder ADDRESS --input texts.txt --inverter reference --paper",
        &server,
    );
    assert!(String::from_utf8(output.stderr).unwrap().contains("leave --paper out"));
}

/// Whatever a server answers, neither the key nor a text is shown, however much is to be said.
#[test]
fn no_output_holds_the_key_or_a_text() {
    type Fail = fn(String) -> Reply;
    let echo = |request: &Request| format!("{} {} {TEXT}", request.body, request.headers["authorization"]);
    let cases: [(Fail, &str); 8] = [
        (
            |echo| Reply::Status(401, vec![("www-authenticate", echo.replace(['\r', '\n'], " "))], echo),
            "refuses the key",
        ),
        (
            |echo| Reply::Status(400, vec![], json!({"error": {"message": echo, "code": echo}}).to_string()),
            "(HTTP status 400)",
        ),
        (|echo| Reply::Status(500, vec![], echo), "after 2 attempts"),
        (
            |echo| Reply::Status(429, vec![("retry-after", echo.replace(['\r', '\n'], " "))], echo),
            "after 2 attempts",
        ),
        (|echo| Reply::Status(200, vec![], echo), "cannot be read"),
        (
            |echo| Reply::Status(200, vec![], json!({"data": [{"embedding": echo}]}).to_string()),
            "cannot be read",
        ),
        (
            |echo| Reply::Status(302, vec![("location", format!("http://localhost/{}", echo.len()))], echo),
            "redirects",
        ),
        (|_| Reply::Gone, "after 2 attempts"),
    ];
    for (fail, part) in cases {
        let place = TempDir::new().unwrap();
        fs::write(place.path().join("texts.txt"), format!("{TEXT}\n")).unwrap();
        let server = Server::start(move |number, request| match number {
            // the fixed texts, twice
            0 | 1 => {
                let vectors = Embedder::embed(reference(), Role::Document, &request.texts()).unwrap();
                Reply::Vectors(vectors.rows().into_iter().map(|row| row.to_vec()).collect())
            }
            _ => fail(echo(request)),
        });
        let embed = "embed --embedder ADDRESS --input texts.txt --output v.npy --api-retries 1 --verbose";
        let output = embosk(place.path(), embed, &server);
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(part), "{told}");
        assert!(!told.contains("planted"), "{told}");
        assert_eq!(server.requests().last().unwrap().texts(), [TEXT], "it was sent");
    }
}

#[test]
fn neither_report_nor_cache_holds_the_key() {
    let place = TempDir::new().unwrap();
    let server = serving();
    let line = "evaluate --attack none --embedder ADDRESS --corpus records:60 --defense none --format json --verbose";
    let (told, errors) = runs(place.path(), &format!("{line} --keep-rows"), &server);
    assert!(!told.contains("planted") && !errors.contains("planted"));
    let mut folders = vec![place.path().join("cache")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let content = fs::read(&path).unwrap();
                assert!(!content.windows(7).any(|part| part == b"planted"), "{}", path.display());
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn the_cache_is_for_its_owner_and_marked() {
    use std::os::unix::fs::PermissionsExt;
    let place = TempDir::new().unwrap();
    let server = serving();
    let line = "evaluate --attack none --corpus records:60 --defense none --keep-rows";
    runs(place.path(), line, &server);
    let cache = place.path().join("cache");
    for folder in [cache.clone(), cache.join("embeddings"), cache.join("rows")] {
        assert_eq!(
            fs::metadata(&folder).unwrap().permissions().mode() & 0o777,
            0o700,
            "{}",
            folder.display()
        );
        assert!(folder.join("CACHEDIR.TAG").exists() && folder.join(".gitignore").exists());
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                assert_eq!(
                    fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                    0o600,
                    "{}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn options_for_addresses_are_refused_where_none_is_named() {
    let place = TempDir::new().unwrap();
    let server = serving();
    for (line, part) in [
        ("evaluate --attack none --max-queries 5", "--max-queries is for embedders behind an address"),
        ("evaluate --embedder http://127.0.0.1:9/v1", "names no model"),
        ("evaluate --embedder ADDRESS --api-key-env NO_SUCH_VARIABLE", "not set or empty"),
        ("evaluate --embedder ADDRESS --api-key-env other.example=PATH", "names a host that no address has"),
        ("evaluate --embedder ADDRESS --api-roles bert", "there is no such preset"),
    ] {
        let output = embosk(place.path(), line, &server);
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && message.contains(part), "{message}");
    }
    assert_eq!(server.requests().len(), 0);
}
