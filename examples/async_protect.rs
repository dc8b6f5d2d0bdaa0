//! An async client of a hosted model, with defenses behind it, under tokio.
//!
//! `cargo run --release --example async_protect`
//!
//! The example starts its own server on this machine, which answers `POST /v1/embeddings` as OpenAI's does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use embosk::embedder::{Async, AsyncEmbedder, Identity};
use embosk::ndarray::Array2;
use embosk::{BoxError, Key, Protected, Quantization, Role, Rotation};
use serde_json::{Value, json};

const DIM: usize = 16;

/// A client of an OpenAI-compatible server.
struct Client {
    http: reqwest::Client,
    url: String,
    model: &'static str,
}

impl AsyncEmbedder for Client {
    async fn embed(&self, _: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        let request = json!({ "model": self.model, "input": texts });
        let response = self.http.post(&self.url).json(&request).send().await?.error_for_status()?;
        let response: Value = response.json().await?;
        let mut vectors = Array2::zeros((texts.len(), DIM));
        for item in response["data"].as_array().ok_or("the answer has no data")? {
            let row = item["index"].as_u64().ok_or("a vector has no index")? as usize;
            let vector: Vec<f32> = serde_json::from_value(item["embedding"].clone())?;
            vectors.row_mut(row).assign(&Array2::from_shape_vec((1, DIM), vector)?.row(0));
        }
        Ok(vectors)
    }

    fn dimension(&self) -> Option<usize> {
        Some(DIM)
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::new(self.model, format!("{}#{}", self.url, self.model)))
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // together with embosk's sidecar, reqwest has no provider of TLS of its own
    rustls::crypto::ring::default_provider().install_default().map_err(|_| "TLS has a provider already")?;
    let address = serve()?;
    let client = Client {
        http: reqwest::Client::builder().no_proxy().build()?,
        url: format!("http://{address}/v1/embeddings"),
        model: "toy",
    };
    let texts =
        ["Ana pays the rent in May", "the glaciers have lost a third of their ice", "a table for four"];
    let clean = client.embed(Role::Document, &texts).await?;

    let key = Key::generate()?;
    let protected = Protected::new(Async(client)).with(Rotation::new(&key, DIM)?).with(Quantization::new(8)?);
    // documents and a query, asked for at the same time
    let query = ["who pays the rent?".to_owned()];
    let (documents, query) = tokio::join!(protected.embed_documents(&texts), protected.embed_queries(&query));
    let (documents, query) = (documents?, query?);

    // the protected vectors differ from those that the server sent, and the search still works
    assert_eq!(documents.dim(), clean.dim());
    assert!((&documents - &clean).iter().any(|difference| difference.abs() > 0.01));
    let similarities = documents.dot(&query.row(0));
    assert!(similarities[0] > similarities[1] && similarities[0] > similarities[2], "{similarities}");
    println!("similarity of the query to each protected document: {similarities:.2}");
    Ok(())
}

/// Starts the server on a free port.
fn serve() -> Result<SocketAddr, BoxError> {
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
fn answer(mut stream: &TcpStream) -> Result<(), BoxError> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse()?;
            }
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let request: Value = serde_json::from_slice(&body)?;
    let texts = request["input"].as_array().ok_or("no input")?;
    let data: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(
            |(index, text)| json!({ "index": index, "embedding": vector(text.as_str().unwrap_or_default()) }),
        )
        .collect();
    let body = json!({ "object": "list", "data": data }).to_string();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(())
}

/// Returns a unit vector made from a text's words.
fn vector(text: &str) -> Vec<f32> {
    let mut vector = vec![0.0_f32; DIM];
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let mut state = word
            .bytes()
            .fold(2_166_136_261_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619));
        for value in &mut vector {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *value += (state >> 8) as f32 / 8_388_608.0 - 1.0;
        }
    }
    let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-9);
    vector.iter().map(|value| value / norm).collect()
}
