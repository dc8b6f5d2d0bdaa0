//! Protects as many batches as a service does in a day, and fails if its memory grows: `protect_soak SPEC [BATCHES ROWS DIM]`.
//!
//! Memory is what the process has of it by Linux. It may grow while the first hundredth of the batches is protected.

use std::fs;
use std::time::Instant;

use embosk::{BoxError, Defense, Rng, Role, Stack};
use ndarray::Array2;

/// One batch each second.
const A_DAY: usize = 24 * 60 * 60;

/// The allocator may keep this much more, in KiB.
const SLACK: usize = 4 << 10;

fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let stack: Stack = arguments.next().ok_or("which spec?")?.parse()?;
    let mut number = |usual| arguments.next().map_or(Ok(usual), |text| text.parse::<usize>());
    let (batches, rows, dim) = (number(A_DAY)?, number(100)?, number(384)?);
    let vectors = unit_rows(rows, dim);
    let ids: Vec<String> = (0..rows).map(|row| row.to_string()).collect();
    let ids: Vec<&[u8]> = ids.iter().map(String::as_bytes).collect();
    let (began, mut at_first) = (Instant::now(), 0);
    for batch in 0..batches {
        let (mut batch_of, mut rng) = (vectors.clone(), Rng::from_os()?);
        if stack.uses_ids(Role::Document) {
            stack.protect_with_ids(Role::Document, &ids, batch_of.view_mut(), &mut rng)?;
        } else {
            stack.protect(Role::Document, batch_of.view_mut(), &mut rng)?;
        }
        if batch == batches / 100 {
            at_first = resident()?;
        }
    }
    let at_last = resident()?;
    let seconds = began.elapsed().as_secs();
    println!(
        "{stack}: {batches} batches of {rows} in {seconds} s; {at_first} KiB at first, {at_last} KiB at last"
    );
    if at_last > at_first + SLACK {
        return Err(format!("memory has grown by {} KiB", at_last - at_first).into());
    }
    Ok(())
}

/// The memory of this process, in KiB.
fn resident() -> Result<usize, BoxError> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("there is no VmRSS")?.trim().parse()?)
}

fn unit_rows(rows: usize, dim: usize) -> Array2<f32> {
    let mut rng = Rng::seeded(0);
    let mut normals = rng.standard_normals();
    let scale = (dim as f64).sqrt();
    Array2::from_shape_simple_fn((rows, dim), || (normals.draw() / scale) as f32)
}
