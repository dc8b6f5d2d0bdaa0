//! Randomness: a named cipher and a normal sampler whose numbers never change.

use std::convert::Infallible;
use std::{fmt, io};

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng as _, SeedableRng, TryCryptoRng, TryRng};
use zeroize::{Zeroizing, zeroize_stack};

use crate::Error;

/// A random number generator: the ChaCha20 keystream of a 32-byte seed.
///
/// It implements `rand_core`'s traits, so `rand` and `rand_distr` work on it. It cannot be cloned:
/// two copies would give two batches the same noise, which cancels when they are subtracted.
pub struct Rng(ChaCha20Rng);

/// More of the stack than ChaCha20, HKDF and SHA-256 use.
const COPIES: usize = 4096;

/// Does what leaves copies of a secret on the stack, such as passing it by value, and wipes them.
pub(crate) fn wiping<T>(work: impl FnOnce() -> T) -> T {
    let done = apart(work);
    zeroize_stack::<COPIES>();
    done
}

/// The stack is wiped only below the frame of [`wiping`], so this function must not be inlined.
#[inline(never)]
fn apart<T>(work: impl FnOnce() -> T) -> T {
    work()
}

impl Rng {
    /// Creates a generator seeded by the operating system, for data that matters.
    ///
    /// # Errors
    /// [`Error::Randomness`] if the operating system provides none.
    pub fn from_os() -> Result<Self, Error> {
        let mut seed = Zeroizing::new([0; 32]);
        fill_from_os(seed.as_mut())?;
        Ok(Self::from_seed(&seed))
    }

    /// Creates a generator that repeats the same numbers, for evaluations and tests **only**.
    ///
    /// Whoever knows or guesses the seed can subtract the noise: never release vectors with it.
    pub fn seeded(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self::from_seed(&bytes)
    }

    /// Creates a generator from a derived seed, for what a key determines.
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Self {
        Self(wiping(|| ChaCha20Rng::from_seed(*seed)))
    }

    /// Returns a generator that begins `words` words of 32 bits further on in the keystream.
    pub(crate) fn ahead(&self, words: usize) -> Self {
        let seed = Zeroizing::new(self.0.get_seed());
        let mut rng = Self::from_seed(&seed);
        rng.0.set_stream(self.0.get_stream());
        rng.0.set_word_pos(self.0.get_word_pos() + words as u128);
        rng
    }

    /// Skips `words` words of 32 bits.
    pub(crate) fn skip(&mut self, words: usize) {
        self.0.set_word_pos(self.0.get_word_pos() + words as u128);
    }

    /// Returns an endless sequence of standard normal numbers.
    ///
    /// It is Box–Muller in `f64`. For two words `a` and `b` of the keystream, 64 bits each and little-endian,
    /// `u = 1 − ⌊a / 2¹¹⌋ / 2⁵³` and `v = ⌊b / 2¹¹⌋ / 2⁵³` give `√(−2 ln u) · cos 2πv` and then
    /// `√(−2 ln u) · sin 2πv`. The functions are `libm`'s, in software, so that every machine draws the same bits:
    /// this sequence is part of the storage format of keyed defenses.
    pub fn standard_normals(&mut self) -> StandardNormals<'_> {
        StandardNormals { rng: self, second: None }
    }

    /// Draws an index below `n`; zero if `n` is zero.
    ///
    /// It is the high half of `next_u64() · n`, which is uniform except for a bias below `n / 2⁶⁴`. It is part of the
    /// storage format of keyed defenses.
    pub fn below(&mut self, n: usize) -> usize {
        let wide = u128::from(self.0.next_u64()) * n as u128;
        (wide >> 64) as usize
    }

    /// A number in [0, 1) on a grid of 2⁻⁵³.
    pub(crate) fn uniform(&mut self) -> f64 {
        const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
        (self.0.next_u64() >> 11) as f64 * STEP
    }
}

/// An endless sequence of standard normal numbers, from [`Rng::standard_normals`].
pub struct StandardNormals<'a> {
    rng: &'a mut Rng,
    second: Option<f64>,
}

impl StandardNormals<'_> {
    /// Draws the next number.
    pub fn draw(&mut self) -> f64 {
        if let Some(second) = self.second.take() {
            return second;
        }
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.rng.uniform()));
        let angle = std::f64::consts::TAU * self.rng.uniform();
        self.second = Some(radius * libm::sin(angle));
        radius * libm::cos(angle)
    }
}

impl Iterator for StandardNormals<'_> {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        Some(self.draw())
    }
}

/// Fills `bytes` with the operating system's randomness.
pub(crate) fn fill_from_os(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(bytes).map_err(|error| Error::Randomness(io::Error::other(error.to_string())))
}

impl TryRng for Rng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0.try_next_u64()
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.try_fill_bytes(bytes)
    }
}

impl TryCryptoRng for Rng {}

impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rng(ChaCha20)")
    }
}

impl fmt::Debug for StandardNormals<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StandardNormals")
    }
}
