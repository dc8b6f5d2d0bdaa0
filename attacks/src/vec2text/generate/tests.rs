//! Decoding against Hugging Face's `generate` (transformers 4.57.1), with all numbers of beams.
//! `models/tests/golden/t5.py` writes the files.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device};
use candle_nn::VarBuilder;

use super::*;

struct Golden {
    t5: T5,
    tensors: HashMap<String, Tensor>,
}

impl Golden {
    fn all() -> impl Iterator<Item = Self> {
        ["tied", "gated", "untied", "gated-tied"].into_iter().map(|shape| {
            let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/data");
            let file = data.join(format!("t5-{shape}.safetensors"));
            let tensors = candle_core::safetensors::load(file, &Device::Cpu).unwrap();
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

/// The tokens in the form of the files: with the end token, padded.
fn padded(candidate: &Continuation, length: usize) -> Vec<i32> {
    let end = candidate.ended.then_some(EOS);
    let tokens = candidate.tokens.iter().copied().chain(end).map(u32::cast_signed);
    tokens.chain(std::iter::repeat(0)).take(length).collect()
}
