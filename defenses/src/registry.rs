//! The defenses that a spec can name.

mod ours;
mod parameters;

use std::fmt;
use std::sync::Arc;

pub use parameters::Parameters;

use crate::spec::{Part, Spec, Vocabulary, error_at, is_of_name, quoted_name};
use crate::{Defense, Error, Key, Stack};

type Built = Result<Arc<dyn Defense>, Error>;

/// The defenses that a spec can name, and how each is built from its parameters.
///
/// `Registry::default()` knows the defenses of this crate. [`register`](Self::register) adds your own, which
/// can then be named wherever a registry is used.
///
/// ```
/// use embosk_defenses::{Defense, Error, Guarantee, Registry, Rng, Role, check_finite};
/// use ndarray::{ArrayViewMut2, array};
///
/// /// Multiplies every vector by a number.
/// #[derive(Debug)]
/// struct Times(f32);
///
/// impl std::fmt::Display for Times {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
///         write!(f, "times(factor={})", self.0)
///     }
/// }
///
/// impl Defense for Times {
///     fn protect(&self, _: Role, mut vectors: ArrayViewMut2<'_, f32>, _: &mut Rng) -> Result<(), Error> {
///         check_finite(&vectors)?;
///         vectors.mapv_inplace(|value| value * self.0);
///         Ok(())
///     }
///
///     fn guarantee(&self) -> Guarantee {
///         Guarantee::None
///     }
/// }
///
/// let mut registry = Registry::default();
/// registry.register("times", &["factor"], |parameters| {
///     match parameters.number("factor", "a number from -1 to 1")? {
///         factor if (-1.0..=1.0).contains(&factor) => Ok(Times(factor)),
///         _ => Err(parameters.error("factor", "`factor` should be a number from -1 to 1")),
///     }
/// })?;
///
/// let stack = registry.parse("times(factor=-1) | quantization(bits=1)")?;
/// let mut vectors = array![[1.0_f32, -1.0]];
/// stack.protect(Role::Document, vectors.view_mut(), &mut Rng::from_os()?)?;
/// assert_eq!(vectors, array![[-1.0, 1.0]]);
///
/// let refused = registry.parse("quantization(bits=8) | times(factor=2)").unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "defense spec, character 37: `factor` should be a number from -1 to 1"
/// );
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct Registry {
    known: Vec<Known>,
    /// The keys that are named as variables, but were given.
    keys: Vec<(String, Key)>,
}

/// A defense that a spec can name.
#[derive(Clone)]
struct Known {
    name: String,
    parameters: Vec<String>,
    build: Arc<dyn Fn(&Parameters<'_>) -> Built + Send + Sync>,
}

impl Registry {
    /// Adds the defense that specs call `name`. `build` makes it from its parameters; `parameters` lists
    /// their names.
    ///
    /// # Errors
    /// [`Error::Setting`] for a name that is taken, or that a spec cannot use: names consist of ASCII
    /// letters, digits and `_`, and `none` is the empty stack.
    pub fn register<D: Defense>(
        &mut self,
        name: &str,
        parameters: &[&str],
        build: impl Fn(&Parameters<'_>) -> Result<D, Error> + Send + Sync + 'static,
    ) -> Result<&mut Self, Error> {
        let is_name = |name: &str| !name.is_empty() && name.chars().all(is_of_name);
        if !is_name(name) || name == "none" || self.known(name).is_some() {
            let expected = "a new name of ASCII letters, digits and `_`, and not `none`";
            return Err(Error::Setting { name: "the name of a defense", expected });
        }
        if !parameters.iter().all(|name| is_name(name)) {
            let expected = "of ASCII letters, digits and `_`";
            return Err(Error::Setting { name: "the name of a parameter", expected });
        }
        self.known.push(Known {
            name: name.to_owned(),
            parameters: parameters.iter().map(|&name| name.to_owned()).collect(),
            build: Arc::new(move |parameters| Ok(Arc::new(build(parameters)?))),
        });
        Ok(self)
    }

    /// Adds a key that specs name as `env:NAME`, for a program that has it from elsewhere, such as a store of secrets.
    /// The environment variable `name` is then not read.
    ///
    /// ```
    /// use embosk_defenses::{Key, Registry, Stack};
    ///
    /// let mut registry = Registry::default();
    /// registry.key("EMBOSK_KEY_OF_THE_STORE", &Key::generate()?);
    /// let stack = registry.parse("rotation(key=env:EMBOSK_KEY_OF_THE_STORE)")?;
    /// assert!("rotation(key=env:EMBOSK_KEY_OF_THE_STORE)".parse::<Stack>().is_err());
    /// # Ok::<(), embosk_defenses::Error>(())
    /// ```
    pub fn key(&mut self, name: &str, key: &Key) -> &mut Self {
        self.keys.retain(|(known, _)| known != name);
        self.keys.push((name.to_owned(), key.clone()));
        self
    }

    /// Iterates over the names of the defenses.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(|known| known.name.as_str())
    }

    /// Returns whether specs can name the defense `name`.
    pub fn knows(&self, name: &str) -> bool {
        self.known(name).is_some()
    }

    /// Builds the stack of a spec. Keys and fits are read now.
    ///
    /// # Errors
    /// [`Error::Spec`] with the position of an unknown defense or parameter, of a value of the wrong kind, or of
    /// a [`Rerank`](crate::Rerank) that is not the last part;
    /// [`Error::Setting`] if a value is out of range; and errors of reading keys and fits.
    pub fn stack(&self, spec: &Spec) -> Result<Stack, Error> {
        let known: Vec<_> = spec.parts().iter().map(|part| self.checked(part)).collect::<Result<_, _>>()?;
        let parts = spec.parts().iter().zip(known);
        let parts = parts.map(|(part, known)| (known.build)(&Parameters::of(part, &self.keys)));
        let parts: Vec<Arc<dyn Defense>> = parts.collect::<Result<_, _>>()?;
        check_order(spec, &parts)?;
        Ok(parts.into_iter().collect())
    }

    /// Reads the text of a spec and builds its stack.
    ///
    /// # Errors
    /// As [`stack`](Self::stack), and [`Error::Spec`] if the text is outside the grammar.
    pub fn parse(&self, text: &str) -> Result<Stack, Error> {
        self.stack(&self.spec(text)?)
    }

    /// Reads the text of a spec without building its stack.
    ///
    /// # Errors
    /// [`Error::Spec`] if the text is outside the grammar, or names an unknown defense or parameter.
    pub fn spec(&self, text: &str) -> Result<Spec, Error> {
        crate::spec::read(text, self)
    }

    fn known(&self, name: &str) -> Option<&Known> {
        self.known.iter().find(|known| known.name == name)
    }

    /// Returns the defense that a part names, after checking the part's parameters.
    fn checked(&self, part: &Part) -> Result<&Known, Error> {
        let known = self.known(part.name()).ok_or_else(|| self.unknown(part.position(), part.name()))?;
        part.parameters().iter().try_for_each(|given| known.check(given.name(), given.position()))?;
        Ok(known)
    }

    fn unknown(&self, position: usize, name: &str) -> Error {
        let known: Vec<_> = self.names().collect();
        unknown(position, "defense", name, &known.join(", "), "; `none` is the empty stack")
    }
}

/// Refuses a part before the last that says how candidates are ordered.
fn check_order(spec: &Spec, parts: &[Arc<dyn Defense>]) -> Result<(), Error> {
    let is_last = |at: usize| at + 1 == parts.len();
    let early = |&at: &usize| parts[at].reranking().is_some() && !is_last(at);
    match (0..parts.len()).find(early) {
        None => Ok(()),
        Some(at) => {
            let [part, after] = [at, parts.len() - 1].map(|at| &spec.parts()[at]);
            let name = part.name();
            Err(part.error(match after.name() {
                other if other == name => format!("`{name}` is there twice; leave one out"),
                other => format!("`{name}` must be the last part of a stack; move it behind `{other}`"),
            }))
        }
    }
}

impl Vocabulary for Registry {
    fn defense(&self, name: &str, position: usize) -> Result<(), Error> {
        self.known(name).map(drop).ok_or_else(|| self.unknown(position, name))
    }

    fn parameter(&self, of: &str, name: &str, position: usize) -> Result<(), Error> {
        self.known(of).map_or(Ok(()), |known| known.check(name, position))
    }
}

impl Known {
    /// Refuses the name of a parameter.
    fn check(&self, name: &str, position: usize) -> Result<(), Error> {
        if self.parameters.iter().any(|known| known == name) {
            return Ok(());
        }
        let of = format!(" (of `{}`)", self.name);
        Err(unknown(position, "parameter", name, &self.parameters.join(", "), &of))
    }
}

fn unknown(position: usize, kind: &str, name: &str, known: &str, more: &str) -> Error {
    error_at(
        position,
        match name {
            "" => format!("expected a {kind}: known are {known}{more}"),
            name => {
                let named = quoted_name(name, "");
                let space = if named.is_empty() { "" } else { " " };
                format!("unknown {kind}{space}{named}; known are {known}{more}")
            }
        },
    )
}

/// The defenses of this crate.
impl Default for Registry {
    fn default() -> Self {
        Self { known: ours::all().collect(), keys: Vec::new() }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registry ")?;
        f.debug_set().entries(self.names()).finish()
    }
}
