//! Collections, lists of texts, settings in TOML, and what services answer.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use embosk::cli::Program;
use embosk::embedder::Service;
use embosk::evaluate::Corpus;
use embosk::evaluate::corpus::read_texts;
use embosk::serve::Tenants;
use embosk::{Embedder, Registry, Role};

use crate::{choice, written};

/// One file of a collection, beside two that are right.
pub(crate) fn beir(data: &[u8]) {
    let Some((kind, bytes)) = choice(data, 3) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("qrels")).expect("a folder");
    let files = [
        ("corpus.jsonl", &b"{\"_id\": \"1\", \"text\": \"one\"}\n{\"_id\": \"2\", \"text\": \"two\"}\n"[..]),
        ("queries.jsonl", b"{\"_id\": \"q\", \"text\": \"which\"}\n"),
        ("qrels/test.tsv", b"query-id\tcorpus-id\tscore\nq\t1\t1\n"),
    ];
    for (index, (name, right)) in files.into_iter().enumerate() {
        fs::write(folder.path().join(name), if index == kind { bytes } else { right }).expect("a file");
    }
    let _ = Corpus::beir(folder.path());
}

/// A list of texts: plain, JSON lines, or compressed.
pub(crate) fn lines(data: &[u8]) {
    let Some((kind, bytes)) = choice(data, 4) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(["texts.txt", "texts.jsonl", "texts.txt.gz", "texts.txt.zst"][kind]);
    fs::write(&path, bytes).expect("a file");
    let _ = read_texts(&path);
}

pub(crate) fn budgets(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Program::new().read_budget(Path::new("privacy-budget.toml"), text);
}

pub(crate) fn tenants(data: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = written(folder.path(), "tenants.toml", data);
    let _ = Tenants::read(&path, &Registry::default(), None);
}

/// What the server of [`answers`] sends next.
static ANSWER: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// The address of a service that answers every request with [`ANSWER`].
static ADDRESS: LazyLock<String> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
            // where part of a request is unread, the system may reset the connection before the answer is there
            read_request(&stream);
            let answer = ANSWER.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let _ = stream.write_all(&answer);
        }
    });
    format!("http://127.0.0.1:{port}/v1#model")
});

/// Reads the head of a request, and as much of a body as the head says.
fn read_request(stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        line.clear();
    }
    let _ = io::copy(&mut reader.take(length), &mut io::sink());
}

/// The answer of a service: its body, or the whole with its head.
pub(crate) fn answers(data: &[u8]) {
    let Some((kind, bytes)) = choice(data, 2) else { return };
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", bytes.len());
    let whole = if kind == 0 { [head.as_bytes(), bytes].concat() } else { bytes.to_vec() };
    *ANSWER.lock().unwrap_or_else(PoisonError::into_inner) = whole;
    let service = Service::new(&ADDRESS).expect("an address");
    let service = service.retries(0).timeout(Duration::from_secs(2)).longest_wait(Duration::ZERO);
    if let Ok(embedder) = service.connect() {
        let _ = embedder.embed(Role::Document, &["one", "two"]);
    }
}
