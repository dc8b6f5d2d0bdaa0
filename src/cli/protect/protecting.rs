//! What a defense makes of the vectors of a file.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;

use super::super::error::CliError;
use super::super::tables::{Batch, Change, Changed, Seals, bad};
use super::super::terminal::{Terminal, warn};
use super::{Args, Sealing, Source};
use crate::defenses::{Error, Norms, OtherNorms, Packing};
use crate::{Defense, Rng, Role, Stack};

/// How many ids are remembered, only to warn if one repeats.
const MOST_IDS: usize = 1 << 24;

/// Protects the vectors of a file, batch by batch.
pub(super) struct Protecting<'a> {
    input: &'a Path,
    stack: &'a Stack,
    role: Role,
    rng: Rng,
    codes: bool,
    ids: Source<'a>,
    sealing: Option<Sealing<'a>>,
    /// The ids so far, if two rows with one id would get the same noise, until one repeats.
    seen: Option<Seen>,
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
        sealing: Option<Sealing<'a>>,
        ids: Source<'a>,
        terminal: Terminal,
    ) -> Result<Self, CliError> {
        let role = args.role.into();
        let mut seen = None;
        if (ids.file.is_some() || ids.column.is_some()) && sealing.is_none() {
            if stack.uses_ids(role) {
                seen = Some(Seen::at_most(MOST_IDS));
            } else {
                let name = if ids.file.is_some() { "--ids" } else { "--id-column" };
                let why = "no part of the defense has keyed noise on vectors of this role";
                warn(&format!("warning: {name} makes no difference: {why}"));
            }
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
            sealing,
            seen,
            other_norms: args.norms.unwrap_or_default().into(),
            norms: None,
            scaled: 0,
            terminal,
        })
    }

    /// Warns of the first id that repeats, or once there are too many ids to remember.
    fn warn_of_repeats(&mut self, rows: &[usize], ids: &[&[u8]]) {
        let Some(seen) = &mut self.seen else { return };
        if let Some(row) = seen.first_repeat(rows, ids) {
            let place = self.ids.place(row);
            warn(&format!(
                "warning: {place} repeats an id; vectors with one id get the same noise, so their difference is that \
                 of the clean vectors"
            ));
        } else if seen.is_full() {
            warn(&format!(
                "warning: {MOST_IDS} ids differ, and no more are remembered; if a later one repeats, nothing says so"
            ));
        } else {
            return;
        }
        self.seen = None;
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
        let source = self.ids;
        let ids = source.ids(&rows, column.as_deref())?;
        if let Some(ids) = &ids {
            self.warn_of_repeats(&rows, ids);
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
        if let Some(ids) = self.ids.file.filter(|ids| ids.len() != rows) {
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

    fn sealing(&mut self) -> Option<&mut dyn Seals> {
        self.sealing.as_mut().map(|sealing| sealing as &mut dyn Seals)
    }

    fn fingerprint(&self) -> String {
        self.stack.fingerprint()
    }
}

/// Hashes of the ids so far.
struct Seen {
    hashes: HashSet<u64>,
    hasher: RandomState,
    most: usize,
}

impl Seen {
    fn at_most(most: usize) -> Self {
        Self { hashes: HashSet::new(), hasher: RandomState::new(), most }
    }

    /// The first row whose id was seen before, here or in an earlier batch.
    fn first_repeat(&mut self, rows: &[usize], ids: &[&[u8]]) -> Option<usize> {
        let repeated = ids.iter().zip(rows).find(|(id, _)| !self.hashes.insert(self.hasher.hash_one(id)));
        repeated.map(|(_, row)| *row)
    }

    fn is_full(&self) -> bool {
        self.hashes.len() >= self.most
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_remembered_until_there_are_too_many() {
        let mut seen = Seen::at_most(3);
        assert_eq!(seen.first_repeat(&[0, 1], &[b"a", b"b"]), None);
        assert!(!seen.is_full());
        assert_eq!(seen.first_repeat(&[2, 5, 6], &[b"c", b"a", b"d"]), Some(5));
        assert!(seen.is_full());
    }
}
