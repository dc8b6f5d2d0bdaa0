//! What sealing and re-ranking cost: `cargo bench --bench sealing`.
//!
//! - `seal`: a vector, beside copying it (nothing) and AES-256-GCM of the same numbers.
//! - `protect and seal`: noise, or a projection and noise, and the sealed exact vector.
//! - `open 200`: the candidates of one query. `rerank 200`: the same, ordered.

use std::time::Duration;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use embosk::defenses::Error;
use embosk::{BoxError, GaussianNoise, Key, Precision, Projection, Protected, Rng, Sealer, Stack};
use ndarray::Array2;

const DIMS: [usize; 2] = [384, 768];
const CANDIDATES: usize = 200;
const PRECISIONS: [Precision; 3] = [Precision::Int8, Precision::F16, Precision::F32];

fn key() -> Key {
    Key::from_bytes([1; 32])
}

fn seal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("seal");
    group.measurement_time(Duration::from_secs(3)).sample_size(30).throughput(Throughput::Elements(1));
    for dim in DIMS {
        let vectors = unit_vectors(64, dim);
        let ids = ids(64);
        // 64 at a time, as at ingestion; the figures are a vector's
        group.throughput(Throughput::Elements(64));
        group.bench_function(BenchmarkId::new("nothing", dim), |bencher| {
            bencher.iter_batched(|| (), |()| vectors.clone(), BatchSize::SmallInput);
        });
        group.bench_function(BenchmarkId::new("AES-256-GCM of f32", dim), |bencher| {
            let cipher = Aes256Gcm::new(&[1; 32].into());
            bencher.iter(|| aes_gcm(&cipher, &vectors));
        });
        for precision in PRECISIONS {
            let sealer = Sealer::new(&key()).precision(precision);
            group.bench_function(BenchmarkId::new(precision.name(), dim), |bencher| {
                bencher.iter(|| sealer.seal_vectors(&ids, vectors.view()));
            });
        }
    }
}

fn open(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open 200");
    group.measurement_time(Duration::from_secs(3)).sample_size(30);
    for dim in DIMS {
        let (vectors, ids) = (unit_vectors(CANDIDATES, dim), ids(CANDIDATES));
        for precision in PRECISIONS {
            let sealer = Sealer::new(&key()).precision(precision);
            let sealed = sealer.seal_vectors(&ids, vectors.view()).expect("finite vectors");
            group.bench_function(BenchmarkId::new(precision.name(), dim), |bencher| {
                bencher.iter(|| sum_of(&sealer, &ids, &sealed));
            });
        }
    }
}

/// What an application does for each document.
fn protect_and_seal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("protect and seal");
    group.measurement_time(Duration::from_secs(3)).sample_size(30).throughput(Throughput::Elements(64));
    for dim in DIMS {
        let (vectors, ids) = (unit_vectors(64, dim), ids(64));
        for (name, stack) in stacks(dim) {
            let protected = Protected::new(nothing).with(stack).sealed(&key());
            group.bench_function(BenchmarkId::new(name, dim), |bencher| {
                let setup = || vectors.clone();
                bencher.iter_batched(
                    setup,
                    |exact| protected.protect_documents(&ids, exact),
                    BatchSize::SmallInput,
                );
            });
        }
    }
}

/// What an application does for each query.
fn rerank(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rerank 200");
    group.measurement_time(Duration::from_secs(3)).sample_size(30);
    for dim in DIMS {
        let (vectors, ids) = (unit_vectors(CANDIDATES, dim), ids(CANDIDATES));
        let protected = Protected::new(nothing).sealed(&key());
        let query = protected.protect_queries(unit_vectors(1, dim)).expect("finite vectors").remove(0);
        let documents = protected.protect_documents(&ids, vectors).expect("finite vectors");
        let found: Vec<(String, Vec<u8>)> = ids.into_iter().zip(documents.sealed).collect();
        group.bench_function(BenchmarkId::from_parameter(dim), |bencher| {
            bencher.iter(|| protected.rerank(&query, &found, 10));
        });
    }
}

/// An embedder that is not asked: the vectors exist already.
#[expect(clippy::unnecessary_wraps, reason = "an embedder may fail")]
fn nothing(texts: &[&str]) -> Result<Array2<f32>, BoxError> {
    Ok(Array2::zeros((texts.len(), 1)))
}

fn stacks(dim: usize) -> [(&'static str, Stack); 2] {
    let noise = || GaussianNoise::new(0.1).expect("in range");
    let projection = Projection::fit(unit_vectors(1_000, dim).view(), 16).expect("enough rows");
    [
        ("gaussian", Stack::new().with(noise())),
        ("projection to 16, gaussian", Stack::new().with(projection).with(noise())),
    ]
}

/// Opens every row, and reads something of each.
fn sum_of(sealer: &Sealer, ids: &[String], sealed: &[Vec<u8>]) -> Result<f32, Error> {
    let mut sum = 0.0;
    sealer.open_each(ids.iter().zip(sealed), |_, vector| sum += vector[0])?;
    Ok(sum)
}

/// A vector's bytes and a random nonce, and nothing that binds them to a row.
fn aes_gcm(cipher: &Aes256Gcm, vectors: &Array2<f32>) -> Vec<Vec<u8>> {
    let mut rng = Rng::seeded(0);
    let rows = vectors.rows().into_iter();
    rows.map(|vector| {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&rng.below(usize::MAX).to_le_bytes());
        let mut bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
        let tag = cipher.encrypt_inout_detached(&Nonce::from(nonce), b"", bytes.as_mut_slice().into());
        bytes.extend(tag.expect("a short message"));
        bytes
    })
    .collect()
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|id| format!("document {id}")).collect()
}

fn unit_vectors(rows: usize, dim: usize) -> Array2<f32> {
    let mut rng = Rng::seeded(1);
    let scale = 1.0 / (dim as f64).sqrt();
    let normals: Vec<f32> =
        rng.standard_normals().take(rows * dim).map(|normal| (normal * scale) as f32).collect();
    Array2::from_shape_vec((rows, dim), normals).expect("as many numbers")
}

criterion_group!(benches, seal, protect_and_seal, open, rerank);
criterion_main!(benches);
