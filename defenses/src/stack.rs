use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ndarray::{ArrayView2, ArrayViewMut2};

use crate::parallel::for_pieces;
use crate::rows::with_scratch;
use crate::{Defense, Error, Guarantee, Rng, Role, fingerprint, spec};

/// Defenses one after the other, in the order written. A stack is itself a defense.
///
/// Cloning shares the parts. A batch is changed by all parts or, on an error, by none.
///
/// It is read from and printed as a spec: parts separated by `|`, each `name(parameter=value, …)`,
/// with white space wherever you like; `none` is the empty stack.
///
/// | part | parameters |
/// |---|---|
/// | `dcpe` | `key`, as below; `beta`: see [`Dcpe`](crate::Dcpe) |
/// | `gaussian` | `sigma`; `key`, or else fresh noise; `on`: `documents`, `queries` or, by default, `both`; `renormalize`: `true` or, by default, `false`: see [`GaussianNoise`](crate::GaussianNoise) |
/// | `permutation` | `key`; `dim`, or else the first vectors': see [`Permutation`](crate::Permutation) |
/// | `product_quantization` | `codebook`: `file:PATH`: see [`ProductQuantization`](crate::ProductQuantization) |
/// | `quantization` | `bits`; `scale`, a number or fitted scales as `file:PATH`, or else each vector's; with a scale also `dither`, a key as below: see [`Quantization`](crate::Quantization) |
/// | `rotation` | `key`: `env:NAME` or `file:PATH`; `dim`, or else the first vectors'; `kind`: `haar`, the default, or `hadamard`: see [`Rotation`](crate::Rotation) |
/// | `scaling` | `key`: see [`Scaling`](crate::Scaling) |
///
/// A key is named, never written out, and prints as its fingerprint; so the spec of a keyed stack
/// says which key it needs, and does not hold it. The key is read when the spec is.
///
/// The order matters. Rounding after the noise keeps the noise's guarantee, rounding before it
/// loses it:
///
/// ```
/// use embosk_defenses::{Defense, Guarantee, Stack};
///
/// let good: Stack = "gaussian(sigma=0.01) | quantization(bits=8)".parse()?;
/// assert_eq!(good.guarantee(), Guarantee::GaussianMechanism { sigma: 0.01 });
///
/// let wrong: Stack = "quantization(bits=8) | gaussian(sigma=0.01)".parse()?;
/// assert_eq!(wrong.guarantee(), Guarantee::None);
/// # Ok::<(), embosk_defenses::Error>(())
/// ```
///
/// Vectors under one key cannot be searched with queries under another. Store the stack's
/// [fingerprint](Self::fingerprint) beside the vectors, and check it before the first query:
///
/// ```
/// use embosk_defenses::{Error, Key, Rotation, Stack};
///
/// let stored = Stack::new().with(Rotation::new(&Key::generate()?, 384)?).fingerprint();
///
/// let other = Stack::new().with(Rotation::new(&Key::generate()?, 384)?);
/// assert!(matches!(other.check_fingerprint(&stored), Err(Error::OtherKey { .. })));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Stack(Vec<Arc<dyn Defense>>);

impl Stack {
    /// The empty stack, which changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The stack with `defense` after its parts.
    pub fn with(mut self, defense: impl Defense) -> Self {
        self.push(defense);
        self
    }

    /// Adds `defense` after the parts.
    pub fn push(&mut self, defense: impl Defense) {
        self.0.push(Arc::new(defense));
    }

    /// How many parts there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The [fingerprint](crate::Key::fingerprint) of the key that its parts have in common, to be stored
    /// beside the vectors. Parts with several keys give all of them in turn, separated by commas;
    /// without a key it is `none`.
    ///
    /// It is read from what the parts print, so a defense of your own counts where it prints its key as
    /// `fingerprint:` and eight digits.
    pub fn fingerprint(&self) -> String {
        fingerprint::of_spec(&self.to_string())
    }

    /// Whether `stored`, a [`fingerprint`](Self::fingerprint) from beside the vectors, is this stack's.
    ///
    /// # Errors
    /// [`Error::OtherKey`] where the vectors were protected under another key, and [`Error::Setting`]
    /// where `stored` is not a fingerprint.
    pub fn check_fingerprint(&self, stored: &str) -> Result<(), Error> {
        fingerprint::check(stored.trim(), self.fingerprint())
    }
}

impl Defense for Stack {
    fn protect(&self, role: Role, mut vectors: ArrayViewMut2<'_, f32>, rng: &mut Rng) -> Result<(), Error> {
        match self.0.as_slice() {
            [] => crate::check_finite(&vectors),
            [only] => only.protect(role, vectors, rng),
            parts => with_scratch(vectors.len(), |copy| {
                let copy = ArrayViewMut2::from_shape(vectors.dim(), copy);
                let mut before = copy.expect("as many numbers as the vectors have");
                assign(before.view_mut(), vectors.view());
                let done = parts.iter().try_for_each(|part| part.protect(role, vectors.view_mut(), rng));
                if done.is_err() {
                    assign(vectors, before.view());
                }
                done
            }),
        }
    }

    fn guarantee(&self) -> Guarantee {
        self.0.iter().fold(Guarantee::Isometry, |so_far, part| so_far.then(part.guarantee()))
    }

    fn imitation(&self, rng: &mut Rng) -> Option<Arc<dyn Defense>> {
        let own: Vec<_> = self.0.iter().map(|part| part.imitation(rng)).collect();
        let keyed = own.iter().any(Option::is_some);
        let parts = own.into_iter().zip(&self.0).map(|(own, part)| own.unwrap_or_else(|| Arc::clone(part)));
        keyed.then(|| Arc::new(Self(parts.collect())) as Arc<dyn Defense>)
    }

    fn undo_key(&self, mut vectors: ArrayViewMut2<'_, f32>) -> Result<bool, Error> {
        let mut any = false;
        for part in self.0.iter().rev() {
            match part.undo_key(vectors.view_mut())? {
                true => any = true,
                false if part.imitation(&mut Rng::seeded(0)).is_some() => return Ok(false),
                false => {}
            }
        }
        Ok(any)
    }
}

fn assign(to: ArrayViewMut2<'_, f32>, from: ArrayView2<'_, f32>) {
    let dim = to.ncols();
    for_pieces((to, from), dim, 1, |_, (mut to, from)| to.assign(&from));
}

impl FromStr for Stack {
    type Err = Error;

    /// Reads a spec.
    ///
    /// # Errors
    /// [`Error::Spec`] with the position where it cannot be read, [`Error::Setting`] where a value is
    /// out of range, and the key's errors where it names one.
    fn from_str(spec: &str) -> Result<Self, Error> {
        spec::parse(spec).map(Self)
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.0.split_first() else {
            return f.write_str("none");
        };
        first.fmt(f)?;
        rest.iter().try_for_each(|part| write!(f, " | {part}"))
    }
}
