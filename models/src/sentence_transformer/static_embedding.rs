//! `StaticEmbedding`: a vector for each token, whatever surrounds it.

use candle_core::{Device, Tensor};

use super::encoder::{Encoder, Loaded};
use crate::Error;
use crate::location::Location;
use crate::weights::Weights;

/// Loads the table `[vocabulary, width]` of a folder: `embedding.weight`, or model2vec's `embeddings`. If there are
/// `mapping` and `weights`, they give each token a row of it and a weight.
pub(super) fn load(dir: &Location, device: &Device) -> Result<Loaded, Error> {
    let mut weights = Weights::find(dir)?;
    let file = weights.path().to_owned();
    let table = if weights.has("embedding.weight") {
        weights.tensor("embedding.weight")?
    } else {
        let table = weights.tensor("embeddings")?;
        let mut optional = |name: &str| weights.has(name).then(|| weights.tensor(name)).transpose();
        let (mapping, scales) = (optional("mapping")?, optional("weights")?);
        folded(table, mapping, scales).map_err(|error| Error::file(&file, error))?
    };
    let [_, width] = *table.dims() else {
        return Err(Error::file(file, "the embeddings are not a matrix"));
    };
    let table = table.to_device(device).map_err(|error| Error::file(&file, error))?;
    let weights = weights.files().into_iter().cloned().collect();
    let longest = usize::MAX;
    Ok(Loaded { encoder: Encoder::Static(table), width, longest, usual: longest, weights })
}

fn folded(table: Tensor, mapping: Option<Tensor>, scales: Option<Tensor>) -> candle_core::Result<Tensor> {
    let table = match mapping {
        Some(mapping) => table.index_select(&mapping.to_dtype(candle_core::DType::U32)?, 0)?,
        None => table,
    };
    match scales {
        Some(scales) => table.broadcast_mul(&scales.unsqueeze(1)?),
        None => Ok(table),
    }
}
