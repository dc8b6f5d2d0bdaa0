//! All weights as one tensor: a GPU updates millions of them in the time of one call.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor, Var};

use super::{BETA_1, BETA_2, Moments, Step, decays};

/// Weights and moments, one after the other in the order of their names, `[values]`.
pub(super) struct Flat {
    names: Vec<(String, usize)>,
    weights: Tensor,
    first: Tensor,
    second: Tensor,
    /// 1 where weights are decayed, 0 elsewhere.
    decayed: Tensor,
}

impl Flat {
    pub(super) fn new(vars: &BTreeMap<String, Var>, moments: &Moments) -> Result<Self> {
        let device = vars.values().next().map_or(Device::Cpu, |var| var.device().clone());
        let joined = |values: &dyn Fn(&String, &Var) -> Vec<f32>| {
            let all: Vec<f32> = vars.iter().flat_map(|(name, var)| values(name, var)).collect();
            let length = all.len();
            Tensor::from_vec(all, length, &device)
        };
        let weights = vars.values().map(|var| var.as_detached_tensor().flatten_all());
        Ok(Self {
            names: vars.iter().map(|(name, var)| (name.clone(), var.elem_count())).collect(),
            weights: Tensor::cat(&weights.collect::<Result<Vec<_>>>()?, 0)?,
            first: joined(&|name, _| moments[name].0.clone())?,
            second: joined(&|name, _| moments[name].1.clone())?,
            decayed: joined(&|_, var| vec![f32::from(u8::from(decays(var))); var.elem_count()])?,
        })
    }

    /// Gradients as one tensor, zero where there is none.
    pub(super) fn gradient(&self, gradients: &BTreeMap<String, Tensor>) -> Result<Tensor> {
        let parts = self.names.iter().map(|(name, length)| match gradients.get(name) {
            Some(gradient) => gradient.detach().flatten_all(),
            None => self.weights.narrow(0, 0, *length)?.zeros_like(),
        });
        Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)
    }

    pub(super) fn step(&mut self, vars: &BTreeMap<String, Var>, gradient: &Tensor, step: Step) -> Result<()> {
        let gradient = (gradient * step.scale)?;
        self.first = ((&self.first * BETA_1)? + (&gradient * (1.0 - BETA_1))?)?;
        self.second = ((&self.second * BETA_2)? + (gradient.sqr()? * (1.0 - BETA_2))?)?;
        let kept = (&self.weights * ((&self.decayed * (step.keep - 1.0))? + 1.0)?)?;
        let moved = (&self.first / (self.second.sqrt()? + step.epsilon)?)?;
        self.weights = (kept - (moved * step.size)?)?;
        let mut at = 0;
        for (name, length) in &self.names {
            let var = &vars[name];
            var.set(&self.weights.narrow(0, at, *length)?.reshape(var.shape())?)?;
            at += length;
        }
        Ok(())
    }

    pub(super) fn moments(&self) -> Result<Moments> {
        let (first, second) = (self.first.to_vec1::<f32>()?, self.second.to_vec1::<f32>()?);
        let mut at = 0;
        let of = |(name, length): &(String, usize)| {
            let range = at..at + length;
            at += length;
            (name.clone(), (first[range.clone()].to_vec(), second[range].to_vec()))
        };
        Ok(self.names.iter().map(of).collect())
    }
}
