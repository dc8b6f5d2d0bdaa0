use embosk::defenses::Stack;
use embosk::{GaussianNoise, Key, Precision, Projection, Rerank, Role};

use crate::Error;
use crate::sqlite::MOST_CANDIDATES;

/// What the application protects its vectors with. It is not read from the store, because whoever can write there
/// could then turn the noise off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// How many coordinates the store searches.
    pub dims: usize,
    /// The standard deviation of the noise on each of a document's coordinates, for vectors of norm 1.
    pub sigma: f64,
    /// How many rows are opened for each question.
    pub candidates: usize,
}

/// 16 coordinates with noise of 0.1, which hide most facts, and 2000 candidates. These are many, because the noise is
/// strong, and cheap, because the store is in the process: the README has what fewer cost.
impl Default for Settings {
    fn default() -> Self {
        Self { dims: 16, sigma: 0.1, candidates: 2000 }
    }
}

impl Settings {
    /// Returns the stack: `projection | gaussian | rerank`.
    ///
    /// Noise is on documents alone, against whoever steals the file. A question never leaves the process. A store on
    /// another machine sees questions too, and then they need noise as well: leave `on` out.
    ///
    /// # Errors
    /// [`Error::Embosk`] if a setting is outside its range.
    pub(crate) fn stack(&self, fit: &Projection, key: &Key) -> Result<Stack, Error> {
        if self.candidates > MOST_CANDIDATES {
            let message = format!("the store returns at most {MOST_CANDIDATES} candidates; ask for fewer");
            return Err(embosk::Error::Setting(message).into());
        }
        // 16 bits keep the order of nearly equal hits
        let rerank = Rerank::new(self.candidates)?.precision(Precision::F16).key(key);
        let noise = GaussianNoise::new(self.sigma)?.on(Role::Document);
        Ok(Stack::new().with(fit.first(self.dims)?).with(noise).with(rerank))
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
