//! Times an attack on vectors from a file, for `benches/peers/vec2text.py`.
//!
//! `vec2text_speed FOLDER STEPS BEAM_WIDTH LONGEST WEIGHTS`: the attack's folder also holds `targets.f32`,
//! rows of vectors; weights are held in f32, bf16 or q8. Prints a line of JSON: seconds without the embedder, peak memory while inverting, and the texts.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use embosk_attacks::vec2text::Vec2Text;
use embosk_attacks::{Attack, BoxError, Resources};
use ndarray::{Array1, Array2};

fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, steps, beams, longest, weights] = arguments.as_slice() else {
        return Err("vec2text_speed FOLDER STEPS BEAM_WIDTH LONGEST WEIGHTS".into());
    };
    let folder = PathBuf::from(folder);
    let attack = Vec2Text::load(&folder)?
        .steps(steps.parse()?)
        .beam_width(beams.parse()?)
        .paper(true)
        .paper_length(longest.parse()?)
        .precision(weights.parse()?)?;
    let targets = targets(&std::fs::read(folder.join("targets.f32"))?, attack.dimension())?;
    forget_peak();
    let (embedder, began) = (Cell::new(Duration::ZERO), Instant::now());
    let oracle = |texts: &[&str]| {
        let began = Instant::now();
        let vectors = embed(texts, attack.dimension());
        embedder.set(embedder.get() + began.elapsed());
        Ok(vectors)
    };
    let found = attack.invert(targets.view(), &Resources::new(&oracle))?;
    let seconds = began.elapsed().saturating_sub(embedder.get()).as_secs_f64();
    let texts: Vec<&[String]> = found.iter().map(|it| it.steps.as_slice()).collect();
    println!("{}", serde_json::json!({ "seconds": seconds, "peak_mib": peak_mib(), "steps": texts }));
    Ok(())
}

fn targets(bytes: &[u8], dimension: usize) -> Result<Array2<f32>, BoxError> {
    let values: Vec<f32> = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Ok(Array2::from_shape_vec((values.len() / dimension, dimension), values)?)
}

/// The stand-in for an embedder of `attacks/tests/golden/vec2text.py`, of words alone.
fn embed(texts: &[&str], dimension: usize) -> Array2<f32> {
    let mut vectors = Array2::zeros((texts.len(), dimension));
    for (text, mut vector) in texts.iter().zip(vectors.rows_mut()) {
        text.split_whitespace().for_each(|word| vector += &of_word(word, dimension));
        vector /= 64.0;
    }
    vectors
}

fn of_word(word: &str, dimension: usize) -> Array1<f32> {
    let mix = |state: u32, byte: u8| (state ^ u32::from(byte)).wrapping_mul(16_777_619);
    let mut state = word.bytes().fold(2_166_136_261, mix);
    let values = (0..dimension).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 24) % 17) as f32 - 8.0
    });
    values.collect()
}

/// Peak memory since [`forget_peak`], where the system tells (Linux).
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
