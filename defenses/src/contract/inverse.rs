//! The law about undoing a defense.

use ndarray::Array2;

use super::subject::{ROLES, Subject, Verdict, demand, demand_close, demand_same, protected};
use crate::{Defense, Error};

/// Unprotected vectors are the clean ones again, or the defense refuses as [`Error::NotInvertible`] whatever the batch.
pub(super) fn inverse(subject: &Subject<'_>) -> Verdict {
    let none = subject.fresh().unprotect(Array2::zeros((0, subject.dim + 1)).view_mut());
    match none {
        Ok(()) => ROLES.into_iter().try_for_each(|role| {
            undone(subject, role)?;
            refused(subject, 1)
        }),
        Err(Error::NotInvertible { .. }) => not_invertible(subject),
        Err(error) => Err(format!("without rows to unprotect, the error is: {error}")),
    }
}

fn undone(subject: &Subject<'_>, role: crate::Role) -> Verdict {
    let vectors = subject.rows(5);
    let mut after = protected(&*subject.fresh(), role, vectors.view())?;
    demand(after.dim() == vectors.dim(), || {
        "it changes the dimension, but does not refuse to undo that".to_owned()
    })?;
    // one that has bound nothing yet
    let done = subject.fresh().unprotect(after.view_mut());
    done.map_err(|error| format!("it undoes no rows, but refuses {role:?} vectors: {error}"))?;
    let what = format!("unprotected, {role:?} vectors are not what they were");
    demand_close(after.view(), vectors.view(), &what)
}

fn refused(subject: &Subject<'_>, row: usize) -> Verdict {
    let mut bad = subject.rows(3);
    bad[[row, 0]] = f32::NAN;
    let mut after = bad.clone();
    match subject.fresh().unprotect(after.view_mut()) {
        Err(Error::NotFinite { row: named }) if named == row => {
            demand_same(&after, &bad, "a batch that it refuses to undo is changed")
        }
        Err(error) => Err(format!("row {row} to unprotect is not finite, but the error is: {error}")),
        Ok(()) => Err("a NaN is unprotected".to_owned()),
    }
}

fn not_invertible(subject: &Subject<'_>) -> Verdict {
    let vectors = subject.rows(3);
    let mut after = vectors.clone();
    let done = subject.fresh().unprotect(after.view_mut());
    demand(matches!(done, Err(Error::NotInvertible { .. })), || {
        "it refuses to undo no rows, but not to undo some".to_owned()
    })?;
    demand_same(&after, &vectors, "a batch that it refuses to undo is changed")
}
