//! A single vector is protected without an allocation, once the thread has its scratch.

#![allow(clippy::unwrap_used)]
#![allow(unsafe_code, reason = "an allocator that counts has to implement an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use embosk_defenses::{Codes, Defense, GaussianNoise, Key, Quantization, Rng, Role, Rotation, Stack};
use ndarray::Array2;

/// The system's allocator, which counts what each thread asks of it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: everything is the system's allocator's; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract, and `alloc` had the pointer from here.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations_of(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

/// A vector of a model's dimension, of norm 1.
fn vector() -> Array2<f32> {
    let mut vector = Array2::from_shape_fn((1, 768), |(_, place)| ((place * 37) % 101) as f32 - 50.0);
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector /= norm;
    vector
}

#[test]
fn allocations_are_counted() {
    assert_eq!(allocations_of(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn a_single_vector_needs_no_allocation() {
    let key = || Key::from_bytes([1; 32]);
    let haar = || Rotation::new(&key(), 768).unwrap();
    let hadamard = || Rotation::hadamard(&key(), 768).unwrap();
    let noise = || GaussianNoise::new(0.01).unwrap();
    let keyed = || GaussianNoise::keyed(&key(), 0.01).unwrap();
    let rounding = || Quantization::new(8).unwrap();
    let stacks = [
        Stack::new().with(haar()),
        Stack::new().with(hadamard()),
        Stack::new().with(noise()),
        Stack::new().with(keyed()),
        Stack::new().with(noise().renormalize(true)),
        Stack::new().with(rounding()),
        Stack::new().with(haar()).with(noise()),
        Stack::new().with(hadamard()).with(keyed()).with(rounding()),
    ];
    let (clean, mut rng) = (vector(), Rng::seeded(1));
    let mut vector = clean.clone();
    for stack in stacks {
        let mut protect = || {
            vector.assign(&clean);
            stack.protect(Role::Document, vector.view_mut(), &mut rng).unwrap();
        };
        protect();
        assert_eq!(allocations_of(|| (0..20).for_each(|_| protect())), 0, "{stack}");
    }
}

#[test]
fn noise_by_id_and_packed_codes_need_none_either() {
    let keyed = GaussianNoise::keyed(&Key::from_bytes([1; 32]), 0.01).unwrap();
    let mut vector = vector();
    let mut rng = Rng::seeded(1);
    let mut protect = |id: &str| {
        keyed.protect_with_ids(Role::Document, &[id.as_bytes()], vector.view_mut(), &mut rng).unwrap();
    };
    protect("17");
    assert_eq!(allocations_of(|| protect("18")), 0);

    let (rounding, mut codes) = (Quantization::new(8).unwrap(), Codes::default());
    rounding.encode_into(vector.view(), &mut codes).unwrap();
    assert_eq!(allocations_of(|| rounding.encode_into(vector.view(), &mut codes).unwrap()), 0);
}
