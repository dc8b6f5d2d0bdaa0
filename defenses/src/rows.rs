//! Work on the rows of a batch, with scratch that is kept: a small batch needs no allocation after the first.

use std::cell::Cell;

use ndarray::{ArrayViewMut2, Axis};

/// More numbers than this are allocated for each call: there an allocation costs little, and the memory
/// would stay with the thread.
const KEPT: usize = 1 << 16;

thread_local! {
    /// What no call uses now: as many as calls have been within one another.
    static SPARE: Cell<Vec<Vec<f32>>> = const { Cell::new(Vec::new()) };
}

/// Calls `work` on every row, as a slice, with `len` numbers of scratch that hold anything.
pub(crate) fn for_each_row(
    mut vectors: ArrayViewMut2<'_, f32>,
    len: usize,
    mut work: impl FnMut(&mut [f32], &mut [f32]),
) {
    let dim = vectors.ncols();
    with_scratch(dim + len, |scratch| {
        let (copy, scratch) = scratch.split_at_mut(dim);
        for mut row in vectors.axis_iter_mut(Axis(0)) {
            if let Some(row) = row.as_slice_mut() {
                work(row, scratch);
            } else {
                copy.iter_mut().zip(&row).for_each(|(to, from)| *to = *from);
                work(copy, scratch);
                row.iter_mut().zip(&*copy).for_each(|(to, from)| *to = *from);
            }
        }
    });
}

/// Calls `work` with `len` numbers of this thread's scratch, which hold anything.
pub(crate) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    if len > KEPT {
        return work(&mut vec![0.0; len]);
    }
    // Taken out for the call, so that a call within it finds another one.
    let mut scratch = SPARE.try_with(|spare| borrow(spare, Vec::pop)).ok().flatten().unwrap_or_default();
    if scratch.len() < len {
        scratch.resize(len, 0.0);
    }
    let done = work(&mut scratch[..len]);
    // It fails on a thread that ends, which needs no scratch again.
    let _ = SPARE.try_with(|spare| borrow(spare, |spare| spare.push(scratch)));
    done
}

fn borrow<R>(spare: &Cell<Vec<Vec<f32>>>, change: impl FnOnce(&mut Vec<Vec<f32>>) -> R) -> R {
    let mut all = spare.take();
    let changed = change(&mut all);
    spare.set(all);
    changed
}
