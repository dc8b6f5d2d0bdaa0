use candle_core::{Device, Tensor, Var};

use super::embedding::Embedding;
use super::permute::Permute;
use super::relu::Relu;
use super::*;

/// The GPU if this was built for one, and otherwise the CPU.
fn device() -> Device {
    if cfg!(feature = "cuda") { Device::new_cuda(0).unwrap() } else { Device::Cpu }
}

fn waves(shape: (usize, usize), device: &Device) -> Var {
    let values: Vec<f32> = (0..shape.0 * shape.1).map(|at| (at as f32 * 1.7).sin() * 3.0).collect();
    Var::from_tensor(&Tensor::from_vec(values, shape, device).unwrap()).unwrap()
}

fn far(a: &Tensor, b: &Tensor) -> f32 {
    let (a, b) = (a.to_device(&Device::Cpu).unwrap(), b.to_device(&Device::Cpu).unwrap());
    (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

/// Compares values and gradients, by a weighted sum, with those of candle's own single operations on the CPU.
fn agrees(
    vars: [(usize, usize); 2],
    ours: impl Fn(&Tensor, &Tensor) -> Tensor,
    theirs: impl Fn(&Tensor, &Tensor) -> Tensor,
) {
    let of = |device: &Device, f: &dyn Fn(&Tensor, &Tensor) -> Tensor| {
        let (x, y) = (waves(vars[0], device), waves(vars[1], device));
        let out = f(&x, &y);
        let weights = waves((1, out.elem_count()), device).reshape(out.shape()).unwrap();
        let loss = (&out * weights.detach()).unwrap().sum_all().unwrap();
        let gradients = loss.backward().unwrap();
        let of_y = gradients.get(&y).cloned();
        (out, gradients.get(&x).unwrap().clone(), of_y)
    };
    let (out, of_x, of_y) = of(&device(), &ours);
    let (expected, expected_of_x, expected_of_y) = of(&Device::Cpu, &theirs);
    assert!(far(&out, &expected) < 1e-4, "values");
    assert!(far(&of_x, &expected_of_x) < 1e-3, "gradients");
    if let Some(expected) = expected_of_y {
        assert!(far(&of_y.unwrap(), &expected) < 1e-3, "the second's gradients");
    }
}

#[test]
fn operations_and_their_gradients_are_candles() {
    agrees(
        [(37, 100), (1, 100)],
        |x, weight| rms_norm(x, &weight.flatten_all().unwrap(), 1e-6).unwrap(),
        |x, weight| {
            let variance = x.sqr().unwrap().mean_keepdim(1).unwrap();
            let scaled = x.broadcast_div(&(variance + 1e-6).unwrap().sqrt().unwrap()).unwrap();
            scaled.broadcast_mul(weight).unwrap()
        },
    );
    agrees([(37, 100), (1, 1)], |x, _| softmax(x).unwrap(), |x, _| candle_nn::ops::softmax(x, 1).unwrap());
    let targets = |x: &Tensor| Tensor::from_iter((0..37u32).map(|row| row * 7 % 100), x.device()).unwrap();
    agrees(
        [(37, 100), (1, 1)],
        |x, _| cross_entropy(x, &targets(x)).unwrap(),
        |x, _| {
            let logs = candle_nn::ops::log_softmax(x, 1).unwrap();
            logs.gather(&targets(x).unsqueeze(1).unwrap(), 1).unwrap().squeeze(1).unwrap().neg().unwrap()
        },
    );
}

#[test]
fn what_is_permuted_and_what_is_above_zero_have_candles_gradients() {
    for order in [[0, 2, 1, 3], [0, 1, 3, 2], [1, 3, 0, 2], [0, 2, 3, 1]] {
        let shape = |x: &Tensor| x.reshape((2, 5, 4, 7)).unwrap();
        let theirs = |x: &Tensor, _: &Tensor| shape(x).permute(order).unwrap().contiguous().unwrap();
        agrees([(10, 28), (1, 1)], |x, _| shape(x).apply_op1(Permute { order }).unwrap(), theirs);
        agrees([(10, 28), (1, 1)], |x, _| permuted(&shape(x), order).unwrap(), theirs);
    }
    // at 0 itself the gradient is a matter of taste
    let off = |x: &Tensor| (x + 0.01).unwrap();
    let theirs = |x: &Tensor, _: &Tensor| off(x).relu().unwrap();
    agrees([(10, 28), (1, 1)], |x, _| off(x).apply_op1(Relu).unwrap(), theirs);
    agrees([(10, 28), (1, 1)], |x, _| relu(&off(x)).unwrap(), theirs);
}

/// Ids repeat, so that their gradients are added up.
#[test]
fn an_embeddings_gradient_is_candles() {
    let ids = |x: &Tensor| Tensor::from_iter((0..50u32).map(|at| at * at % 9), x.device()).unwrap();
    let ours = |x: &Tensor, _: &Tensor| {
        let rows = x.index_select(&ids(x), 0).unwrap().detach();
        x.apply_op3(&ids(x), &rows, Embedding).unwrap()
    };
    agrees([(9, 40), (1, 1)], ours, |x, _| x.index_select(&ids(x), 0).unwrap());
    agrees(
        [(9, 40), (1, 1)],
        |x, _| embedding(x, &ids(x)).unwrap(),
        |x, _| x.index_select(&ids(x), 0).unwrap(),
    );
}
