//! Work compiled for the widest registers that the processor has, chosen while the program runs.
//!
//! This is the crate's only module with unsafe code. A program built for every `x86_64` may call code compiled for
//! AVX2 only if the processor has it, which the compiler cannot know. There are no pointers and no intrinsics: the
//! compiler turns plain loops into wide instructions.
//!
//! Wider registers change no bit. `mul_add` does, but only where it is written: the product of a matrix and a vector
//! uses it, and what a key determines never does.

/// Loops over numbers that gain from wide registers.
pub(crate) trait Work {
    type Output;

    /// Does the work. `WIDE` says that a register holds eight `f32` and that `mul_add` is an instruction.
    ///
    /// It must be `#[inline(always)]`, and so must what it calls in its loops: code that is not inlined is compiled
    /// for every processor.
    fn run<const WIDE: bool>(self) -> Self::Output;
}

/// Does `work` with the widest registers that the processor has. With `--cfg embosk_narrow`, uses none of them, so that
/// tests cover that path.
#[cfg_attr(
    all(target_arch = "x86_64", not(embosk_narrow)),
    allow(unsafe_code, reason = "only the running program can see what the processor has")
)]
pub(crate) fn widest<W: Work>(work: W) -> W::Output {
    #[cfg(all(target_arch = "x86_64", not(embosk_narrow)))]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has both features that the function is compiled for.
        return unsafe { with_avx2(work) };
    }
    work.run::<false>()
}

#[cfg(all(target_arch = "x86_64", not(embosk_narrow)))]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<W: Work>(work: W) -> W::Output {
    work.run::<true>()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sums<'a> {
        a: &'a [f32],
        b: &'a mut [f32],
    }

    impl Work for Sums<'_> {
        type Output = bool;

        #[inline(always)]
        fn run<const WIDE: bool>(self) -> bool {
            self.b.iter_mut().zip(self.a).for_each(|(b, a)| *b = *b * 0.3 + a);
            WIDE
        }
    }

    #[test]
    fn wide_or_not_the_bits_are_the_same() {
        for len in [0, 1, 7, 8, 100] {
            let a: Vec<f32> = (0..len).map(|x| 1.0 / (x as f32 + 3.0)).collect();
            let (mut plain, mut wide) = (a.clone(), a.clone());
            assert!(!Sums { a: &a, b: &mut plain }.run::<false>());
            widest(Sums { a: &a, b: &mut wide });
            assert_eq!(plain, wide);
        }
    }
}
