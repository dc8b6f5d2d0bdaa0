//! A server that answers `POST /v1/embeddings`, as it should or as the test wants it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
}

impl Request {
    pub(crate) fn texts(&self) -> Vec<&str> {
        self.body["input"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
    }
}

/// What is answered.
pub(crate) enum Reply {
    /// These vectors, as floats and in order.
    Vectors(Vec<Vec<f32>>),
    /// A status, headers and a body.
    Status(u16, Vec<(&'static str, String)>, String),
    /// So many bytes of a body that was announced as longer.
    Half(String, usize),
    /// Nothing for so long, and then the vectors.
    Slow(Duration, Vec<Vec<f32>>),
    /// These bytes, in place of an answer.
    Bytes(String),
    /// The connection is closed.
    Gone,
}

type Answer = dyn Fn(usize, &Request) -> Reply + Send + Sync;

/// Runs until the test ends.
pub(crate) struct Server {
    scheme: &'static str,
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers each request with what `answer` says of it and of its number, from 0.
    pub(crate) fn start(answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::over("http", |stream| stream, answer)
    }

    /// The same, over TLS.
    pub(crate) fn start_tls(
        config: Arc<ServerConfig>,
        answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let connect =
            move |stream| StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
        Self::over("https", connect, answer)
    }

    fn over<S: Read + Write>(
        scheme: &'static str,
        connect: impl Fn(TcpStream) -> S + Clone + Send + 'static,
        answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (seen, answer): (_, Arc<Answer>) = (Arc::clone(&requests), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, answer, connect) = (Arc::clone(&seen), Arc::clone(&answer), connect.clone());
                // a client that gives up is none of the server's business
                thread::spawn(move || serve(connect(stream.unwrap()), &seen, answer.as_ref()));
            }
        });
        Self { scheme, address, requests }
    }

    /// A name for `--embedder`.
    pub(crate) fn name(&self, model: &str) -> String {
        format!("{}#{model}", self.base())
    }

    /// The address without a model.
    pub(crate) fn base(&self) -> String {
        format!("{}://{}/v1", self.scheme, self.address)
    }

    pub(crate) fn requests(&self) -> MutexGuard<'_, Vec<Request>> {
        self.requests.lock().unwrap()
    }

    /// How often each text was sent.
    pub(crate) fn sent(&self) -> BTreeMap<String, usize> {
        let mut sent = BTreeMap::new();
        for request in self.requests().iter() {
            for text in request.texts() {
                *sent.entry(text.to_owned()).or_default() += 1;
            }
        }
        sent
    }
}

fn serve(mut stream: impl Read + Write, seen: &Mutex<Vec<Request>>, answer: &Answer) -> Option<()> {
    let request = read(&mut stream)?;
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(request.clone());
        seen.len() - 1
    };
    let (status, headers, body, length) = match answer(number, &request) {
        Reply::Vectors(vectors) => whole(200, Vec::new(), body(&vectors)),
        Reply::Status(status, headers, body) => whole(status, headers, body),
        Reply::Half(body, bytes) => (200, Vec::new(), body[..bytes].to_owned(), body.len()),
        Reply::Slow(time, vectors) => {
            thread::sleep(time);
            whole(200, Vec::new(), body(&vectors))
        }
        Reply::Bytes(bytes) => return stream.write_all(bytes.as_bytes()).ok(),
        Reply::Gone => return None,
    };
    let mut head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\nconnection: close\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).ok()
}

type Whole = (u16, Vec<(&'static str, String)>, String, usize);

fn whole(status: u16, headers: Vec<(&'static str, String)>, body: String) -> Whole {
    let length = body.len();
    (status, headers, body, length)
}

/// As OpenAI answers.
pub(crate) fn body(vectors: &[Vec<f32>]) -> String {
    let data: Vec<Value> = vectors
        .iter()
        .enumerate()
        .map(|(index, vector)| json!({"object": "embedding", "index": index, "embedding": vector}))
        .collect();
    json!({"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}})
        .to_string()
}

fn read(stream: impl Read) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split_whitespace().nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Request { path, headers, body: serde_json::from_slice(&body).ok()? })
}
