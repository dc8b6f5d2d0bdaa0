//! Every defense by dimension and batch: `cargo bench --bench defenses`, and `-- '768/64/'` for some.
//!
//! `benches/peers/run` compares them with other tools.

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use embosk::{
    Codes, Dcpe, Defense, GaussianNoise, Key, Permutation, ProductQuantization, Quantization, Rng, Role,
    Rotation, Scaling,
};
use ndarray::Array2;

const DIMS: [usize; 4] = [384, 768, 1536, 3072];
const BATCHES: [usize; 3] = [1, 64, 4096];

type Make = fn(usize) -> Box<dyn Defense>;

/// What is measured: a name, and how it is made for a dimension.
const DEFENSES: [(&str, Make); 12] = [
    ("gaussian", |_| Box::new(GaussianNoise::new(0.01).expect("in range"))),
    ("gaussian, keyed", |_| Box::new(GaussianNoise::keyed(&key(), 0.01).expect("in range"))),
    ("quantization, 8 bits", |_| Box::new(Quantization::new(8).expect("in range"))),
    ("quantization, 4 bits", |_| Box::new(Quantization::new(4).expect("in range"))),
    ("quantization, 1 bit", |_| Box::new(Quantization::new(1).expect("in range"))),
    ("quantization, 8 bits, fixed, dithered", |_| Box::new(dithered(8).expect("in range"))),
    ("product quantization", |dim| Box::new(product(dim).expect("in range"))),
    ("rotation", |dim| Box::new(Rotation::new(&key(), dim).expect("in range"))),
    ("rotation, hadamard", |dim| Box::new(Rotation::hadamard(&key(), dim).expect("in range"))),
    ("permutation", |dim| Box::new(Permutation::new(&key(), dim).expect("in range"))),
    ("scaling", |_| Box::new(Scaling::new(&key()))),
    ("dcpe", |_| Box::new(Dcpe::new(&key(), 0.5).expect("in range"))),
];

fn key() -> Key {
    Key::from_bytes([1; 32])
}

fn dithered(bits: u32) -> Result<Quantization, embosk::defenses::Error> {
    Quantization::new(bits)?.scale(0.2)?.dither(&key())
}

/// Pieces of 8 dimensions, as many centroids as there are codes. That they are not fitted changes no time.
fn product(dim: usize) -> Result<ProductQuantization, embosk::defenses::Error> {
    let centroids = unit_vectors(256, dim).into_shape_with_order((dim / 8, 256, 8));
    ProductQuantization::new(centroids.expect("as many numbers"))
}

fn defenses(criterion: &mut Criterion) {
    for (name, make) in DEFENSES {
        let mut group = group(criterion, name);
        for dim in DIMS {
            // Made by the first measurement that is not filtered out: drawing a rotation takes seconds.
            let defense = std::cell::LazyCell::new(|| make(dim));
            for rows in BATCHES {
                measure(&mut group, rows, dim, || &**defense);
            }
        }
        group.finish();
    }
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(300));
    group.measurement_time(Duration::from_millis(1500));
    group
}

/// Packed codes, into memory that is used again.
fn encode(criterion: &mut Criterion) {
    for bits in [8, 4, 1] {
        let rounding = Quantization::new(bits).expect("in range");
        let mut group = group(criterion, &format!("encode, {bits} bits"));
        for (dim, rows) in DIMS.into_iter().flat_map(|dim| BATCHES.map(|rows| (dim, rows))) {
            group.throughput(Throughput::Elements((rows * dim) as u64));
            let (vectors, mut codes) = (unit_vectors(rows, dim), Codes::default());
            group.bench_function(id(rows, dim), |bencher| {
                bencher.iter(|| rounding.encode_into(vectors.view(), &mut codes));
            });
        }
        group.finish();
    }
}

fn measure<'a>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    rows: usize,
    dim: usize,
    defense: impl Fn() -> &'a dyn Defense,
) {
    group.throughput(Throughput::Elements((rows * dim) as u64));
    group.bench_function(id(rows, dim), |bencher| {
        let defense = defense();
        let vectors = unit_vectors(rows, dim);
        let mut rng = Rng::seeded(2);
        // A copy for each call, as some defenses, called again and again, leave the range.
        bencher.iter_batched_ref(
            || vectors.clone(),
            |vectors| defense.protect(Role::Document, vectors.view_mut(), &mut rng),
            if rows > 1000 { BatchSize::PerIteration } else { BatchSize::SmallInput },
        );
    });
}

/// The slash at the end keeps a filter for 64 from finding 4096.
fn id(rows: usize, dim: usize) -> BenchmarkId {
    BenchmarkId::from_parameter(format!("{dim}/{rows}/"))
}

fn unit_vectors(rows: usize, dim: usize) -> Array2<f32> {
    let mut rng = Rng::seeded(1);
    let mut normals = rng.standard_normals();
    let mut vectors = Array2::from_shape_simple_fn((rows, dim), || normals.draw() as f32);
    vectors.rows_mut().into_iter().for_each(|mut row| row /= row.dot(&row).sqrt());
    vectors
}

criterion_group!(benches, defenses, encode);
criterion_main!(benches);
