//! The best time of each defense on vectors from a file, as lines of JSON for `benches/peers`.
//!
//! ```text
//! throughput FILE DIM SECONDS SPEC…
//! ```
//!
//! `FILE` holds little-endian `f32`, row after row. Each spec is measured for `SECONDS` on the first row
//! and on all rows, and so are packed codes and a copy of the rows, `memcpy`. A spec that cannot be read is left out.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};
use std::{env, fs};

use embosk_defenses::{Codes, Defense as _, Quantization, Rng, Role, Stack};
use ndarray::{Array2, s};

/// Calls are timed together until they take this long, so that the clock costs nothing.
const BLOCK: Duration = Duration::from_millis(2);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [file, dim, seconds, specs @ ..] = arguments.as_slice() else {
        return Err("usage: throughput FILE DIM SECONDS SPEC…".into());
    };
    let vectors = read(file, dim.parse()?)?;
    let budget = Duration::from_secs_f64(seconds.parse()?);
    for rows in [1, vectors.nrows()] {
        let vectors = vectors.slice(s![..rows, ..]).to_owned();
        for (name, mut operation) in operations(specs)? {
            report(&name, &vectors, best_time(&vectors, budget, &mut *operation)?);
        }
    }
    Ok(())
}

type Operation = dyn FnMut(&mut Array2<f32>) -> Result<(), embosk_defenses::Error>;

/// What is measured: each spec, and what is not a `protect`, a line each.
fn operations(specs: &[String]) -> Result<Vec<(String, Box<Operation>)>, embosk_defenses::Error> {
    let mut operations: Vec<_> = specs.iter().filter_map(|spec| protect(spec)).collect();
    operations.push(("encode, 8 bits".to_owned(), encode(8)?));
    operations.push(("memcpy".to_owned(), memcpy()));
    Ok(operations)
}

fn protect(spec: &str) -> Option<(String, Box<Operation>)> {
    let parsed = spec.parse::<Stack>().and_then(|stack| Ok((stack, Rng::from_os()?)));
    match parsed {
        Ok((stack, mut rng)) => Some((
            spec.to_owned(),
            Box::new(move |vectors| stack.protect(Role::Document, vectors.view_mut(), &mut rng)),
        )),
        Err(error) => {
            eprintln!("{spec} is left out: {error}");
            None
        }
    }
}

fn encode(bits: u32) -> Result<Box<Operation>, embosk_defenses::Error> {
    let (rounding, mut codes) = (Quantization::new(bits)?, Codes::default());
    Ok(Box::new(move |vectors| rounding.encode_into(vectors.view(), black_box(&mut codes))))
}

fn memcpy() -> Box<Operation> {
    let mut to: Vec<f32> = Vec::new();
    Box::new(move |vectors| {
        to.resize(vectors.len(), 0.0);
        to.copy_from_slice(vectors.as_slice().unwrap_or_default());
        black_box(&mut to);
        Ok(())
    })
}

/// Seconds a call. The best, as everything else that runs on a machine only adds to it.
fn best_time(
    vectors: &Array2<f32>,
    budget: Duration,
    operation: &mut Operation,
) -> Result<f64, embosk_defenses::Error> {
    let mut copy = vectors.clone();
    operation(&mut copy)?; // what is drawn once is drawn now
    let first = time(1, &mut copy, operation)?;
    let calls = (BLOCK.as_secs_f64() / first).clamp(1.0, 1e5) as u32;
    let (begin, mut best) = (Instant::now(), first);
    while begin.elapsed() < budget {
        copy.assign(vectors);
        best = best.min(time(calls, &mut copy, operation)?);
    }
    Ok(best)
}

fn time(
    calls: u32,
    vectors: &mut Array2<f32>,
    operation: &mut Operation,
) -> Result<f64, embosk_defenses::Error> {
    let begin = Instant::now();
    for _ in 0..calls {
        operation(black_box(vectors))?;
    }
    Ok((begin.elapsed().as_secs_f64() / f64::from(calls)).max(1e-9))
}

fn report(name: &str, vectors: &Array2<f32>, seconds: f64) {
    let (rows, dim) = vectors.dim();
    println!(r#"{{"name": {name:?}, "dim": {dim}, "rows": {rows}, "seconds": {seconds:e}}}"#);
}

fn read(file: &str, dim: usize) -> Result<Array2<f32>, Box<dyn Error>> {
    let bytes = fs::read(file)?;
    let numbers: Vec<f32> =
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect();
    if dim == 0 || numbers.is_empty() || !numbers.len().is_multiple_of(dim) {
        return Err(format!("{file} does not hold rows of {dim} numbers").into());
    }
    Ok(Array2::from_shape_vec((numbers.len() / dim, dim), numbers)?)
}
