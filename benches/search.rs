//! Exact search, as an evaluation runs it for every defense, and the maps of attackers with pairs:
//! `cargo bench --features evaluate --bench search`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use embosk::attacks::alignment::{Alignment, Procrustes};
use embosk::evaluate::retrieval::{Hits, normalize_rows, search, search_bits, search_i8};
use embosk::{Codes, Defense, GaussianNoise, Key, Quantization, Rng, Role, Rotation, Stack};
use ndarray::Array2;

const DIM: usize = 384;

fn unit_vectors(rows: usize, seed: u64) -> Array2<f32> {
    unit_vectors_of(DIM, rows, seed)
}

fn unit_vectors_of(dimension: usize, rows: usize, seed: u64) -> Array2<f32> {
    let mut rng = Rng::seeded(seed);
    let mut normals = rng.standard_normals();
    let mut vectors = Array2::from_shape_simple_fn((rows, dimension), || normals.draw() as f32);
    normalize_rows(vectors.view_mut());
    vectors
}

fn exact_search(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("150 queries, ten best");
    group.sample_size(20);
    let queries = unit_vectors(150, 1);
    for documents in [2_000, 20_000] {
        let ids: Vec<String> = (0..documents).map(|id| id.to_string()).collect();
        let vectors = unit_vectors(documents, 2);
        group.bench_with_input(BenchmarkId::from_parameter(documents), &vectors, |bencher, vectors| {
            bencher.iter(|| black_box(search(vectors.view(), queries.view(), 10, &ids).ok()));
        });
    }
    group.finish();
}

fn search_in_codes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("150 queries, ten best of 20,000, in codes");
    group.sample_size(20);
    let ids: Vec<String> = (0..20_000).map(|id| id.to_string()).collect();
    let (queries, documents) = (unit_vectors(150, 1), unit_vectors(20_000, 2));
    for (bits, search) in [(8, search_i8 as Search), (1, search_bits as Search)] {
        let encoded = |vectors: &Array2<f32>| Quantization::new(bits)?.encode(vectors.view());
        let (Ok(queries), Ok(documents)) = (encoded(&queries), encoded(&documents)) else { continue };
        group.bench_function(BenchmarkId::new("bits", bits), |bencher| {
            bencher.iter(|| black_box(search(&documents, &queries, 10, &ids).ok()));
        });
    }
    group.finish();
}

type Search = fn(&Codes, &Codes, usize, &[String]) -> Result<Vec<Hits>, embosk::Error>;

/// What an attacker with pairs does, of 768 dimensions: with noise in them, so that every map is tried.
fn alignment(criterion: &mut Criterion) {
    let clean = unit_vectors_of(768, 10_000, 3);
    let mut protected = clean.clone();
    let rotation = Rotation::new(&Key::from_bytes([7; 32]), 768);
    let noise = GaussianNoise::new(0.02);
    let (Ok(rotation), Ok(noise)) = (rotation, noise) else { return };
    let stack = Stack::new().with(rotation).with(noise);
    if stack.protect(Role::Document, protected.view_mut(), &mut Rng::seeded(4)).is_err() {
        return;
    }
    let mut group = criterion.benchmark_group("maps from 10,000 pairs of 768 dimensions");
    group.sample_size(10);
    group.bench_function("Procrustes", |bencher| {
        bencher.iter(|| black_box(Procrustes::fit(protected.view(), clean.view())));
    });
    group.bench_function("the best that is linear", |bencher| {
        bencher.iter(|| black_box(Alignment::fit_linear(protected.view(), clean.view())));
    });
    group.finish();
}

criterion_group!(benches, exact_search, search_in_codes, alignment);
criterion_main!(benches);
