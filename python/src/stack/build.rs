//! Builds a stack from its spec, with the keys that were given.

use embosk::defenses::Error;
use embosk::defenses::spec::Kind;
use embosk::{Defense, Registry, Rng, Role, Spec};
use ndarray::Array2;
use pyo3::prelude::*;
use pyo3::types::PyMapping;

use crate::error::{of_defense, setting};
use crate::key::Key;

/// Keys by the names that a spec has for them.
pub(super) type Keys = Vec<(String, embosk::Key)>;

/// The keys by name, from a dict of Python.
pub(super) fn given_keys(keys: Option<&Bound<'_, PyAny>>) -> PyResult<Keys> {
    let Some(keys) = keys else { return Ok(Vec::new()) };
    let refused = || setting("keys is a dict from names to `embosk.Key`");
    let read = |pair: Bound<'_, PyAny>| {
        let (name, key): (String, Bound<'_, PyAny>) = pair.extract().map_err(|_| refused())?;
        let key = key.cast::<Key>().map_err(|_| refused())?;
        Ok((name, key.get().0.clone()))
    };
    keys.cast::<PyMapping>().map_err(|_| refused())?.items()?.iter().map(read).collect()
}

/// Builds the stack of a spec, with keys in place of variables.
pub(super) fn stack(spec: &str, keys: &Keys) -> PyResult<embosk::Stack> {
    let mut registry = Registry::default();
    for (name, key) in keys {
        registry.key(name, key);
    }
    let spec = registry.spec(spec).map_err(|error| of_defense(&error))?;
    refuse_unused(&spec, keys)?;
    registry.stack(&spec).map_err(|error| of_defense(&error))
}

/// Binds a stack to a dimension: the transforms of its keys for it are drawn now.
pub(super) fn bind(stack: &embosk::Stack, dim: usize) -> Result<(), Error> {
    let one = Array2::zeros((1, dim));
    stack.protect_owned(Role::Document, one, &mut Rng::from_os()?).map(drop)
}

/// Refuses keys that the spec does not name.
fn refuse_unused(spec: &Spec, keys: &Keys) -> PyResult<()> {
    let is_named = |name: &str| spec.values().any(|value| value.kind() == Kind::Env(name));
    match keys.iter().find(|(name, _)| !is_named(name)) {
        None => Ok(()),
        Some((name, _)) if name.len() <= 64 => Err(setting(format!(
            "the key {name} is given, but the spec does not name it; write `key=env:{name}`, or leave the key out"
        ))),
        Some(_) => {
            Err(setting("a key is given that the spec does not name; write `key=env:NAME`, or leave it out"))
        }
    }
}
