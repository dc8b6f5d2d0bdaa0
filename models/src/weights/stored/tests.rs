//! The bytes of files against an independent reading of the format (tests/golden/q8.py), how far values are
//! off, and damaged files.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::weights::Weights;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/q8").join(name)
}

fn tensors(name: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(data(name), &Device::Cpu).unwrap()
}

fn parts(stored: Stored, tensors: &HashMap<String, Tensor>) -> HashMap<String, StoredTensor> {
    tensors.iter().flat_map(|(name, tensor)| stored.parts(name, tensor).unwrap()).collect()
}

fn folder(parts: impl IntoIterator<Item = (String, StoredTensor)>) -> TempDir {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("model.safetensors"), safetensors::serialize(parts, None).unwrap()).unwrap();
    place
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn a_file_has_the_bytes_that_the_format_says() {
    let given = tensors("given.safetensors");
    let bytes = safetensors::serialize(parts(Stored::Q8, &given), None).unwrap();
    assert_eq!(bytes, fs::read(data("model.safetensors")).unwrap());
    let half: HashMap<String, Tensor> = given
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.to_dtype(candle_core::DType::F16).unwrap()))
        .collect();
    let bytes = safetensors::serialize(parts(Stored::F16, &given), None).unwrap();
    assert_eq!(bytes, safetensors::serialize(&half, None).unwrap());
}

#[test]
fn what_is_read_is_what_the_format_says() {
    let mut weights = Weights::find(data("")).unwrap();
    let read = tensors("read.safetensors");
    let names: Vec<String> = weights.names().map(String::from).collect();
    assert_eq!(names, ["cube.weight", "matrix.weight", "narrow.weight", "vector.weight"]);
    for name in names {
        let found = weights.tensor(&name).unwrap();
        assert_eq!((found.dims(), values(&found)), (read[&name].dims(), values(&read[&name])), "{name}");
    }
}

proptest! {
    /// No value is off by more than half a step, and a step is 1/127 of its block's largest value, in f16.
    #[test]
    fn no_value_is_off_by_more_than_half_a_step(
        (columns, full) in (1usize..4, 1usize..4).prop_flat_map(|(rows, blocks)| {
            let value = (-1f32..1.0, -20i32..15).prop_map(|(value, exponent)| value * 2f32.powi(exponent));
            (Just(blocks * BLOCK), proptest::collection::vec(value, rows * blocks * BLOCK))
        })
    ) {
        let given = Tensor::from_vec(full.clone(), (full.len() / columns, columns), &Device::Cpu).unwrap();
        let place = folder(Stored::Q8.parts("x", &given).unwrap());
        let read = values(&Weights::find(place.path()).unwrap().tensor("x").unwrap());
        for (block, read) in full.chunks(BLOCK).zip(read.chunks(BLOCK)) {
            let most = block.iter().fold(0f32, |most, value| most.max(value.abs()));
            let step = most / 127.0 * (1.0 + 1.0 / 1024.0) + 2f32.powi(-24);
            for (value, read) in block.iter().zip(read) {
                prop_assert!((value - read).abs() <= 0.5001 * step, "{value} became {read}, step {step}");
            }
        }
        // what was in 8 bits is the same in 8 bits again, so that nothing is lost where a training goes on
        let given = Tensor::from_vec(read.clone(), given.dims(), &Device::Cpu).unwrap();
        let place = folder(Stored::Q8.parts("x", &given).unwrap());
        let again = values(&Weights::find(place.path()).unwrap().tensor("x").unwrap());
        for (block, again) in read.chunks(BLOCK).zip(again.chunks(BLOCK)) {
            // below 2⁻¹⁴ scales have fewer digits
            if step(block) >= 2f32.powi(-14) {
                prop_assert_eq!(block, again);
            }
        }
    }
}

fn part(dtype: Dtype, shape: &[usize], bytes: Vec<u8>) -> StoredTensor {
    StoredTensor { dtype, shape: shape.to_vec(), bytes }
}

fn scales(dtype: Dtype, shape: &[usize], scale: f32) -> StoredTensor {
    let count = shape.iter().product();
    let bytes = match dtype {
        Dtype::F16 => f16::from_f32(scale).to_le_bytes().to_vec(),
        Dtype::F32 => scale.to_le_bytes().to_vec(),
        _ => vec![1],
    };
    part(dtype, shape, bytes.repeat(count))
}

#[test]
fn scales_may_be_in_32_bits_and_in_another_file() {
    let (matrix, scales) =
        (part(Dtype::I8, &[2, 64], vec![0x81; 128]), scales(Dtype::F32, &[2, 2], 1.0 / 3.0));
    let place = tempfile::tempdir().unwrap();
    for (name, content) in [("a", ("x", &matrix)), ("b", ("x.scales", &scales))] {
        let bytes = safetensors::serialize(
            [(content.0, part(content.1.dtype, &content.1.shape, content.1.bytes.clone()))],
            None,
        );
        fs::write(place.path().join(format!("{name}.safetensors")), bytes.unwrap()).unwrap();
    }
    let index = r#"{"weight_map": {"x": "a.safetensors", "x.scales": "b.safetensors"}}"#;
    fs::write(place.path().join("model.safetensors.index.json"), index).unwrap();
    let mut weights = Weights::find(place.path()).unwrap();
    assert_eq!(weights.names().collect::<Vec<_>>(), ["x"]);
    assert_eq!(values(&weights.tensor("x").unwrap()), [-127.0 * (1.0f32 / 3.0); 128]);
}

#[test]
fn damaged_files_are_refused() {
    let full = |rows: usize, columns: usize| part(Dtype::I8, &[rows, columns], vec![127; rows * columns]);
    for (matrix, scales, message) in [
        (full(2, 64), None, "x is in 8 bits, and x.scales, its scales, are missing"),
        (full(2, 64), Some(scales(Dtype::F16, &[2, 1], 1.0)), "the values are [2, 64] and the scales [2, 1]"),
        (full(2, 64), Some(scales(Dtype::F16, &[4], 1.0)), "the scales [4]"),
        (full(2, 64), Some(scales(Dtype::F16, &[1, 2], 1.0)), "the scales [1, 2]"),
        (full(2, 64), Some(scales(Dtype::I8, &[2, 2], 1.0)), "neither F16 nor F32"),
        (full(2, 64), Some(scales(Dtype::F16, &[2, 2], f32::NAN)), "x.scales: a weight is not finite"),
        (full(2, 64), Some(scales(Dtype::F32, &[2, 2], f32::INFINITY)), "x.scales: a weight is not finite"),
        (full(2, 64), Some(scales(Dtype::F32, &[2, 2], 3e37)), "x: a weight is not finite"),
        (full(2, 40), Some(scales(Dtype::F16, &[2, 1], 1.0)), "a multiple of 32 long, not [2, 40]"),
        (part(Dtype::I8, &[64], vec![1; 64]), Some(scales(Dtype::F16, &[2], 1.0)), "not [64]"),
    ] {
        let parts =
            [("x".to_owned(), matrix)].into_iter().chain(scales.map(|it| ("x.scales".to_owned(), it)));
        let place = folder(parts);
        let error = Weights::find(place.path()).unwrap().tensor("x").unwrap_err().to_string();
        assert!(error.contains("model.safetensors") && error.contains(message), "{error}: {message}");
    }
}

/// A training that diverged must not pass for one that did not.
#[test]
fn values_that_are_not_finite_are_not_hidden() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut full = vec![1f32; 64];
        full[40] = bad;
        let given = Tensor::from_vec(full, (1, 64), &Device::Cpu).unwrap();
        let place = folder(Stored::Q8.parts("x", &given).unwrap());
        let error = Weights::find(place.path()).unwrap().tensor("x").unwrap_err().to_string();
        assert!(error.contains("x.scales: a weight is not finite"), "{bad}: {error}");
    }
}
