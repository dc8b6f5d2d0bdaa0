//! `embosk serve` as a process of its own, and a client that speaks HTTP by hand.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// A running sidecar, in a folder with `embosk.key`.
pub(crate) struct Sidecar {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: BTreeMap<String, String>,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Sidecar {
    pub(crate) fn start(line: &str, environment: &[(&str, &str)]) -> Self {
        Self::start_in(TempDir::new().unwrap(), line, environment)
    }

    pub(crate) fn start_in(folder: TempDir, line: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = command(folder.path(), line);
        command.envs(environment.iter().copied());
        Self::run(folder, command)
    }

    /// By a shell that limits it: `-S -n 100` is a soft limit of 100 open files.
    pub(crate) fn start_limited(limit: &str, line: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let direct = command(folder.path(), line);
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg(format!("ulimit {limit} && exec \"$0\" \"$@\""))
            .arg(direct.get_program())
            .args(direct.get_args())
            .current_dir(folder.path())
            .stdout(Stdio::piped());
        Self::run(folder, shell)
    }

    fn run(folder: TempDir, mut command: Command) -> Self {
        let mut child = command.stderr(File::create(folder.path().join("log")).unwrap()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let port = first.trim().strip_suffix("/v1").and_then(|url| url.rsplit_once(':'));
        let log = || fs::read_to_string(folder.path().join("log")).unwrap();
        let port: u16 = port.unwrap_or_else(|| panic!("{first}{}", log())).1.parse().unwrap();
        Self { child, address: ([127, 0, 0, 1], port).into(), folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub(crate) fn ask(&self, body: Value) -> Answer {
        self.post("/v1/embeddings", &[], &body)
    }

    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request(path, headers, body).as_bytes()).unwrap();
        read(stream)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        let mut stream = self.connect();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        read(stream)
    }

    /// Waits until the metrics have this line.
    #[track_caller]
    pub(crate) fn until_metric(&self, line: &str) {
        let began = Instant::now();
        loop {
            let metrics = self.get("/metrics").text;
            if metrics.lines().any(|found| found == line) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{line}: {metrics}");
            sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the log holds this text.
    #[track_caller]
    pub(crate) fn until_logged(&self, text: &str) {
        let began = Instant::now();
        while !self.log().contains(text) {
            assert!(began.elapsed() < PATIENCE, "{text}: {}", self.log());
            sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits until the process has ended.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end: {}", self.log());
            sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder().join("log")).unwrap()
    }

    /// Ends it as a service manager does. The log holds nothing that a test planted.
    #[track_caller]
    pub(crate) fn stop(mut self) -> String {
        self.signal("TERM");
        assert!(self.wait().success(), "{}", self.log());
        let log = self.log();
        assert!(!log.contains("planted") && !log.contains("panicked"), "{log}");
        log
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request whose connection is closed after the answer.
pub(crate) fn request(path: &str, headers: &[(&str, &str)], body: &Value) -> String {
    let body = body.to_string();
    let mut head =
        format!("POST {} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n", path.replace(' ', "+"));
    head.extend(headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")));
    format!("{head}content-length: {}\r\n\r\n{body}", body.len())
}

/// The exit code and stderr of a sidecar that does not start.
pub(crate) fn fails(line: &str) -> (i32, String) {
    fails_in(TempDir::new().unwrap(), line)
}

pub(crate) fn fails_in(folder: TempDir, line: &str) -> (i32, String) {
    let output = command(folder.path(), line).stderr(Stdio::piped()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!stderr.contains("planted"), "{stderr}");
    (output.status.code().unwrap(), stderr)
}

fn command(folder: &Path, line: &str) -> Command {
    let program = env!("CARGO_BIN_EXE_embosk");
    let keygen = ["keygen", "--output", "embosk.key"];
    assert!(Command::new(program).current_dir(folder).args(keygen).output().unwrap().status.success());
    let mut command = Command::new(program);
    let listen: &[&str] = if line.contains("--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
    command
        .current_dir(folder)
        .arg("serve")
        .args(listen)
        .args(line.split_whitespace())
        .env("EMBOSK_API_KEY", "sk-planted-key-of-nobody")
        .env("CANDLE_NUM_THREADS", "1")
        .env("RUST_LOG", "trace")
        .env("RUST_BACKTRACE", "1")
        .stdout(Stdio::piped());
    command
}

impl Answer {
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("{name}: {} {}", self.status, self.text))
    }

    /// The code of an error with this status.
    #[track_caller]
    pub(crate) fn code(&self, status: u16) -> &'static str {
        assert_eq!(self.status, status, "{}", self.text);
        let error = &self.body["error"];
        assert!(error["message"].is_string() && error["type"].is_string(), "{}", self.text);
        assert!(!self.text.contains("planted"), "{}", self.text);
        error["code"].as_str().unwrap().to_owned().leak()
    }
}

/// The vectors of an answer.
#[track_caller]
pub(crate) fn vectors(answer: &Answer) -> Vec<Vec<f32>> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    let vector = |row: &Value| match &row["embedding"] {
        Value::String(text) => decode(text),
        list => list.as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect(),
    };
    answer.body["data"].as_array().unwrap().iter().map(vector).collect()
}

/// Reads Base64 without the crate that wrote it.
fn decode(text: &str) -> Vec<f32> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        bits = bits << 6 | LETTERS.iter().position(|known| *known == letter).unwrap() as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

/// Everything up to the end of a connection, which the server may reset.
#[track_caller]
pub(crate) fn read_any(stream: TcpStream) -> String {
    String::from_utf8(read_bytes(stream)).unwrap()
}

#[track_caller]
pub(crate) fn read_bytes(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("no end is read: {error}"),
        _ => bytes,
    }
}

/// An answer on a connection that is closed after it.
#[track_caller]
pub(crate) fn read(mut stream: impl Read) -> Answer {
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap_or_else(|error| panic!("no answer: {error}"));
    let (head, text) = all.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {all:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let body = serde_json::from_str(text).unwrap_or_default();
    Answer { status, headers, text: text.to_owned(), body }
}
