//! Files of weights: safetensors or PyTorch's pickles, whole or in shards.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use sha2::{Digest, Sha256};

use super::hex;
use super::pickle::Pickle;
use crate::Error;
use crate::location::{Location, Opened};
use crate::vec2text::stored::{SCALES, scales_of, widened};

/// The files that weights may be in, the ones that are read first in front.
const WHOLE: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];
const LARGEST_HEADER: u64 = 1 << 27;
const NONE: &str = "there is no such tensor";

/// A folder's weights, found but not yet read.
///
/// A folder has `model.safetensors` or `pytorch_model.bin`, or either in shards, which
/// `model.safetensors.index.json` or `pytorch_model.bin.index.json` names. Where there are several,
/// safetensors are taken. Matrices of safetensors may be in 8 bits, as [`Stored::Q8`](super::super::Stored::Q8)
/// has them.
pub struct Weights {
    shards: Vec<Shard>,
    /// Which shard has a tensor.
    places: BTreeMap<String, usize>,
}

impl Weights {
    /// Finds the weights of a folder.
    ///
    /// # Errors
    /// [`Error::File`] where there are none, a shard is missing, or a file is not what it should be.
    pub fn find(dir: impl Into<Location>) -> Result<Self, Error> {
        let dir = &dir.into();
        for name in WHOLE {
            let (whole, index) = (dir.join(name), dir.join(format!("{name}.index.json")));
            if whole.exists() {
                return Self::whole(whole);
            }
            if index.exists() {
                return Self::sharded(dir, &index);
            }
        }
        Err(file(&dir.join(WHOLE[0]), super::MISSING))
    }

    /// Whether all files are there. They are not read.
    pub fn exist(dir: impl Into<Location>) -> bool {
        let dir = dir.into();
        WHOLE.iter().any(|name| {
            let index = dir.join(format!("{name}.index.json"));
            dir.join(name).exists()
                || shards_of(&index).is_ok_and(|map| map.values().all(|shard| dir.join(shard).exists()))
        })
    }

    fn whole(path: Location) -> Result<Self, Error> {
        let shard = Shard::open(path)?;
        let places = shard.names().map(|name| (name.to_owned(), 0)).collect();
        Ok(Self { shards: vec![shard], places })
    }

    fn sharded(dir: &Location, index: &Location) -> Result<Self, Error> {
        let map = shards_of(index)?;
        let (mut shards, mut numbers) = (Vec::new(), HashMap::new());
        let mut places = BTreeMap::new();
        for (name, shard) in map {
            let number = numbers.get(&shard).copied().unwrap_or(shards.len());
            if number == shards.len() {
                shards.push(Shard::open(dir.join(&shard))?);
                numbers.insert(shard.clone(), number);
            }
            if !shards[number].has(&name) {
                return Err(file(index, format!("{name} should be in {shard}, and is not")));
            }
            places.insert(name, number);
        }
        Ok(Self { shards, places })
    }

    /// The names of all tensors, sorted. Scales of matrices in 8 bits are part of these.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let matrix = |name: &str| name.strip_suffix(SCALES).and_then(|of| self.dtype(of));
        self.places.keys().map(String::as_str).filter(move |name| matrix(name) != Some(Dtype::I8))
    }

    /// Whether there is a tensor of that name.
    pub fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// The file that tensors are in, the first one where there are several: for messages.
    pub fn path(&self) -> &Path {
        self.shards.first().map_or(Path::new(""), |shard| shard.path.path())
    }

    /// All files that the tensors are in, sorted.
    pub fn files(&self) -> Vec<&Location> {
        let mut files: Vec<&Location> = self.shards.iter().map(|shard| &shard.path).collect();
        files.sort_unstable_by_key(|file| file.path());
        files
    }

    /// Reads a tensor, in `f32`. Nothing else of the file is read.
    ///
    /// # Errors
    /// [`Error::File`] for a tensor that is missing, damaged, or holds a value that is not finite, and for a
    /// matrix in 8 bits whose scales are.
    pub fn tensor(&mut self, name: &str) -> Result<Tensor, Error> {
        let Some(&place) = self.places.get(name) else {
            return Err(refuse(self.path(), format!("there is no tensor {name}")));
        };
        let read = match self.dtype(name) {
            Some(Dtype::I8) => {
                let scales = self.scales(place, name)?;
                let stored = self.shards[place].bytes(name);
                stored.and_then(|(shape, bytes)| widened(&shape, &bytes, &scales))
            }
            _ => self.shards[place].tensor(name),
        };
        read.and_then(finite).map_err(|error| damaged(&self.shards[place].path, format!("{name}: {error}")))
    }

    /// The scales of a matrix in 8 bits, which is in the shard at that place.
    fn scales(&mut self, place: usize, name: &str) -> Result<Tensor, Error> {
        let scales = scales_of(name);
        let refuse = |weights: &Self, what: &str| {
            let message = format!("{name} is in 8 bits, and {scales}, its scales, {what}");
            Err(damaged(&weights.shards[place].path, message))
        };
        match self.dtype(&scales) {
            Some(Dtype::F16 | Dtype::F32) => self.tensor(&scales),
            Some(_) => refuse(self, "are neither F16 nor F32"),
            None => refuse(self, "are missing"),
        }
    }

    /// What a tensor of a safetensors file is stored in.
    fn dtype(&self, name: &str) -> Option<Dtype> {
        match &self.shards[*self.places.get(name)?].content {
            Content::Safetensors { tensors, .. } => Some(tensors.get(name)?.dtype),
            Content::Pickle(_) => None,
        }
    }

    /// The SHA-256 of all files, one after the other in the order of their names, in hexadecimal.
    ///
    /// # Errors
    /// [`Error::File`] for a file that cannot be read.
    pub fn hash(&self) -> Result<String, Error> {
        let mut hash = Sha256::new();
        for path in self.files() {
            let mut file = path.open().map_err(|error| damaged(path, error))?;
            let mut buffer = vec![0; 1 << 20];
            loop {
                let count = file.read(&mut buffer).map_err(|error| damaged(path, error))?;
                if count == 0 {
                    break;
                }
                hash.update(&buffer[..count]);
            }
        }
        Ok(hex(&hash.finalize()))
    }
}

impl std::fmt::Debug for Weights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Weights")
            .field("path", &self.path())
            .field("tensors", &self.places.len())
            .finish_non_exhaustive()
    }
}

/// Which shard an index says each tensor is in.
fn shards_of(index: &Location) -> Result<BTreeMap<String, String>, Error> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let bytes = index.read().map_err(|error| file(index, error))?;
    let Index { weight_map } = serde_json::from_slice(&bytes).map_err(|error| damaged(index, error))?;
    // a shard stands beside its index; no index leads out of the folder
    let plain = |name: &String| Path::new(name).file_name().is_some_and(|file| *file == **name);
    match weight_map.values().find(|name| !plain(name)) {
        Some(_) => Err(damaged(index, "it names a shard in another folder")),
        None if weight_map.is_empty() => Err(damaged(index, "it names no tensor")),
        None => Ok(weight_map),
    }
}

struct Shard {
    path: Location,
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
    fn open(path: Location) -> Result<Self, Error> {
        if !path.exists() {
            return Err(file(&path, "the index names it, and there is no such file; fetch it too"));
        }
        let content = if path.path().extension().is_some_and(|extension| extension == "safetensors") {
            Content::safetensors(&path)
        } else {
            Pickle::open(&path).map(|pickle| Content::Pickle(Box::new(pickle)))
        };
        let content = content.map_err(|error| damaged(&path, error))?;
        Ok(Self { path, content })
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match &self.content {
            Content::Safetensors { tensors, .. } => Box::new(tensors.keys().map(String::as_str)),
            Content::Pickle(pickle) => Box::new(pickle.names()),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.names().any(|own| own == name)
    }

    fn tensor(&mut self, name: &str) -> Result<Tensor, String> {
        if let Content::Pickle(pickle) = &mut self.content {
            return pickle.tensor(name);
        }
        let dtype = self.info(name)?.dtype;
        let (shape, bytes) = self.bytes(name)?;
        let dtype = DType::try_from(dtype).map_err(|error| error.to_string())?;
        Tensor::from_raw_buffer(&bytes, dtype, &shape, &Device::Cpu).map_err(|error| error.to_string())
    }

    /// Shape and bytes of a tensor of a safetensors file.
    fn bytes(&mut self, name: &str) -> Result<(Vec<usize>, Vec<u8>), String> {
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

    fn info(&self, name: &str) -> Result<TensorInfo, String> {
        match &self.content {
            Content::Safetensors { tensors, .. } => tensors.get(name).cloned().ok_or_else(|| NONE.into()),
            Content::Pickle(_) => Err(NONE.into()),
        }
    }
}

/// The tensor in `f32`, whose values must be finite.
fn finite(tensor: Tensor) -> Result<Tensor, String> {
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

fn damaged(path: &Location, error: impl std::fmt::Display) -> Error {
    refuse(path.path(), error)
}

fn refuse(path: &Path, error: impl std::fmt::Display) -> Error {
    let message = format!("damaged or not what it should be ({error}); get it anew");
    Error::File { path: path.to_owned(), message }
}

fn file(path: &Location, message: impl std::fmt::Display) -> Error {
    Error::File { path: path.path().to_owned(), message: message.to_string() }
}
