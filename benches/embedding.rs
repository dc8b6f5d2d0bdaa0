//! What it takes to protect one vector beside what it takes to embed one text, and what a gradient takes:
//!
//! ```sh
//! EMBOSK_MINILM="$(scripts/fetch-minilm)" cargo bench --features vec2text --bench embedding
//! ```

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use embosk::embedder::SentenceTransformer;
use embosk::{Defense, Embedder, GaussianNoise, Key, Rng, Role, Rotation, Stack};
use ndarray::Array2;

/// Twenty words.
const TEXT: &str = "The lease for the flat on the third floor ends in May, and the deposit is \
    returned within six weeks.";

const DIM: usize = 768;

fn one_text_and_one_vector(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one text, one vector");
    group.sample_size(50).measurement_time(Duration::from_secs(3));

    let folder = std::env::var("EMBOSK_MINILM").expect("EMBOSK_MINILM names the folder of all-MiniLM-L6-v2");
    let model = SentenceTransformer::load(&folder).expect("a model that can be read");
    group.bench_function("all-MiniLM-L6-v2, 20 words", |bencher| {
        bencher.iter(|| model.embed(Role::Document, &[TEXT]));
    });

    let key = Key::from_bytes([1; 32]);
    let noise = || GaussianNoise::new(0.01).expect("in range");
    let haar = Rotation::new(&key, DIM).expect("in range");
    let hadamard = Rotation::hadamard(&key, DIM).expect("in range");
    let keyed = GaussianNoise::keyed(&key, 0.01).expect("in range");
    let stacks = [
        ("rotation, noise", Stack::new().with(haar).with(noise())),
        ("rotation by hadamard, noise", Stack::new().with(hadamard).with(noise())),
        ("keyed noise", Stack::new().with(keyed)),
    ];
    for (name, stack) in stacks {
        let (clean, mut rng) = (Array2::from_elem((1, DIM), (DIM as f32).sqrt().recip()), Rng::seeded(1));
        let mut vector = clean.clone();
        group.bench_function(format!("{name}, {DIM} dimensions"), |bencher| {
            bencher.iter(|| {
                vector.assign(&clean);
                stack.protect(Role::Document, vector.view_mut(), &mut rng)
            });
        });
    }
    group.finish();
}

/// Eight hypotheses of 32 pieces, forward and backward.
fn gradients(criterion: &mut Criterion) {
    let folder = std::env::var("EMBOSK_MINILM").expect("EMBOSK_MINILM names the folder of all-MiniLM-L6-v2");
    let model = SentenceTransformer::load(&folder).expect("a model that can be read");
    let hypotheses: Vec<Vec<u32>> =
        (0..8).map(|text| (0..32).map(|at| 2000 + text * 91 + at * 17).collect()).collect();
    let hypotheses: Vec<&[u32]> = hypotheses.iter().map(Vec::as_slice).collect();
    let targets = Array2::ones((hypotheses.len(), model.dimension()));
    criterion.bench_function("gradients of 8 hypotheses of 32 pieces", |bencher| {
        bencher.iter(|| model.gradients(&hypotheses, targets.view()));
    });
}

criterion_group!(benches, one_text_and_one_vector, gradients);
criterion_main!(benches);
