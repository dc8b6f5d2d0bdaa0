//! One file of weights.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};

use candle_core::{DType, Device, Tensor};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::pickle::Pickle;
use crate::Error;
use crate::location::{Location, Opened};
use crate::stub;

const LARGEST_HEADER: u64 = 1 << 27;
const NONE: &str = "there is no such tensor";

pub(super) struct Shard {
    pub(super) path: Location,
    content: Content,
}

enum Content {
    Safetensors {
        file: Opened,
        /// Where the numbers begin.
        start: u64,
        tensors: HashMap<String, TensorInfo>,
    },
    Pickle(Box<Pickle>),
}

impl Shard {
    pub(super) fn open(path: Location) -> Result<Self, Error> {
        if !path.exists() {
            return Err(Error::file(
                path.path(),
                "the index names it, and there is no such file; fetch it too",
            ));
        }
        let content = if path.path().extension().is_some_and(|extension| extension == "safetensors") {
            Content::safetensors(&path)
        } else {
            Pickle::open(&path).map(|pickle| Content::Pickle(Box::new(pickle)))
        };
        let content = content.map_err(|error| stub::damaged(&path, error))?;
        Ok(Self { path, content })
    }

    pub(super) fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match &self.content {
            Content::Safetensors { tensors, .. } => Box::new(tensors.keys().map(String::as_str)),
            Content::Pickle(pickle) => Box::new(pickle.names()),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names().any(|own| own == name)
    }

    pub(super) fn tensor(&mut self, name: &str) -> Result<Tensor, String> {
        if let Content::Pickle(pickle) = &mut self.content {
            return pickle.tensor(name);
        }
        let dtype = self.info(name)?.dtype;
        let (shape, bytes) = self.bytes(name)?;
        let dtype = DType::try_from(dtype).map_err(|error| error.to_string())?;
        Tensor::from_raw_buffer(&bytes, dtype, &shape, &Device::Cpu).map_err(|error| error.to_string())
    }

    /// Shape and bytes of a tensor of a safetensors file.
    pub(super) fn bytes(&mut self, name: &str) -> Result<(Vec<usize>, Vec<u8>), String> {
        let info = self.info(name)?;
        let (from, to) = info.data_offsets;
        let Content::Safetensors { file, start, .. } = &mut self.content else { return Err(NONE.into()) };
        // the header was checked against the file's length
        let mut bytes = vec![0; to - from];
        file.seek(SeekFrom::Start(*start + from as u64))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|error| error.to_string())?;
        Ok((info.shape, bytes))
    }

    /// The type that a tensor of a safetensors file is stored in.
    pub(super) fn dtype(&self, name: &str) -> Option<Dtype> {
        match &self.content {
            Content::Safetensors { tensors, .. } => Some(tensors.get(name)?.dtype),
            Content::Pickle(_) => None,
        }
    }

    fn info(&self, name: &str) -> Result<TensorInfo, String> {
        match &self.content {
            Content::Safetensors { tensors, .. } => tensors.get(name).cloned().ok_or_else(|| NONE.into()),
            Content::Pickle(_) => Err(NONE.into()),
        }
    }
}

/// The tensor in `f32`, whose values must be finite.
pub(super) fn finite(tensor: Tensor) -> Result<Tensor, String> {
    let sum = |tensor: &Tensor| tensor.sum_all()?.to_scalar::<f32>();
    let tensor = tensor.to_dtype(DType::F32).map_err(|error| error.to_string())?;
    match sum(&tensor) {
        Ok(sum) if sum.is_finite() => Ok(tensor),
        Ok(_) => Err("a weight is not finite".into()),
        Err(error) => Err(error.to_string()),
    }
}

impl Content {
    fn safetensors(path: &Location) -> Result<Self, String> {
        let mut file = path.open().map_err(|error| error.to_string())?;
        let length = file.size().map_err(|error| error.to_string())?;
        let mut header = vec![0; 8];
        file.read_exact(&mut header).map_err(|_| "it is cut off")?;
        let size = header.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        if size > LARGEST_HEADER || size > length - 8 {
            return Err("it is cut off, or no safetensors file".into());
        }
        header.resize(size as usize, 0);
        file.read_exact(&mut header).map_err(|error| error.to_string())?;
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| error.to_string())?;
        let tensors = metadata.tensors().into_iter().map(|(name, info)| (name, info.clone())).collect();
        let end = metadata.data_len() as u64;
        if length - 8 - size != end {
            return Err("it is cut off, or longer than its header says".into());
        }
        Ok(Self::Safetensors { file, start: 8 + size, tensors })
    }
}
