//! AdamW (Loshchilov & Hutter, arXiv 1711.05101), with state that a checkpoint can hold.

use std::collections::BTreeMap;
use std::sync::Mutex;

use candle_core::{Tensor, Var};

use super::super::model_error;
use super::super::threads::in_parallel;
use crate::Error;

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.98;
const EPSILON: f64 = 1e-8;
const WEIGHT_DECAY: f64 = 0.01;

/// First and second moments of every weight, by the weight's name.
pub(super) type Moments = BTreeMap<String, Pair>;

type Pair = (Vec<f32>, Vec<f32>);

pub(super) struct AdamW {
    moments: BTreeMap<String, Mutex<Pair>>,
    step: i32,
    /// Gradients are scaled down to this norm.
    clip: f64,
}

impl AdamW {
    /// `saved` is empty for a training that begins.
    pub(super) fn new(vars: &BTreeMap<String, Var>, saved: (Moments, usize), clip: f64) -> Self {
        let (mut moments, step) = saved;
        let of = |(name, var): (&String, &Var)| {
            let zeros = || vec![0f32; var.elem_count()];
            let pair = moments.remove(name).unwrap_or_else(|| (zeros(), zeros()));
            (name.clone(), Mutex::new(pair))
        };
        Self { moments: vars.iter().map(of).collect(), step: i32::try_from(step).unwrap_or(i32::MAX), clip }
    }

    pub(super) fn moments(&self) -> Moments {
        let copy = |(name, pair): (&String, &Mutex<Pair>)| {
            (name.clone(), pair.lock().map_or_else(|_| Pair::default(), |pair| pair.clone()))
        };
        self.moments.iter().map(copy).collect()
    }

    /// Moves the weights against the gradients.
    pub(super) fn step(
        &mut self,
        vars: &BTreeMap<String, Var>,
        gradients: BTreeMap<String, Tensor>,
        rate: f64,
    ) -> Result<(), Error> {
        self.step += 1;
        let gradients: Vec<(String, Tensor)> = gradients.into_iter().collect();
        let flat = in_parallel(&gradients, |(_, gradient)| {
            let values = gradient.flatten_all()?.to_vec1::<f32>()?;
            let squares: f64 = values.iter().map(|&g| f64::from(g * g)).sum();
            Ok::<_, candle_core::Error>((values, squares))
        })
        .map_err(model_error)?;
        let norm = flat.iter().map(|(_, squares)| squares).sum::<f64>().sqrt();
        if !norm.is_finite() {
            return Err(Error::Setting(
                "training diverged: a gradient is not finite; use a lower learning rate".into(),
            ));
        }
        let scale = (self.clip / norm).min(1.0) as f32;
        let jobs: Vec<(&str, &[f32])> = gradients
            .iter()
            .zip(&flat)
            .map(|((name, _), (values, _))| (name.as_str(), values.as_slice()))
            .collect();
        in_parallel(&jobs, |(name, values)| self.update(&vars[*name], name, values, scale, rate))
            .map_err(model_error)?;
        Ok(())
    }

    fn update(
        &self,
        var: &Var,
        name: &str,
        gradient: &[f32],
        scale: f32,
        rate: f64,
    ) -> candle_core::Result<()> {
        let Ok(mut pair) = self.moments[name].lock() else { candle_core::bail!("a worker panicked") };
        let (first, second) = &mut *pair;
        let mut values = var.flatten_all()?.to_vec1::<f32>()?;
        let (b1, b2) = (BETA_1 as f32, BETA_2 as f32);
        let correction_1 = 1.0 - BETA_1.powi(self.step);
        let correction_2 = (1.0 - BETA_2.powi(self.step)).sqrt();
        let step = (rate / correction_1 * correction_2) as f32;
        let epsilon = (EPSILON * correction_2) as f32;
        // norms and biases are not decayed
        let keep = if var.dims().len() > 1 { (1.0 - rate * WEIGHT_DECAY) as f32 } else { 1.0 };
        for (((value, m), v), g) in values.iter_mut().zip(first).zip(second).zip(gradient) {
            let g = g * scale;
            *m = b1 * *m + (1.0 - b1) * g;
            *v = b2 * *v + (1.0 - b2) * g * g;
            *value = *value * keep - step * *m / (v.sqrt() + epsilon);
        }
        var.set(&Tensor::from_vec(values, var.shape(), var.device())?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// The first moments after a step are a tenth of the gradient, scaled down to the norm.
    #[test]
    fn gradients_are_clipped_to_the_norm() {
        let var =
            Var::from_tensor(&Tensor::zeros(2, candle_core::DType::F32, &Device::Cpu).unwrap()).unwrap();
        let vars = BTreeMap::from([("weight".to_owned(), var)]);
        for (gradient, clip, expected) in
            [([3.0f32, 4.0], 1.0, [0.06f32, 0.08]), ([0.3, 0.4], 1.0, [0.03, 0.04])]
        {
            let mut optimizer = AdamW::new(&vars, (Moments::new(), 0), clip);
            let gradients =
                BTreeMap::from([("weight".to_owned(), Tensor::new(&gradient, &Device::Cpu).unwrap())]);
            optimizer.step(&vars, gradients, 1e-3).unwrap();
            let (first, _) = &optimizer.moments()["weight"];
            for (found, expected) in first.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{first:?}");
            }
        }
    }
}
