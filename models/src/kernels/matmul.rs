//! Matrix products that stay on the thread that asks for them.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use gemm::{Parallelism, gemm};

use super::access::on_cpu;

/// Multiplies matrices: `[…, rows, depth]` by `[…, depth, columns]` to `[…, rows, columns]`. The dimensions in
/// front are the same for both.
///
/// On a CPU the product is bit for bit what candle's is, without the help of other threads. With the features
/// `mkl` and `accelerate` it is those libraries' own.
///
/// # Errors
/// For shapes that do not fit.
pub fn matmul(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    let library = cfg!(any(feature = "mkl", feature = "accelerate"));
    if library || !on_cpu(left) || !on_cpu(right) {
        return left.matmul(right);
    }
    evenly_spaced(left)?.apply_op2(&evenly_spaced(right)?, Matmul)
}

/// The tensor, copied where its matrices do not lie at even distances.
fn evenly_spaced(x: &Tensor) -> Result<Tensor> {
    if Matrices::of(x.layout()).is_some() { Ok(x.clone()) } else { x.contiguous() }
}

struct Matmul;

impl CustomOp2 for Matmul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn cpu_fwd(
        &self,
        left: &CpuStorage,
        left_layout: &Layout,
        right: &CpuStorage,
        right_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (Some(a), Some(b)) = (Matrices::of(left_layout), Matrices::of(right_layout)) else {
            bail!("matrices are needed")
        };
        let leading = &left_layout.dims()[..left_layout.dims().len() - 2];
        if a.columns != b.rows || *leading != right_layout.dims()[..right_layout.dims().len() - 2] {
            bail!("{:?} and {:?} cannot be multiplied", left_layout.dims(), right_layout.dims());
        }
        let (CpuStorage::F32(left), CpuStorage::F32(right)) = (left, right) else { bail!("f32 is needed") };
        let (left, right) = (&left[left_layout.start_offset()..], &right[right_layout.start_offset()..]);
        let mut out = vec![0f32; a.count * a.rows * b.columns];
        if a.columns > 0 && !out.is_empty() {
            for (at, out) in out.chunks_exact_mut(a.rows * b.columns).enumerate() {
                product(&left[at * a.apart..], &a, &right[at * b.apart..], &b, out);
            }
        }
        let shape = Shape::from(leading.iter().copied().chain([a.rows, b.columns]).collect::<Vec<_>>());
        Ok((CpuStorage::F32(out), shape))
    }

    fn bwd(
        &self,
        left: &Tensor,
        right: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let of_left = matmul(grad, &right.t()?)?;
        let of_right = matmul(&left.t()?, grad)?;
        Ok((Some(of_left), Some(of_right)))
    }
}

/// How the matrices of a tensor lie in memory.
struct Matrices {
    count: usize,
    /// From the beginning of one to that of the next.
    apart: usize,
    rows: usize,
    columns: usize,
    /// From a row to the next, and from a column to the next.
    steps: (usize, usize),
}

impl Matrices {
    /// None for a tensor that is no matrix, or whose matrices do not lie at even distances.
    fn of(layout: &Layout) -> Option<Self> {
        let (leading, [rows, columns]) = layout.dims().split_last_chunk()?;
        let (strides, steps) = layout.stride().split_last_chunk::<2>()?;
        // along a dimension of length 1 the stride says nothing
        let (mut apart, mut expected) = (None, None);
        for (&stride, &length) in strides.iter().zip(leading).rev().filter(|(_, length)| **length != 1) {
            apart.get_or_insert(stride);
            if *expected.get_or_insert(stride) != stride {
                return None;
            }
            expected = Some(stride * length);
        }
        let apart = apart.unwrap_or(0);
        let count = leading.iter().product();
        Some(Self { count, apart, rows: *rows, columns: *columns, steps: (steps[0], steps[1]) })
    }

    /// How many values there are from a matrix's first to its last.
    fn span(&self) -> usize {
        1 + (self.rows - 1) * self.steps.0 + (self.columns - 1) * self.steps.1
    }
}

/// `left · right` into `out`, row after row; neither is empty.
fn product(left: &[f32], a: &Matrices, right: &[f32], b: &Matrices, out: &mut [f32]) {
    let (rows, columns, depth) = (a.rows, b.columns, a.columns);
    assert!(left.len() >= a.span() && right.len() >= b.span() && out.len() == rows * columns);
    let signed = |step: usize| step.cast_signed();
    // SAFETY: with these steps all reads lie within `left` and `right` and all writes within `out`, whose
    // lengths were compared above, and `out` overlaps neither.
    #[allow(unsafe_code)]
    unsafe {
        gemm(
            rows,
            columns,
            depth,
            out.as_mut_ptr(),
            1,
            signed(columns),
            false,
            left.as_ptr(),
            signed(a.steps.1),
            signed(a.steps.0),
            right.as_ptr(),
            signed(b.steps.1),
            signed(b.steps.0),
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::{DType, Device, Var};

    use super::*;

    fn numbers(shape: &[usize]) -> Var {
        let count = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..count).map(|at| (at as f32 * 0.7).sin()).collect();
        Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
    }

    fn bits(tensor: &Tensor) -> Vec<u32> {
        tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    }

    /// Small ones, and ones that candle spreads over threads.
    #[test]
    fn products_are_candles_to_the_bit() {
        for (rows, depth, columns) in [
            (1, 1, 1),
            (3, 5, 7),
            (64, 32, 64),
            (1, 384, 4096),
            (130, 384, 1536),
            (257, 1536, 384),
            (96, 700, 33),
        ] {
            let (a, b) = (numbers(&[rows, depth]), numbers(&[columns, depth]));
            for b in [b.t().unwrap(), b.t().unwrap().contiguous().unwrap()] {
                let (ours, theirs) = (matmul(&a, &b).unwrap(), a.matmul(&b).unwrap());
                assert!(bits(&ours) == bits(&theirs), "{rows} {depth} {columns}");
            }
        }
        let (a, b) = (numbers(&[2, 3, 40, 16]), numbers(&[2, 3, 50, 16]));
        let b = b.t().unwrap();
        assert!(bits(&matmul(&a, &b).unwrap()) == bits(&a.matmul(&b).unwrap()));
        // heads that lie between each other
        let a = numbers(&[2, 40, 3, 16]).transpose(1, 2).unwrap();
        let contiguous = a.contiguous().unwrap();
        assert!(bits(&matmul(&a, &b).unwrap()) == bits(&contiguous.matmul(&b).unwrap()));
    }

    #[test]
    fn gradients_are_candles() {
        let (a, b) = (numbers(&[2, 5, 4]), numbers(&[2, 3, 4]));
        let of = |product: Tensor| {
            let gradients = product.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            [&a, &b].map(|var| bits(gradients.get(var).unwrap()))
        };
        let b = b.t().unwrap();
        assert_eq!(of(matmul(&a, &b).unwrap()), of(a.matmul(&b).unwrap()));
    }

    #[test]
    fn nothing_gives_nothing_and_shapes_must_fit() {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        for (a, b, out) in [([0, 3], [3, 2], [0, 2]), ([2, 0], [0, 4], [2, 4]), ([2, 3], [3, 0], [2, 0])] {
            assert_eq!(matmul(&zeros(&a), &zeros(&b)).unwrap().dims(), out);
        }
        assert!(matmul(&zeros(&[2, 3]), &zeros(&[2, 3])).is_err());
        assert!(matmul(&zeros(&[2, 2, 3]), &zeros(&[1, 3, 3])).is_err());
        assert!(matmul(&zeros(&[3]), &zeros(&[3])).is_err());
    }
}
