//! Exact vectors, sealed beside the coarse ones.

use std::path::Path;

use ndarray::{Array2, ArrayView2};

use super::super::error::CliError;
use super::super::files;
use super::{Args, Ids, RoleName};
use crate::{Defense, Sealer, Stack};

/// Where the exact vectors of documents go, sealed beside the coarse ones.
pub(super) struct Sealing<'a> {
    file: &'a Path,
    sealer: Sealer,
}

impl<'a> Sealing<'a> {
    /// `None` if nothing is to be sealed: the defense does not re-rank, or the vectors are queries, whose exact form
    /// stays with the application.
    pub(super) fn of(args: &'a Args, stack: &Stack) -> Result<Option<Self>, CliError> {
        let missing = |what: &str| Err(CliError::new(format!("the defense ends in `rerank`, so {what}")));
        let seals = stack.reranking().is_some() && matches!(args.role, RoleName::Document);
        let sealer = stack.reranking().and_then(|rerank| rerank.sealer(stack));
        if seals && !args.table.is_npy()? {
            return missing(
                "exact vectors are sealed, which is done for .npy files alone; convert the vectors to one",
            );
        }
        match (&args.sealed, &args.ids, sealer) {
            (Some(_), ..) if !seals => Err(CliError::new(
                "--sealed is for documents under a defense that ends in `rerank`; leave it out, or add \
                 `| rerank(candidates=200, key=file:KEY)` to the defense",
            )),
            _ if !seals => Ok(None),
            (None, ..) => missing("exact vectors are sealed: name a file for them with --sealed SEALED.npy"),
            (_, None, _) => missing("each exact vector is sealed for its id: give the ids with --ids FILE"),
            (.., None) => {
                missing("exact vectors are sealed: give it a key, `rerank(candidates=200, key=file:KEY)`")
            }
            (Some(file), Some(_), Some(sealer)) => Ok(Some(Self { file, sealer })),
        }
    }

    /// Seals the vectors, and writes them, `[rows, bytes]`: sealed vectors of one dimension have one length.
    pub(super) fn write(
        &self,
        ids: &Ids<'_>,
        lines: &[&[u8]],
        vectors: ArrayView2<'_, f32>,
    ) -> Result<(), CliError> {
        ids.refuse_repeats()?;
        let rows = self.sealer.seal_vectors(lines, vectors)?;
        let shape = (rows.len(), rows.first().map_or(0, Vec::len));
        files::write_bytes_npy(self.file, &Array2::from_shape_vec(shape, rows.concat())?)
    }
}
