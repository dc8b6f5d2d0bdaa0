//! Times an embedder on texts, one a line, for `benches/peers/embedding.py`:
//!
//! ```sh
//! cargo run --release -p embosk-models --example embedding_time -- FOLDER TEXTS.txt VECTORS.f32
//! ```
//!
//! Prints the milliseconds that all texts take, several times over, then the process's peak memory in kB (on Linux), and
//! writes the vectors as they lie in memory.

use std::error::Error;
use std::fs;
use std::time::Instant;

use embosk_models::SentenceTransformer;

/// Times that are measured, after one that is not.
const TIMES: usize = 12;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, texts, vectors] = arguments.as_slice() else {
        return Err("usage: embedding_time FOLDER TEXTS.txt VECTORS.f32".into());
    };
    let model = SentenceTransformer::load(folder.as_str())?;
    let texts = fs::read_to_string(texts)?;
    let texts: Vec<&str> = texts.lines().collect();
    let found = model.encode(&texts)?;
    let bytes: Vec<u8> = found.iter().flat_map(|value| value.to_le_bytes()).collect();
    fs::write(vectors, bytes)?;
    for _ in 0..TIMES {
        let begun = Instant::now();
        model.encode(&texts)?;
        println!("{:.3}", begun.elapsed().as_secs_f64() * 1000.0);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
    println!("{}", peak.unwrap_or("0"));
    Ok(())
}
