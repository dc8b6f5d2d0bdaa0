//! AdamW (Loshchilov & Hutter, arXiv 1711.05101), with state that a checkpoint can hold.

mod flat;

use std::collections::BTreeMap;
use std::sync::Mutex;

use candle_core::{Tensor, Var};
use embosk_models::threads::in_parallel;

use self::flat::Flat;
use super::super::model_error;
use crate::Error;

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.98;
const EPSILON: f64 = 1e-8;
const WEIGHT_DECAY: f64 = 0.01;

/// First and second moments of every weight, by the weight's name.
pub(super) type Moments = BTreeMap<String, Pair>;

type Pair = (Vec<f32>, Vec<f32>);

pub(super) struct AdamW {
    state: State,
    step: i32,
    /// Gradients are scaled down to this norm.
    clip: f64,
}

/// The moments, and how weights are moved.
enum State {
    /// One weight per thread.
    Cpu(BTreeMap<String, Mutex<Pair>>),
    Gpu(Flat),
}

/// The numbers of a step, including the bias corrections.
#[derive(Clone, Copy)]
struct Step {
    /// What gradients are scaled by.
    scale: f64,
    size: f64,
    epsilon: f64,
    /// What decayed weights keep.
    keep: f64,
}

impl AdamW {
    /// Creates the optimizer. `saved` is empty for a new training.
    pub(super) fn new(
        vars: &BTreeMap<String, Var>,
        saved: (Moments, usize),
        clip: f64,
    ) -> Result<Self, Error> {
        let (mut moments, step) = saved;
        let moments = vars.iter().map(|(name, var)| {
            let zeros = || vec![0f32; var.elem_count()];
            (name.clone(), moments.remove(name).unwrap_or_else(|| (zeros(), zeros())))
        });
        let state = if vars.values().all(|var| var.device().is_cpu()) {
            State::Cpu(moments.map(|(name, pair)| (name, Mutex::new(pair))).collect())
        } else {
            State::Gpu(Flat::new(vars, &moments.collect()).map_err(model_error)?)
        };
        Ok(Self { state, step: i32::try_from(step).unwrap_or(i32::MAX), clip })
    }

    pub(super) fn moments(&self) -> Result<Moments, Error> {
        let copy = |(name, pair): (&String, &Mutex<Pair>)| {
            (name.clone(), pair.lock().map_or_else(|_| Pair::default(), |pair| pair.clone()))
        };
        match &self.state {
            State::Cpu(moments) => Ok(moments.iter().map(copy).collect()),
            State::Gpu(flat) => flat.moments().map_err(model_error),
        }
    }

    /// Moves the weights against the gradients.
    pub(super) fn step(
        &mut self,
        vars: &BTreeMap<String, Var>,
        gradients: BTreeMap<String, Tensor>,
        rate: f64,
    ) -> Result<(), Error> {
        self.step += 1;
        let correction = (1.0 - BETA_2.powi(self.step)).sqrt();
        let step = Step {
            scale: 1.0,
            size: rate / (1.0 - BETA_1.powi(self.step)) * correction,
            epsilon: EPSILON * correction,
            keep: 1.0 - rate * WEIGHT_DECAY,
        };
        let clip = self.clip;
        let scaled = |norm: f64| -> Result<Step, Error> {
            if norm.is_finite() {
                return Ok(Step { scale: (clip / norm).min(1.0), ..step });
            }
            Err(Error::Setting(
                "training diverged: a gradient is not finite; use a lower learning rate".into(),
            ))
        };
        match &mut self.state {
            State::Cpu(moments) => on_cpu(moments, vars, gradients, scaled),
            State::Gpu(flat) => {
                let gradient = flat.gradient(&gradients).map_err(model_error)?;
                let squares = gradient.sqr().and_then(|squares| squares.sum_all()).map_err(model_error)?;
                let norm = f64::from(squares.to_scalar::<f32>().map_err(model_error)?).sqrt();
                flat.step(vars, &gradient, scaled(norm)?).map_err(model_error)
            }
        }
    }
}

/// Norms and biases are not decayed.
fn decays(var: &Var) -> bool {
    var.dims().len() > 1
}

fn on_cpu(
    moments: &BTreeMap<String, Mutex<Pair>>,
    vars: &BTreeMap<String, Var>,
    gradients: BTreeMap<String, Tensor>,
    scaled: impl FnOnce(f64) -> Result<Step, Error>,
) -> Result<(), Error> {
    let gradients: Vec<(String, Tensor)> = gradients.into_iter().collect();
    let flat = in_parallel(&gradients, |(_, gradient)| {
        let values = gradient.flatten_all()?.to_vec1::<f32>()?;
        let squares: f64 = values.iter().map(|&g| f64::from(g * g)).sum();
        Ok::<_, candle_core::Error>((values, squares))
    })
    .map_err(model_error)?;
    let step = scaled(flat.iter().map(|(_, squares)| squares).sum::<f64>().sqrt())?;
    let jobs: Vec<(&str, &[f32])> = gradients
        .iter()
        .zip(&flat)
        .map(|((name, _), (values, _))| (name.as_str(), values.as_slice()))
        .collect();
    in_parallel(&jobs, |(name, values)| update(&vars[*name], &moments[*name], values, step))
        .map_err(model_error)?;
    Ok(())
}

fn update(var: &Var, moments: &Mutex<Pair>, gradient: &[f32], step: Step) -> candle_core::Result<()> {
    let Ok(mut pair) = moments.lock() else { candle_core::bail!("a worker panicked") };
    let (first, second) = &mut *pair;
    let mut values = var.flatten_all()?.to_vec1::<f32>()?;
    let (b1, b2) = (BETA_1 as f32, BETA_2 as f32);
    let (scale, size, epsilon) = (step.scale as f32, step.size as f32, step.epsilon as f32);
    let keep = if decays(var) { step.keep as f32 } else { 1.0 };
    for (((value, m), v), g) in values.iter_mut().zip(first).zip(second).zip(gradient) {
        let g = g * scale;
        *m = b1 * *m + (1.0 - b1) * g;
        *v = b2 * *v + (1.0 - b2) * g * g;
        *value = *value * keep - size * *m / (v.sqrt() + epsilon);
    }
    var.set(&Tensor::from_vec(values, var.shape(), var.device())?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    fn weight(values: &[f32]) -> BTreeMap<String, Var> {
        let var = Var::from_tensor(&Tensor::new(values, &Device::Cpu).unwrap()).unwrap();
        BTreeMap::from([("weight".to_owned(), var)])
    }

    /// The first moments after a step are a tenth of the gradient, scaled down to the norm.
    #[test]
    fn gradients_are_clipped_to_the_norm() {
        let vars = weight(&[0.0, 0.0]);
        for (gradient, clip, expected) in
            [([3.0f32, 4.0], 1.0, [0.06f32, 0.08]), ([0.3, 0.4], 1.0, [0.03, 0.04])]
        {
            let mut optimizer = AdamW::new(&vars, (Moments::new(), 0), clip).unwrap();
            let gradients =
                BTreeMap::from([("weight".to_owned(), Tensor::new(&gradient, &Device::Cpu).unwrap())]);
            optimizer.step(&vars, gradients, 1e-3).unwrap();
            let (first, _) = &optimizer.moments().unwrap()["weight"];
            for (found, expected) in first.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{first:?}");
            }
        }
    }

    /// All weights in one tensor, as on a GPU, move as they do one by one.
    #[test]
    fn flat_weights_move_alike() {
        let vars = || {
            let of = |shape: &[usize]| {
                Var::from_tensor(&Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap()).unwrap()
            };
            BTreeMap::from([("matrix".to_owned(), of(&[2, 3])), ("norm".to_owned(), of(&[3]))])
        };
        let (one_by_one, together) = (vars(), vars());
        let mut first = AdamW::new(&one_by_one, (Moments::new(), 0), 1.0).unwrap();
        let zeros = first.moments().unwrap();
        let flat = Flat::new(&together, &zeros).unwrap();
        let mut second = AdamW { state: State::Gpu(flat), step: 0, clip: 1.0 };
        for round in 1..4 {
            let gradients = || {
                let of = |(name, var): (&String, &Var)| {
                    let values = (0..var.elem_count()).map(|at| (((at + 1) * round) as f32).sin());
                    let tensor = Tensor::from_iter(values, &Device::Cpu).unwrap();
                    (name.clone(), tensor.reshape(var.shape()).unwrap())
                };
                one_by_one.iter().map(of).collect::<BTreeMap<_, _>>()
            };
            first.step(&one_by_one, gradients(), 0.01).unwrap();
            second.step(&together, gradients(), 0.01).unwrap();
        }
        let values = |var: &Var| var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (name, var) in &one_by_one {
            for (a, b) in values(var).iter().zip(values(&together[name])) {
                assert!((a - b).abs() < 1e-6 && (a - 1.0).abs() > 1e-6, "{name}: {a} {b}");
            }
            let (ours, theirs) = (&first.moments().unwrap()[name].1, &second.moments().unwrap()[name].1);
            assert!(ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 1e-7));
        }
    }
}
