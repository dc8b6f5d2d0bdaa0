//! The order in which examples are seen: shuffled, with texts of similar length together.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

/// Examples are sorted by length within this many batches.
const WINDOW: usize = 50;

/// The batch of every step, which depends only on the seed and the step.
pub(super) struct Batches {
    lengths: Vec<usize>,
    size: usize,
    seed: u64,
    epoch: Option<usize>,
    order: Vec<Vec<usize>>,
}

impl Batches {
    pub(super) fn new(lengths: &[usize], size: usize, seed: u64) -> Self {
        let size = size.clamp(1, lengths.len().max(1));
        Self { lengths: lengths.to_vec(), size, seed, epoch: None, order: Vec::new() }
    }

    /// The examples of a step. An epoch leaves out examples that do not fill its last batch.
    pub(super) fn at(&mut self, step: usize) -> Vec<usize> {
        let an_epoch = self.lengths.len() / self.size;
        let epoch = step / an_epoch;
        if self.epoch != Some(epoch) {
            self.order = self.shuffled(epoch);
            self.epoch = Some(epoch);
        }
        self.order[step % an_epoch].clone()
    }

    fn shuffled(&self, epoch: usize) -> Vec<Vec<usize>> {
        let mut rng = ChaCha12Rng::seed_from_u64(self.seed);
        rng.set_stream(epoch as u64 + 1);
        let mut order: Vec<usize> = (0..self.lengths.len()).collect();
        order.shuffle(&mut rng);
        for window in order.chunks_mut(self.size * WINDOW) {
            window.sort_by_key(|&row| self.lengths[row]);
        }
        let mut batches: Vec<Vec<usize>> = order.chunks_exact(self.size).map(<[usize]>::to_vec).collect();
        batches.shuffle(&mut rng);
        batches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_sees_each_example_once_and_a_step_is_a_function_of_its_number() {
        let lengths: Vec<usize> = (0..1000).map(|row| row * 7 % 31).collect();
        let mut batches = Batches::new(&lengths, 100, 3);
        let mut seen: Vec<usize> = (0..10).flat_map(|step| batches.at(step)).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..1000).collect::<Vec<_>>());
        let later = batches.at(17);
        assert_ne!(later, batches.at(7));
        assert_eq!(later, Batches::new(&lengths, 100, 3).at(17));
    }
}
