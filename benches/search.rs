//! Exact search, as an evaluation runs it for every defense: `cargo bench --features evaluate --bench search`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use embosk::Rng;
use embosk::attacks::alignment::Procrustes;
use embosk::evaluate::retrieval::{normalize_rows, search};
use ndarray::Array2;

const DIM: usize = 384;

fn unit_vectors(rows: usize, seed: u64) -> Array2<f32> {
    let mut rng = Rng::seeded(seed);
    let mut normals = rng.standard_normals();
    let mut vectors = Array2::from_shape_simple_fn((rows, DIM), || normals.draw() as f32);
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

fn alignment(criterion: &mut Criterion) {
    let (protected, clean) = (unit_vectors(768, 3), unit_vectors(768, 4));
    let mut group = criterion.benchmark_group("alignment");
    group.sample_size(10);
    group.bench_function("Procrustes on 768 pairs", |bencher| {
        bencher.iter(|| black_box(Procrustes::fit(protected.view(), clean.view())));
    });
    group.finish();
}

criterion_group!(benches, exact_search, alignment);
criterion_main!(benches);
