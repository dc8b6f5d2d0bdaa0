//! The same operations on a GPU, from `kernels.cu`.

use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{CudaView, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::cudarc::nvrtc::compile_ptx;
use candle_core::cuda_backend::{CudaStorage, WrapErr};
use candle_core::{Layout, Result, Shape, bail};

use super::access::last;

/// Rows that a block processes: one warp each.
const WARPS: usize = 8;
/// Blocks that add up rows, each many.
const ADDING_BLOCKS: usize = 264;

/// A kernel's arguments: values, perhaps indices, then what it writes. The first values determine how many rows there
/// are, and how wide they are.
pub(super) struct Launch<'a> {
    kernel: &'a str,
    values: &'a [Values<'a>],
    indices: Option<Values<'a>>,
    out: Shape,
    rows: usize,
    width: usize,
    parameter: f32,
    adds: Adds,
}

type Values<'a> = (&'a CudaStorage, &'a Layout);

/// Whether a kernel writes every value once, or adds to zeros.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Adds {
    Nothing,
    Scattered,
    /// Sums over all rows, first within a block's shared memory.
    Columns,
}

impl<'a> Launch<'a> {
    pub(super) fn new(kernel: &'a str, values: &'a [Values<'a>], out: &Shape) -> Result<Self> {
        let (_, layout) = values[0];
        let width = last(layout)?;
        Ok(Self {
            kernel,
            values,
            indices: None,
            out: out.clone(),
            rows: layout.shape().elem_count() / width.max(1),
            width,
            parameter: 0.0,
            adds: Adds::Nothing,
        })
    }

    pub(super) fn indices(mut self, storage: &'a CudaStorage, layout: &'a Layout) -> Self {
        self.indices = Some((storage, layout));
        self
    }

    pub(super) fn parameter(mut self, parameter: f32) -> Self {
        self.parameter = parameter;
        self
    }

    pub(super) fn adds(mut self, adds: Adds) -> Self {
        self.adds = adds;
        self
    }

    pub(super) fn run(self) -> Result<(CudaStorage, Shape)> {
        let device = self.values[0].0.device();
        let (rows, width) = (count(self.rows)?, count(self.width)?);
        let length = self.out.elem_count();
        let out = if self.adds == Adds::Nothing {
            // SAFETY: the kernel writes all of it.
            #[allow(unsafe_code)]
            unsafe {
                device.alloc::<f32>(length)?
            }
        } else {
            device.alloc_zeros::<f32>(length)?
        };
        if rows > 0 && length > 0 {
            let function = device.get_or_load_custom_func(self.kernel, "embosk", ptx()?)?;
            let values = self.values.iter().map(|of| values(*of)).collect::<Result<Vec<_>>>()?;
            let indices = self.indices.map(indices).transpose()?;
            let mut builder = function.builder();
            for value in &values {
                builder.arg(value);
            }
            if let Some(indices) = &indices {
                builder.arg(indices);
            }
            builder.arg(&out).arg(&rows).arg(&width).arg(&self.parameter);
            // SAFETY: the kernels read `rows` rows of `width` values, which the callers' shapes give, and
            // write within `out`; tokens were checked when they were looked up.
            #[allow(unsafe_code)]
            unsafe { builder.launch(self.grid()) }.w()?;
        }
        Ok((CudaStorage::wrap_cuda_slice(out, device.clone()), self.out))
    }

    fn grid(&self) -> LaunchConfig {
        let blocks = self.rows.div_ceil(WARPS);
        let (blocks, shared) = match self.adds {
            Adds::Columns => (blocks.min(ADDING_BLOCKS), self.width * size_of::<f32>()),
            Adds::Nothing | Adds::Scattered => (blocks, 0),
        };
        LaunchConfig {
            grid_dim: (blocks as u32, 1, 1),
            block_dim: (32, WARPS as u32, 1),
            shared_mem_bytes: shared as u32,
        }
    }
}

/// Values in another order: `dims` of the result, and the steps in the source along each.
pub(super) fn permute(x: Values<'_>, dims: [usize; 4], strides: [usize; 4]) -> Result<CudaStorage> {
    const BLOCK: u32 = 256;

    let device = x.0.device();
    let length: usize = dims.iter().product();
    // SAFETY: the kernel writes all of it.
    #[allow(unsafe_code)]
    let out = unsafe { device.alloc::<f32>(length)? };
    let unsigned = |value: usize| {
        u32::try_from(value).map_err(|_| candle_core::Error::Msg("a batch is too large for the GPU".into()))
    };
    if length > 0 {
        let count = unsigned(length)?;
        let sizes = [dims[1], dims[2], dims[3], strides[0], strides[1], strides[2], strides[3]];
        let sizes = sizes.into_iter().map(unsigned).collect::<Result<Vec<u32>>>()?;
        let function = device.get_or_load_custom_func("permute", "embosk", ptx()?)?;
        let x = values(x)?;
        let mut builder = function.builder();
        builder.arg(&x).arg(&out).arg(&count);
        for size in &sizes {
            builder.arg(size);
        }
        let grid = LaunchConfig {
            grid_dim: (count.div_ceil(BLOCK), 1, 1),
            block_dim: (BLOCK, 1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: there are as many values as `dims` say, in the source and in the result, and every
        // combination of steps stays within the source.
        #[allow(unsafe_code)]
        unsafe { builder.launch(grid) }.w()?;
    }
    Ok(CudaStorage::wrap_cuda_slice(out, device.clone()))
}

/// The kernels, compiled for the present GPU, once per process.
fn ptx() -> Result<&'static str> {
    static PTX: OnceLock<std::result::Result<String, String>> = OnceLock::new();
    let compiled = PTX.get_or_init(|| {
        compile_ptx(include_str!("kernels.cu")).map(|ptx| ptx.to_src()).map_err(|error| error.to_string())
    });
    match compiled {
        Ok(ptx) => Ok(ptx),
        Err(error) => bail!("the kernels for CUDA cannot be compiled: {error}"),
    }
}

fn values<'a>((storage, layout): (&'a CudaStorage, &Layout)) -> Result<CudaView<'a, f32>> {
    let Some((start, end)) = layout.contiguous_offsets() else { bail!("contiguous values are needed") };
    Ok(storage.as_cuda_slice::<f32>()?.slice(start..end))
}

fn indices<'a>((storage, layout): (&'a CudaStorage, &Layout)) -> Result<CudaView<'a, u32>> {
    let Some((start, end)) = layout.contiguous_offsets() else { bail!("contiguous indices are needed") };
    Ok(storage.as_cuda_slice::<u32>()?.slice(start..end))
}

fn count(value: usize) -> Result<i32> {
    i32::try_from(value).map_err(|_| candle_core::Error::Msg("a batch is too large for the GPU".into()))
}
