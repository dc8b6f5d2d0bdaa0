//! `modules.json`: what a text goes through, one module after the other.

use std::path::PathBuf;

use candle_core::{Device, Tensor};

use super::dense::{Dense, LayerNorm, on_vectors};
use super::fields::Fields;
use super::files::read_json;
use super::pooling::{Pooling, Positions};
use crate::Error;
use crate::location::Location;
use crate::pooling;

/// The modules of an embedder.
#[derive(Debug)]
pub(super) struct Modules {
    pub(super) input: Input,
    pub(super) pooling: Pooling,
    pub(super) stages: Vec<Stage>,
    /// `modules.json` and the pooling's file, if they exist.
    pub(super) first: Vec<Location>,
    /// The files that the stages are read from.
    pub(super) files: Vec<Location>,
}

/// The module that texts go into, and its folder.
#[derive(Debug)]
pub(super) enum Input {
    Transformer(Location),
    Static(Location),
}

/// What is done with pooled vectors.
#[derive(Debug)]
pub(super) enum Stage {
    Dense(Dense),
    LayerNorm(LayerNorm),
    Normalize,
}

/// One module of the file.
struct Entry {
    folder: Location,
    kind: String,
}

impl Modules {
    pub(super) fn read(dir: &Location, device: &Device) -> Result<Self, Error> {
        let path = dir.join("modules.json");
        if !path.exists() {
            return without_modules(dir);
        }
        let entries = entries(dir, &path)?;
        let kinds: Vec<&str> = entries.iter().map(|entry| entry.kind.as_str()).collect();
        let refuse = || {
            if kinds.is_empty() {
                return Error::file(path.path(), "it lists no module; get it anew");
            }
            let kinds = kinds.join(", ");
            let can = "Transformer and Pooling, or StaticEmbedding, and then Dense, LayerNorm, Normalize and Dropout can \
                       be run";
            Error::file(path.path(), format!("the modules are {kinds}; {can}"))
        };
        let mut first = vec![path.clone()];
        let (input, pooling, after) = match kinds.as_slice() {
            ["Transformer", "Pooling", ..] => {
                let file = entries[1].folder.join("config.json");
                let pooling = Pooling::read(&file)?;
                first.push(file);
                (Input::Transformer(entries[0].folder.clone()), pooling, 2)
            }
            ["StaticEmbedding", ..] => (Input::Static(entries[0].folder.clone()), Pooling::mean(), 1),
            _ => return Err(refuse()),
        };
        let (mut stages, mut files) = (Vec::new(), Vec::new());
        for Entry { folder, kind } in &entries[after..] {
            match kind.as_str() {
                "Dense" => stages.push(Stage::Dense(Dense::read(folder, device, &mut files)?)),
                "LayerNorm" => stages.push(Stage::LayerNorm(LayerNorm::read(folder, device, &mut files)?)),
                "Normalize" => {
                    let mut fields = Fields::read_if_there(&folder.join("config.json"))?;
                    on_vectors(&mut fields)?;
                    fields.finish()?;
                    stages.push(Stage::Normalize);
                }
                // it does something in training alone
                "Dropout" => {}
                _ => return Err(refuse()),
            }
        }
        Ok(Self { input, pooling, stages, first, files })
    }

    /// The dimension of the resulting vectors, if the states have `width`.
    ///
    /// # Errors
    /// If a module takes vectors of another dimension than it is given.
    pub(super) fn dimension(&self, width: usize) -> Result<usize, Error> {
        self.stages.iter().try_fold(self.pooling.dimension(width), |width, stage| {
            let (file, takes, gives): (&PathBuf, _, _) = match stage {
                Stage::Normalize => return Ok(width),
                Stage::Dense(dense) => (&dense.file, dense.dims().0, dense.dims().1),
                Stage::LayerNorm(norm) => (&norm.file, norm.width(), norm.width()),
            };
            if takes == width {
                return Ok(gives);
            }
            Err(Error::file(file, format!("it takes vectors of {takes} dimensions, and is given {width}")))
        })
    }

    /// Whether a layer adds its input, which the first versions of this crate left out.
    pub(super) fn has_residual(&self) -> bool {
        self.stages.iter().any(|stage| matches!(stage, Stage::Dense(dense) if dense.has_residual()))
    }

    /// Vectors `[batch, dim]` of states `[batch, length, width]`.
    pub(super) fn apply(&self, states: &Tensor, positions: &Positions<'_>) -> candle_core::Result<Tensor> {
        let pooled = self.pooling.apply(states, positions)?;
        self.stages.iter().try_fold(pooled, |vectors, stage| stage.apply(&vectors))
    }
}

impl Stage {
    pub(super) fn apply(&self, vectors: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::Dense(dense) => dense.apply(vectors),
            Self::LayerNorm(norm) => norm.apply(vectors),
            Self::Normalize => pooling::unit(vectors),
        }
    }
}

/// The modules in the order of the file, as in Python: a module's number and name do not count.
fn entries(dir: &Location, path: &Location) -> Result<Vec<Entry>, Error> {
    use serde::de::IgnoredAny;
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "fields that do not change a vector are known by name")]
    struct Stored {
        path: String,
        #[serde(rename = "type")]
        kind: String,
        idx: Option<IgnoredAny>,
        name: Option<IgnoredAny>,
        /// What callers may pass to the module; nothing is passed here.
        kwargs: Option<IgnoredAny>,
    }
    let stored: Vec<Stored> = read_json(path)?;
    let entry = |Stored { path: folder, kind, .. }| {
        let Some(kind) = kind.strip_prefix("sentence_transformers.") else {
            let message = format!(
                "type {kind}: this module is code that comes with the model; only modules of sentence_transformers can be run"
            );
            return Err(Error::file(path.path(), message));
        };
        let kind = kind.rsplit('.').next().unwrap_or_default().to_owned();
        Ok(Entry { folder: dir.join(folder), kind })
    };
    stored.into_iter().map(entry).collect()
}

/// The modules that Python assumes for a folder of Hugging Face's transformers, and for one of model2vec.
fn without_modules(dir: &Location) -> Result<Modules, Error> {
    let path = dir.join("config.json");
    let mut config = Fields::read(&path)?;
    let (mut input, mut stages) = (Input::Transformer(dir.clone()), Vec::new());
    if config.take::<String>("model_type")?.as_deref() == Some("model2vec") {
        input = Input::Static(dir.clone());
        match config.take("normalize")? {
            Some(true) => stages.push(Stage::Normalize),
            Some(false) => {}
            None => return Err(config.refuse("normalize", "it is missing; it is true or false")),
        }
    } else {
        let architectures: Vec<String> = config.take("architectures")?.unwrap_or_default();
        // Python then pools the last token, and other modules may be needed
        if architectures.first().is_some_and(|name| name.ends_with("ForCausalLM")) {
            let message =
                "it is a language model, and there is no modules.json; save it with sentence-transformers";
            return Err(config.refuse("architectures", message));
        }
    }
    Ok(Modules { input, pooling: Pooling::mean(), stages, first: Vec::new(), files: Vec::new() })
}
