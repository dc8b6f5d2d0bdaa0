//! A server of embeddings for the examples of this crate, which answers as OpenAI and Ollama do.
//!
//! - `cargo run --example async_openai`: the crate async-openai behind embosk's defenses
//! - `cargo run --example ollama_rs`: the crate ollama-rs behind embosk's defenses

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::{Value, json};

/// The dimension of the server's vectors.
pub const DIM: usize = 64;

/// Starts the server on a free port of this machine. It answers `POST /v1/embeddings` as OpenAI does, and
/// `POST /api/embed` as Ollama does.
///
/// # Errors
/// If no port can be had.
pub fn serve() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                if let Err(error) = answer(&stream) {
                    eprintln!("the server could not answer: {error}");
                }
            });
        }
    });
    Ok(address)
}

/// Reads one request, and answers it.
fn answer(mut stream: &TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let is_ollama = line.starts_with("POST /api/embed ");
    let mut length = 0;
    while line.trim_end() != "" {
        line.clear();
        reader.read_line(&mut line)?;
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let request: Value = serde_json::from_slice(&body)?;
    let texts = request["input"].as_array().ok_or_else(|| io::Error::other("the request has no input"))?;
    let vectors = texts.iter().map(|text| vector(text.as_str().unwrap_or_default()));
    let body = if is_ollama {
        json!({ "model": request["model"], "embeddings": vectors.collect::<Vec<_>>() })
    } else {
        // OpenAI numbers the vectors; the order of the list is not promised
        let item = |(at, vector)| json!({ "object": "embedding", "index": at, "embedding": vector });
        let data: Vec<_> = vectors.enumerate().map(item).rev().collect();
        let usage = json!({ "prompt_tokens": 0, "total_tokens": 0 });
        json!({ "object": "list", "model": request["model"], "data": data, "usage": usage })
    };
    let body = body.to_string();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Counts the words of a text in buckets, and scales the counts to norm 1.
pub fn vector(text: &str) -> Vec<f32> {
    let mut vector = vec![0.0_f32; DIM];
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let hash = word.bytes().fold(7_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        vector[hash % DIM] += 1.0;
    }
    let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-9);
    vector.iter().map(|value| value / norm).collect()
}

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
