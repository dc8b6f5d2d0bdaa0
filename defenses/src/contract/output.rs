//! The laws about the output of a defense that changes the dimension.

use ndarray::{Array2, Axis};

use super::subject::{ROLES, Subject, Verdict, accept, demand, demand_close, demand_same, protected, rng};
use crate::Error;

/// The output has the dimension that the defense states. If that is the vectors' dimension, owned vectors become what
/// they become in place. Otherwise they are refused in place.
pub(super) fn output(subject: &Subject<'_>) -> Verdict {
    for (role, rows) in ROLES.into_iter().zip([5, 4]) {
        let before = subject.rows(rows);
        let defense = subject.fresh();
        let refused = |error: Error| format!("{role:?} vectors that are owned are refused: {error}");
        let owned = defense.protect_owned(role, before.clone(), &mut rng()).map_err(refused)?;
        let ids = texts(rows);
        let ids: Vec<&[u8]> = ids.iter().map(String::as_bytes).collect();
        let by_ids =
            defense.protect_owned_with_ids(role, &ids, before.clone(), &mut rng()).map_err(refused)?;
        let says = subject.fresh().dimension(subject.dim).map_err(refused)?;
        for found in [owned.dim(), by_ids.dim()] {
            demand(found == (rows, says), || {
                format!(
                    "{rows} {role:?} vectors come out as {found:?}, but it says that their dimension is {says}"
                )
            })?;
        }
        let reduced = defense.reduced(before.clone()).map_err(refused)?;
        demand(reduced.nrows() == rows && [subject.dim, says].contains(&reduced.ncols()), || {
            format!("reduced, {rows} {role:?} vectors are {:?}", reduced.dim())
        })?;
        let (mut after, mut after_by_ids) = (before.clone(), before.clone());
        let done = defense.protect(role, after.view_mut(), &mut rng());
        let done_by_ids = defense.protect_with_ids(role, &ids, after_by_ids.view_mut(), &mut rng());
        if subject.keeps_the_dimension() {
            demand(done.is_ok() && done_by_ids.is_ok(), || format!("{role:?} vectors are refused in place"))?;
            let what = "owned vectors do not become what they become in place";
            demand_same(&owned, &after, what)?;
            demand_same(&by_ids, &after_by_ids, what)?;
        } else {
            for done in [done, done_by_ids] {
                demand(matches!(done, Err(Error::NotInPlace { .. })), || {
                    format!("it changes the dimension, but does not refuse {role:?} vectors in place as that")
                })?;
            }
            demand_same(&after, &before, "a batch that is refused in place is changed")?;
            demand_same(&after_by_ids, &before, "a batch that is refused in place is changed")?;
        }
    }
    Ok(())
}

/// Owned vectors whose layout is not the usual one.
pub(super) fn owned_views(subject: &Subject<'_>) -> Verdict {
    let square = subject.rows(subject.dim);
    for role in ROLES {
        let mut backwards = subject.rows(5);
        backwards.invert_axis(Axis(1));
        for turned in [square.clone().reversed_axes(), backwards] {
            let expected = protected(&*subject.fresh(), role, turned.view())?;
            let mut found = turned;
            accept(&*subject.fresh(), role, &mut found)?;
            demand_close(found.view(), expected.view(), "another layout is not treated as its copy")?;
        }
    }
    Ok(())
}

pub(super) fn contraction(pairs: [(&Array2<f32>, &Array2<f32>); 2]) -> Verdict {
    let distance = |rows: &Array2<f32>, a, b| {
        let difference = &rows.row(a) - &rows.row(b);
        difference.dot(&difference).sqrt()
    };
    for (before, after) in pairs {
        for (a, b) in (0..before.nrows()).flat_map(|a| (0..a).map(move |b| (a, b))) {
            demand(distance(after, a, b) <= distance(before, a, b) + 1e-5, || {
                "it claims that no distance becomes larger, but one does".to_owned()
            })?;
        }
    }
    Ok(())
}

pub(super) fn texts(count: usize) -> Vec<String> {
    (0..count).map(|id| format!("id {id}")).collect()
}
