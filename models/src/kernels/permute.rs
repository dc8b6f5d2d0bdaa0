//! Reorders the four dimensions of attention, and copies the values into that order.
//!
//! candle's own copies divide by every dimension in 64 bits, which takes a GPU several times as long as the copying
//! itself.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::access::{values, with_cuda};
#[cfg(feature = "cuda")]
use super::cuda;

/// Puts the dimensions of `x` into this order: dimension `i` of the result is dimension `order[i]` of `x`.
pub(crate) fn permuted(x: &Tensor, order: [usize; 4]) -> Result<Tensor> {
    if with_cuda(x) {
        return x.contiguous()?.apply_op1(Permute { order });
    }
    x.permute(order)?.contiguous()
}

/// Swaps the last two dimensions; only a GPU copies for it.
pub(crate) fn transposed(x: &Tensor) -> Result<Tensor> {
    if with_cuda(x) { permuted(x, [0, 1, 3, 2]) } else { x.t() }
}

pub(super) struct Permute {
    pub(super) order: [usize; 4],
}

/// The dimensions of the result, and how many values of the source lie between neighbours along each.
struct Steps {
    dims: [usize; 4],
    strides: [usize; 4],
}

impl Permute {
    fn steps(&self, layout: &Layout) -> Result<Steps> {
        let [a, b, c, d] = *layout.dims() else { bail!("four dimensions are needed") };
        let (dims, strides) = ([a, b, c, d], [b * c * d, c * d, d, 1]);
        Ok(Steps { dims: self.order.map(|at| dims[at]), strides: self.order.map(|at| strides[at]) })
    }

    fn inverse(&self) -> Self {
        let mut order = [0; 4];
        for (to, from) in self.order.into_iter().enumerate() {
            order[from] = to;
        }
        Self { order }
    }
}

impl CustomOp1 for Permute {
    fn name(&self) -> &'static str {
        "permute"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, Steps { dims: [a, b, c, d], strides: [s0, s1, s2, s3] }) =
            (values(x, layout)?, self.steps(layout)?);
        let places = (0..a).flat_map(|i| (0..b).map(move |j| i * s0 + j * s1));
        let places = places.flat_map(|from| (0..c).map(move |k| from + k * s2));
        let out = places.flat_map(|from| (0..d).map(move |l| x[from + l * s3]));
        Ok((CpuStorage::F32(out.collect()), Shape::from((a, b, c, d))))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let Steps { dims, strides } = self.steps(layout)?;
        Ok((cuda::permute((x, layout), dims, strides)?, Shape::from(dims.to_vec())))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        grad.contiguous()?.apply_op1_no_bwd(&self.inverse()).map(Some)
    }
}
