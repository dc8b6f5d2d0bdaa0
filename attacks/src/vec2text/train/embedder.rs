//! Distillation of an embedder: a small one learns to give another one's vectors.

mod folder;

use std::path::Path;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use embosk_models::linear::linear;
use embosk_models::pooling;
use embosk_models::t5::T5Encoder;
use embosk_models::threads::in_parallel;
use embosk_models::weights::Stored;
use ndarray::Array2;
use tokenizers::Tokenizer;

use super::super::{model_error, pad, vocabulary};
use super::examples::{Examples, Lesson};
use super::saved::Saved;
use super::settings::{Event, Outputs, Settings, Trained};
use super::step::CHUNK;
use super::trainable::Trainable;
use super::{Start, check, initial, run};
use crate::Error;

/// Trains an embedder on texts and a teacher's vectors of them, and writes it to `out`: a folder of
/// sentence-transformers, which Python's `SentenceTransformer(path)` loads as well.
///
/// The model is a T5 encoder, mean pooling, a dense layer to the teacher's dimension, and normalization. Its loss is
/// 1 − the cosine to the teacher's vector, averaged over the batch. It has its own word pieces, of texts that are
/// lower-cased and stripped of accents as for BERT.
///
/// ```no_run
/// use std::path::Path;
///
/// use embosk_attacks::vec2text::Preset;
/// use embosk_attacks::vec2text::train::{self, Examples, Settings};
/// # fn examples() -> Examples { unimplemented!() }
///
/// let settings = Settings { preset: Preset::EMBEDDER, ..Settings::default() };
/// train::embedder(&settings, &examples(), &examples(), Path::new("small"), &mut |_| {})?;
/// # Ok::<(), embosk_attacks::Error>(())
/// ```
///
/// # Errors
/// For settings out of their range or without a meaning here (`stored`, `label_smoothing`), a `settings.init` that is
/// not an embedder of this shape, empty or mismatched examples, files that cannot be written, and a checkpoint that
/// does not fit.
pub fn embedder(
    settings: &Settings,
    examples: &Examples,
    held_out: &Examples,
    out: &Path,
    on_event: &mut dyn FnMut(Event<'_>),
) -> std::result::Result<Trained, Error> {
    check(settings, examples, held_out)?;
    if settings.stored != Stored::F16 {
        return Err(Error::Setting("an embedder's weights are for Python too, and stored in 16 bits".into()));
    }
    if settings.label_smoothing > 0.0 {
        return Err(Error::Setting(
            "an embedder writes no tokens whose probability could be smoothed".into(),
        ));
    }
    let dim = examples.vectors.ncols();
    if held_out.vectors.ncols() != dim {
        return Err(Error::Dimension { expected: dim, found: held_out.vectors.ncols() });
    }
    let preset = &settings.preset;
    let tokenizer = match (Saved::tokenizer(settings, out)?, &settings.init) {
        (Some(tokenizer), _) => tokenizer,
        (None, Some(init)) => folder::tokenizer(init.path())?,
        (None, None) => vocabulary::uncased(&examples.texts, preset.vocabulary).map_err(Error::Model)?,
    };
    let size = vocabulary::size(&tokenizer);
    let random = initial::embedder(preset, size, dim, settings.seed)?;
    let start = Start {
        files: folder::files(preset, size, dim, &tokenizer)?,
        max_length: preset.max_length,
        fresh: match &settings.init {
            Some(init) => folder::weights(init.path(), &random)?,
            None => random,
        },
        tokenizer: &tokenizer,
    };
    run::<Student>(settings, start, examples, held_out, None, out, on_event)
}

/// The embedder that is trained.
struct Student {
    encoder: T5Encoder,
    /// `[dim, width]`
    dense: Tensor,
}

impl Student {
    /// Vectors of norm 1, `[rows, dim]`.
    fn vectors(&self, lesson: Lesson<'_>, rows: &[usize]) -> Result<Tensor> {
        let tokens: Vec<&[u32]> = rows.iter().map(|&row| lesson.data.tokens[row].as_slice()).collect();
        let device = self.device();
        let ids = pad(&tokens)?.to_device(device)?;
        let mask = mask(&tokens, ids.dim(1)?, device)?;
        let pooled = pooling::mean(&self.encoder.states(&ids, &mask)?, &mask)?;
        pooling::unit(&linear(&pooled, &self.dense)?)
    }
}

impl Trainable for Student {
    const FOLDER_OF: fn(&str) -> &'static str =
        |name| if name.starts_with("linear.") { folder::DENSE } else { "" };

    fn load(vb: &VarBuilder<'_>) -> Result<Self> {
        Ok(Self { encoder: T5Encoder::from_tensors(vb)?, dense: vb.get_unchecked("linear.weight")? })
    }

    fn device(&self) -> &Device {
        self.dense.device()
    }

    fn terms(_: Lesson<'_>, rows: &[usize]) -> usize {
        rows.len()
    }

    fn loss(&self, lesson: Lesson<'_>, rows: &[usize], _: f64) -> Result<Tensor> {
        let teacher = pooling::unit(&lesson.targets(rows)?.to_device(self.device())?)?;
        let cosines = (self.vectors(lesson, rows)? * teacher)?.sum(1)?;
        (1.0 - cosines)?.sum_all()
    }

    fn outputs(
        &self,
        lesson: Lesson<'_>,
        rows: &[usize],
        _: &Tokenizer,
        _: usize,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> std::result::Result<Outputs, Error> {
        let parts: Vec<&[usize]> = if go_on() { rows.chunks(CHUNK).collect() } else { Vec::new() };
        let vectors = in_parallel(&parts, |rows| self.vectors(lesson, rows)?.to_vec2::<f32>())
            .map_err(model_error)?
            .concat();
        let shape = (vectors.len(), lesson.data.vectors.ncols());
        let vectors = Array2::from_shape_vec(shape, vectors.concat());
        vectors.map(Outputs::Vectors).map_err(|error| Error::Model(error.into()))
    }
}

/// 1 where a text has a token, 0 after it. It goes by length, because a text may contain the padding token.
fn mask(tokens: &[&[u32]], length: usize, device: &Device) -> Result<Tensor> {
    let lengths: Vec<u32> = tokens.iter().map(|ids| ids.len() as u32).collect();
    let lengths = Tensor::from_vec(lengths, (tokens.len(), 1), device)?;
    let places = Tensor::arange(0, length as u32, device)?.unsqueeze(0)?;
    places.broadcast_lt(&lengths)?.to_dtype(DType::F32)
}
