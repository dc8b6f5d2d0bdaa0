use std::fmt;
use std::sync::Arc;

/// A function that is applied to texts before they are compared, with a name for signatures. Cloning is
/// cheap.
///
/// ```
/// use embosk::embedder::Normalizer;
///
/// assert_eq!(Normalizer::lowercase().apply("Zoë PAYS"), "zoë pays");
/// let spaces = Normalizer::new("single spaces", |text| text.split_whitespace().collect::<Vec<_>>().join(" "));
/// assert_eq!((spaces.name(), spaces.apply(" a  b ").as_str()), ("single spaces", "a b"));
/// ```
#[derive(Clone)]
pub struct Normalizer {
    name: Arc<str>,
    apply: Arc<dyn Fn(&str) -> String + Send + Sync>,
}

impl Normalizer {
    /// Creates a normalizer. Signatures contain its name, so a different function needs a different name.
    pub fn new(name: impl AsRef<str>, apply: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self { name: name.as_ref().into(), apply: Arc::new(apply) }
    }

    /// Leaves texts as they are, for embedders that read case and accents.
    pub fn none() -> Self {
        Self::new("none", str::to_owned)
    }

    /// Lower-cases texts, for embedders that ignore case.
    pub fn lowercase() -> Self {
        Self::new("lowercase", str::to_lowercase)
    }

    /// Returns its name in signatures.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the text in the form in which it is compared.
    pub fn apply(&self, text: &str) -> String {
        (self.apply)(text)
    }
}

impl fmt::Debug for Normalizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Normalizer").field(&self.name).finish()
    }
}
