//! Exact vectors, sealed beside the coarse ones, and texts, sealed in their place.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use ndarray::Array2;

use super::super::error::CliError;
use super::super::tables::{Batch, Seals};
use super::ids::Source;
use super::{Args, RoleName};
use crate::defenses::Precision;
use crate::{Defense, Sealer, Stack};

/// Seals what belongs to documents.
pub(super) struct Sealing<'a> {
    sealer: Sealer,
    precision: Precision,
    source: Source<'a>,
    texts: &'a [String],
    /// The rows of the ids so far, by the hash of the id: what is sealed for one id could be swapped.
    rows: HashMap<u64, usize>,
    /// Nobody can choose ids whose hashes are equal.
    hasher: RandomState,
}

impl<'a> Sealing<'a> {
    /// `None` if nothing is to be sealed: the defense does not re-rank, or the vectors are queries, whose exact form
    /// stays with the application.
    pub(super) fn of(args: &'a Args, stack: &Stack, source: Source<'a>) -> Result<Option<Self>, CliError> {
        let missing = |what: &str| Err(CliError::new(format!("the defense ends in `rerank`, so {what}")));
        let Some(rerank) = stack.reranking().filter(|_| matches!(args.role, RoleName::Document)) else {
            let name = match (&args.sealed, args.seal_text.is_empty()) {
                (None, true) => return Ok(None),
                (None, false) => "--seal-text",
                (Some(_), _) => "--sealed",
            };
            return Err(CliError::new(format!(
                "{name} is for documents under a defense that ends in `rerank`; leave it out, or add \
                 `| rerank(candidates=200, key=file:KEY)` to the defense"
            )));
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
            (Some(_), true) if !args.seal_text.is_empty() => {
                return Err(CliError::new(
                    "a .npy file has no columns, so --seal-text says nothing; leave it out",
                ));
            }
            _ => {}
        }
        if source.file.is_none() && source.column.is_none() {
            return missing(
                "each exact vector is sealed for its id: give the ids with --ids FILE, or those of a table with \
                 --id-column NAME",
            );
        }
        if args.seal_text.iter().any(|name| Some(name.as_str()) == source.column) {
            return Err(CliError::new(
                "--seal-text names the column of ids, which rows are opened by; name columns of texts",
            ));
        }
        let names = &args.seal_text;
        if (0..names.len()).any(|at| names[..at].contains(&names[at])) {
            return Err(CliError::new("--seal-text names a column twice; name it once"));
        }
        let Some(sealer) = rerank.sealer(stack) else {
            return missing(
                "exact vectors are sealed: give it a key, `rerank(candidates=200, key=file:KEY)`",
            );
        };
        let (precision, rows) = (rerank.rounding(), HashMap::new());
        let hasher = RandomState::new();
        Ok(Some(Self { sealer, precision, source, texts: names, rows, hasher }))
    }

    /// Refuses an id that another row has.
    fn check(&mut self, row: usize, id: &[u8]) -> Result<(), CliError> {
        if *self.rows.entry(self.hasher.hash_one(id)).or_insert(row) == row {
            return Ok(());
        }
        let place = self.source.place(row);
        Err(CliError::new(format!("{place} repeats an id; sealed rows need an id of their own each")))
    }
}

impl Seals for Sealing<'_> {
    fn vector_bytes(&self, dim: usize) -> usize {
        self.precision.sealed_bytes(dim)
    }

    fn vectors(&mut self, batch: &Batch) -> Result<Array2<u8>, CliError> {
        let source = self.source;
        let ids = source.ids(&batch.rows, batch.ids.as_deref())?.unwrap_or_default();
        for (row, id) in batch.rows.iter().zip(&ids) {
            self.check(*row, id)?;
        }
        let rows = self.sealer.seal_vectors(&ids, batch.vectors.view())?;
        let bytes = self.vector_bytes(batch.vectors.ncols());
        Ok(Array2::from_shape_vec((rows.len(), bytes), rows.concat())?)
    }

    fn columns(&self) -> &[String] {
        self.texts
    }

    fn text(
        &mut self,
        column: &str,
        row: usize,
        id: Option<Vec<u8>>,
        text: &str,
    ) -> Result<Vec<u8>, CliError> {
        let (source, id) = (self.source, id.map(|id| vec![id]));
        let ids = source.ids(&[row], id.as_deref())?.unwrap_or_default();
        let id = ids.first().copied().unwrap_or_default();
        self.check(row, id)?;
        Ok(self.sealer.seal_text(id, column, text)?)
    }
}
