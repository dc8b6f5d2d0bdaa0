//! Activations together with their slopes, and products value by value, for backward passes that are written out.

use candle_core::{Result, Storage, Tensor, bail};

use super::access::{on_cpu, values};
use super::rows;

/// An activation between two layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    Relu,
    /// The Gaussian error linear unit, `x · Φ(x)`.
    Gelu,
    /// The same, with the approximation of Φ by tanh.
    GeluByTanh,
    /// `x / (1 + e⁻ˣ)`.
    Silu,
}

/// Applies the curve to each value, and returns the results and the slopes. On the CPU only.
pub(crate) fn activated(curve: Curve, x: &Tensor) -> Result<(Tensor, Tensor)> {
    let (mut out, mut slopes) = (vec![0f32; x.elem_count()], vec![0f32; x.elem_count()]);
    with(x, |x| match curve {
        Curve::Relu => fill(x, &mut out, &mut slopes, |x| (x.max(0.0), f32::from(u8::from(x > 0.0)))),
        Curve::Gelu => fill(x, &mut out, &mut slopes, rows::gelu_erf_and_slope),
        Curve::GeluByTanh => fill(x, &mut out, &mut slopes, rows::gelu_and_slope),
        Curve::Silu => fill(x, &mut out, &mut slopes, rows::silu_and_slope),
    })?;
    Ok((Tensor::from_vec(out, x.shape(), x.device())?, Tensor::from_vec(slopes, x.shape(), x.device())?))
}

fn fill(x: &[f32], out: &mut [f32], slopes: &mut [f32], curve: impl Fn(f32) -> (f32, f32)) {
    rows::widest(
        #[inline(always)]
        || {
            for ((x, out), slope) in x.iter().zip(out).zip(slopes) {
                (*out, *slope) = curve(*x);
            }
        },
    );
}

/// Applies the curve to each value of `gate`, and multiplies it by the value of `x` at the same place.
pub(crate) fn gated(curve: Curve, gate: &Tensor, x: &Tensor) -> Result<Tensor> {
    if gate.dims() != x.dims() {
        bail!("values of shapes {:?} and {:?} cannot be multiplied", gate.dims(), x.dims());
    }
    if !on_cpu(gate) {
        let gate = match curve {
            Curve::Relu => gate.relu(),
            Curve::Gelu => gate.gelu_erf(),
            Curve::GeluByTanh => gate.gelu(),
            Curve::Silu => gate.silu(),
        };
        return gate?.mul(x);
    }
    let mut out = with(x, <[f32]>::to_vec)?;
    with(gate, |gate| match curve {
        Curve::Relu => multiply(gate, &mut out, |x| x.max(0.0)),
        Curve::Gelu => multiply(gate, &mut out, |x| rows::gelu_erf_and_slope(x).0),
        Curve::GeluByTanh => multiply(gate, &mut out, rows::gelu),
        Curve::Silu => multiply(gate, &mut out, |x| rows::silu_and_slope(x).0),
    })?;
    Tensor::from_vec(out, x.shape(), x.device())
}

impl Curve {
    /// Adds `bias` to each row, and applies the curve to the sum, in place.
    pub(crate) fn in_place(self, bias: &[f32], x: &mut [f32]) {
        match self {
            Self::Relu => bend(bias, x, |x| x.max(0.0)),
            Self::Gelu => bend(bias, x, |x| rows::gelu_erf_and_slope(x).0),
            Self::GeluByTanh => bend(bias, x, rows::gelu),
            Self::Silu => bend(bias, x, |x| rows::silu_and_slope(x).0),
        }
    }
}

fn bend(bias: &[f32], x: &mut [f32], curve: impl Fn(f32) -> f32) {
    rows::widest(
        #[inline(always)]
        || {
            for row in x.chunks_exact_mut(bias.len().max(1)) {
                for (x, bias) in row.iter_mut().zip(bias) {
                    *x = curve(*x + bias);
                }
            }
        },
    );
}

fn multiply(gate: &[f32], out: &mut [f32], curve: impl Fn(f32) -> f32) {
    rows::widest(
        #[inline(always)]
        || {
            for (gate, out) in gate.iter().zip(out) {
                *out *= curve(*gate);
            }
        },
    );
}

/// Multiplies each value by the same factor, on any device.
pub(crate) fn multiplied(x: &Tensor, factor: f32) -> Result<Tensor> {
    if on_cpu(x) { scaled(x, factor) } else { x * f64::from(factor) }
}

/// Multiplies two tensors of the same shape value by value. On the CPU only.
pub(crate) fn times(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    if x.dims() != y.dims() {
        bail!("values of shapes {:?} and {:?} cannot be multiplied", x.dims(), y.dims());
    }
    let out: Vec<f32> = with(x, |x| with(y, |y| x.iter().zip(y).map(|(x, y)| x * y).collect()))??;
    Tensor::from_vec(out, x.shape(), x.device())
}

/// Multiplies each value by the same factor. On the CPU only.
pub(crate) fn scaled(x: &Tensor, factor: f32) -> Result<Tensor> {
    let out: Vec<f32> = with(x, |x| x.iter().map(|x| x * factor).collect())?;
    Tensor::from_vec(out, x.shape(), x.device())
}

/// Hands the values of a tensor on the CPU to `read`.
pub(crate) fn with<T>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else { bail!("the values must be on the CPU") };
    Ok(read(values(storage, layout)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// Compares with candle's own curves.
    #[test]
    fn gates_are_curves_times_values() {
        let wave = |step: f32| {
            let values: Vec<f32> = (0..6 * 37).map(|at| (at as f32 * step).sin() * 5.0).collect();
            Tensor::from_vec(values, (6, 37), &Device::Cpu).unwrap()
        };
        let (gate, x) = (wave(0.7), wave(1.1));
        for (curve, expected) in [
            (Curve::Relu, gate.relu()),
            (Curve::Gelu, gate.gelu_erf()),
            (Curve::GeluByTanh, gate.gelu()),
            (Curve::Silu, gate.silu()),
        ] {
            let expected = expected.unwrap().mul(&x).unwrap();
            let far = (gated(curve, &gate, &x).unwrap() - expected).unwrap().abs().unwrap();
            let far = far.flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
            assert!(far < 1e-5, "{curve:?}: {far}");
        }
        assert!(gated(Curve::Silu, &gate, &x.t().unwrap()).is_err());
    }
}
