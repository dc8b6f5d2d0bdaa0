/// Identifies an embedder: a name for people, and a hash that changes whenever the vectors do.
///
/// Reports carry both, and [`EmbeddingCache`](crate::embedder) names its files by the hash.
///
/// ```
/// use embosk::embedder::Identity;
///
/// let hosted = Identity::new("text-embedding-3-small", "openai/text-embedding-3-small@2024-01-25");
/// assert_eq!(hosted.cache_key(), hosted.hash);
/// assert_eq!(hosted.on("a GPU").cache_key(), "openai/text-embedding-3-small@2024-01-25 on a GPU");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Identity {
    /// The embedder's name in reports.
    pub name: String,
    /// The SHA-256 of everything that determines the vectors, in hexadecimal. A hosted model cannot be
    /// hashed; use its address, model and version instead.
    pub hash: String,
    /// Where the model runs, if that changes the vectors' last digits.
    pub platform: Option<String>,
    /// The code that runs the model, if it is ours: a later version may compute other vectors.
    pub code: Option<String>,
    /// Whether the embedder keeps its vectors itself, so that no [`EmbeddingCache`](crate::embedder) has to.
    pub is_kept_by_itself: bool,
}

impl Identity {
    /// Creates the identity of an embedder whose vectors are the same wherever it runs.
    pub fn new(name: impl Into<String>, hash: impl Into<String>) -> Self {
        Self { name: name.into(), hash: hash.into(), platform: None, code: None, is_kept_by_itself: false }
    }

    /// Sets where the model runs, such as "a GPU". The embedder is the same, but its vectors are cached
    /// apart.
    pub fn on(self, platform: impl Into<String>) -> Self {
        Self { platform: Some(platform.into()), ..self }
    }

    /// Sets which code runs the model, such as a name and a version. Vectors of another code are cached apart;
    /// reports do not show it.
    pub fn code(self, code: impl Into<String>) -> Self {
        Self { code: Some(code.into()), ..self }
    }

    /// Says that the embedder keeps its vectors itself.
    pub fn kept_by_itself(self) -> Self {
        Self { is_kept_by_itself: true, ..self }
    }

    /// Returns the key of the embedder in a cache.
    pub fn cache_key(&self) -> String {
        let platform = self.platform.iter().map(|platform| format!(" on {platform}"));
        let code = self.code.iter().map(|code| format!(" by {code}"));
        std::iter::once(self.hash.clone()).chain(platform).chain(code).collect()
    }
}
