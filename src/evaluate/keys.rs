//! Keys that no adversary attacks with enough means.

use std::fmt;

use super::report::Row;

/// A stack whose key turns the space, and is not attacked with enough means by any of its adversaries.
pub(super) struct UnattackedKey<'a> {
    pub(super) defense: &'a str,
}

/// The stacks of these rows that have such a key, each once.
pub(super) fn unattacked(rows: &[Row]) -> impl Iterator<Item = UnattackedKey<'_>> {
    let is_first = |at: usize| rows[..at].iter().all(|other| other.defense != rows[at].defense);
    let is_open = |defense: &str| {
        let mut attacked =
            rows.iter().filter(|row| row.defense == defense).filter_map(|row| row.key_attacked).peekable();
        attacked.peek().is_some() && !attacked.any(|attacked| attacked)
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
