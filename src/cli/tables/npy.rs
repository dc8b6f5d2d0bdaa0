//! NumPy arrays, which are read as a whole.

use std::path::Path;

use super::super::error::CliError;
use super::super::files;
use super::codes::Beside;
use super::{Batch, Change, Changed, Settings};

pub(super) fn change(
    settings: &Settings<'_>,
    output: &Path,
    change: &mut dyn Change,
) -> Result<(), CliError> {
    let Settings { input, sealed: place, progress, .. } = settings;
    progress.say("reading");
    let vectors = files::read_npy(input)?;
    if vectors.is_empty() {
        return Err(settings.bad("it has no rows; there is nothing to change"));
    }
    let (rows, dim) = vectors.dim();
    progress.say("changing");
    let batch = Batch { vectors, rows: (0..rows).collect(), ids: None };
    let sealed = change.sealing().map(|sealing| sealing.vectors(&batch)).transpose()?;
    let changed = change.change(batch)?;
    change.finish(rows)?;
    progress.say("writing");
    if let (Some(place), Some(sealed)) = (place, sealed) {
        files::write_bytes_npy(place, &sealed)?;
    }
    match changed {
        Changed::Vectors(vectors) => files::write_npy(output, &vectors),
        Changed::Codes(codes) => {
            let beside = Beside::of(output, change, dim).map_err(|error| settings.bad(error))?;
            beside.replace()?;
            files::write_bytes_npy(output, &codes.bytes().to_owned())?;
            beside.write_npy(&codes, change.fingerprint())
        }
    }
}
