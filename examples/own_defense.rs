//! A user's own defense in one file. It has a name in specs, passes the laws that every defense passes, and
//! works wherever one of ours does.
//!
//! Run with `cargo run --example own_defense`. The example checks its own claims, so running it is a test.

use std::fmt;
use std::sync::Arc;

use embosk::defenses::spec::{Part, Value};
use embosk::defenses::{self, contract};
use embosk::{BoxError, Defense, Guarantee, Key, Protected, Registry, Rng, Role, Spec};
use ndarray::{Array2, ArrayViewMut2};

/// Flips the sign of half of the coordinates, which a key chooses.
///
/// It is a toy: an attacker who has one pair of text and vector knows all signs.
struct Flips {
    key: Key,
}

impl Flips {
    fn new(key: &Key) -> Self {
        Self { key: key.clone() }
    }

    /// Draws the signs for `dim` coordinates. The generator's seed is a hash of the key's text, which is good
    /// enough for a toy; a defense that matters derives its secrets by a key-derivation function.
    fn signs(&self, dim: usize) -> Vec<f32> {
        let seed = self
            .key
            .to_text()
            .bytes()
            .fold(dim as u64, |seed, byte| (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut rng = Rng::seeded(seed);
        (0..dim).map(|_| if rng.below(2) == 0 { 1.0 } else { -1.0 }).collect()
    }

    fn flip(&self, mut vectors: ArrayViewMut2<'_, f32>) -> Result<(), defenses::Error> {
        defenses::check_finite(&vectors)?;
        let signs = self.signs(vectors.ncols());
        for mut row in vectors.rows_mut() {
            row.iter_mut().zip(&signs).for_each(|(value, sign)| *value *= sign);
        }
        Ok(())
    }
}

impl Defense for Flips {
    fn protect(&self, _: Role, vectors: ArrayViewMut2<'_, f32>, _: &mut Rng) -> Result<(), defenses::Error> {
        self.flip(vectors)
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::Isometry
    }

    /// Returns what it prints. This contains the key's fingerprint, which therefore enters a stack's
    /// fingerprint too.
    fn spec(&self) -> Spec {
        Part::new("flips").with("key", &self.key).into()
    }

    /// Returns the defense under a key that an attacker draws, for evaluations.
    fn imitation(&self, rng: &mut Rng) -> Option<Arc<dyn Defense>> {
        let bytes = std::array::from_fn(|_| rng.below(256) as u8);
        Some(Arc::new(Self::new(&Key::from_bytes(bytes))))
    }

    /// Flips the signs again, which restores them.
    fn undo_key(&self, vectors: ArrayViewMut2<'_, f32>) -> Result<bool, defenses::Error> {
        self.flip(vectors).map(|()| true)
    }
}

impl fmt::Display for Flips {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spec().fmt(f)
    }
}

impl fmt::Debug for Flips {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn main() -> Result<(), BoxError> {
    // Specs can name it, beside those of the crate.
    let mut registry = Registry::default();
    registry.register("flips", &["key"], |parameters| Ok(Flips::new(&parameters.key("key")?)))?;

    // It obeys every law.
    let key = Key::generate()?;
    contract::check_in(&registry, 12, || Flips::new(&key));

    // It can be read from a spec, and works behind an embedding function.
    let path = std::env::temp_dir().join(format!("embosk own defense ({}).key", std::process::id()));
    store(&path, &key)?;
    // The path has parentheses, so it is written in quotes.
    let spec = format!("flips(key={}) | gaussian(sigma=0.001)", Value::file(&path.to_string_lossy()));
    assert!(spec.starts_with("flips(key=file:\""), "{spec}");
    let stack = registry.parse(&spec);
    std::fs::remove_file(&path)?;
    let stack = stack?;
    assert_eq!(stack.to_string(), format!("flips(key={key}) | gaussian(sigma=0.001)"));

    let embed = |texts: &[&str]| -> Result<Array2<f32>, BoxError> { Ok(Array2::ones((texts.len(), 64))) };
    let protected = Protected::new(embed).with(stack);
    let (documents, queries) =
        (protected.embed_documents(&["a letter"])?, protected.embed_queries(&["letter"])?);
    assert!(documents.iter().any(|value| *value < 0.0));
    assert!((documents.row(0).dot(&queries.row(0)) - 64.0).abs() < 1.0, "they meet in one space");

    // Vectors under another key are noticed before they are searched.
    assert_eq!(protected.fingerprint(), format!("embosk2 flips(key={})", key.fingerprint()));
    let other = Protected::new(embed).with(Flips::new(&Key::generate()?));
    let refusal = other.check_fingerprint(&protected.fingerprint()).map(drop);
    println!("{}", refusal.expect_err("it has another key"));
    Ok(())
}

/// Writes a key where only its owner can read it, as `embosk keygen` does.
fn store(path: &std::path::Path, key: &Key) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    std::io::Write::write_all(&mut options.open(path)?, key.to_text().as_bytes())
}
