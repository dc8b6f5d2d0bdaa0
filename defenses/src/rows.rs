//! Work on the rows of a batch, without an allocation after the first call.

use std::cell::Cell;

use ndarray::{ArrayViewMut2, Axis};

thread_local! {
    static SCRATCH: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
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
pub(crate) fn with_scratch(len: usize, work: impl FnOnce(&mut [f32])) {
    // Taken out for the call, so that a call within it would find an empty one and not panic.
    let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
    if scratch.len() < len {
        scratch.resize(len, 0.0);
    }
    work(&mut scratch[..len]);
    // It fails on a thread that ends, which needs no scratch again.
    let _ = SCRATCH.try_with(|kept| kept.set(scratch));
}
