//! Embedders behind an address that answers as OpenAI's `/v1/embeddings` does.

mod address;
mod answer;
mod client;
mod fetch;
mod key;
mod patience;
mod probes;
mod roles;
mod rough;
mod service;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ndarray::Array2;

use self::client::Client;
use self::fetch::{Fetching, Keep, Sending};
use self::probes::PROBES;
use self::rough::Rough;
use super::{Embedder, EmbeddingCache, Identity, Normalizer};
use crate::digest::Digest;
use crate::{BoxError, Error, Role};

pub use self::key::ApiKey;
pub use self::roles::{RoleSettings, Roles};
pub use self::rough::Volume;
pub use self::service::Service;

/// What the sidecar, which asks by another client, has in common with the embedder here.
#[cfg(feature = "serve")]
pub(crate) mod wire {
    pub(crate) use super::address::Address;
    pub(crate) use super::answer::{Fault, read_counted};
    pub(crate) use super::client::known_code;
    pub(crate) use super::patience::retry_after;
}

/// An embedder behind an address: OpenAI, Ollama, TEI, vLLM, LiteLLM, Azure, Mistral, Jina, Voyage, Cohere's compatible
/// endpoint, and whatever else answers `POST /v1/embeddings` as they do.
///
/// [`Service::connect`] makes one. A few fixed texts are embedded first. They show the dimension, what the model does not
/// see of a text, and in later runs whether it is still the same model; a hash of their vectors is part of the identity.
/// With a [cache](Service::cache), no text is sent twice: each answer is kept as soon as it is there.
///
/// ```no_run
/// use embosk::embedder::{ApiKey, EmbeddingCache, Service};
/// use embosk::{Embedder, Role};
///
/// let service = Service::new("https://api.openai.com/v1#text-embedding-3-small")?
///     .cache(EmbeddingCache::new(".cache/embosk/embeddings")?);
/// let embedder = match ApiKey::from_env("EMBOSK_API_KEY")? {
///     Some(key) => service.key(key),
///     None => service,
/// }
/// .connect()?;
/// let vectors = embedder.embed(Role::Document, &["two", "texts"])?;
/// # Ok::<(), embosk::BoxError>(())
/// ```
pub struct HttpEmbedder {
    service: Service,
    sending: Sending,
    client: Client,
    /// Of the vectors by role; equal where roles are.
    keys: [String; 2],
    known: Known,
    /// Where nothing is to be sent.
    rough: Option<Rough>,
}

/// What the probes showed.
#[derive(Debug)]
struct Known {
    dimension: usize,
    digest: String,
    has_unit_norm: bool,
    normalizer: Normalizer,
}

impl HttpEmbedder {
    fn connect(service: Service) -> Result<Self, Error> {
        let client = Client::new(service.address.clone(), service.key.clone(), service.timeout);
        let keys = [Role::Document, Role::Query].map(|role| service.cache_key(role));
        let rough = service.is_rehearsal.then(Rough::default);
        let sending = service.sending();
        let known = Known::nothing(service.dimensions.unwrap_or(rough::DIMENSION));
        let embedder = Self { service, sending, client, keys, known, rough };
        if embedder.rough.is_some() { embedder.recall() } else { embedder.probe() }
    }

    /// Embeds the fixed texts, and compares their vectors with those of earlier runs.
    fn probe(mut self) -> Result<Self, Error> {
        let roles = self.distinct_roles();
        let fresh = roles.clone().map(|role| self.fetch(role, &PROBES).map_err(Error::Embedder));
        let fresh = fresh.collect::<Result<Vec<_>, _>>()?;
        self.check_dimension(&fresh)?;
        let seen = roles.zip(fresh).map(|(role, fresh)| self.settled(role, fresh));
        let seen = seen.collect::<Result<Vec<_>, _>>()?;
        self.known = Known {
            dimension: seen[0].ncols(),
            digest: Digest::of(seen.iter().map(probes::digest)).hex(),
            has_unit_norm: seen.iter().all(probes::has_unit_norm),
            normalizer: probes::normalizer(&seen[0]),
        };
        Ok(self)
    }

    /// The vectors of the fixed texts that count: those of an earlier run, from which the fresh ones may differ by noise.
    fn settled(&self, role: Role, fresh: Array2<f32>) -> Result<Array2<f32>, Error> {
        let Some(cache) = &self.service.cache else { return Ok(fresh) };
        let key = self.cache_key(role);
        let of = |texts: &[&str]| {
            let places = texts.iter().filter_map(|text| PROBES.iter().position(|probe| probe == text));
            fresh.select(ndarray::Axis(0), &places.collect::<Vec<_>>())
        };
        let missing = cache.missing(key, &PROBES)?;
        let there: Vec<&str> = PROBES.into_iter().filter(|probe| !missing.contains(probe)).collect();
        // none, all, or those that damage has left
        let kept = if there.is_empty() {
            self.check_steady(role, &fresh)?;
            None
        } else {
            cache.find(key, &there)?
        };
        let cosine = kept.as_ref().map_or(1.0, |kept| probes::least_cosine(kept, &of(&there)));
        let how = match kept {
            Some(kept) if probes::is_same(cosine) && missing.is_empty() => return Ok(kept),
            Some(kept) if !cosine.is_finite() => {
                format!("{} dimensions, and {} then", fresh.ncols(), kept.ncols())
            }
            Some(_) if !probes::is_same(cosine) => {
                format!("a fixed text has a cosine of {cosine:.4} with its vector of then")
            }
            _ => return cache.fill((key, u64::MAX), &PROBES, |_| (), |missing, keep| keep(0, &of(missing))),
        };
        Err(Error::Setting(format!(
            "{}: the model behind this address gives other vectors than when the cache was made ({how}), so what is cached \
             would be mixed with what is not; to begin anew, remove {} or name another cache folder (--cache)",
            self.service.address,
            cache.path(key).display()
        )))
    }

    /// Refuses an address that gives other vectors each time, before they are cached: a cache would hide it.
    fn check_steady(&self, role: Role, fresh: &Array2<f32>) -> Result<(), Error> {
        let again = self.fetch(role, &PROBES).map_err(Error::Embedder)?;
        let cosine = probes::least_cosine(fresh, &again);
        if probes::is_same(cosine) {
            return Ok(());
        }
        Err(Error::Setting(format!(
            "{}: the address gives other vectors each time: a fixed text that was sent twice has a cosine of {cosine:.4} with \
             itself; if the address adds noise, name the service that it asks, and if the model is random (dropout), turn \
             this off",
            self.service.address
        )))
    }

    fn check_dimension(&self, seen: &[Array2<f32>]) -> Result<(), Error> {
        let dimension = seen[0].ncols();
        let refuse = |what: String| Err(Error::Setting(format!("{}: {what}", self.service.address)));
        if let Some(other) = seen.iter().map(Array2::ncols).find(|&other| other != dimension) {
            return refuse(format!("documents have {dimension} dimensions, and queries {other}"));
        }
        match self.service.dimensions {
            Some(asked) if asked != dimension => refuse(format!(
                "{asked} dimensions were asked for, and the server returned {dimension}; it does not know the setting, so \
                 leave it out"
            )),
            _ => Ok(()),
        }
    }

    /// What earlier runs have shown, where nothing is to be sent.
    fn recall(mut self) -> Result<Self, Error> {
        if let Some(cache) = &self.service.cache
            && let Some(kept) = cache.find(self.cache_key(Role::Document), &PROBES)?
        {
            self.known = Known { normalizer: probes::normalizer(&kept), ..Known::nothing(kept.ncols()) };
        }
        Ok(self)
    }

    fn distinct_roles(&self) -> impl Iterator<Item = Role> + Clone + use<> {
        let count = if self.has_roles() { 2 } else { 1 };
        [Role::Document, Role::Query].into_iter().take(count)
    }

    fn cache_key(&self, role: Role) -> &str {
        &self.keys[usize::from(role == Role::Query)]
    }

    /// Returns how many texts were sent so far, the fixed ones included; in a [rehearsal](Service::rehearsal), none.
    pub fn sent(&self) -> usize {
        self.sending.allowance.sent.load(Ordering::Relaxed)
    }

    /// Returns what would have been sent so far, in a [rehearsal](Service::rehearsal).
    pub fn rehearsed(&self) -> Option<Volume> {
        self.rough.as_ref().map(Rough::volume)
    }

    /// Returns the host that texts are sent to, with its port.
    pub fn host(&self) -> &str {
        &self.service.address.host
    }

    /// Sends texts, whatever is cached.
    fn fetch(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        let mut vectors: Option<Array2<f32>> = None;
        self.fetch_to(role, texts, &mut |first, fresh| {
            let all = vectors.get_or_insert_with(|| Array2::zeros((texts.len(), fresh.ncols())));
            check_width(all.ncols(), fresh)?;
            all.slice_mut(ndarray::s![first..first + fresh.nrows(), ..]).assign(fresh);
            Ok(())
        })
        .map_err(cause)?;
        Ok(vectors.unwrap_or_else(|| Array2::zeros((0, self.known.dimension))))
    }

    fn fetch_to(&self, role: Role, texts: &[&str], keep: &mut Keep<'_>) -> Result<(), Error> {
        let Service { address, roles, dimensions, in_base64, notice, .. } = &self.service;
        let say = |message: &str| format!("{address}: {message}");
        let ask = |texts: &[&str]| {
            let request = client::request(address, roles.of(role), (*dimensions, *in_base64), texts);
            self.client.ask(&request, texts.len())
        };
        let fetching = Fetching { ask: &ask, notice: &|message| notice(&say(message)) };
        let mut keep = |first: usize, fresh: &Array2<f32>| {
            if self.is_known() {
                check_width(self.known.dimension, fresh)?;
            }
            keep(first, fresh)
        };
        self.sending.fetch(&fetching, texts, &mut keep).map_err(|error| match error {
            Error::Embedder(message) => Error::Embedder(say(&message.to_string()).into()),
            error => error,
        })
    }

    /// Whether the fixed texts were embedded.
    fn is_known(&self) -> bool {
        !self.known.digest.is_empty()
    }
}

fn check_width(expected: usize, fresh: &Array2<f32>) -> Result<(), Error> {
    match fresh.ncols() {
        found if found == expected => Ok(()),
        found => {
            Err(Error::Embedder(format!("vectors had {expected} dimensions, and now have {found}").into()))
        }
    }
}

impl Known {
    fn nothing(dimension: usize) -> Self {
        Self { dimension, digest: String::new(), has_unit_norm: false, normalizer: Normalizer::lowercase() }
    }
}

impl Embedder for HttpEmbedder {
    /// Sends what is not cached.
    fn embed(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        if let Some(rough) = &self.rough {
            return Ok(rough.embed(
                &self.service,
                (role, self.cache_key(role)),
                texts,
                self.known.dimension,
            )?);
        }
        let Some(cache) = &self.service.cache else { return self.fetch(role, texts) };
        if texts.is_empty() {
            return Ok(Array2::zeros((0, self.known.dimension)));
        }
        let limit = (self.cache_key(role), u64::MAX);
        let filled = cache.fill(
            limit,
            texts,
            |_| (),
            |missing, keep| self.fetch_to(role, missing, &mut |first, fresh| keep(first, fresh)),
        );
        filled.map_err(cause)
    }

    fn dimension(&self) -> Option<usize> {
        Some(self.known.dimension)
    }

    /// As the fixed texts show it: whether case and accents change the vectors.
    fn normalizer(&self) -> Option<Normalizer> {
        Some(self.known.normalizer.clone())
    }

    /// The address, the settings, and what is behind them as the fixed texts show it.
    fn identity(&self) -> Option<Identity> {
        let parts = self.keys.iter().map(String::as_str).chain([self.known.digest.as_str()]);
        let identity = Identity::new(self.service.address.to_string(), Digest::of(parts).hex());
        Some(if self.service.cache.is_some() || self.rough.is_some() {
            identity.kept_by_itself()
        } else {
            identity
        })
    }

    fn has_unit_norm(&self) -> Option<bool> {
        self.known.has_unit_norm.then_some(true)
    }

    fn has_roles(&self) -> bool {
        self.service.roles.document != self.service.roles.query
    }
}

/// What a caller is told who says by itself that the embedding function failed.
fn cause(error: Error) -> BoxError {
    match error {
        Error::Embedder(cause) => cause,
        error => error.into(),
    }
}

impl fmt::Debug for HttpEmbedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpEmbedder").field("service", &self.service).finish_non_exhaustive()
    }
}

impl fmt::Display for HttpEmbedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.service.address.fmt(f)
    }
}

/// What waits and warnings are told to.
type Notice = Arc<dyn Fn(&str) + Send + Sync>;
