//! Matrix products that stay on the calling thread.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use gemm::{Parallelism, gemm};

use super::access::on_cpu;

/// Multiplies matrices: `[…, rows, depth]` by `[…, depth, columns]` to `[…, rows, columns]`. The dimensions in
/// front are the same for both.
///
/// On a CPU, the product is bit for bit candle's, without the help of other threads. With the features `mkl` and
/// `accelerate`, it is those libraries' own.
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

/// A matrix in plain memory.
pub(crate) struct Matrix<'a> {
    /// The values, from the matrix's first on.
    pub(crate) values: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// The steps from a row to the next, and from a column to the next.
    pub(crate) steps: (usize, usize),
}

impl Matrix<'_> {
    pub(crate) fn transposed(self) -> Self {
        let Self { values, rows, columns, steps } = self;
        Self { values, rows: columns, columns: rows, steps: (steps.1, steps.0) }
    }

    fn alone(&self) -> Matrices {
        Matrices { count: 1, apart: 0, rows: self.rows, columns: self.columns, steps: self.steps }
    }
}

/// Writes `factor · left · right` into `out`, whose rows begin `apart` values from each other. Nothing is empty.
pub(crate) fn multiplied_into(
    left: &Matrix<'_>,
    right: &Matrix<'_>,
    factor: f32,
    out: &mut [f32],
    apart: usize,
) {
    scaled_product(left.values, &left.alone(), right.values, &right.alone(), factor, out, apart);
}

/// The tensor, copied if its matrices are not evenly spaced.
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
    /// The step from the beginning of one matrix to that of the next.
    apart: usize,
    rows: usize,
    columns: usize,
    /// The steps from a row to the next, and from a column to the next.
    steps: (usize, usize),
}

impl Matrices {
    /// `None` for a tensor that is not a matrix, or whose matrices are not evenly spaced.
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

/// Writes `left · right` into `out`, row after row; neither is empty.
fn product(left: &[f32], a: &Matrices, right: &[f32], b: &Matrices, out: &mut [f32]) {
    scaled_product(left, a, right, b, 1.0, out, b.columns);
}

/// Writes `factor · left · right` into `out`, whose rows begin `apart` values from each other; nothing is empty.
fn scaled_product(
    left: &[f32],
    a: &Matrices,
    right: &[f32],
    b: &Matrices,
    factor: f32,
    out: &mut [f32],
    apart: usize,
) {
    let (rows, columns, depth) = (a.rows, b.columns, a.columns);
    assert!(rows > 0 && columns > 0 && depth > 0 && b.rows == depth && apart >= columns);
    assert!(left.len() >= a.span() && right.len() >= b.span());
    assert!(out.len() >= (rows - 1) * apart + columns);
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
            signed(apart),
            false,
            left.as_ptr(),
            signed(a.steps.1),
            signed(a.steps.0),
            right.as_ptr(),
            signed(b.steps.1),
            signed(b.steps.0),
            0.0,
            factor,
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

    /// Tests small products, and products that candle spreads over threads.
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

    /// Writes into places of a wider matrix, which keeps the values in between.
    #[test]
    fn products_are_written_where_they_belong() {
        let values: Vec<f32> = (0..200).map(|at| (at as f32 * 0.7).sin()).collect();
        let left = Matrix { values: &values, rows: 5, columns: 3, steps: (8, 1) };
        let right = Matrix { values: &values[50..], rows: 4, columns: 3, steps: (9, 1) }.transposed();
        let mut out = vec![7.0; 4 * 10 + 4];
        multiplied_into(&left, &right, 0.5, &mut out, 10);
        for (at, found) in out.iter().enumerate() {
            let (row, column) = (at / 10, at % 10);
            let dot = |place: usize| values[row * 8 + place] * values[50 + column * 9 + place];
            let expected = if column < 4 { 0.5 * (0..3).map(dot).sum::<f32>() } else { 7.0 };
            assert!((found - expected).abs() < 1e-6, "{row} {column}");
        }
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
