//! Work on the rows of a batch, with reusable scratch memory: after the first call, a small batch needs no
//! allocation.
//!
//! Scratch holds vectors that are not protected yet, so it is wiped after each call.

use std::cell::Cell;
use std::thread::LocalKey;

use ndarray::{ArrayViewMut2, Axis};
use zeroize::optimization_barrier;

use crate::parallel::for_pieces;

/// More numbers than this are allocated for each call: the allocation then costs little in comparison, and kept
/// memory would stay with the thread.
const KEPT: usize = 1 << 16;

/// Buffers that no call uses now, one for each level of nested calls so far.
type Spare<T> = Cell<Vec<Vec<T>>>;

/// A kind of number that scratch memory can hold.
pub(crate) trait Number: Copy + Default + 'static {
    fn spare() -> &'static LocalKey<Spare<Self>>;
}

macro_rules! scratch_of {
    ($number:ty) => {
        impl Number for $number {
            fn spare() -> &'static LocalKey<Spare<Self>> {
                thread_local! {
                    static SPARE: Spare<$number> = const { Cell::new(Vec::new()) };
                }
                &SPARE
            }
        }
    };
}

scratch_of!(f32);
scratch_of!(f64);
scratch_of!(i8);

/// Calls `work` on every row, as a slice, with `len` numbers of scratch that may hold anything.
pub(crate) fn for_each_row(
    vectors: ArrayViewMut2<'_, f32>,
    len: usize,
    work: impl Fn(&mut [f32], &mut [f32]) + Sync,
) {
    let dim = vectors.ncols();
    for_pieces(vectors, dim, 1, |_, vectors| {
        with_scratch(len, |scratch| each_as_slice(vectors, |row| work(row, scratch)));
    });
}

/// Calls `work` on every row, as a slice.
pub(crate) fn each_as_slice(mut vectors: ArrayViewMut2<'_, f32>, mut work: impl FnMut(&mut [f32])) {
    let dim = vectors.ncols();
    for mut row in vectors.axis_iter_mut(Axis(0)) {
        if let Some(row) = row.as_slice_mut() {
            work(row);
        } else {
            with_scratch(dim, |copy| {
                copy.iter_mut().zip(&row).for_each(|(to, from)| *to = *from);
                work(copy);
                row.iter_mut().zip(&*copy).for_each(|(to, from)| *to = *from);
            });
        }
    }
}

/// Calls `work` with `len` numbers of this thread's scratch, which may hold anything.
pub(crate) fn with_scratch<T: Number, R>(len: usize, work: impl FnOnce(&mut [T]) -> R) -> R {
    let mut lent = Lent::of(len);
    work(&mut lent.scratch[..len])
}

/// Scratch for one call. It is wiped when the call ends, even by a panic.
struct Lent<T: Number> {
    scratch: Vec<T>,
    used: usize,
}

impl<T: Number> Lent<T> {
    fn of(len: usize) -> Self {
        if len > KEPT {
            return Self { scratch: vec![T::default(); len], used: len };
        }
        // Taken out for the call, so that a call within it finds another one.
        let spare = T::spare().try_with(|spare| borrow(spare, Vec::pop));
        let mut scratch = spare.ok().flatten().unwrap_or_default();
        if scratch.len() < len {
            scratch = vec![T::default(); len];
        }
        Self { scratch, used: len }
    }
}

impl<T: Number> Drop for Lent<T> {
    /// Overwrites with zeros. `Zeroize` does so one number at a time, which took a tenth of a rotation's time.
    fn drop(&mut self) {
        self.scratch[..self.used].fill(T::default());
        optimization_barrier(&self.scratch[..self.used]);
        if self.used <= KEPT {
            let scratch = std::mem::take(&mut self.scratch);
            // It fails on a thread that ends, which needs no scratch again.
            let _ = T::spare().try_with(|spare| borrow(spare, |spare| spare.push(scratch)));
        }
    }
}

fn borrow<T, R>(spare: &Spare<T>, change: impl FnOnce(&mut Vec<Vec<T>>) -> R) -> R {
    let mut all = spare.take();
    let changed = change(&mut all);
    spare.set(all);
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_holds_nothing_of_the_call_before() {
        for len in [1, 100, KEPT, KEPT + 1] {
            with_scratch(len, |scratch: &mut [f32]| scratch.fill(1.0));
            with_scratch(len, |scratch: &mut [f32]| assert!(scratch.iter().all(|x| *x == 0.0), "{len}"));
        }
    }

    #[test]
    fn a_panic_leaves_nothing_either() {
        let panicked = std::panic::catch_unwind(|| {
            with_scratch(9, |scratch: &mut [f32]| {
                scratch.fill(1.0);
                panic!("on purpose");
            })
        });
        assert!(panicked.is_err());
        with_scratch(9, |scratch: &mut [f32]| assert!(scratch.iter().all(|x| *x == 0.0)));
    }

    #[test]
    fn a_call_within_a_call_has_scratch_of_its_own() {
        with_scratch(8, |outer: &mut [i8]| {
            outer.fill(2);
            with_scratch(8, |inner: &mut [i8]| inner.fill(3));
            assert!(outer.iter().all(|x| *x == 2));
        });
    }
}
