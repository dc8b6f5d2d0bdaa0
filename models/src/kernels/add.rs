//! Sums of tensors, one of which may be repeated along leading dimensions: residuals, biases, masks.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::access::{last, on_cpu, values};

/// Adds `y` to `x`. `y` has the last dimension of `x`; each other dimension is that of `x`, 1, or missing in front.
/// Along the latter two, `y` is repeated.
///
/// # Errors
/// For shapes that do not fit.
pub fn add(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    if !on_cpu(x) {
        return x.broadcast_add(y);
    }
    x.contiguous()?.apply_op2(&y.contiguous()?, Add)
}

struct Add;

impl CustomOp2 for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (shape, width) = (x_layout.shape(), last(x_layout)?);
        let (mut out, y) = (values(x, x_layout)?.to_vec(), values(y, y_layout)?);
        let steps = steps(shape.dims(), y_layout.dims())?;
        if width == 0 {
            return Ok((CpuStorage::F32(out), shape.clone()));
        }
        for (row, out) in out.chunks_exact_mut(width).enumerate() {
            let y = &y[offset(row, shape.dims(), &steps)..][..width];
            out.iter_mut().zip(y).for_each(|(out, y)| *out += y);
        }
        Ok((CpuStorage::F32(out), shape.clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let missing = x.rank() - y.rank();
        let repeated = |axis: &usize| *axis < missing || y.dims()[axis - missing] != x.dims()[*axis];
        let axes: Vec<usize> = (0..x.rank()).filter(repeated).collect();
        let of_y = if axes.is_empty() { grad.clone() } else { grad.sum_keepdim(axes)?.reshape(y.shape())? };
        Ok((Some(grad.clone()), Some(of_y)))
    }
}

/// How far apart neighbors of `y` are along each dimension of `x` but the last; 0 where `y` is repeated.
fn steps(x: &[usize], y: &[usize]) -> Result<Vec<usize>> {
    let fits = y.len() <= x.len()
        && !y.is_empty()
        && y.last() == x.last()
        && y.iter().rev().zip(x.iter().rev()).all(|(y, x)| y == x || *y == 1);
    if !fits {
        bail!("values of shape {y:?} cannot be added to values of shape {x:?}");
    }
    let mut steps = vec![0; x.len() - 1];
    let mut size = y.last().copied().unwrap_or(1);
    for (step, y) in steps.iter_mut().rev().zip(y.iter().rev().skip(1)) {
        *step = if *y == 1 { 0 } else { size };
        size *= y;
    }
    Ok(steps)
}

/// Where the row of `y` begins that is added to a row of `x`.
fn offset(mut row: usize, x: &[usize], steps: &[usize]) -> usize {
    let mut offset = 0;
    for (step, length) in steps.iter().zip(x).rev() {
        offset += row % length * step;
        row /= length;
    }
    offset
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::{DType, Device, Var};

    use super::*;

    fn numbers(shape: &[usize]) -> Var {
        let count = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..count).map(|at| (at as f32 * 1.3).sin()).collect();
        Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
    }

    #[test]
    fn sums_and_their_gradients_are_candles() {
        let all = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (x, y) in [
            (&[2, 3, 4, 5][..], &[2, 3, 4, 5][..]),
            (&[2, 3, 4, 5], &[2, 1, 1, 5]),
            (&[2, 3, 4, 5], &[1, 3, 4, 5]),
            (&[2, 3, 4, 5], &[4, 5]),
            (&[2, 3, 4], &[4]),
            (&[7], &[7]),
            (&[0, 4], &[4]),
        ] {
            let (x, y) = (numbers(x), numbers(y));
            let (ours, theirs) = (add(&x, &y).unwrap(), x.broadcast_add(&y).unwrap());
            assert_eq!((ours.dims(), all(&ours)), (theirs.dims(), all(&theirs)));
            let of = |sum: &Tensor| {
                let gradients = sum.sqr().unwrap().sum_all().unwrap().backward().unwrap();
                // candle has no gradient for what is added to nothing, and ours is zero
                [&x, &y].map(|var| gradients.get(var).map_or_else(|| vec![0.0; var.elem_count()], all))
            };
            for (ours, theirs) in of(&ours).iter().flatten().zip(of(&theirs).iter().flatten()) {
                assert!((ours - theirs).abs() < 1e-5, "{:?}", x.dims());
            }
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        for (x, y) in [(&[2, 3][..], &[2, 1][..]), (&[2, 3], &[3, 3]), (&[3], &[2, 3]), (&[2, 3], &[2])] {
            assert!(add(&zeros(x), &zeros(y)).is_err(), "{x:?} {y:?}");
        }
    }
}
