//! The bytes that the goldens of the defenses fix: those of DataFusion are the same.
#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, AsArray, BinaryArray, FixedSizeListArray, Float32Array, RecordBatch,
};
use datafusion::arrow::datatypes::{DataType, Field, Float32Type};
use datafusion::prelude::SessionContext;
use embosk::ndarray::{Array2, Axis};
use embosk::{Key, Registry};
use sha2::{Digest, Sha256};

/// Protects vectors with SQL, under the key of the goldens.
async fn protected(vectors: &Array2<f32>, ids: &[&[u8]], spec: &str) -> Array2<f32> {
    let mut registry = Registry::default();
    registry.key("K", &Key::from_bytes(std::array::from_fn(|at| at as u8)));
    let context = SessionContext::new();
    context.register_udf(embosk_datafusion::protect_with(registry));
    let child = Arc::new(Field::new_list_field(DataType::Float32, true));
    let numbers = Arc::new(Float32Array::from_iter_values(vectors.iter().copied()));
    let dim = i32::try_from(vectors.ncols()).unwrap();
    let lists: ArrayRef = Arc::new(FixedSizeListArray::new(child, dim, numbers, None));
    let ids: ArrayRef = Arc::new(BinaryArray::from(ids.to_vec()));
    context
        .register_batch("t", RecordBatch::try_from_iter([("id", ids), ("vector", lists)]).unwrap())
        .unwrap();
    let sql = format!("SELECT protect(vector, '{spec}', id) FROM t");
    let batches = context.sql(&sql).await.unwrap().collect().await.unwrap();
    let numbers = |batch: &RecordBatch| {
        batch.column(0).as_fixed_size_list().values().as_primitive::<Float32Type>().values().to_vec()
    };
    let numbers: Vec<f32> = batches.iter().flat_map(numbers).collect();
    let shape = (vectors.nrows(), numbers.len() / vectors.nrows());
    Array2::from_shape_vec(shape, numbers).unwrap()
}

async fn protected_without_ids(vectors: &Array2<f32>, spec: &str) -> Array2<f32> {
    protected(vectors, &vec![&b""[..]; vectors.nrows()], spec).await
}

/// The first numbers of the first rows, and the hash of all.
fn summary(vectors: &Array2<f32>, rows: usize) -> Vec<String> {
    let bits = |row: usize| {
        let bits = vectors
            .row(row)
            .iter()
            .take(8)
            .map(|value| format!("{:08x}", value.to_bits()))
            .collect::<Vec<_>>();
        bits.join(" ")
    };
    let mut lines: Vec<String> = (0..rows.min(vectors.nrows())).map(bits).collect();
    let bytes: Vec<u8> = vectors.iter().flat_map(|value| value.to_le_bytes()).collect();
    let digits = Sha256::digest(bytes).iter().fold(String::from("sha256 "), |mut line, byte| {
        write!(line, "{byte:02x}").unwrap();
        line
    });
    lines.push(digits);
    lines
}

fn golden(name: &str) -> Vec<String> {
    let path = format!("{}/../../defenses/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_rotation_is_the_golden_one() {
    let mut found = Vec::new();
    for dim in [1, 8, 384] {
        // row i of the identity becomes column i of the matrix, so the result is transposed
        let rotated = protected_without_ids(&Array2::eye(dim), "rotation(key=env:K)").await;
        found.push(format!("dim {dim}"));
        found.extend(summary(&rotated.reversed_axes(), 2));
    }
    assert_eq!(found, golden("rotation-v1.txt"));
}

#[tokio::test]
async fn hadamard_permutation_scaling_and_dcpe_are_the_golden_ones() {
    let mixed = |dim| {
        Array2::from_shape_fn((2, dim), |(row, at)| ((7 * row + 5 * at) % 31) as f32 / 16.0 - 15.0 / 16.0)
    };
    let counting = |dim| Array2::from_shape_fn((1, dim), |(_, at)| at as f32);
    let table = [
        (
            "hadamard-v1.txt",
            "rotation(key=env:K, kind=hadamard)",
            [1, 2, 3, 8, 48, 384, 768, 8191].map(mixed).to_vec(),
        ),
        ("permutation-v1.txt", "permutation(key=env:K)", [1, 8, 384, 8192].map(counting).to_vec()),
        ("scaling-v1.txt", "scaling(key=env:K)", vec![Array2::ones((1, 1))]),
        ("dcpe-v1.txt", "dcpe(key=env:K, beta=0)", vec![Array2::ones((1, 1))]),
    ];
    for (name, spec, inputs) in table {
        let mut found = Vec::new();
        for vectors in inputs {
            let protected = protected_without_ids(&vectors, spec).await;
            found.push(format!("dim {}", vectors.ncols()));
            found.extend(summary(&protected, 2));
        }
        assert_eq!(found, golden(name), "{name}");
    }
}

#[tokio::test]
async fn a_keyed_projection_is_the_golden_one() {
    let mut found = Vec::new();
    for (dim, dims) in [(1, 1), (8, 3), (384, 16)] {
        let spec = format!("projection(key=env:K, dims={dims})");
        let projected = protected_without_ids(&Array2::eye(dim), &spec).await;
        found.push(format!("dim {dim} dims {dims}"));
        found.extend(summary(&projected.reversed_axes(), 2));
    }
    // the last line is a fit, which has no key
    assert_eq!(found, golden("projection-v1.txt")[..found.len()]);
}

#[tokio::test]
async fn keyed_noise_is_the_golden_one() {
    let golden = golden("gaussian-v1.txt");
    let ids: [&[u8]; 4] = [b"", b"1", "ä".as_bytes(), b"\x00\xff"];
    for dim in [1, 8, 384] {
        let vectors = Array2::from_shape_fn((4, dim), |(row, at)| {
            ((row * 7919 + at * 104_729) % 61) as f32 / 32.0 - 0.9375
        });
        let protected = protected(&vectors, &ids, "gaussian(sigma=0.05, key=env:K)").await;
        let at = golden.iter().position(|line| *line == format!("dim {dim}")).unwrap();
        assert_eq!(golden[at + 1], "by id");
        assert_eq!(summary(&protected, 2), golden[at + 2..at + 5], "{dim}");
        assert_eq!(protected.len_of(Axis(1)), dim);
    }
}
