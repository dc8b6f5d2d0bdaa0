//! What a defense makes of the vectors of a file.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use ndarray::Array2;

use super::super::error::CliError;
use super::super::tables::{Batch, Change, Changed, bad};
use super::super::terminal::{Terminal, warn};
use super::{Args, Ids, Sealing};
use crate::defenses::{Error, Norms, OtherNorms, Packing};
use crate::{Defense, Rng, Role, Stack};

/// Protects the vectors of a file, batch by batch.
pub(super) struct Protecting<'a> {
    input: &'a Path,
    stack: &'a Stack,
    role: Role,
    rng: Rng,
    codes: bool,
    ids: Option<Ids<'a>>,
    id_column: Option<&'a str>,
    sealing: Option<Sealing>,
    /// Hashes of the ids so far, if no two rows should have one id, until one repeats.
    seen: Option<HashSet<u64>>,
    other_norms: OtherNorms,
    /// The clean vectors' norms so far.
    norms: Option<Norms>,
    /// How many vectors were scaled to norm 1.
    scaled: usize,
    terminal: Terminal,
}

impl<'a> Protecting<'a> {
    pub(super) fn new(
        args: &'a Args,
        stack: &'a Stack,
        sealing: Option<Sealing>,
        ids: Option<Ids<'a>>,
        terminal: Terminal,
    ) -> Result<Self, CliError> {
        let (role, id_column) = (args.role.into(), args.id_column.as_deref());
        let has_ids = ids.is_some() || id_column.is_some();
        let seen = (has_ids && (sealing.is_some() || stack.uses_ids(role))).then(HashSet::new);
        if has_ids && seen.is_none() {
            let name = if ids.is_some() { "--ids" } else { "--id-column" };
            let why = "no part of the defense has keyed noise on vectors of this role";
            warn(&format!("warning: {name} makes no difference: {why}"));
        }
        if args.norms.is_some() && !stack.assumes_unit_norm(role) {
            warn(
                "warning: --norms makes no difference: no part of the defense has a strength that is meant for norm 1, on \
                 vectors of this role",
            );
        }
        let codes = args.codes.is_some();
        Ok(Self {
            input: &args.table.input,
            stack,
            role,
            rng: Rng::from_os()?,
            codes,
            ids,
            id_column,
            sealing,
            seen,
            other_norms: args.norms.unwrap_or_default().into(),
            norms: None,
            scaled: 0,
            terminal,
        })
    }

    /// Says where a row is, by the file or the column that its id is from.
    fn place(&self, row: usize) -> String {
        match (&self.ids, self.id_column) {
            (Some(ids), _) => ids.place(row),
            (None, name) => {
                let name = name.unwrap_or_default();
                bad(self.input, format!("row {row} (counted from 0), column \"{name}\"")).to_string()
            }
        }
    }

    /// Says what norms there were, and warns if the strength of the defense is meant for another.
    fn tell_norms(&self) {
        let Some(norms) = self.norms else { return };
        let Norms { rows, least, mean, largest, .. } = norms;
        if self.terminal.is_verbose() {
            self.terminal.remark(&format!(
                "norms of {rows} vectors: {mean:.3} in the mean, from {least:.3} to {largest:.3}"
            ));
        }
        if self.scaled > 0 {
            let scaled = self.scaled;
            self.terminal.remark(&format!(
                "{scaled} of {rows} vectors were scaled to norm 1 before they were protected"
            ));
        }
        if let Some(warning) = norms.warning(self.stack, self.role)
            && self.other_norms == OtherNorms::Accept
        {
            warn(&format!("warning: {warning}"));
        }
    }
}

impl Change for Protecting<'_> {
    fn change(&mut self, batch: Batch) -> Result<Changed, CliError> {
        let Batch { mut vectors, rows, ids: column } = batch;
        let norms = self.other_norms.check(self.stack, self.role, &vectors);
        let norms = norms.map_err(|error| bad(self.input, at_row(error, &rows)))?;
        let ids = ids_of(self.ids.as_ref(), self.input, &rows, column.as_deref())?;
        if let (Some(seen), Some(ids)) = (&mut self.seen, &ids)
            && let Some(row) = first_repeat(seen, &rows, ids)
        {
            let place = self.place(row);
            if self.sealing.is_some() {
                let why = "repeats an id; sealed vectors need an id of their own each";
                return Err(CliError::new(format!("{place} {why}")));
            }
            self.seen = None;
            warn(&format!(
                "warning: {place} repeats an id; vectors with one id get the same noise, so their difference is that \
                 of the clean vectors"
            ));
        }
        let (stack, role, rng) = (self.stack, self.role, &mut self.rng);
        self.scaled += self.other_norms.scale(stack, role, vectors.view_mut());
        self.norms = self.norms.into_iter().chain(norms).reduce(Norms::and);
        let done = match &ids {
            _ if self.codes => stack.protect_packed(role, ids.as_deref(), vectors, rng).map(Changed::Codes),
            Some(ids) => stack.protect_owned_with_ids(role, ids, vectors, rng).map(Changed::Vectors),
            None => stack.protect_owned(role, vectors, rng).map(Changed::Vectors),
        };
        done.map_err(|error| bad(self.input, at_row(error, &rows)))
    }

    fn finish(&mut self, rows: usize) -> Result<(), CliError> {
        if let Some(ids) = self.ids.as_ref().filter(|ids| ids.len() != rows) {
            return Err(ids.miscount(self.input, rows));
        }
        self.tell_norms();
        Ok(())
    }

    fn dimension(&self, input: usize) -> Result<usize, String> {
        self.stack.dimension(input).map_err(|error| error.to_string())
    }

    fn packing(&self) -> Option<Packing<'_>> {
        self.stack.last_packing().filter(|_| self.codes)
    }

    fn sealed_bytes(&self, dim: usize) -> Option<usize> {
        self.sealing.as_ref().map(|sealing| sealing.bytes(dim))
    }

    fn seal(&self, batch: &Batch) -> Result<Option<Array2<u8>>, CliError> {
        let Some(sealing) = &self.sealing else { return Ok(None) };
        let ids = ids_of(self.ids.as_ref(), self.input, &batch.rows, batch.ids.as_deref())?;
        ids.map(|ids| sealing.seal(&ids, batch.vectors.view())).transpose()
    }

    fn fingerprint(&self) -> String {
        self.stack.fingerprint()
    }
}

/// Returns the ids of these rows: those of a file of ids, or those of the table's column.
fn ids_of<'a>(
    file: Option<&'a Ids<'_>>,
    input: &Path,
    rows: &[usize],
    column: Option<&'a [Vec<u8>]>,
) -> Result<Option<Vec<&'a [u8]>>, CliError> {
    let Some(file) = file else {
        return Ok(column.map(|ids| ids.iter().map(Vec::as_slice).collect()));
    };
    let ids: Option<Vec<_>> = rows.iter().map(|row| file.of(*row)).collect();
    let last = rows.last().map_or(0, |last| last + 1);
    ids.map(Some).ok_or_else(|| file.miscount(input, last))
}

/// The first row whose id was seen before, here or in an earlier batch.
fn first_repeat(seen: &mut HashSet<u64>, rows: &[usize], ids: &[&[u8]]) -> Option<usize> {
    let repeated = ids.iter().zip(rows).find(|(id, _)| {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        !seen.insert(hasher.finish())
    });
    repeated.map(|(_, row)| *row)
}

/// What a defense says of a row of the batch, said of the row of the file.
pub(in super::super) fn at_row(error: Error, rows: &[usize]) -> String {
    let of_file = |row: usize| rows.get(row).copied().unwrap_or(row);
    let error = match error {
        Error::NotFinite { row } => Error::NotFinite { row: of_file(row) },
        Error::OtherNorm { row, norm, defense } => Error::OtherNorm { row: of_file(row), norm, defense },
        error => error,
    };
    error.to_string()
}
