//! Pooling of concatenated texts, and its gradient.

use super::super::pooling::{Mode, Pooling};

/// How states `[tokens, width]` belong to concatenated texts.
pub(super) struct Texts<'a> {
    pub(super) width: usize,
    /// How many tokens each text has.
    pub(super) lengths: &'a [usize],
    /// Tokens of the prompt that do not count.
    pub(super) skip: usize,
}

impl Texts<'_> {
    /// The states of each text.
    fn each<'s>(&self, states: &'s [f32]) -> impl Iterator<Item = &'s [f32]> {
        self.lengths.iter().scan(states, |rest, &length| {
            let (own, others) = rest.split_at(length * self.width);
            *rest = others;
            Some(own)
        })
    }
}

impl Pooling {
    /// The vectors of texts, `[texts, dim]`.
    pub(super) fn of_texts(&self, states: &[f32], texts: &Texts<'_>) -> Vec<f32> {
        let mut vectors = vec![0.0; texts.lengths.len() * self.dimension(texts.width)];
        let places = vectors.chunks_exact_mut(self.dimension(texts.width));
        for (vector, states) in places.zip(texts.each(states)) {
            for (mode, vector) in self.modes.iter().zip(vector.chunks_exact_mut(texts.width)) {
                mode.weigh(states, texts, |place, at, share| vector[place] += share * states[at]);
            }
        }
        vectors
    }

    /// Turns the gradient with respect to the vectors into that with respect to the states.
    pub(super) fn gradient(&self, states: &[f32], texts: &Texts<'_>, by_vectors: &[f32]) -> Vec<f32> {
        let mut by_states = Vec::with_capacity(states.len());
        for (grad, states) in by_vectors.chunks_exact(self.dimension(texts.width)).zip(texts.each(states)) {
            let mut own = vec![0.0; states.len()];
            for (mode, grad) in self.modes.iter().zip(grad.chunks_exact(texts.width)) {
                mode.weigh(states, texts, |place, at, share| own[at] += share * grad[place]);
            }
            by_states.extend(own);
        }
        by_states
    }
}

impl Mode {
    /// Calls `use_share` for each value of a text's states that counts: its place in the vector, its place in the
    /// states, and its factor.
    fn weigh(self, states: &[f32], texts: &Texts<'_>, mut use_share: impl FnMut(usize, usize, f32)) {
        let (width, skip) = (texts.width, texts.skip);
        if self == Self::Max {
            return largest(states, width, skip).for_each(|(place, at)| use_share(place, at, 1.0));
        }
        for (token, share) in self.shares(states.len() / width, skip).into_iter().enumerate() {
            if share != 0.0 {
                (0..width).for_each(|place| use_share(place, token * width + place, share));
            }
        }
    }

    /// The factor of each token's state; nothing for the maximum, which has no such factors.
    fn shares(self, tokens: usize, skip: usize) -> Vec<f32> {
        let kept = |at: usize| at >= skip;
        let only = |place: usize| (0..tokens).map(|at| f32::from(u8::from(at == place))).collect();
        let count = tokens.saturating_sub(skip) as f32;
        let divided = |by: f32, of: &dyn Fn(usize) -> f32| {
            (0..tokens).map(|at| if kept(at) { of(at) / by } else { 0.0 }).collect()
        };
        match self {
            Self::Mean => divided(count, &|_| 1.0),
            Self::MeanSqrtLenTokens => divided(count.sqrt(), &|_| 1.0),
            Self::WeightedMean => {
                let sum = (skip..tokens).map(|at| (at + 1) as f32).sum();
                divided(sum, &|at| (at + 1) as f32)
            }
            Self::Cls => only(if skip < tokens { skip } else { 0 }),
            Self::LastToken if skip < tokens => only(tokens - 1),
            Self::LastToken | Self::Max => Vec::new(),
        }
    }
}

/// For each place of the width, where the largest of the states after the prompt is.
fn largest(states: &[f32], width: usize, skip: usize) -> impl Iterator<Item = (usize, usize)> {
    let tokens = states.len() / width;
    let places = if tokens == 0 { 0..0 } else { 0..width };
    places.filter_map(move |place| {
        let at = |token: usize| token * width + place;
        let better = |best: usize, next: usize| if states[next] > states[best] { next } else { best };
        let first = if skip < tokens { skip } else { 0 };
        (first..tokens).map(at).reduce(better).map(|at| (place, at))
    })
}
