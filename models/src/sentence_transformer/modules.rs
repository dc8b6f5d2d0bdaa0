//! What is done with a model's states, one module after the other, as `modules.json` says.

use std::path::PathBuf;

use candle_core::{Device, Tensor};
use serde::Deserialize;

use super::files::read_json;
use crate::Error;
use crate::kernels::{add, in_pieces, matmul};
use crate::location::Location;
use crate::pooling;
use crate::weights::Weights;

/// The modules of an embedder: a transformer, pooling, and what comes after it.
#[derive(Debug)]
pub(super) struct Modules {
    /// The transformer's folder.
    pub(super) transformer: Location,
    pub(super) pooling: Pooling,
    pub(super) stages: Vec<Stage>,
    /// The files that pooling and stages are read from.
    pub(super) files: Vec<Location>,
}

impl Modules {
    pub(super) fn read(dir: &Location, device: &Device) -> Result<Self, Error> {
        let path = dir.join("modules.json");
        let entries: Vec<ModuleEntry> = read_json(&path)?;
        let kinds: Vec<&str> =
            entries.iter().map(|entry| entry.kind.rsplit('.').next().unwrap_or("")).collect();
        let refuse = || {
            let kinds = kinds.join(", ");
            Error::file(
                path.path(),
                format!(
                    "the modules are {kinds}; Transformer, Pooling, and then Dense and Normalize can be run"
                ),
            )
        };
        let (["Transformer", "Pooling"], after) = kinds.split_at_checked(2).ok_or_else(refuse)? else {
            return Err(refuse());
        };
        let pooling = dir.join(&entries[1].path).join("config.json");
        let mut files = vec![path.clone(), pooling.clone()];
        let mut stages = Vec::new();
        for (kind, entry) in after.iter().zip(&entries[2..]) {
            stages.push(match *kind {
                "Normalize" => Stage::Normalize,
                "Dense" => Stage::Dense(Dense::read(&dir.join(&entry.path), device, &mut files)?),
                _ => return Err(refuse()),
            });
        }
        let transformer = dir.join(&entries[0].path);
        Ok(Self { transformer, pooling: Pooling::read(&pooling)?, stages, files })
    }

    /// The dimension of the vectors that come out, where the states have `width`.
    ///
    /// # Errors
    /// Where a module takes vectors of another dimension than it is given.
    pub(super) fn dimension(&self, width: usize) -> Result<usize, Error> {
        self.stages.iter().try_fold(width, |width, stage| match stage {
            Stage::Normalize => Ok(width),
            Stage::Dense(dense) if dense.weight.dims()[1] == width => Ok(dense.weight.dims()[0]),
            Stage::Dense(dense) => {
                let takes = dense.weight.dims()[1];
                let message = format!("it takes vectors of {takes} dimensions, and is given {width}");
                Err(Error::file(&dense.file, message))
            }
        })
    }

    /// Vectors `[batch, dim]` of states `[batch, length, width]`, over the positions where `mask` is 1.
    pub(super) fn apply(&self, states: &Tensor, mask: &Tensor) -> candle_core::Result<Tensor> {
        let pooled = self.pooling.apply(states, mask)?;
        self.stages.iter().try_fold(pooled, |vectors, stage| stage.apply(&vectors))
    }
}

/// What is done with pooled vectors.
#[derive(Debug)]
pub(super) enum Stage {
    Dense(Dense),
    Normalize,
}

impl Stage {
    fn apply(&self, vectors: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::Dense(dense) => dense.apply(vectors),
            Self::Normalize => pooling::unit(vectors),
        }
    }
}

/// A linear layer and what comes after it.
#[derive(Debug)]
pub(super) struct Dense {
    file: PathBuf,
    /// `[out, in]`
    weight: Tensor,
    bias: Option<Tensor>,
    activation: Activation,
}

#[derive(Debug, Clone, Copy)]
enum Activation {
    Identity,
    Tanh,
    Relu,
    Gelu,
}

impl Dense {
    fn read(dir: &Location, device: &Device, files: &mut Vec<Location>) -> Result<Self, Error> {
        let path = dir.join("config.json");
        let config: DenseConfig = read_json(&path)?;
        let name = config.activation_function.as_deref().unwrap_or("torch.nn.modules.activation.Tanh");
        let activation = match name.rsplit('.').next().unwrap_or("") {
            "Identity" => Activation::Identity,
            "Tanh" => Activation::Tanh,
            "ReLU" => Activation::Relu,
            "GELU" => Activation::Gelu,
            _ => {
                let message = format!("the activation is {name}; Identity, Tanh, ReLU and GELU can be run");
                return Err(Error::file(path.path(), message));
            }
        };
        let mut weights = Weights::find(dir)?;
        files.push(path);
        files.extend(weights.files().into_iter().cloned());
        let (file, biased) = (weights.path().to_owned(), weights.has("linear.bias"));
        let mut tensor =
            |name: &str| weights.tensor(name)?.to_device(device).map_err(|error| Error::file(&file, error));
        let weight = tensor("linear.weight")?;
        let bias = biased.then(|| tensor("linear.bias")).transpose()?;
        let out = weight.dims().first().copied().unwrap_or(0);
        if weight.rank() != 2 || out == 0 || bias.as_ref().is_some_and(|bias| bias.dims() != [out]) {
            return Err(Error::file(file, "the tensors are not those of a linear layer"));
        }
        Ok(Self { file, weight, bias, activation })
    }

    fn apply(&self, vectors: &Tensor) -> candle_core::Result<Tensor> {
        let mut out = matmul(vectors, &self.weight.t()?)?;
        if let Some(bias) = &self.bias {
            out = add(&out, bias)?;
        }
        in_pieces([&out], |[out]| match self.activation {
            Activation::Identity => Ok(out.clone()),
            Activation::Tanh => out.tanh(),
            Activation::Relu => out.relu(),
            Activation::Gelu => out.gelu_erf(),
        })
    }
}

/// How the states of a text's tokens become one vector.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pooling {
    Cls,
    Mean,
    Max,
}

impl Pooling {
    fn read(path: &Location) -> Result<Self, Error> {
        let config: PoolingConfig = read_json(path)?;
        let path = path.path();
        let others = config.pooling_mode_mean_sqrt_len_tokens
            || config.pooling_mode_weightedmean_tokens
            || config.pooling_mode_lasttoken;
        match (config.pooling_mode_cls_token, config.pooling_mode_mean_tokens, config.pooling_mode_max_tokens)
        {
            _ if others => {
                Err(Error::file(path, "cls, mean and max pooling can be run, and this is another"))
            }
            (true, false, false) => Ok(Self::Cls),
            (false, true, false) => Ok(Self::Mean),
            (false, false, true) => Ok(Self::Max),
            _ => Err(Error::file(path, "exactly one of cls, mean and max pooling can be used")),
        }
    }

    /// `[batch, length, dim]` to `[batch, dim]`, over the positions where `mask` is 1.
    fn apply(self, states: &Tensor, mask: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::Cls => states.narrow(1, 0, 1)?.squeeze(1),
            Self::Mean => pooling::mean(states, mask),
            Self::Max => pooling::max(states, mask),
        }
    }
}

#[derive(Deserialize)]
struct ModuleEntry {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "the file's own layout")]
struct PoolingConfig {
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_max_tokens: bool,
    #[serde(default)]
    pooling_mode_mean_sqrt_len_tokens: bool,
    #[serde(default)]
    pooling_mode_weightedmean_tokens: bool,
    #[serde(default)]
    pooling_mode_lasttoken: bool,
}

#[derive(Deserialize)]
struct DenseConfig {
    activation_function: Option<String>,
}
