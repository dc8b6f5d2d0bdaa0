//! What the training loop requires of a model.

use candle_core::{Device, Result, Tensor};
use candle_nn::VarBuilder;
use tokenizers::Tokenizer;

use super::examples::Lesson;
use super::settings::Outputs;
use crate::Error;

/// A model that can be trained.
pub(super) trait Trainable: Sized + Sync {
    /// The folder within the output folder that the model's file with a weight is in.
    const FOLDER_OF: fn(&str) -> &'static str = |_| "";

    fn load(vb: &VarBuilder<'_>) -> Result<Self>;

    /// Where its weights are.
    fn device(&self) -> &Device;

    /// How many terms the loss of rows sums: tokens, or texts.
    fn terms(lesson: Lesson<'_>, rows: &[usize]) -> usize;

    /// The summed loss of rows; tokens' probabilities are smoothed.
    fn loss(&self, lesson: Lesson<'_>, rows: &[usize], smoothing: f64) -> Result<Tensor>;

    /// What the model makes of rows; nothing if `go_on` says no.
    fn outputs(
        &self,
        lesson: Lesson<'_>,
        rows: &[usize],
        tokenizer: &Tokenizer,
        max_length: usize,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> std::result::Result<Outputs, Error>;
}
