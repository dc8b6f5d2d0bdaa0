//! Exact vectors, sealed beside the coarse ones.

use ndarray::{Array2, ArrayView2};

use super::super::error::CliError;
use super::{Args, RoleName};
use crate::defenses::Precision;
use crate::{Defense, Sealer, Stack};

/// Seals the exact vectors of documents.
pub(super) struct Sealing {
    sealer: Sealer,
    precision: Precision,
}

impl Sealing {
    /// `None` if nothing is to be sealed: the defense does not re-rank, or the vectors are queries, whose exact form
    /// stays with the application.
    pub(super) fn of(args: &Args, stack: &Stack) -> Result<Option<Self>, CliError> {
        let missing = |what: &str| Err(CliError::new(format!("the defense ends in `rerank`, so {what}")));
        let Some(rerank) = stack.reranking().filter(|_| matches!(args.role, RoleName::Document)) else {
            return match &args.sealed {
                None => Ok(None),
                Some(_) => Err(CliError::new(
                    "--sealed is for documents under a defense that ends in `rerank`; leave it out, or add \
                     `| rerank(candidates=200, key=file:KEY)` to the defense",
                )),
            };
        };
        match (&args.sealed, args.table.is_npy()?) {
            (None, true) => {
                return missing("exact vectors are sealed: name a file for them with --sealed SEALED.npy");
            }
            (Some(_), false) => {
                return Err(CliError::new(
                    "--sealed names a file beside a .npy file, and a table gets a column of sealed vectors; leave \
                     --sealed out",
                ));
            }
            _ => {}
        }
        if args.ids.is_none() && args.id_column.is_none() {
            return missing(
                "each exact vector is sealed for its id: give the ids with --ids FILE, or those of a table with \
                 --id-column NAME",
            );
        }
        match rerank.sealer(stack) {
            Some(sealer) => Ok(Some(Self { sealer, precision: rerank.rounding() })),
            None => {
                missing("exact vectors are sealed: give it a key, `rerank(candidates=200, key=file:KEY)`")
            }
        }
    }

    /// Returns how many bytes a sealed vector of `dim` dimensions takes.
    pub(super) fn bytes(&self, dim: usize) -> usize {
        self.precision.sealed_bytes(dim)
    }

    /// Seals vectors, and returns `[rows, bytes]`.
    pub(super) fn seal(&self, ids: &[&[u8]], vectors: ArrayView2<'_, f32>) -> Result<Array2<u8>, CliError> {
        let rows = self.sealer.seal_vectors(ids, vectors)?;
        Ok(Array2::from_shape_vec((rows.len(), self.bytes(vectors.ncols())), rows.concat())?)
    }
}
