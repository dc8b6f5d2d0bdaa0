//! Compares the model with Hugging Face's (transformers 4.57.1): both published kinds of feed-forward layers and of
//! heads, with odd sizes, and padded inputs. `tests/golden/t5.py` writes the files.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use super::position::bucket;
use super::*;

const SHAPES: [&[u8]; 4] = [
    include_bytes!("../../tests/data/t5-tied.safetensors"),
    include_bytes!("../../tests/data/t5-gated.safetensors"),
    include_bytes!("../../tests/data/t5-untied.safetensors"),
    include_bytes!("../../tests/data/t5-gated-tied.safetensors"),
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
fn buckets_are_those_of_hugging_face() {
    let table = include_str!("../../tests/data/t5-buckets.csv");
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

#[test]
fn a_bucket_is_one_of_the_table() {
    for (count, both) in (2..600).map(|count| (count, true)).chain((1..600).map(|count| (count, false))) {
        for (query, key) in [(0, 0), (1, 0), (127, 0), (128, 0), (129, 0), (5000, 0), (0, 1), (0, 129)] {
            let bucket = bucket(query, key, count, both);
            assert!(bucket < count, "bucket {bucket} of {count}, from {query} to {key}");
        }
    }
}

#[test]
fn a_table_of_too_few_buckets_is_refused() {
    let tensors = candle_core::safetensors::load_buffer(SHAPES[0], &Device::Cpu).unwrap();
    let load = |side: &str, buckets: usize| {
        let mut tensors = tensors.clone();
        let name = format!("{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight");
        let heads = tensors[&name].dim(1).unwrap();
        tensors.insert(name, Tensor::zeros((buckets, heads), DType::F32, &Device::Cpu).unwrap());
        let vb = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
        (T5::load(&vb).map(drop), T5Encoder::from_tensors(&vb).map(drop))
    };
    for (side, buckets, fewest) in [("encoder", 0, 2), ("encoder", 1, 2), ("decoder", 0, 1)] {
        let refused = load(side, buckets).0.unwrap_err().to_string();
        let expected = format!("has {buckets} buckets, and needs at least {fewest}");
        assert!(refused.contains(&expected), "{refused}");
    }
    for buckets in [0, 1] {
        assert!(load("encoder", buckets).1.is_err());
    }
    assert!(load("encoder", 2).0.is_ok() && load("encoder", 2).1.is_ok() && load("decoder", 1).0.is_ok());
}
