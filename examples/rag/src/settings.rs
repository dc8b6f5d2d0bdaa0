use embosk::defenses::Stack;
use embosk::{GaussianNoise, Key, Precision, Projection, Rerank, Role, Rotation};

use crate::Error;

/// What the application protects its vectors with. It is not read from the store, because whoever can write there
/// could then turn the noise off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// What the store searches.
    pub coarse: Coarse,
    /// How many rows are opened for each question.
    pub candidates: usize,
}

/// What the store searches. It shows who reads the store at least the topic of each text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Coarse {
    /// A few principal components with noise, which hide most facts.
    Components {
        /// How many.
        dims: usize,
        /// The standard deviation of the noise on each of a document's coordinates, for vectors of norm 1.
        sigma: f64,
    },
    /// All coordinates, rotated under the key. The search loses nothing, and whoever has a few texts with their
    /// vectors finds the rotation.
    Rotated,
}

/// 16 coordinates with noise of 0.1, which hide most facts, and 2000 candidates. These are many, because the noise is
/// strong, and cheap, because the store is in the process: the README has what fewer cost.
impl Default for Settings {
    fn default() -> Self {
        Self { coarse: Coarse::Components { dims: 16, sigma: 0.1 }, candidates: 2000 }
    }
}

impl Settings {
    /// Returns the stack: `projection | gaussian | rerank`, or `rotation | rerank`.
    ///
    /// Noise is on documents alone, against whoever steals the store. A store on another machine sees questions too,
    /// and then they need noise as well: leave `on` out.
    ///
    /// # Errors
    /// [`Error::Embosk`] if a setting is outside its range.
    pub(crate) fn stack(&self, fit: Option<&Projection>, key: &Key) -> Result<Stack, Error> {
        // 16 bits keep the order of nearly equal hits
        let rerank = Rerank::new(self.candidates)?.precision(Precision::F16).key(key);
        let coarse = match (self.coarse, fit) {
            (Coarse::Components { dims, sigma }, Some(fit)) => {
                let noise = GaussianNoise::new(sigma)?.on(Role::Document);
                Stack::new().with(fit.first(dims)?).with(noise)
            }
            _ => Stack::new().with(Rotation::deferred(key)),
        };
        Ok(coarse.with(rerank))
    }
}

/// How a collection is read and written.
#[derive(Clone, Debug)]
pub enum Access {
    /// As it is: the application without protection, to compare with.
    Plain,
    /// Under a key.
    Protected {
        /// Opens what is sealed.
        key: Key,
        /// What vectors are protected with.
        settings: Settings,
    },
}
