//! BERT's layer norm.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

use super::access::{last, on_cpu, values};

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

/// With the arithmetic of candle's own, which takes its rows to rayon's pool.
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::Device;

    use super::*;

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
        assert!(bits(ours) == bits(candle_nn::ops::layer_norm(&x, &weight, &bias, 1e-12).unwrap()));
        assert!(layer_norm(&x, &weight.narrow(0, 0, 9).unwrap(), &bias, 1e-12).is_err());
    }
}
