//! What the sidecar is sent, and the files that it speaks TLS with.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use embosk::serve::{Server, Source, Tenants, Upstream};
use embosk::{GaussianNoise, Key, Stack};
use tokio::runtime;

use crate::{choice, letters, written};

/// What no refusal may repeat. The inputs of the corpus have it as a text, an id and a token.
const PLANTED: &str = "Planted Secret";

/// How long a request that does not say where it ends is waited for.
const PATIENCE: Duration = Duration::from_millis(20);

/// The address of a sidecar with keyed noise, for which each input has an id.
static SIDECAR: LazyLock<SocketAddr> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener for tokio");
    let address = listener.local_addr().expect("an address");
    let noise = GaussianNoise::keyed(&Key::from_bytes([7; 32]), 0.1).expect("a strength");
    let tenants = Tenants::everyone(Stack::new().with(noise)).expect("a stack");
    let server = Server::new(Source::local("letters", letters()), tenants).expect("a server");
    let runtime =
        runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads");
    thread::spawn(move || {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            server.run(listener, std::future::pending()).await
        })
    });
    address
});

/// A request: its body, its ids, its other headers, or the whole.
pub(crate) fn requests(data: &[u8]) {
    let Some(request) = request(data) else { return };
    let answer = exchanged(&request, PATIENCE);
    let answer = String::from_utf8_lossy(&answer);
    // a panic is caught there, and answered with 500
    assert!(!answer.starts_with("HTTP/1.1 500"), "the server failed: {answer}");
    assert!(!answer.contains(PLANTED), "an answer repeats what was sent: {answer}");
}

fn request(data: &[u8]) -> Option<Vec<u8>> {
    let (kind, bytes) = choice(data, 4)?;
    let with = |headers: &[u8], body: &[u8]| {
        let head = "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
        let length = format!("content-length: {}\r\n", body.len());
        [head.as_bytes(), length.as_bytes(), headers, b"\r\n", body].concat()
    };
    let body = br#"{"model": "letters", "input": ["Planted Secret", "two"]}"#;
    Some(match kind {
        0 => with(b"", bytes),
        1 => with(&[b"x-embosk-ids: ", bytes, b"\r\n"].concat(), body),
        2 => with(bytes, body),
        _ => bytes.to_vec(),
    })
}

/// What the sidecar answers, as far as it comes in time.
fn exchanged(request: &[u8], patience: Duration) -> Vec<u8> {
    let mut answer = Vec::new();
    let Ok(mut stream) = TcpStream::connect(*SIDECAR) else { return answer };
    let _ = stream.set_nodelay(true);
    let _ = stream.set_read_timeout(Some(patience));
    let _ = stream.write_all(request);
    let _ = stream.read_to_end(&mut answer);
    let _ = stream.shutdown(Shutdown::Both);
    answer
}

/// PEM files: a chain, a private key, or the authorities of an upstream.
pub(crate) fn pem(data: &[u8]) {
    let Some((kind, bytes)) = choice(data, 3) else { return };
    let right = |name: &str| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tls").join(name);
        fs::read(file).expect("a file of the tests")
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, bytes: &[u8]| written(folder.path(), name, bytes);
    let error = if kind == 2 {
        let upstream = Upstream::new("https://localhost:1/v1").expect("an address");
        upstream.authorities(file("file.pem", bytes)).err()
    } else {
        let [chain, key] = match kind {
            0 => [bytes.to_vec(), right("server.key")],
            _ => [right("server.pem"), bytes.to_vec()],
        };
        let tenants = Tenants::everyone(Stack::new()).expect("a stack");
        let server = Server::new(Source::local("letters", letters()), tenants).expect("a server");
        server.tls(file("file.pem", &chain), file("file.key", &key)).err()
    };
    let said = error.map(|error| format!("{error} {error:?}")).unwrap_or_default();
    let text = String::from_utf8_lossy(bytes);
    let repeated =
        text.lines().find(|line| line.len() > 24 && !line.starts_with("--") && said.contains(*line));
    assert_eq!(repeated, None, "a line of the file is repeated: {said}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that refuses everything at once would be tested in vain.
    #[test]
    fn requests_of_the_corpus_are_answered() {
        for (name, status) in [
            ("texts", 200),
            ("text-in-base64", 200),
            ("tokens", 400),
            ("unknown-field", 400),
            ("ids", 200),
            ("headers", 200),
            ("chunked", 200),
            ("metrics", 200),
            ("ready", 200),
        ] {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/requests").join(name);
            let request = request(&fs::read(file).expect("an input")).expect("a request");
            let answer = exchanged(&request, Duration::from_secs(20));
            let answer = String::from_utf8_lossy(&answer);
            let line = answer.lines().next().unwrap_or_default();
            assert_eq!(line.split(' ').nth(1), Some(status.to_string().as_str()), "{name}: {line}");
        }
    }
}
