//! Keys that no adversary attacks with enough means.

use std::fmt;

use super::report::Row;

/// A stack whose key turns the space, and is not attacked with enough means by any of its adversaries.
pub(crate) struct UnattackedKey<'a> {
    pub(crate) defense: &'a str,
}

/// Whether a key turns the space in these rows of one stack, and no adversary attacks it with enough means.
pub(crate) fn is_unattacked(rows: &[&Row]) -> bool {
    let mut attacked = rows.iter().filter_map(|row| row.key_attacked).peekable();
    attacked.peek().is_some() && !attacked.any(|attacked| attacked)
}

/// The stacks of these rows that have such a key, each once.
pub(crate) fn unattacked(rows: &[Row]) -> impl Iterator<Item = UnattackedKey<'_>> {
    let is_first = |at: usize| rows[..at].iter().all(|other| other.defense != rows[at].defense);
    let is_open = |defense: &str| {
        let of_stack: Vec<&Row> = rows.iter().filter(|row| row.defense == defense).collect();
        is_unattacked(&of_stack)
    };
    let first = (0..rows.len()).filter(move |&at| is_first(at) && is_open(&rows[at].defense));
    first.map(|at| UnattackedKey { defense: &rows[at].defense })
}

impl fmt::Display for UnattackedKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no adversary with enough means tries to undo the key of {}, so a low score says nothing about attackers who \
             have more pairs of text and vector, or more texts of the same kind; add leaked(k) with a pair for each \
             dimension, or unpaired(n), which counts if it restores the vectors",
            self.defense
        )
    }
}
