//! A tenant's stack, once for each dimension that is asked for.
//!
//! A part such as a rotation without `dim` is bound to the dimension of its first vectors. Requests choose `dimensions`
//! themselves, so one stack would be bound to what the first of them happens to ask for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ndarray::Array2;

use super::error::Refusal;
use crate::defenses::Norms;
use crate::{Defense, Error, Registry, Rng, Role, Stack};

/// How many different `dimensions` a tenant may ask for. A rotation of each is kept in memory.
const SPARES: usize = 8;

/// The stacks of one spec.
pub(super) struct Stacks {
    /// For vectors as the source has them.
    whole: Stack,
    /// Their dimension, as soon as there were some.
    dimension: AtomicUsize,
    /// Whether it was said that vectors have another norm than the stack is meant for.
    is_warned: AtomicBool,
    cut: Mutex<Cut>,
}

/// For vectors that were cut; a stack that is bound already has none, and takes all vectors.
#[derive(Default)]
struct Cut {
    is_bound: bool,
    spares: Vec<Stack>,
    by_dimension: BTreeMap<usize, Stack>,
}

impl Stacks {
    /// Takes one stack for all vectors.
    pub(super) fn one(whole: Stack) -> Self {
        let cut = Cut { is_bound: true, ..Cut::default() };
        Self {
            whole,
            dimension: AtomicUsize::new(0),
            is_warned: AtomicBool::new(false),
            cut: Mutex::new(cut),
        }
    }

    /// Builds the stacks of a spec, all now: the key's file may change later.
    pub(super) fn build(spec: &str, registry: &Registry) -> Result<Self, Error> {
        let whole = registry.parse(spec)?;
        if whole.space().parts().iter().any(|part| part.find("dim").is_some()) {
            return Ok(Self::one(whole));
        }
        // a key that comes through a pipe can be read once
        let spares: Vec<Stack> = (0..SPARES).map_while(|_| registry.parse(spec).ok()).collect();
        let cut = Cut { is_bound: spares.is_empty(), spares, by_dimension: BTreeMap::new() };
        Ok(Self {
            whole,
            dimension: AtomicUsize::new(0),
            is_warned: AtomicBool::new(false),
            cut: Mutex::new(cut),
        })
    }

    /// The stack for vectors as the source has them.
    pub(super) fn whole(&self) -> &Stack {
        &self.whole
    }

    /// The stack for vectors of the `dimensions` that a request asks for.
    pub(super) fn of(&self, asked: Option<usize>) -> Result<Stack, Refusal> {
        let Some(dimensions) = asked else { return Ok(self.whole.clone()) };
        let mut cut = self.cut();
        if let Some(stack) = cut.by_dimension.get(&dimensions) {
            return Ok(stack.clone());
        }
        match cut.spares.pop() {
            Some(stack) => {
                cut.by_dimension.insert(dimensions, stack.clone());
                Ok(stack)
            }
            None if cut.is_bound => Ok(self.whole.clone()),
            None => Err(Refusal::bad(
                "too_many_dimensions",
                format!("{SPARES} other `dimensions` were asked for since the start; ask for one of these"),
            )
            .param("dimensions")),
        }
    }

    /// Says what is wrong if vectors have another norm than the stack is meant for. It is said once.
    pub(super) fn norm_warning(&self, role: Role, vectors: &Array2<f32>) -> Option<String> {
        if self.is_warned.load(Ordering::Relaxed) || !self.whole.assumes_unit_norm(role) {
            return None;
        }
        let warning = Norms::of(vectors)?.warning(&self.whole, role)?;
        (!self.is_warned.swap(true, Ordering::Relaxed)).then_some(warning)
    }

    /// Remembers the dimension of vectors that were not cut.
    pub(super) fn saw(&self, dimension: usize) {
        self.dimension.store(dimension, Ordering::Relaxed);
    }

    /// Binds what no vectors were seen by to the dimension that the source's vectors will have.
    pub(super) fn bind(&self, dimension: usize) {
        // one stack for all vectors may be meant for those that are cut
        if !self.cut().is_bound {
            self.saw(dimension);
            warm(&self.whole, dimension);
        }
    }

    /// Makes what the first vectors would wait for, in the dimensions that `earlier` stacks had.
    pub(super) fn warm_up(&self, earlier: &Self) {
        let dimension = earlier.dimension.load(Ordering::Relaxed);
        let cut: Vec<usize> = earlier.cut().by_dimension.keys().copied().collect();
        if dimension > 0 {
            self.saw(dimension);
            warm(&self.whole, dimension);
        }
        for dimension in cut {
            if let Ok(stack) = self.of(Some(dimension)) {
                warm(&stack, dimension);
            }
        }
    }

    fn cut(&self) -> MutexGuard<'_, Cut> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Protects a vector that nobody gets. A stack that refuses it will refuse the next one with a reason.
fn warm(stack: &Stack, dimension: usize) {
    if let Ok(mut rng) = Rng::from_os() {
        let _ = stack.protect_owned(Role::Document, Array2::zeros((1, dimension)), &mut rng);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_dimension_has_a_stack_until_there_are_too_many() {
        let stacks = Stacks::build("quantization(bits=8)", &Registry::default()).unwrap();
        for dimensions in 1..=SPARES {
            stacks.of(Some(dimensions)).unwrap();
        }
        stacks.of(Some(1)).unwrap();
        stacks.of(None).unwrap();
        assert_eq!(stacks.of(Some(SPARES + 1)).unwrap_err().code, "too_many_dimensions");
        let one = Stacks::one(Stack::new());
        assert!((1..100).all(|dimensions| one.of(Some(dimensions)).is_ok()));
    }
    #[test]
    fn another_norm_is_said_once_and_only_of_vectors_that_get_noise() {
        let stacks = Stacks::build("gaussian(sigma=0.1, on=documents)", &Registry::default()).unwrap();
        let long = Array2::from_elem((2, 4), 5.0);
        assert_eq!(stacks.norm_warning(Role::Query, &long), None);
        assert_eq!(stacks.norm_warning(Role::Document, &Array2::eye(2)), None);
        let warning = stacks.norm_warning(Role::Document, &long).unwrap();
        assert!(warning.contains("mean norm of 10.000"), "{warning}");
        assert_eq!(stacks.norm_warning(Role::Document, &long), None);
    }
}
