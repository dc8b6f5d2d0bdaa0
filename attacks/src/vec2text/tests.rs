//! The model's parts against each other and against plain compositions of single operations.

use std::collections::BTreeMap;

use candle_core::{D, DType, Device, IndexOp, Tensor};
use candle_nn::VarBuilder;
use embosk_models::t5::{Decoding, EOS, PAD};

use super::config::Preset;
use super::corrector::Corrector;
use super::generate::{Length, beams, greedy, top};
use super::inverter::Inverter;
use super::train::initial;

const SMALL: Preset = Preset {
    name: "test",
    width: 32,
    feed_forward: 48,
    heads: 4,
    encoder_layers: 2,
    decoder_layers: 2,
    pseudo_tokens: 3,
    vocabulary: 40,
    max_length: 12,
};
const DIM: usize = 6;

fn builder(tensors: BTreeMap<String, Tensor>) -> VarBuilder<'static> {
    VarBuilder::from_tensors(tensors.into_iter().collect(), DType::F32, &Device::Cpu)
}

fn inverter(seed: u64) -> Inverter {
    Inverter::load(&builder(initial::inverter(&SMALL, SMALL.vocabulary, DIM, seed).unwrap())).unwrap()
}

fn corrector(seed: u64) -> Corrector {
    let from = initial::inverter(&SMALL, SMALL.vocabulary, DIM, seed).unwrap().into_iter().collect();
    Corrector::load(&builder(initial::corrector(&from).unwrap())).unwrap()
}

/// Values without a pattern. The tensor library's own generator cannot be seeded.
fn values(shape: &[usize], seed: f64) -> Tensor {
    let count: usize = shape.iter().product();
    let at = |index: usize| ((index as f64 + 1.0) * 12.9898 * (seed + 1.0)).sin() as f32;
    Tensor::from_vec((0..count).map(at).collect::<Vec<_>>(), shape, &Device::Cpu).unwrap()
}

fn furthest(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

#[test]
fn beams_are_repeated_dropped_and_reordered_by_number() {
    let inverter = inverter(1);
    let memory = inverter.encode(&values(&[3, DIM], 1.0)).unwrap();
    let mut decoding = Decoding::new(&inverter.t5, &memory, 2, 6).unwrap();
    decoding.step(&[PAD; 3]).unwrap();
    decoding.select(&[2, 0, 2, 1]);
    decoding.step(&[5, 7, 39, 4]).unwrap();
    decoding.select(&[3, 2, 0]);
    decoding.step(&[9, 9, 3]).unwrap();
    decoding.select(&[2, 1]);
    let logits = decoding.step(&[8, 30]).unwrap();
    assert!(decoding.step(&[1]).is_err() && decoding.step(&[1, 40]).is_err());
    // both go back to the last input
    let ids = Tensor::new(&[[PAD, 5, 3, 8], [PAD, 39, 9, 30]], &Device::Cpu).unwrap();
    let last_twice = Tensor::new(&[2u32, 2], &Device::Cpu).unwrap();
    let memory = inverter.encode(&values(&[3, DIM], 1.0).index_select(&last_twice, 0).unwrap()).unwrap();
    let at_once = inverter.t5.decode(&ids, &memory).unwrap().i((.., 3)).unwrap();
    let logits = Tensor::from_vec(logits, at_once.dims(), &Device::Cpu).unwrap();
    assert!(furthest(&logits, &at_once) < 1e-4);
}

#[test]
fn what_is_padded_does_not_matter() {
    let corrector = corrector(3);
    let (targets, vectors) = (values(&[1, DIM], 1.0), values(&[1, DIM], 2.0));
    let ids = Tensor::new(&[[PAD, 5, 9]], &Device::Cpu).unwrap();
    let logits = |hypothesis: &[u32]| {
        let hypothesis = Tensor::from_slice(hypothesis, (1, hypothesis.len()), &Device::Cpu).unwrap();
        let memory = corrector.encode(&targets, &vectors, &hypothesis).unwrap();
        corrector.t5.decode(&ids, &memory).unwrap()
    };
    let plain = logits(&[8, 9, EOS]);
    assert!(furthest(&plain, &logits(&[8, 9, EOS, PAD, PAD, PAD])) < 1e-5);
    assert!(furthest(&plain, &logits(&[8, 10, EOS])) > 1e-3);
}

#[test]
fn a_beam_of_one_is_greedy_and_scores_are_log_probabilities() {
    for seed in 0..6 {
        // ends are likely, and so come at once, late and never
        let mut tensors = initial::inverter(&SMALL, SMALL.vocabulary, DIM, seed).unwrap();
        let shared = tensors.get_mut("encoder_decoder.shared.weight").unwrap();
        let mut scale = vec![1.0_f32; SMALL.vocabulary];
        scale[EOS as usize] = 3.0;
        let scale = Tensor::from_vec(scale, (SMALL.vocabulary, 1), &Device::Cpu).unwrap();
        *shared = shared.broadcast_mul(&scale).unwrap();
        assert_greedy_and_log_probabilities(&Inverter::load(&builder(tensors)).unwrap());
    }
}

fn assert_greedy_and_log_probabilities(inverter: &Inverter) {
    let vectors = values(&[5, DIM], 3.0);
    let memory = inverter.encode(&vectors).unwrap();
    let greedy = greedy(&inverter.t5, &memory, 5, 8).unwrap();
    for (row, tokens) in greedy.iter().enumerate() {
        let memory = inverter.encode(&vectors.i(row..=row).unwrap()).unwrap();
        let mut expected: Vec<u32> = Vec::new();
        while expected.len() < 8 {
            let inputs: Vec<u32> = std::iter::once(PAD).chain(expected.iter().copied()).collect();
            let inputs = Tensor::from_slice(&inputs, (1, inputs.len()), &Device::Cpu).unwrap();
            let logits = inverter.t5.decode(&inputs, &memory).unwrap();
            let last = logits.i((0, expected.len())).unwrap().to_vec1::<f32>().unwrap();
            match top(&last, 1)[0].0 {
                EOS => break,
                token => expected.push(token),
            }
        }
        assert_eq!(tokens, &expected);
    }
    for (row, candidates) in beams(&inverter.t5, &memory, 4, Length::tokens(8)).unwrap().iter().enumerate() {
        assert_eq!(candidates.len(), 4);
        let memory = inverter.encode(&vectors.i(row..=row).unwrap()).unwrap();
        for candidate in candidates {
            assert_eq!(candidate.ended, candidate.tokens.len() < 8);
            let inputs: Vec<u32> = std::iter::once(PAD).chain(candidate.tokens.iter().copied()).collect();
            let inputs = Tensor::from_slice(&inputs, (1, inputs.len()), &Device::Cpu).unwrap();
            let logits = inverter.t5.decode(&inputs, &memory).unwrap();
            let all = candle_nn::ops::log_softmax(&logits, D::Minus1)
                .unwrap()
                .i(0)
                .unwrap()
                .to_vec2::<f32>()
                .unwrap();
            let mut expected: f32 =
                candidate.tokens.iter().enumerate().map(|(at, &token)| all[at][token as usize]).sum();
            if candidate.ended {
                expected += all[candidate.tokens.len()][EOS as usize];
            }
            expected /= (candidate.tokens.len() + usize::from(candidate.ended)) as f32;
            assert!((expected - candidate.score).abs() < 1e-4, "{expected} {}", candidate.score);
        }
    }
}

#[test]
fn top_is_a_sort_cut_short() {
    let values = [0.5, -1.0, 3.0, 3.0, f32::NEG_INFINITY, 2.0];
    assert_eq!(top(&values, 3), [(2, 3.0), (3, 3.0), (5, 2.0)]);
    assert_eq!(top(&values, 10).len(), 6);
    let values: Vec<f32> = (0..2000).map(|place| ((place * 7919) % 1013) as f32).collect();
    let mut sorted: Vec<(u32, f32)> = (0..).zip(values.iter().copied()).collect();
    sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
    assert_eq!(top(&values, 40), sorted[..40]);
}
