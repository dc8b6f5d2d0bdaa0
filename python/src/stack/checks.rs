//! What a caller should be warned of before vectors are protected.

use std::collections::{BTreeSet, HashSet};

use embosk::defenses::Norms;
use embosk::defenses::spec::Kind;
use embosk::{Defense, Registry, Role, Spec, Stack};
use pyo3::prelude::*;

use crate::argument;
use crate::error::of_defense;
use crate::ids::Ids;
use crate::{other_norms_of, role_of};

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

/// Refuses another `norms` than there is.
#[pyfunction]
pub(crate) fn check_norms(norms: &str) -> PyResult<()> {
    other_norms_of(norms).map(drop)
}

/// The norms of a part of a table, if its vectors were protected as they are.
#[pyclass(frozen, module = "embosk._embosk", name = "SeenNorms")]
pub(crate) struct SeenNorms(pub(super) Option<Norms>);

/// What is probably not meant of a table: of the ids of all its rows, and of the norms in all its parts.
#[pyfunction]
pub(crate) fn warnings_of(
    stack: &Bound<'_, super::Stack>,
    seen: Vec<Bound<'_, SeenNorms>>,
    role: &str,
    has_ids: bool,
    repeat: Option<usize>,
) -> PyResult<Vec<String>> {
    let norms = seen.iter().filter_map(|part| part.get().0).reduce(Norms::and);
    let (stack, role) = (stack.get(), role_of(role)?);
    let of_norms = stack.norm_warning(role, norms);
    Ok(warnings(stack.rust(), role, of_norms, has_ids, repeat))
}

/// What is probably not meant: ids without effect, an id that is repeated, and what is said of the vectors' norms. `repeat`
/// is the first row whose id an earlier one has.
pub(super) fn warnings(
    stack: &Stack,
    role: Role,
    of_norms: Option<String>,
    has_ids: bool,
    repeat: Option<usize>,
) -> Vec<String> {
    let without_effect = (has_ids && !stack.uses_ids(role)).then(no_effect);
    [without_effect, repeat.map(repeated), of_norms].into_iter().flatten().collect()
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
