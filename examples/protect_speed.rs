//! Times what `python/benches/protect.py` times in Python: `protect_speed SPEC [ROWS DIM RUNS]`. `EMBOSK_KEY` holds the key.
//!
//! Each run protects a fresh copy, and the copy is timed too: a caller of Python keeps the clean vectors.

use std::time::Instant;

use embosk::{BoxError, Defense, Rng, Role, Stack};
use ndarray::Array2;

fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let stack: Stack = arguments.next().ok_or("which spec?")?.parse()?;
    let mut number = |usual| arguments.next().map_or(Ok(usual), |text| text.parse::<usize>());
    let (rows, dim, runs) = (number(100_000)?, number(768)?, number(7)?);
    let vectors = unit_rows(rows, dim);
    let mut fastest = f64::INFINITY;
    for _ in 0..runs {
        let began = Instant::now();
        let protected = stack.protect_owned(Role::Document, vectors.clone(), &mut Rng::from_os()?)?;
        fastest = fastest.min(began.elapsed().as_secs_f64());
        assert_eq!(protected.nrows(), rows);
    }
    println!("{stack}: {fastest:.4} s, the fastest of {runs}");
    Ok(())
}

fn unit_rows(rows: usize, dim: usize) -> Array2<f32> {
    let mut rng = Rng::seeded(0);
    let mut normals = rng.standard_normals();
    let scale = (dim as f64).sqrt();
    Array2::from_shape_simple_fn((rows, dim), || (normals.draw() / scale) as f32)
}
