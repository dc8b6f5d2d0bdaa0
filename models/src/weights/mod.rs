//! Files of weights: safetensors or PyTorch's pickles, whole or in shards.

mod pickle;
mod shard;
mod stored;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::Tensor;
use safetensors::Dtype;

use self::shard::{Shard, finite};
use self::stored::{SCALES, scales_of, widened};
pub use self::stored::{Stored, StoredTensor};
use crate::Error;
use crate::digest::Digest;
use crate::json;
use crate::location::Location;
use crate::stub;

/// The files that weights may be in, in the order of preference.
const WHOLE: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];
/// What a folder without weights lacks.
const MISSING: &str = "there is no such file; a model's folder has config.json, weights (model.safetensors or \
                       pytorch_model.bin, or their shards) and tokenizer.json";

/// A folder's weights, found but not yet read.
///
/// A folder has `model.safetensors` or `pytorch_model.bin`, or either in shards, which `model.safetensors.index.json`
/// or `pytorch_model.bin.index.json` names. If there are several, safetensors are taken. Matrices of safetensors may
/// be in 8 bits, as [`Stored::Q8`] describes.
pub struct Weights {
    shards: Vec<Shard>,
    /// Which shard has a tensor.
    places: BTreeMap<String, usize>,
}

impl Weights {
    /// Finds the weights of a folder.
    ///
    /// # Errors
    /// [`Error::File`] if there are none, a shard is missing, or a file is not what it should be.
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
        Err(Error::file(dir.join(WHOLE[0]).path(), MISSING))
    }

    /// Returns whether all files exist, without reading them.
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
                return Err(Error::file(index.path(), format!("{name} should be in {shard}, and is not")));
            }
            places.insert(name, number);
        }
        Ok(Self { shards, places })
    }

    /// Lists the names of all tensors, sorted. Scales of matrices in 8 bits are not listed; they are part of their
    /// matrices.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let matrix = |name: &str| name.strip_suffix(SCALES).and_then(|of| self.dtype(of));
        self.places.keys().map(String::as_str).filter(move |name| matrix(name) != Some(Dtype::I8))
    }

    /// Returns whether there is a tensor with this name.
    pub fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Returns the file that the tensors are in, for messages; the first one if there are several.
    pub fn path(&self) -> &Path {
        self.shards.first().map_or(Path::new(""), |shard| shard.path.path())
    }

    /// Lists all files that the tensors are in, sorted.
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
            return Err(Error::damaged(self.path(), format!("there is no tensor {name}")));
        };
        let read = match self.dtype(name) {
            Some(Dtype::I8) => {
                let scales = self.scales(place, name)?;
                let stored = self.shards[place].bytes(name);
                stored.and_then(|(shape, bytes)| widened(&shape, &bytes, &scales))
            }
            _ => self.shards[place].tensor(name),
        };
        read.and_then(finite)
            .map_err(|error| Error::damaged(self.shards[place].path.path(), format!("{name}: {error}")))
    }

    /// Reads all tensors, by name, in `f32`.
    ///
    /// # Errors
    /// As [`tensor`](Self::tensor).
    pub fn tensors(&mut self) -> Result<HashMap<String, Tensor>, Error> {
        let names: Vec<String> = self.names().map(String::from).collect();
        names.into_iter().map(|name| Ok((name.clone(), self.tensor(&name)?))).collect()
    }

    /// The scales of a matrix in 8 bits, which is in the shard at that place.
    fn scales(&mut self, place: usize, name: &str) -> Result<Tensor, Error> {
        let scales = scales_of(name);
        let refuse = |weights: &Self, what: &str| {
            let message = format!("{name} is in 8 bits, and {scales}, its scales, {what}");
            Err(Error::damaged(weights.shards[place].path.path(), message))
        };
        match self.dtype(&scales) {
            Some(Dtype::F16 | Dtype::F32) => self.tensor(&scales),
            Some(_) => refuse(self, "are neither F16 nor F32"),
            None => refuse(self, "are missing"),
        }
    }

    /// The type that a tensor of a safetensors file is stored in.
    fn dtype(&self, name: &str) -> Option<Dtype> {
        self.shards[*self.places.get(name)?].dtype(name)
    }

    /// Returns the SHA-256 of all files, one after the other in the order of their names, in hexadecimal.
    ///
    /// # Errors
    /// [`Error::File`] for a file that cannot be read.
    pub fn hash(&self) -> Result<String, Error> {
        let add = |digest: Digest, path: &Location| {
            let added = path.open().and_then(|file| digest.raw_file(file));
            added.map_err(|error| Error::damaged(path.path(), error))
        };
        Ok(self.files().into_iter().try_fold(Digest::new(), add)?.hex())
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
    let bytes = index.read().map_err(|error| Error::file(index.path(), error))?;
    let Index { weight_map } = json::read(&bytes).map_err(|error| stub::damaged(index, error))?;
    // a shard stands beside its index; no index leads out of the folder
    let plain = |name: &String| Path::new(name).file_name().is_some_and(|file| *file == **name);
    match weight_map.values().find(|name| !plain(name)) {
        Some(_) => Err(Error::damaged(index.path(), "it names a shard in another folder")),
        None if weight_map.is_empty() => Err(Error::damaged(index.path(), "it names no tensor")),
        None => Ok(weight_map),
    }
}
