//! The model against Hugging Face's (transformers 4.57.1): the two kinds of feed-forward layers and of heads
//! that are published, with odd sizes, padded inputs and all numbers of beams. `tests/golden/t5.py` writes
//! the files.

use std::collections::HashMap;

use super::super::generate::{Candidate, Length, beams};
use super::*;

const SHAPES: [&[u8]; 4] = [
    include_bytes!("../../../tests/data/t5-tied.safetensors"),
    include_bytes!("../../../tests/data/t5-gated.safetensors"),
    include_bytes!("../../../tests/data/t5-untied.safetensors"),
    include_bytes!("../../../tests/data/t5-gated-tied.safetensors"),
];

struct Golden {
    t5: T5,
    tensors: HashMap<String, Tensor>,
}

impl Golden {
    fn all() -> impl Iterator<Item = Self> {
        SHAPES.into_iter().map(|bytes| {
            let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu).unwrap();
            let vb = VarBuilder::from_tensors(tensors.clone(), DType::F32, &Device::Cpu);
            Self { t5: T5::load(&vb).unwrap(), tensors }
        })
    }

    fn get(&self, name: &str) -> &Tensor {
        &self.tensors[&format!("golden.{name}")]
    }

    fn memory(&self) -> Memory {
        self.t5.encode(self.get("inputs"), Some(self.get("mask"))).unwrap()
    }

    /// The settings of `generate`: beams, shortest and longest.
    fn settings(&self) -> Vec<(usize, Length)> {
        let names = self.tensors.keys().filter_map(|name| name.strip_prefix("golden.tokens."));
        let numbers = names.map(|name| name.split('.').map(|number| number.parse().unwrap()).collect());
        let settings = numbers.map(|it: Vec<usize>| (it[0], Length { min: it[1], max: it[2] }));
        settings.collect()
    }
}

fn assert_close(ours: &Tensor, theirs: &Tensor) {
    assert_eq!(ours.dims(), theirs.dims());
    let furthest = (ours - theirs).unwrap().abs().unwrap().flatten_all().unwrap();
    let furthest: f32 = furthest.max(0).unwrap().to_scalar().unwrap();
    assert!(furthest < 1e-4, "{furthest}");
}

#[test]
fn encoder_states_are_those_of_hugging_face() {
    for golden in Golden::all() {
        assert_close(&golden.memory().states, golden.get("states"));
    }
}

#[test]
fn logits_at_every_position_are_those_of_hugging_face() {
    for golden in Golden::all() {
        let (memory, ids) = (golden.memory(), golden.get("ids").to_dtype(DType::U32).unwrap());
        assert_close(&golden.t5.decode(&ids, &memory).unwrap(), golden.get("logits"));
        // and a position at a time
        let (rows, length) = ids.dims2().unwrap();
        let mut decoding = Decoding::new(&golden.t5, &memory, 1, length).unwrap();
        let positions = (0..length).map(|position| {
            let tokens = ids.narrow(1, position, 1).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            let logits = decoding.step(&tokens).unwrap();
            Tensor::from_vec(logits, (rows, 1, ()), &Device::Cpu).unwrap()
        });
        let logits = Tensor::cat(&positions.collect::<Vec<_>>(), 1).unwrap();
        assert_close(&logits, golden.get("logits"));
    }
}

#[test]
fn generated_tokens_and_scores_are_those_of_hugging_face() {
    let mut texts = 0;
    for golden in Golden::all() {
        let memory = golden.memory();
        for (width, length) in golden.settings() {
            let name = format!("{width}.{}.{}", length.min, length.max);
            let theirs: Vec<Vec<Vec<i32>>> = golden.get(&format!("tokens.{name}")).to_vec3().unwrap();
            let scores = golden.tensors.get(&format!("golden.scores.{name}"));
            let scores = scores.map(|scores| scores.to_vec2::<f32>().unwrap());
            let ours = beams(&golden.t5, &memory, width, length).unwrap();
            assert_eq!(ours.len(), theirs.len());
            for (row, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
                let tokens: Vec<Vec<i32>> = ours.iter().map(|it| padded(it, length.max - 1)).collect();
                assert_eq!(&tokens, theirs, "{name}, row {row}");
                texts += tokens.len();
                let pairs = ours.iter().zip(scores.iter().flat_map(|scores| &scores[row]));
                for (ours, theirs) in pairs {
                    assert!((ours.score - theirs).abs() < 1e-4, "{name}: {} {theirs}", ours.score);
                }
            }
        }
    }
    assert_eq!(texts, 4 * 2 * 5 * (1 + 2 + 4 + 8));
}

/// As the files have them: with the end token, padded.
fn padded(candidate: &Candidate, length: usize) -> Vec<i32> {
    let end = candidate.ended.then_some(EOS);
    let tokens = candidate.tokens.iter().copied().chain(end).map(u32::cast_signed);
    tokens.chain(std::iter::repeat(0)).take(length).collect()
}

#[test]
fn buckets_are_those_of_hugging_face() {
    let table = include_str!("../../../tests/data/t5-buckets.csv");
    assert_eq!(table.lines().count(), 601);
    for line in table.lines() {
        let row: Vec<i64> = line.split(',').map(|value| value.parse().unwrap()).collect();
        let distance = row[0].unsigned_abs() as usize;
        let (query, key) = if row[0] > 0 { (0, distance) } else { (distance, 0) };
        let ours = [8, 16, 32, 48].into_iter().flat_map(|count| {
            [true, false].map(|both| i64::try_from(bucket(query, key, count, both)).unwrap())
        });
        assert_eq!(ours.collect::<Vec<_>>(), row[1..], "distance {}", row[0]);
    }
}
