//! The laws. Each gets fresh defenses, so that none depends on what another bound.

use std::thread;

use ndarray::{Array2, Axis, s};

use super::inverse::inverse;
use super::output::{contraction, output, owned_views, texts};
use super::subject::{
    ROLES, Subject, Verdict, accept, accept_view, attempt, attempt_by_ids, demand, demand_close,
    demand_finite, demand_same, protected, unit_rows,
};
use crate::spec::{Kind, Spec};
use crate::{Defense, Error, Guarantee, Rng, Role, Stack};

type Law = fn(&Subject<'_>) -> Verdict;

pub(super) const LAWS: [(&str, Law); 19] = [
    ("finite", finite),
    ("zero row", zero_row),
    ("one row", one_row),
    ("range", range),
    ("empty batch", empty_batch),
    ("refusal", refusal),
    ("seed", seed),
    ("dimension", dimension),
    ("views", views),
    ("rows", rows),
    ("roles", roles),
    ("isometry", isometry),
    ("threads", threads),
    ("ids", ids),
    ("output", output),
    ("inverse", inverse),
    ("spec", spec),
    ("key", key),
    ("space", space),
];

fn finite(subject: &Subject<'_>) -> Verdict {
    takes(subject, &subject.rows(5))
}

fn zero_row(subject: &Subject<'_>) -> Verdict {
    let mut vectors = subject.rows(3);
    vectors.row_mut(1).fill(0.0);
    takes(subject, &vectors)
}

fn one_row(subject: &Subject<'_>) -> Verdict {
    takes(subject, &subject.rows(1))
}

fn takes(subject: &Subject<'_>, vectors: &Array2<f32>) -> Verdict {
    ROLES
        .into_iter()
        .try_for_each(|role| demand_finite(&protected(&*subject.fresh(), role, vectors.view())?, role))
}

fn range(subject: &Subject<'_>) -> Verdict {
    for role in ROLES {
        for value in [0.0, -0.0, f32::from_bits(1), f32::MIN_POSITIVE, 1e30, -4e37] {
            let before = Array2::from_elem((2, subject.dim), value);
            let mut after = before.clone();
            match attempt(&*subject.fresh(), role, &mut after) {
                Ok(()) => demand_finite(&after, role).map_err(|broken| format!("{broken}, from {value}"))?,
                Err(_) => demand_same(&after, &before, "a refused batch is changed")?,
            }
        }
    }
    Ok(())
}

fn empty_batch(subject: &Subject<'_>) -> Verdict {
    for role in ROLES {
        let defense = subject.fresh();
        for dim in [subject.dim, subject.dim + 1, 3, 0] {
            accept(&*defense, role, &mut Array2::zeros((0, dim)))?;
        }
        accept(&*defense, role, &mut subject.rows(2))?;
    }
    Ok(())
}

fn refusal(subject: &Subject<'_>) -> Verdict {
    for role in ROLES {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            for (first, column) in [(0, 0), (2, subject.dim - 1)] {
                let mut vectors = subject.rows(4);
                vectors[[first, column]] = bad;
                vectors[[3, 1]] = f32::NAN;
                demand_refusal(&*subject.fresh(), role, &vectors, first)?;
            }
        }
        let defense = subject.fresh();
        let other = Array2::from_elem((1, subject.dim + 1), f32::NAN);
        demand(attempt(&*defense, role, &mut other.clone()).is_err(), || "a NaN is taken".to_owned())?;
        accept(&*defense, role, &mut subject.rows(1))
            .map_err(|broken| format!("a batch that is refused binds the defense: {broken}"))?;
    }
    Ok(())
}

fn demand_refusal(defense: &dyn Defense, role: Role, vectors: &Array2<f32>, row: usize) -> Verdict {
    let mut after = vectors.clone();
    match attempt(defense, role, &mut after) {
        Err(Error::NotFinite { row: named }) if named == row => {
            demand_same(&after, vectors, "a refused batch is changed")
        }
        Err(error) => Err(format!("{role:?} row {row} is not finite, but the error is: {error}")),
        Ok(()) => Err(format!("{role:?} row {row} is not finite, but is taken")),
    }
}

fn seed(subject: &Subject<'_>) -> Verdict {
    let vectors = subject.rows(7);
    for role in ROLES {
        let defense = subject.fresh();
        let first = protected(&*defense, role, vectors.view())?;
        let again = protected(&*defense, role, vectors.view())?;
        demand_same(&again, &first, "a second call with one seed gives another output")?;
        let other = protected(&*subject.fresh(), role, vectors.view())?;
        demand_same(&other, &first, "a defense made like it gives another output with one seed")?;
    }
    Ok(())
}

fn dimension(subject: &Subject<'_>) -> Verdict {
    let vectors = subject.rows(2);
    for role in ROLES {
        let defense = subject.fresh();
        let first = protected(&*defense, role, vectors.view())?;
        for dim in [subject.dim + 1, 2 * subject.dim] {
            other_dimension(&*defense, role, subject.dim, dim)?;
        }
        let again = protected(&*defense, role, vectors.view())?;
        demand_same(&again, &first, "another dimension changes what comes after it")?;
    }
    Ok(())
}

fn other_dimension(defense: &dyn Defense, role: Role, bound: usize, dim: usize) -> Verdict {
    let before = unit_rows(2, dim);
    let mut after = before.clone();
    match attempt(defense, role, &mut after) {
        Ok(()) => demand_finite(&after, role),
        Err(Error::Dimension { expected, found }) if (expected, found) == (bound, dim) => {
            demand_same(&after, &before, "a refused batch is changed")
        }
        Err(error) => Err(format!("dimension {dim} after {bound} is refused as: {error}")),
    }
}

fn views(subject: &Subject<'_>) -> Verdict {
    if !subject.keeps_the_dimension() {
        return owned_views(subject);
    }
    strided(subject)?;
    let square = subject.rows(subject.dim);
    for role in ROLES {
        let expected = protected(&*subject.fresh(), role, square.t())?;
        let mut turned = square.clone();
        accept_view(&*subject.fresh(), role, turned.view_mut().reversed_axes())?;
        demand_close(turned.t(), expected.view(), "a column-major view is not treated as its copy")?;

        for axis in [Axis(0), Axis(1)] {
            let mut backwards = subject.rows(5);
            backwards.invert_axis(axis);
            let expected = protected(&*subject.fresh(), role, backwards.view())?;
            accept_view(&*subject.fresh(), role, backwards.view_mut())?;
            demand_close(backwards.view(), expected.view(), "a reversed view is not treated as its copy")?;
        }
    }
    Ok(())
}

/// Takes every second row and column of a larger array; the rest must stay as it is.
fn strided(subject: &Subject<'_>) -> Verdict {
    let wide = unit_rows(6, 2 * subject.dim);
    for role in ROLES {
        let mut expected = wide.clone();
        let inside = protected(&*subject.fresh(), role, wide.slice(s![..;2, 1..;2]))?;
        expected.slice_mut(s![..;2, 1..;2]).assign(&inside);
        let mut after = wide.clone();
        accept_view(&*subject.fresh(), role, after.slice_mut(s![..;2, 1..;2]))?;
        demand_close(after.view(), expected.view(), "a strided view is not treated as its copy")?;
        after.slice_mut(s![..;2, 1..;2]).assign(&inside);
        demand_same(&after, &expected, "what lies beside a strided view is changed")?;
    }
    Ok(())
}

fn rows(subject: &Subject<'_>) -> Verdict {
    const ROWS: usize = 1100;
    let vectors = subject.rows(ROWS);
    for role in ROLES {
        let defense = subject.fresh();
        let together = protected(&*defense, role, vectors.view())?;
        let drawn = defense.protect_owned(role, vectors.clone(), &mut Rng::seeded(4));
        if drawn.ok().as_ref() != Some(&together) {
            continue; // fresh randomness: a row alone may draw other numbers
        }
        for row in (0..70).chain([1023, 1024, ROWS - 1]) {
            let one = s![row..=row, ..];
            let alone = protected(&*defense, role, vectors.slice(one))?;
            let what = format!("row {row} alone is not what it is in a batch");
            demand_close(alone.view(), together.slice(one), &what)?;
        }
    }
    Ok(())
}

fn roles(subject: &Subject<'_>) -> Verdict {
    let vectors = subject.rows(3);
    for [first, second] in [[Role::Document, Role::Query], [Role::Query, Role::Document]] {
        let defense = subject.fresh();
        let before = protected(&*defense, first, vectors.view())?;
        // Beside the first role, so that the second binds nothing of its own before.
        let taken = |role| attempt(&*defense, role, &mut unit_rows(1, subject.dim + 1)).is_ok();
        demand(taken(first) == taken(second), || {
            format!("{first:?} and {second:?} vectors are not bound to the same dimension")
        })?;
        protected(&*defense, second, vectors.view())?;
        let after = protected(&*defense, first, vectors.view())?;
        let what = format!("{second:?} vectors change what {first:?} vectors become");
        demand_same(&after, &before, &what)?;
    }
    Ok(())
}

fn isometry(subject: &Subject<'_>) -> Verdict {
    let defense = subject.fresh();
    let claim = defense.guarantee();
    if !matches!(claim, Guarantee::Isometry | Guarantee::Contraction) {
        return Ok(());
    }
    let (documents, queries) = (subject.rows(5), subject.rows(4));
    let seen = protected(&*defense, Role::Document, documents.view())?;
    let asked = protected(&*defense, Role::Query, queries.view())?;
    if claim == Guarantee::Contraction {
        return contraction([(&documents, &seen), (&queries, &asked)]);
    }
    let products = [
        (documents.dot(&documents.t()), seen.dot(&seen.t())),
        (queries.dot(&queries.t()), asked.dot(&asked.t())),
        (queries.dot(&documents.t()), asked.dot(&seen.t())),
    ];
    products.iter().try_for_each(|(before, after)| {
        demand_close(after.view(), before.view(), "it claims an isometry, but inner products are not kept")
    })
}

fn threads(subject: &Subject<'_>) -> Verdict {
    let vectors = subject.rows(8);
    let expected = protected(&*subject.fresh(), Role::Document, vectors.view())?;
    let shared = &*subject.fresh();
    let outputs: Vec<_> = thread::scope(|scope| {
        let threads = [(); 4].map(|()| scope.spawn(|| protected(shared, Role::Document, vectors.view())));
        threads.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    outputs.into_iter().try_for_each(|output| {
        let output = output.map_err(|_| "it panics where threads share it".to_owned())??;
        demand_close(output.view(), expected.view(), "threads that share it get another output")
    })
}

fn spec(subject: &Subject<'_>) -> Verdict {
    let defense = subject.fresh();
    let printed = defense.to_string();
    demand(!printed.trim().is_empty() && printed.lines().count() == 1, || {
        format!("it does not print one line: {printed:?}")
    })?;
    let vectors = subject.rows(6);
    let expected = protected(&*defense, Role::Document, vectors.view())?;
    demand(defense.to_string() == printed, || format!("after a batch it no longer prints `{printed}`"))?;
    let read = match subject.registry.parse(&printed) {
        Ok(read) => read,
        Err(error) => return demand(is_beyond(subject, &defense.spec()), || error.to_string()),
    };
    demand(read.spec() == defense.spec(), || format!("read back, it prints `{read}`"))?;
    demand(read.guarantee() == defense.guarantee(), || "read back, it claims something else".to_owned())?;
    let found = protected(&read, Role::Document, vectors.view())?;
    demand_close(found.view(), expected.view(), "read back, it gives another output")
}

/// A key or a fit that is only named cannot be read back, nor can a defense that the registry does not know.
fn is_beyond(subject: &Subject<'_>, spec: &Spec) -> bool {
    let is_unknown = spec.parts().iter().any(|part| !subject.registry.knows(part.name()));
    is_unknown || spec.values().any(|value| matches!(value.kind(), Kind::Fingerprint(_) | Kind::Fit(_)))
}

fn ids(subject: &Subject<'_>) -> Verdict {
    let vectors = subject.rows(4);
    for role in ROLES {
        for count in [0, 3, 5] {
            let mut after = vectors.clone();
            match attempt_by_ids(&*subject.fresh(), role, &texts(count), &mut after, 3) {
                Err(Error::RowIds { rows: 4, ids }) if ids == count => {}
                Err(error) => return Err(format!("{count} ids for 4 rows are refused as: {error}")),
                Ok(()) => return Err(format!("{count} ids are taken for 4 rows")),
            }
            demand_same(&after, &vectors, "a batch whose ids are refused is changed")?;
        }
        refuse_by_ids(subject, role)?;
        row_by_row(subject, role)?;
        if !subject.fresh().uses_ids(role) {
            let mut after = vectors.clone();
            let done = attempt_by_ids(&*subject.fresh(), role, &texts(4), &mut after, 3);
            done.map_err(|error| format!("{role:?} vectors with ids are refused: {error}"))?;
            let expected = protected(&*subject.fresh(), role, vectors.view())?;
            demand_same(&after, &expected, "it says that it does not use ids, but they make a difference")?;
        }
    }
    Ok(())
}

fn refuse_by_ids(subject: &Subject<'_>, role: Role) -> Verdict {
    let mut bad = subject.rows(4);
    bad[[2, 0]] = f32::NAN;
    let mut after = bad.clone();
    match attempt_by_ids(&*subject.fresh(), role, &texts(4), &mut after, 3) {
        Err(Error::NotFinite { row: 2 }) => demand_same(&after, &bad, "a batch refused with ids is changed"),
        Err(error) => Err(format!("with ids, row 2 is not finite, but the error is: {error}")),
        Ok(()) => Err("with ids, a NaN is taken".to_owned()),
    }
}

/// What a row becomes does not depend on its batch, unless randomness is fresh.
fn row_by_row(subject: &Subject<'_>, role: Role) -> Verdict {
    let (vectors, texts) = (subject.rows(4), texts(4));
    let with = |rows: ndarray::ArrayView2<'_, f32>, ids: &[String], seed| {
        let mut after = rows.to_owned();
        let done = attempt_by_ids(&*subject.fresh(), role, ids, &mut after, seed);
        done.map(|()| after).map_err(|error| format!("{role:?} vectors with ids are refused: {error}"))
    };
    let together = with(vectors.view(), &texts, 3)?;
    if with(vectors.view(), &texts, 4)? != together {
        return Ok(());
    }
    for row in 0..4 {
        let alone = with(vectors.slice(s![row..=row, ..]), &texts[row..=row], 3)?;
        let what = format!("with its id, row {row} alone is not what it is in a batch");
        demand_close(alone.view(), together.slice(s![row..=row, ..]), &what)?;
    }
    Ok(())
}

fn key(subject: &Subject<'_>) -> Verdict {
    let defense = subject.fresh();
    let spec = defense.spec();
    let keyed = spec.without_keys() != spec;
    if defense.reranking().is_some_and(|rerank| rerank.spec() == spec) {
        // its key seals rows, and changes no vector
        return demand(defense.imitation(&mut Rng::seeded(1)).is_none(), || {
            "it changes no vector, but has an imitation".to_owned()
        });
    }
    let Some(imitation) = defense.imitation(&mut Rng::seeded(1)) else {
        return demand(!keyed, || "it prints a key's fingerprint, but has no imitation".to_owned());
    };
    demand(keyed, || "it has an imitation, and so a key, but prints no fingerprint".to_owned())?;
    let imitated = imitation.spec();
    demand(imitated.without_keys() == spec.without_keys(), || {
        format!("its imitation is another defense: {imitation}")
    })?;
    let again = defense.imitation(&mut Rng::seeded(1)).map(|other| other.spec());
    demand(again.as_ref() == Some(&imitated), || "one seed gives several imitations".to_owned())?;
    let other = defense.imitation(&mut Rng::seeded(2)).map(|other| other.spec());
    demand(imitated != spec && other.as_ref() != Some(&imitated), || {
        "its imitation has no key of its own".to_owned()
    })?;
    let vectors = subject.rows(3);
    let ours = protected(&*defense, Role::Document, vectors.view())?;
    let theirs = protected(&*imitation, Role::Document, vectors.view())?;
    demand(ours != theirs, || "its imitation gives the same output".to_owned())
}

fn space(subject: &Subject<'_>) -> Verdict {
    let (fresh, used) = (Stack::new().with(subject.fresh()), Stack::new().with(subject.fresh()));
    let rows = protected(&used, Role::Document, subject.rows(3).view())?;
    for (stored, stack) in [(&fresh, &fresh), (&fresh, &used), (&used, &fresh), (&used, &used)] {
        let stored = stored.fingerprint();
        demand(stored.bytes().all(|byte| matches!(byte, b' '..=b'~')), || {
            format!("its fingerprint is not a line of printable ASCII: {stored:?}")
        })?;
        let checked = stack.check_fingerprint(&stored);
        let _ = checked
            .map_err(|error| format!("its fingerprint does not match that of one made like it: {error}"))?;
    }
    let Some(imitation) = fresh.imitation(&mut Rng::seeded(1)) else { return Ok(()) };
    let is_isometry = fresh.guarantee() == Guarantee::Isometry;
    let turned = protected(&*imitation, Role::Document, subject.rows(3).view())? != rows;
    let matches = Stack::new().with(imitation).check_fingerprint(&used.fingerprint()).is_ok();
    demand(!(is_isometry && turned && matches), || {
        "under another key it is another isometry, but its fingerprint is the same".to_owned()
    })
}
