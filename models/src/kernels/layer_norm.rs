//! BERT's layer norm.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

use super::access::{last, on_cpu, values};
use super::rows;

/// Brings each row to mean 0 and variance 1, then multiplies it by `weight` and adds `bias`. There is no
/// gradient.
///
/// # Errors
/// For shapes that do not fit.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, epsilon: f32) -> Result<Tensor> {
    if !on_cpu(x) {
        return candle_nn::ops::layer_norm(&x.contiguous()?, weight, bias, epsilon);
    }
    x.contiguous()?.apply_op3_no_bwd(weight, bias, &LayerNorm { epsilon })
}

/// Turns the gradient with respect to the output of [`layer_norm`] into that with respect to `x`. On the CPU only.
pub(crate) fn layer_norm_backward(
    x: &Tensor,
    weight: &Tensor,
    grad: &Tensor,
    epsilon: f32,
) -> Result<Tensor> {
    x.contiguous()?.apply_op3_no_bwd(weight, &grad.contiguous()?, &LayerNormBackward { epsilon })
}

/// Does to plain rows what [`layer_norm`] does to those of a tensor, in place. The last bits differ: sums are taken
/// several values at a time, and the variance is that of the values minus their mean.
pub(crate) fn layer_norm_in_place(x: &mut [f32], weight: &[f32], bias: &[f32], epsilon: f32) -> Result<()> {
    let width = weight.len();
    if width == 0 || bias.len() != width || !x.len().is_multiple_of(width) {
        candle_core::bail!("{} values of states meet a norm of {width} weights", x.len());
    }
    rows::widest(
        #[inline(always)]
        || {
            for row in x.chunks_exact_mut(width) {
                let mean = rows::sum_of(row, |x| x) / width as f32;
                let variance = rows::sum_of(row, |x| (x - mean) * (x - mean)) / width as f32;
                let scale = (variance + epsilon).sqrt().recip();
                for ((x, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
                    *x = (*x - mean) * scale * weight + bias;
                }
            }
        },
    );
    Ok(())
}

/// The arithmetic is that of candle's own, which runs its rows on rayon's pool.
struct LayerNorm {
    epsilon: f32,
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, width) = (values(x, layout)?, last(layout)?);
        let (weight, bias) = (values(weight, weight_layout)?, values(bias, bias_layout)?);
        if weight.len() != width || bias.len() != width || width == 0 {
            candle_core::bail!("states of width {width} meet a norm of {} weights", weight.len());
        }
        let mut out = vec![0f32; x.len()];
        for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
            let (mut sum, mut squares) = (0f32, 0f32);
            for x in x {
                sum += x;
                squares += x * x;
            }
            let mean = sum / width as f32;
            let scale = (squares / width as f32 - mean * mean + self.epsilon).sqrt().recip();
            for (((out, x), weight), bias) in out.iter_mut().zip(x).zip(weight).zip(bias) {
                *out = (x - mean) * scale * weight + bias;
            }
        }
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}

struct LayerNormBackward {
    epsilon: f32,
}

impl CustomOp3 for LayerNormBackward {
    fn name(&self) -> &'static str {
        "layer-norm-backward"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight) = (values(x, layout)?, values(weight, weight_layout)?);
        let (grad, width) = (values(grad, grad_layout)?, last(layout)?);
        if weight.len() != width || grad.len() != x.len() || width == 0 {
            candle_core::bail!("states of width {width} meet a norm of {} weights", weight.len());
        }
        let mut out = vec![0f32; x.len()];
        rows::widest(
            #[inline(always)]
            || {
                let rows = out.chunks_exact_mut(width).zip(x.chunks_exact(width));
                for ((out, x), grad) in rows.zip(grad.chunks_exact(width)) {
                    row_backward(x, weight, grad, self.epsilon, out);
                }
            },
        );
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}

/// `weight · grad` without its mean and its component along the normalized row, times the norm's scale.
#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
fn row_backward(x: &[f32], weight: &[f32], grad: &[f32], epsilon: f32, out: &mut [f32]) {
    let width = x.len() as f32;
    let mean = rows::sum_of(x, |x| x) / width;
    let variance = rows::sum_of(x, |x| (x - mean) * (x - mean)) / width;
    let scale = (variance + epsilon).sqrt().recip();
    for ((out, weight), grad) in out.iter_mut().zip(weight).zip(grad) {
        *out = weight * grad;
    }
    let shared = rows::sum_of(out, |value| value) / width;
    let along = rows::sum_of_pairs(out, x, |value, x| value * (x - mean) * scale) / width;
    for (out, x) in out.iter_mut().zip(x) {
        *out = scale * (*out - shared - along * (x - mean) * scale);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::{D, Device, Var};

    use super::*;

    /// Compares with candle's gradient of the same norm, composed of single operations.
    #[test]
    fn the_gradient_is_that_of_single_operations() {
        let wave = |shape: &[usize], step: f32| {
            let values = (0..shape.iter().product()).map(|at| (at as f32 * step).sin()).collect::<Vec<f32>>();
            Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
        };
        let (x, weight, grad) = (wave(&[7, 50], 1.1), wave(&[50], 0.3), wave(&[7, 50], 0.9));
        let x = Var::from_tensor(&x).unwrap();
        let off = x.broadcast_sub(&x.mean_keepdim(D::Minus1).unwrap()).unwrap();
        let variance = off.sqr().unwrap().mean_keepdim(D::Minus1).unwrap();
        let normed = off.broadcast_div(&(variance + 1e-5).unwrap().sqrt().unwrap()).unwrap();
        let loss = (normed.broadcast_mul(&weight).unwrap() * &grad).unwrap().sum_all().unwrap();
        let expected = loss.backward().unwrap().get(&x).unwrap().flatten_all().unwrap();
        let found = layer_norm_backward(&x, &weight, &grad, 1e-5).unwrap().flatten_all().unwrap();
        let far = (found - expected).unwrap().abs().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
        assert!(far < 1e-5, "{far}");
        assert!(layer_norm_backward(&x, &weight, &grad.narrow(0, 0, 2).unwrap(), 1e-5).is_err());
    }

    #[test]
    fn it_is_candles_to_the_bit() {
        let wave =
            |count: usize, step: f32| -> Vec<f32> { (0..count).map(|at| (at as f32 * step).sin()).collect() };
        let x = Tensor::from_vec(wave(2 * 9 * 384, 1.1), (2, 9, 384), &Device::Cpu).unwrap();
        let [weight, bias] =
            [0.3, 0.7].map(|step| Tensor::from_vec(wave(384, step), 384, &Device::Cpu).unwrap());
        let bits = |x: Tensor| -> Vec<u32> {
            x.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
        };
        let ours = layer_norm(&x, &weight, &bias, 1e-12).unwrap();
        let mut rows = x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let [of_weight, of_bias] = [&weight, &bias].map(|tensor| tensor.to_vec1::<f32>().unwrap());
        layer_norm_in_place(&mut rows, &of_weight, &of_bias, 1e-12).unwrap();
        let all = ours.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(rows.iter().zip(all).all(|(found, expected)| (found - expected).abs() < 1e-5));
        assert!(layer_norm_in_place(&mut rows, &of_weight, &of_bias[1..], 1e-12).is_err());
        assert!(bits(ours) == bits(candle_nn::ops::layer_norm(&x, &weight, &bias, 1e-12).unwrap()));
        assert!(layer_norm(&x, &weight.narrow(0, 0, 9).unwrap(), &bias, 1e-12).is_err());
    }
}
