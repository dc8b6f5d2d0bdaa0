//! candle's own row-wise operations, on pieces that are small enough to stay on the thread.

use candle_core::{D, Result, Tensor};

use super::access::on_cpu;

/// From this many values on, candle spreads an elementwise operation over a pool of threads.
const SPREAD: usize = 64 * 1024;

/// Applies an operation of candle's that works row by row, over the last dimension, to a few rows at a time.
///
/// `inputs` have the same number of rows, and perhaps different widths. The result has the dimensions of the first,
/// except for the width. If a gradient is needed, and on other devices than a CPU, the operation is applied to all
/// rows at once, in their shape.
///
/// # Errors
/// As the operation, and for a different number of rows.
pub fn in_pieces<const N: usize>(
    inputs: [&Tensor; N],
    operation: impl Fn(&[Tensor; N]) -> Result<Tensor>,
) -> Result<Tensor> {
    let largest = inputs.iter().map(|input| input.elem_count()).max().unwrap_or(0);
    let learns = inputs.iter().any(|input| input.track_op());
    if largest < SPREAD || learns || !inputs.iter().all(|input| on_cpu(input)) {
        return operation(&inputs.map(Clone::clone));
    }
    let mut rows = Vec::with_capacity(N);
    for input in inputs {
        rows.push(input.reshape(((), input.dim(D::Minus1)?))?);
    }
    let width = inputs.iter().filter_map(|input| input.dims().last()).max().copied().unwrap_or(1);
    let (count, size) = (rows[0].dim(0)?, ((SPREAD - 1) / width.max(1)).max(1));
    if rows.iter().any(|input| input.dims()[0] != count) {
        candle_core::bail!("the inputs have different numbers of rows");
    }
    let piece = |first: usize| {
        let mut part = inputs.map(Clone::clone);
        for (part, rows) in part.iter_mut().zip(&rows) {
            *part = rows.narrow(0, first, size.min(count - first))?;
        }
        operation(&part)
    };
    let pieces = (0..count).step_by(size).map(piece).collect::<Result<Vec<_>>>()?;
    let out = Tensor::cat(&pieces, 0)?;
    let mut shape = inputs[0].dims().to_vec();
    shape.pop();
    shape.push(out.dim(D::Minus1)?);
    out.reshape(shape)
}

/// Returns the logarithms of the softmax over the last dimension.
///
/// # Errors
/// For a tensor without dimensions.
pub fn log_softmax(x: &Tensor) -> Result<Tensor> {
    in_pieces([x], |[x]| candle_nn::ops::log_softmax(x, D::Minus1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn pieces_give_what_the_whole_gives() {
        let x: Vec<f32> = (0..3 * 70 * 1000).map(|at| (at as f32).sin()).collect();
        let x = Tensor::from_vec(x, (3, 70, 1000), &Device::Cpu).unwrap();
        let scale = x.narrow(2, 5, 1).unwrap().contiguous().unwrap();
        let bits = |x: Tensor| -> Vec<u32> {
            x.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
        };
        let whole = candle_nn::ops::log_softmax(&x, D::Minus1).unwrap();
        let pieces = log_softmax(&x).unwrap();
        assert_eq!(pieces.dims(), whole.dims());
        assert!(bits(pieces) == bits(whole));
        let divided = in_pieces([&x, &scale], |[x, scale]| x.broadcast_div(scale)).unwrap();
        assert!(bits(divided) == bits(x.broadcast_div(&scale).unwrap()));
        assert!(in_pieces([&x, &scale.narrow(0, 0, 1).unwrap()], |[x, _]| Ok(x.clone())).is_err());
    }
}
