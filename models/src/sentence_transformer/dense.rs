//! Modules after the pooling that have weights: `Dense` and `LayerNorm`.

use std::path::PathBuf;

use candle_core::{Device, Tensor};
use serde_json::json;

use super::fields::Fields;
use crate::Error;
use crate::kernels::{add, in_pieces, layer_norm, layer_norm_backward, matmul, rows, times, with};
use crate::location::Location;
use crate::weights::Weights;

/// The required value of the fields that say which vectors a module reads and writes.
const VECTORS: &str = "sentence_embedding";
/// The epsilon of PyTorch's `nn.LayerNorm`, which the file does not state.
const EPSILON: f32 = 1e-5;
/// The slope of PyTorch's `nn.LeakyReLU` below 0.
const LEAK: f32 = 0.01;

/// Checks that a module reads and writes the texts' vectors, rather than those of tokens.
pub(super) fn on_vectors(fields: &mut Fields) -> Result<(), Error> {
    fields.only("module_input_name", &[json!(VECTORS)])?;
    fields.only("module_output_name", &[json!(VECTORS)])
}

/// A linear layer and what comes after it.
#[derive(Debug)]
pub(super) struct Dense {
    pub(super) file: PathBuf,
    /// `[out, in]`
    weight: Tensor,
    bias: Option<Tensor>,
    activation: Activation,
    residual: Option<Residual>,
}

/// What is added to a layer's output.
#[derive(Debug)]
enum Residual {
    /// The input.
    Same,
    /// The input times a matrix `[out, in]`.
    Projected(Tensor),
}

#[derive(Debug, Clone, Copy)]
enum Activation {
    Identity,
    Tanh,
    Relu,
    Gelu,
    Sigmoid,
    Silu,
    Elu,
    LeakyRelu,
}

impl Activation {
    /// The activation of a PyTorch class, created without arguments.
    fn of(name: &str) -> Option<Self> {
        let class = name.strip_prefix("torch.nn.")?;
        let known = ["modules.linear.", "modules.activation."];
        match known.iter().find_map(|module| class.strip_prefix(module)).unwrap_or(class) {
            "Identity" => Some(Self::Identity),
            "Tanh" => Some(Self::Tanh),
            "ReLU" => Some(Self::Relu),
            "GELU" => Some(Self::Gelu),
            "Sigmoid" => Some(Self::Sigmoid),
            "SiLU" => Some(Self::Silu),
            "ELU" => Some(Self::Elu),
            "LeakyReLU" => Some(Self::LeakyRelu),
            _ => None,
        }
    }

    fn apply(self, out: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::Identity => Ok(out.clone()),
            Self::Tanh => out.tanh(),
            Self::Relu => out.relu(),
            Self::Gelu => out.gelu_erf(),
            Self::Sigmoid => candle_nn::ops::sigmoid(out),
            Self::Silu => out.silu(),
            Self::Elu => out.elu(1.0),
            Self::LeakyRelu => candle_nn::ops::leaky_relu(out, f64::from(LEAK)),
        }
    }

    fn slope(self, x: f32) -> f32 {
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        match self {
            Self::Identity => 1.0,
            Self::Tanh => 1.0 - x.tanh() * x.tanh(),
            Self::Relu => f32::from(u8::from(x > 0.0)),
            Self::Gelu => rows::gelu_erf_and_slope(x).1,
            Self::Sigmoid => sigmoid(x) * sigmoid(-x),
            Self::Silu => sigmoid(x) * (1.0 + x * sigmoid(-x)),
            Self::Elu => x.min(0.0).exp(),
            Self::LeakyRelu => {
                if x > 0.0 {
                    1.0
                } else {
                    LEAK
                }
            }
        }
    }
}

impl Dense {
    pub(super) fn read(dir: &Location, device: &Device, files: &mut Vec<Location>) -> Result<Self, Error> {
        let path = dir.join("config.json");
        let mut fields = Fields::read(&path)?;
        let name: Option<String> = fields.take("activation_function")?;
        let activation = match name.as_deref() {
            None => Activation::Tanh,
            Some(name) => Activation::of(name).ok_or_else(|| {
                let can =
                    "torch.nn's Identity, Tanh, ReLU, GELU, Sigmoid, SiLU, ELU and LeakyReLU can be run";
                fields.refuse("activation_function", format!("it is {name}; {can}"))
            })?,
        };
        on_vectors(&mut fields)?;
        let biased = fields.take("bias")?.unwrap_or(true);
        let residual = fields.take("use_residual")?.unwrap_or(false);
        let shape: [Option<usize>; 2] = [fields.take("out_features")?, fields.take("in_features")?];
        let mut weights = Weights::find(dir)?;
        for (field, said, name) in
            [("bias", biased, "linear.bias"), ("use_residual", residual, "residual.weight")]
        {
            if !said && weights.has(name) {
                return Err(fields.refuse(field, format!("it is false, and the weights have {name}")));
            }
        }
        fields.finish()?;
        files.push(path);
        files.extend(weights.files().into_iter().cloned());
        let file = weights.path().to_owned();
        let mut tensor =
            |name: &str| weights.tensor(name)?.to_device(device).map_err(|error| Error::file(&file, error));
        let weight = tensor("linear.weight")?;
        let bias = biased.then(|| tensor("linear.bias")).transpose()?;
        let residual = match residual {
            false => None,
            true if weight.dims().first() == weight.dims().get(1) => Some(Residual::Same),
            true => Some(Residual::Projected(tensor("residual.weight")?)),
        };
        let dense = Self { file, weight, bias, activation, residual };
        dense.check(shape)?;
        Ok(dense)
    }

    /// # Errors
    /// If the tensors are not those of a layer, or not of the layer that the configuration describes.
    fn check(&self, [out, from]: [Option<usize>; 2]) -> Result<(), Error> {
        let fits = match *self.weight.dims() {
            [rows, columns] => {
                rows > 0
                    && self.bias.as_ref().is_none_or(|bias| bias.dims() == [rows])
                    && out.is_none_or(|out| out == rows)
                    && from.is_none_or(|from| from == columns)
            }
            _ => false,
        };
        let projected = match &self.residual {
            Some(Residual::Projected(matrix)) => matrix.dims() == self.weight.dims(),
            _ => true,
        };
        if fits && projected {
            return Ok(());
        }
        Err(Error::file(
            &self.file,
            "the tensors are not those of the linear layer that config.json describes",
        ))
    }

    /// The dimensions of input and output.
    pub(super) fn dims(&self) -> (usize, usize) {
        (self.weight.dims().get(1).copied().unwrap_or(0), self.weight.dims().first().copied().unwrap_or(0))
    }

    /// Names the residual connection, which the first versions of this crate left out.
    pub(super) fn has_residual(&self) -> bool {
        self.residual.is_some()
    }

    pub(super) fn apply(&self, vectors: &Tensor) -> candle_core::Result<Tensor> {
        let out = in_pieces([&self.linear(vectors)?], |[out]| self.activation.apply(out))?;
        match &self.residual {
            None => Ok(out),
            Some(Residual::Same) => add(&out, vectors),
            Some(Residual::Projected(matrix)) => add(&out, &matmul(vectors, &matrix.t()?)?),
        }
    }

    /// Turns the gradient with respect to what [`apply`](Self::apply) returns into that with respect to the vectors.
    pub(super) fn gradient(&self, vectors: &Tensor, grad: &Tensor) -> candle_core::Result<Tensor> {
        let slopes: Vec<f32> =
            with(&self.linear(vectors)?, |out| out.iter().map(|&x| self.activation.slope(x)).collect())?;
        let slopes = Tensor::from_vec(slopes, grad.shape(), grad.device())?;
        let through = matmul(&times(grad, &slopes)?, &self.weight)?;
        match &self.residual {
            None => Ok(through),
            Some(Residual::Same) => add(&through, grad),
            Some(Residual::Projected(matrix)) => add(&through, &matmul(grad, matrix)?),
        }
    }

    fn linear(&self, vectors: &Tensor) -> candle_core::Result<Tensor> {
        let out = matmul(vectors, &self.weight.t()?)?;
        match &self.bias {
            Some(bias) => add(&out, bias),
            None => Ok(out),
        }
    }
}

/// Brings each vector to mean 0 and variance 1, and then scales and shifts its coordinates.
#[derive(Debug)]
pub(super) struct LayerNorm {
    pub(super) file: PathBuf,
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    pub(super) fn read(dir: &Location, device: &Device, files: &mut Vec<Location>) -> Result<Self, Error> {
        let path = dir.join("config.json");
        let mut fields = Fields::read(&path)?;
        let dimension: Option<usize> = fields.take("dimension")?;
        fields.finish()?;
        let mut weights = Weights::find(dir)?;
        files.push(path);
        files.extend(weights.files().into_iter().cloned());
        let file = weights.path().to_owned();
        let mut tensor =
            |name: &str| weights.tensor(name)?.to_device(device).map_err(|error| Error::file(&file, error));
        let (weight, bias) = (tensor("norm.weight")?, tensor("norm.bias")?);
        let is_vector = weight.rank() == 1 && dimension.is_none_or(|dimension| weight.dims() == [dimension]);
        if !is_vector || weight.dims() != bias.dims() {
            return Err(Error::file(
                file,
                "the tensors are not those of the norm that config.json describes",
            ));
        }
        Ok(Self { file, weight, bias })
    }

    pub(super) fn width(&self) -> usize {
        self.weight.elem_count()
    }

    pub(super) fn apply(&self, vectors: &Tensor) -> candle_core::Result<Tensor> {
        layer_norm(vectors, &self.weight, &self.bias, EPSILON)
    }

    /// Turns the gradient with respect to what [`apply`](Self::apply) returns into that with respect to the vectors.
    pub(super) fn gradient(&self, vectors: &Tensor, grad: &Tensor) -> candle_core::Result<Tensor> {
        layer_norm_backward(vectors, &self.weight, grad, EPSILON)
    }
}
