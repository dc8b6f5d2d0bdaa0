//! Decoding a position at a time, for many beams at once, on plain values.
//!
//! What the beams read from the encoder is computed once and shared by all beams of an input. The beams' own keys and
//! values are appended, position by position for all beams, and never moved. A beam is the list of places of its
//! tokens, so choosing, repeating and dropping beams copies only such lists.
//!
//! Memory, in values of 4 bytes: the keys and values take 2 · layers · (heads · width of a head) for each
//! encoder position of each input, and as much for each position of each beam.

use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

use super::blocks::{Attention, DecoderBlock, EPSILON, FeedForward, Inner};
use super::model::{Head, Memory, T5};
use super::position::bucket;
use crate::kernels::{rms_norm_into, rows, with};
use crate::threads;

/// From this many scores of a head on, it pays to wake another thread.
const SPLIT: usize = 4096;

/// The decoder's state for some beams. It begins with one beam for each input, without a token.
#[derive(Debug)]
pub struct Decoding<'a> {
    t5: &'a T5,
    layers: Vec<Layer>,
    beams: Vec<Beam>,
    /// The encoder positions of each input that are not padding, as rows of the keys.
    read: Vec<Vec<u32>>,
    /// How many rows of own keys there are so far, over all positions.
    filled: usize,
    /// For each head, what is added to a score, by distance.
    bias: Vec<Vec<f32>>,
}

#[derive(Debug, Clone)]
struct Beam {
    input: usize,
    /// Where the beam's own keys and values are, position by position.
    places: Vec<u32>,
}

#[derive(Debug)]
struct Layer {
    read: KeysValues,
    own: KeysValues,
}

/// `[rows, heads · width of a head]` each.
#[derive(Debug)]
struct KeysValues {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl KeysValues {
    fn with_room(count: usize) -> Result<Self> {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        match keys.try_reserve_exact(count).and_then(|()| values.try_reserve_exact(count)) {
            Ok(()) => Ok(Self { keys, values }),
            Err(_) => {
                bail!("there is no memory for the keys and values of so many tokens; use a smaller batch")
            }
        }
    }
}

impl<'a> Decoding<'a> {
    /// Begins decoding for every input of `memory`, with room for texts of `longest` tokens in `beams` beams per
    /// input.
    ///
    /// # Errors
    /// If there is not enough memory, or the model is not on the CPU.
    pub fn new(t5: &'a T5, memory: &Memory, beams: usize, longest: usize) -> Result<Self> {
        let (inputs, length, width) = memory.states.dims3()?;
        let states = memory.states.reshape((inputs * length, width))?;
        let layer = |block: &DecoderBlock| {
            let Attention { k, v, .. } = &block.cross_attention;
            let keys = with(&states, |states| k.forward_values(states))??;
            let values = with(&states, |states| v.forward_values(states))??;
            let room = inputs * beams * longest * block.attention.inner();
            Ok(Layer { read: KeysValues { keys, values }, own: KeysValues::with_room(room)? })
        };
        let masked = match &memory.mask {
            Some(mask) => mask.to_dtype(candle_core::DType::F32)?.to_vec2::<f32>()?,
            None => vec![vec![1.0; length]; inputs],
        };
        let read = masked.iter().enumerate().map(|(input, mask)| {
            let places = mask.iter().enumerate().filter(|(_, open)| **open > 0.0);
            places.map(|(place, _)| (input * length + place) as u32).collect()
        });
        Ok(Self {
            t5,
            layers: t5.decoder.iter().map(layer).collect::<Result<_>>()?,
            beams: (0..inputs).map(|input| Beam { input, places: Vec::new() }).collect(),
            read: read.collect(),
            filled: 0,
            bias: distances(t5, longest)?,
        })
    }

    /// Continues with the named beams, in this order. A beam may be named several times, or not at all.
    pub fn select(&mut self, beams: &[usize]) {
        self.beams = beams.iter().map(|&beam| self.beams[beam].clone()).collect();
    }

    /// Takes one more token for every beam, and returns logits `[beams, vocabulary]` of the next token.
    ///
    /// # Errors
    /// For another number of tokens than beams, and for one that is not in the vocabulary.
    pub fn step(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        if tokens.len() != self.beams.len() {
            bail!("{} tokens for {} beams", tokens.len(), self.beams.len());
        }
        for (number, beam) in self.beams.iter_mut().enumerate() {
            beam.places.push((self.filled + number) as u32);
        }
        self.filled += tokens.len();
        let mut states = self.embed(tokens)?;
        for (block, layer) in self.t5.decoder.iter().zip(&mut self.layers) {
            let normed = normed(&states, &block.attention_norm)?;
            let attention = &block.attention;
            layer.own.keys.extend(attention.k.forward_values(&normed)?);
            layer.own.values.extend(attention.v.forward_values(&normed)?);
            let places = self.beams.iter().map(|beam| beam.places.as_slice()).collect();
            attend(attention, &normed, &layer.own, places, &self.bias, &mut states)?;
            let normed = self::normed(&states, &block.cross_attention_norm)?;
            let places = self.beams.iter().map(|beam| self.read[beam.input].as_slice()).collect();
            attend(&block.cross_attention, &normed, &layer.read, places, &[], &mut states)?;
            feed_forward(&block.feed_forward, &mut states)?;
        }
        self.logits(&states)
    }

    fn embed(&self, tokens: &[u32]) -> Result<Vec<f32>> {
        let (vocabulary, width) = self.t5.shared.dims2()?;
        if tokens.iter().any(|&token| token as usize >= vocabulary) {
            bail!("a token is not in the vocabulary");
        }
        with(&self.t5.shared, |table| {
            tokens.iter().flat_map(|&token| &table[token as usize * width..][..width]).copied().collect()
        })
    }

    fn logits(&self, states: &[f32]) -> Result<Vec<f32>> {
        let mut states = normed(states, &self.t5.decoder_norm)?;
        match &self.t5.head {
            Head::Own(weight) => weight.forward_values(&states),
            Head::Tied { scale, weight } => {
                for state in &mut states {
                    *state *= *scale as f32;
                }
                weight.forward_values(&states)
            }
        }
    }
}

/// For each head, the decoder's bias by distance, up to `longest` tokens.
fn distances(t5: &T5, longest: usize) -> Result<Vec<Vec<f32>>> {
    let table = t5.decoder_bias.table.to_vec2::<f32>()?;
    let of_head =
        |head| (0..longest).map(|distance| table[bucket(distance, 0, table.len(), false)][head]).collect();
    Ok((0..t5.decoder_bias.table.dim(1)?).map(of_head).collect())
}

/// Adds to each beam's state what its query finds at its places.
fn attend(
    attention: &Attention,
    normed: &[f32],
    from: &KeysValues,
    places: Vec<&[u32]>,
    bias: &[Vec<f32>],
    states: &mut [f32],
) -> Result<()> {
    let queries = attention.q.forward_values(normed)?;
    let inner = attention.inner();
    let mut mixed = vec![0.0; queries.len()];
    let beams = mixed.chunks_exact_mut(inner).zip(queries.chunks_exact(inner)).zip(&places);
    let find = |((mixed, query), places): ((&mut [f32], &[f32]), &&[u32])| {
        threads::flushing_subnormals(|| {
            rows::widest(|| find(query, from, places, inner / attention.heads, bias, mixed));
        });
    };
    let scores: usize = places.iter().map(|places| places.len()).sum();
    if scores < SPLIT || threads::for_a_product() == 1 {
        beams.for_each(find);
    } else {
        beams.collect::<Vec<_>>().into_par_iter().for_each(find);
    }
    add(states, &attention.o.forward_values(&mixed)?);
    Ok(())
}

/// One beam's attention, head by head: values mixed by how well their keys fit the query.
#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
fn find(
    query: &[f32],
    from: &KeysValues,
    places: &[u32],
    width: usize,
    bias: &[Vec<f32>],
    mixed: &mut [f32],
) {
    let inner = query.len();
    let mut scores = vec![0.0; places.len()];
    for (head, (query, mixed)) in query.chunks_exact(width).zip(mixed.chunks_exact_mut(width)).enumerate() {
        let of_head = |place: u32| place as usize * inner + head * width;
        for (score, &place) in scores.iter_mut().zip(places) {
            let key = &from.keys[of_head(place)..][..width];
            *score = rows::sum_of_pairs(query, key, |query, key| query * key);
        }
        if let Some(bias) = bias.get(head) {
            scores.iter_mut().rev().zip(bias).for_each(|(score, bias)| *score += bias);
        }
        rows::softmax(&mut scores);
        for (score, &place) in scores.iter().zip(places) {
            let value = &from.values[of_head(place)..][..width];
            mixed.iter_mut().zip(value).for_each(|(mixed, value)| *mixed += score * value);
        }
    }
}

fn feed_forward(layer: &FeedForward, states: &mut [f32]) -> Result<()> {
    let normed = normed(states, &layer.norm)?;
    let inner = match &layer.inner {
        Inner::Relu(wi) => {
            let mut inner = wi.forward_values(&normed)?;
            rows::widest(|| inner.iter_mut().for_each(|value| *value = value.max(0.0)));
            inner
        }
        Inner::GatedGelu(gate, wi) => {
            let (mut inner, gate) = (wi.forward_values(&normed)?, gate.forward_values(&normed)?);
            rows::widest(|| {
                inner.iter_mut().zip(&gate).for_each(|(value, gate)| *value *= rows::gelu(*gate));
            });
            inner
        }
    };
    add(states, &layer.wo.forward_values(&inner)?);
    Ok(())
}

fn normed(states: &[f32], weight: &Tensor) -> Result<Vec<f32>> {
    let mut out = vec![0.0; states.len()];
    with(weight, |weight| rows::widest(|| rms_norm_into(states, weight, EPSILON, &mut out)))?;
    Ok(out)
}

fn add(states: &mut [f32], more: &[f32]) {
    rows::widest(|| states.iter_mut().zip(more).for_each(|(state, more)| *state += more));
}
