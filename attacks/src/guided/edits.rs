//! Changes of a hypothesis, a sequence of units.

use std::ops::Range;

/// One change of a hypothesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Edit {
    Replace {
        at: usize,
        unit: u32,
    },
    Insert {
        at: usize,
        unit: u32,
    },
    Delete {
        at: usize,
    },
    /// The unit and its successor change places.
    Swap {
        at: usize,
    },
    /// Units of the range from `at` go to `to`, counted after they were taken out.
    Move {
        at: usize,
        count: usize,
        to: usize,
    },
}

impl Edit {
    pub(super) fn apply(self, units: &[u32]) -> Vec<u32> {
        let mut changed = units.to_vec();
        match self {
            Self::Replace { at, unit } => changed[at] = unit,
            Self::Insert { at, unit } => changed.insert(at, unit),
            Self::Delete { at } => drop(changed.remove(at)),
            Self::Swap { at } => changed.swap(at, at + 1),
            Self::Move { at, count, to } => {
                let moved: Vec<u32> = changed.drain(at..at + count).collect();
                changed.splice(to..to, moved);
            }
        }
        changed
    }

    /// The places that no other edit may touch, if both are made. A move touches all.
    fn reach(self, length: usize) -> Range<usize> {
        match self {
            Self::Replace { at, .. } | Self::Insert { at, .. } | Self::Delete { at } => at..at + 1,
            Self::Swap { at } => at..at + 2,
            Self::Move { .. } => 0..length,
        }
    }

    fn at(self) -> usize {
        match self {
            Self::Replace { at, .. }
            | Self::Insert { at, .. }
            | Self::Delete { at }
            | Self::Swap { at }
            | Self::Move { at, .. } => at,
        }
    }
}

/// Makes several edits at once; those that touch what an earlier one touches are left out. Returns the result
/// and how many were made.
pub(super) fn apply_all(units: &[u32], edits: &[Edit]) -> (Vec<u32>, usize) {
    let mut made: Vec<Edit> = Vec::new();
    for &edit in edits {
        let reach = edit.reach(units.len());
        let is_free = |other: &Edit| {
            let other = other.reach(units.len());
            other.end <= reach.start || reach.end <= other.start
        };
        if made.iter().all(is_free) {
            made.push(edit);
        }
    }
    // from the end, so that places before an edit stay where they are
    made.sort_unstable_by_key(|edit| std::cmp::Reverse(edit.at()));
    (made.iter().fold(units.to_vec(), |units, edit| edit.apply(&units)), made.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_edit_does_what_it_says() {
        let units = [1, 2, 3, 4];
        let table: [(Edit, &[u32]); 7] = [
            (Edit::Replace { at: 1, unit: 9 }, &[1, 9, 3, 4]),
            (Edit::Insert { at: 4, unit: 9 }, &[1, 2, 3, 4, 9]),
            (Edit::Insert { at: 0, unit: 9 }, &[9, 1, 2, 3, 4]),
            (Edit::Delete { at: 0 }, &[2, 3, 4]),
            (Edit::Swap { at: 2 }, &[1, 2, 4, 3]),
            (Edit::Move { at: 0, count: 2, to: 2 }, &[3, 4, 1, 2]),
            (Edit::Move { at: 2, count: 1, to: 0 }, &[3, 1, 2, 4]),
        ];
        for (edit, expected) in table {
            assert_eq!(edit.apply(&units), expected, "{edit:?}");
        }
    }

    #[test]
    fn edits_apart_from_each_other_are_made_together() {
        let edits = [
            Edit::Replace { at: 2, unit: 9 },
            Edit::Delete { at: 2 },
            Edit::Insert { at: 0, unit: 8 },
            Edit::Swap { at: 3 },
            Edit::Move { at: 0, count: 1, to: 3 },
        ];
        assert_eq!(apply_all(&[1, 2, 3, 4, 5], &edits), (vec![8, 1, 2, 9, 5, 4], 3));
        assert_eq!(apply_all(&[1], &[]), (vec![1], 0));
    }
}
