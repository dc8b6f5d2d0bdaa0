//! What a caller should be warned of before vectors are protected.

use std::collections::{BTreeSet, HashSet};

use embosk::defenses::spec::Kind;
use embosk::{Defense, Registry, Role, Spec, Stack};
use ndarray::{Array2, s};
use pyo3::prelude::*;

use crate::argument;
use crate::array::Vectors;
use crate::error::of_defense;
use crate::ids::Ids;
use crate::role_of;

/// A mean norm that is further from 1 than this counts as another unit.
const FAR: f32 = 0.1;

/// How many rows show what norm the vectors have.
const ROWS: usize = 1000;

/// Reads a spec without its keys, for a machine that does not have them. Returns the noise that it draws anew for each
/// release of a vector of `role`, if it does, whether it has keyed noise on these, and the names of its keys.
#[pyfunction]
pub(crate) fn check_spec(
    #[pyo3(from_py_with = argument::spec)] spec: String,
    role: &str,
) -> PyResult<(Option<String>, bool, BTreeSet<String>)> {
    let role = role_of(role)?;
    let spec = Registry::default().spec(&spec).map_err(|error| of_defense(&error))?;
    let keys = spec.values().filter_map(|value| match value.kind() {
        Kind::Env(name) => Some(name.to_owned()),
        _ => None,
    });
    Ok((fresh(&spec, role), spec.has_keyed_noise(role), keys.collect()))
}

/// The noise that is drawn anew for each release of a vector of `role`, as it is printed.
pub(super) fn fresh_noise(stack: &Stack, role: Role) -> Option<String> {
    fresh(&stack.spec(), role)
}

fn fresh(spec: &Spec, role: Role) -> Option<String> {
    spec.fresh_noise(role).map(ToString::to_string)
}

/// What is probably not meant of a table: of the ids of all its rows, and of `vectors`, the first ones in it.
#[pyfunction]
pub(crate) fn warnings_of(
    stack: &Bound<'_, super::Stack>,
    vectors: &Bound<'_, PyAny>,
    role: &str,
    has_ids: bool,
    repeat: Option<usize>,
) -> PyResult<Vec<String>> {
    let vectors = Vectors::read(vectors)?.values;
    Ok(warnings(stack.get().rust(), role_of(role)?, &vectors, has_ids, repeat))
}

/// What is probably not meant: ids without effect, an id that is repeated, and noise in another unit than the vectors.
/// `repeat` is the first row whose id an earlier one has.
pub(super) fn warnings(
    stack: &Stack,
    role: Role,
    vectors: &Array2<f32>,
    has_ids: bool,
    repeat: Option<usize>,
) -> Vec<String> {
    let without_effect = (has_ids && !stack.uses_ids(role)).then(no_effect);
    [without_effect, repeat.map(repeated), of_norms(stack, vectors)].into_iter().flatten().collect()
}

/// The first row whose id an earlier one has, if ids make a difference to the stack.
pub(super) fn first_repeat(stack: &Stack, role: Role, ids: &Ids) -> Option<usize> {
    let mut seen = HashSet::new();
    stack.uses_ids(role).then(|| ids.slices().into_iter().position(|id| !seen.insert(id))).flatten()
}

fn no_effect() -> String {
    "ids make no difference: no part of the stack has keyed noise on vectors of this role".into()
}

fn repeated(row: usize) -> String {
    format!(
        "row {row} (counted from 0) repeats an id; vectors with one id get the same noise, so their difference is that of \
         the clean vectors"
    )
}

fn of_norms(stack: &Stack, vectors: &Array2<f32>) -> Option<String> {
    let spec = stack.spec();
    let part = spec.parts().iter().find(|part| ["gaussian", "dcpe"].contains(&part.name()))?;
    let rows = vectors.nrows().min(ROWS);
    let norms = vectors.slice(s![..rows, ..]).rows().into_iter().map(|row| row.dot(&row).sqrt()).sum::<f32>();
    let mean = norms / rows as f32;
    ((mean - 1.0).abs() > FAR).then(|| {
        format!(
            "the vectors have a mean norm of {mean:.3}, and the strength of `{}` is meant for vectors of norm 1: it hides \
             more of shorter vectors and less of longer ones; scale the vectors to norm 1, or the strength by the norm",
            part.name()
        )
    })
}
