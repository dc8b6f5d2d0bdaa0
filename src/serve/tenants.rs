//! Who may ask, and by which stack their vectors are protected.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

use super::role;
use super::stacks::Stacks;
use crate::defenses::is_open_to_others;
use crate::embedder::ApiKey;
use crate::{Defense, Error, Registry, Stack};

/// A file of tenants is not longer.
const LONGEST_FILE: usize = 1 << 20;

/// A shorter token could be guessed.
const SHORTEST_TOKEN: usize = 16;

/// The longest token and the longest name.
const LONGEST_TOKEN: usize = 4096;
const LONGEST_NAME: usize = 64;

/// Those who may ask: everyone on this machine under one stack, or those with a token, each under their own.
///
/// A TOML file lists tenants:
///
/// ```toml
/// [[tenant]]
/// name = "search"
/// token = "env:SEARCH_TOKEN"     # or "file:PATH", "sha256:DIGITS", or the token itself in a file that only its owner can read
/// defense = "rotation(key=file:search.key)"
/// upstream_key = "env:SEARCH_OPENAI_KEY"     # optional
/// ```
#[derive(Clone)]
pub struct Tenants(Kind);

#[derive(Clone)]
enum Kind {
    Everyone(Arc<Tenant>),
    Known(Vec<Arc<Tenant>>),
}

/// One who may ask.
pub(super) struct Tenant {
    pub(super) name: String,
    /// The SHA-256 of the token.
    token: [u8; 32],
    pub(super) stacks: Stacks,
    /// Whether documents and queries are protected differently.
    pub(super) has_roles: bool,
    pub(super) upstream_key: Option<ApiKey>,
}

impl Tenants {
    /// Lets everyone ask, and protects all vectors by one stack.
    ///
    /// # Errors
    /// [`Error::Setting`] if the stack ends in `rerank`.
    pub fn everyone(stack: Stack) -> Result<Self, Error> {
        Self::everyone_under(Stacks::one(stack))
    }

    /// Lets everyone ask, and protects all vectors by the stack of a spec. Requests may ask for several `dimensions`,
    /// even if the stack is bound to those of its first vectors.
    ///
    /// # Errors
    /// [`Error::Defense`] if the spec cannot be built, and [`Error::Setting`] if it ends in `rerank`.
    pub fn everyone_by(spec: &str, registry: &Registry) -> Result<Self, Error> {
        Self::everyone_under(Stacks::build(spec, registry)?)
    }

    fn everyone_under(stacks: Stacks) -> Result<Self, Error> {
        let tenant = Tenant::new("everyone".to_owned(), [0; 32], stacks, None)?;
        Ok(Self(Kind::Everyone(Arc::new(tenant))))
    }

    /// Reads tenants from a TOML file. The names in specs are those of `registry`; a tenant without a spec has `usual`.
    ///
    /// # Errors
    /// [`Error::File`] with the line or the tenant's name if something cannot be used. No message holds a token.
    pub fn read(path: impl AsRef<Path>, registry: &Registry, usual: Option<&str>) -> Result<Self, Error> {
        let path = path.as_ref();
        let (text, is_closed) = read_file(path)?;
        let listed: Listed = toml::from_str(&text).map_err(|error| {
            let line = error.span().map(|span| text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1);
            // what the parser says may repeat a token
            let message = "it cannot be read here; each [[tenant]] has the texts name and token, and may have defense and \
                           upstream_key";
            Error::File { path: path.to_owned(), line, message: message.into() }
        })?;
        let bad = |message: String| Error::file(path, message);
        if listed.tenant.is_empty() {
            return Err(bad("it lists no [[tenant]], so nobody could ask".into()));
        }
        let (mut names, mut tokens) = (HashSet::new(), HashSet::new());
        let tenants = listed.tenant.iter().enumerate().map(|(at, line)| {
            let name = checked_name(&line.name).ok_or_else(|| {
                bad(format!(
                    "tenant {} has no name of 1 to {LONGEST_NAME} letters, digits, dots, hyphens or underscores",
                    at + 1
                ))
            })?;
            let tenant =
                line.tenant(name, registry, usual, is_closed).map_err(|why| bad(format!("tenant {name}: {why}")))?;
            if !names.insert(name) || !tokens.insert(tenant.token) {
                return Err(bad(format!("tenant {name} has the name or the token of an earlier one")));
            }
            Ok(Arc::new(tenant))
        });
        Ok(Self(Kind::Known(tenants.collect::<Result<_, _>>()?)))
    }

    /// Whether a token is needed.
    pub fn are_known(&self) -> bool {
        matches!(self.0, Kind::Known(_))
    }

    /// Returns each tenant's name and the fingerprint of their stack.
    pub fn fingerprints(&self) -> Vec<(String, String)> {
        self.all().iter().map(|tenant| (tenant.name.clone(), tenant.stacks.whole().fingerprint())).collect()
    }

    /// Binds all stacks to the dimension of the source's vectors.
    pub(super) fn bind(&self, dimension: usize) {
        for tenant in self.all() {
            tenant.stacks.bind(dimension);
        }
    }

    /// Makes what the first requests would wait for, if these tenants follow `earlier` ones.
    pub(super) fn warm_up(&self, earlier: &Self) {
        for tenant in self.all() {
            if let Some(earlier) = earlier.all().iter().find(|earlier| earlier.name == tenant.name) {
                tenant.stacks.warm_up(&earlier.stacks);
            }
        }
    }

    /// Whether a tenant has a key of their own for the upstream.
    pub(super) fn have_upstream_keys(&self) -> bool {
        self.all().iter().any(|tenant| tenant.upstream_key.is_some())
    }

    fn all(&self) -> &[Arc<Tenant>] {
        match &self.0 {
            Kind::Everyone(tenant) => std::slice::from_ref(tenant),
            Kind::Known(tenants) => tenants,
        }
    }

    /// The tenant who asks. All tokens are compared, in constant time.
    pub(super) fn find(&self, headers: &HeaderMap) -> Option<Arc<Tenant>> {
        let tenants = match &self.0 {
            Kind::Everyone(tenant) => return Some(Arc::clone(tenant)),
            Kind::Known(tenants) => tenants,
        };
        let given: [u8; 32] = Sha256::digest(bearer(headers)?).into();
        let mut found = u32::MAX;
        for (at, tenant) in (0..).zip(tenants) {
            found.conditional_assign(&at, tenant.token.ct_eq(&given));
        }
        tenants.get(found as usize).map(Arc::clone)
    }
}

impl fmt::Debug for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.fingerprints()).finish()
    }
}

impl Tenant {
    fn new(
        name: String,
        token: [u8; 32],
        stacks: Stacks,
        upstream_key: Option<ApiKey>,
    ) -> Result<Self, Error> {
        if stacks.whole().reranking().is_some() {
            return Err(Error::Setting(
                "the defense ends in `rerank`, and an answer has no place for the sealed vectors that it needs; leave \
                 `rerank` out, or protect with the library or `embosk protect`"
                    .into(),
            ));
        }
        let has_roles = role::matters(stacks.whole());
        Ok(Self { name, token, stacks, has_roles, upstream_key })
    }
}

/// The token of a request.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    #[serde(default)]
    tenant: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    #[serde(deserialize_with = "secret")]
    token: Zeroizing<String>,
    defense: Option<String>,
    upstream_key: Option<String>,
}

impl Line {
    fn tenant(
        &self,
        name: &str,
        registry: &Registry,
        usual: Option<&str>,
        is_closed: bool,
    ) -> Result<Tenant, String> {
        let token = digest(&self.token, is_closed)?;
        let spec = self.defense.as_deref().or(usual);
        let spec = spec.ok_or("it has no defense, and --defense names none for all")?;
        let stacks = Stacks::build(spec, registry).map_err(|error| error.to_string())?;
        let key = self.upstream_key.as_deref().map(upstream_key).transpose()?;
        Tenant::new(name.to_owned(), token, stacks, key).map_err(|error| error.to_string())
    }
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

fn checked_name(name: &str) -> Option<&str> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    ((1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(is_fit)).then_some(name)
}

/// The SHA-256 of the token that a file names or holds.
fn digest(token: &str, is_closed: bool) -> Result<[u8; 32], String> {
    let of_text = |text: &str| {
        let text = text.trim();
        match text.len() {
            SHORTEST_TOKEN..=LONGEST_TOKEN if text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(Sha256::digest(text).into())
            }
            _ => Err(format!(
                "its token must have {SHORTEST_TOKEN} to {LONGEST_TOKEN} letters, digits or signs of ASCII"
            )),
        }
    };
    if let Some(name) = token.strip_prefix("env:") {
        let text = std::env::var(name).map(Zeroizing::new);
        return of_text(&text.map_err(|_| "its token names a variable that is not set, or is not text")?);
    }
    if let Some(path) = token.strip_prefix("file:") {
        let unread = |_| "its token names a file that cannot be read".to_owned();
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err("its token's file is not a regular file".into());
        }
        let file = File::open(path).map_err(unread)?;
        if is_open(&file) {
            return Err("its token's file is open to others; close it with `chmod 600`".into());
        }
        return of_text(&read_secret(&file, 2 * LONGEST_TOKEN).map_err(unread)?);
    }
    if let Some(digits) = token.strip_prefix("sha256:") {
        let bytes = base16(digits);
        return bytes.ok_or_else(|| "its token's SHA-256 must have 64 hexadecimal digits".into());
    }
    if !is_closed {
        return Err("its token stands in a file that is open to others; close the file with `chmod 600`, or name the token \
                    as env:NAME, file:PATH or sha256:DIGITS"
            .into());
    }
    of_text(token)
}

fn base16(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let length = base16ct::mixed::decode(digits.trim(), &mut bytes).ok()?.len();
    (length == bytes.len()).then_some(bytes)
}

fn upstream_key(named: &str) -> Result<ApiKey, String> {
    let name = named.strip_prefix("env:").ok_or("its upstream_key must name a variable, as env:NAME")?;
    match ApiKey::from_env(name) {
        Ok(Some(key)) => Ok(key),
        Ok(None) => Err("its upstream_key names a variable that is not set, or is empty".into()),
        Err(_) => Err("its upstream_key names a variable that holds no key".into()),
    }
}

/// The text of a file, and whether only its owner can read it.
fn read_file(path: &Path) -> Result<(Zeroizing<String>, bool), Error> {
    let unread = |error: io::Error| match error.kind() {
        io::ErrorKind::InvalidData => Error::file(path, "it is not UTF-8"),
        _ => Error::unreadable(path, &error, ""),
    };
    // a pipe would be waited for
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(Error::file(path, "it is not a regular file"));
    }
    let file = File::open(path).map_err(unread)?;
    let is_closed = !is_open(&file);
    let text = read_secret(&file, LONGEST_FILE + 1).map_err(unread)?;
    if text.len() > LONGEST_FILE {
        return Err(Error::file(path, "it is longer than 1 MiB"));
    }
    Ok((text, is_closed))
}

/// Reads at most `most` bytes of a file. A text that grows would leave copies of itself behind.
fn read_secret(file: &File, most: usize) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(most));
    file.take(most as u64).read_to_string(&mut text)?;
    Ok(text)
}

/// Whether others than the owner have access to a file.
fn is_open(file: &File) -> bool {
    file.metadata().map_or(true, |metadata| is_open_to_others(&metadata))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TOKEN: &str = "planted-token-0123456789";

    fn read(text: &str, is_closed: bool) -> Result<Tenants, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tenants.toml");
        fs::write(&path, text).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = if is_closed { 0o600 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        Tenants::read(&path, &Registry::default(), Some("quantization(bits=8)"))
            .map_err(|error| error.to_string())
    }

    fn with(authorization: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, authorization.parse().unwrap())])
    }

    #[test]
    fn a_token_finds_its_tenant() {
        let digits = base16ct::lower::encode_string(&Sha256::digest("another-token-0123456789"));
        let text = format!(
            "[[tenant]]\nname = \"a\"\ntoken = \"{TOKEN}\"\n\n[[tenant]]\nname = \"b\"\ntoken = \"sha256:{digits}\"\n\
             defense = \"gaussian(sigma=0.1, on=documents)\"\n"
        );
        let tenants = read(&text, true).unwrap();
        let name = |authorization: &str| tenants.find(&with(authorization)).map(|tenant| tenant.name.clone());
        assert_eq!(name(&format!("Bearer {TOKEN}")).as_deref(), Some("a"));
        assert_eq!(name("bearer another-token-0123456789").as_deref(), Some("b"));
        for wrong in
            ["Bearer planted-token-012345678", "Bearer ", "Bearer", TOKEN, "Basic planted-token-0123456789"]
        {
            assert_eq!(name(wrong), None, "{wrong}");
        }
        assert!(tenants.find(&HeaderMap::new()).is_none());
        assert!(!format!("{tenants:?}").contains("planted"));
        let refused = read(&text, false).unwrap_err();
        assert!(refused.contains("open to others") && !refused.contains("planted"), "{refused}");
    }

    #[test]
    fn no_text_grows_while_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "x".repeat(50_000)).unwrap();
        for most in [1000, 50_000, 60_000] {
            let text = read_secret(&File::open(&path).unwrap(), most).unwrap();
            assert_eq!(text.len(), most.min(50_000));
            assert_eq!(text.capacity(), String::with_capacity(most).capacity());
        }
    }

    #[test]
    fn a_bad_file_is_refused_without_its_tokens() {
        let tenant = |fields: &str| format!("[[tenant]]\nname = \"a\"\n{fields}\n");
        for (text, expected) in [
            (String::new(), "lists no [[tenant]]"),
            (tenant("token = \"planted\""), "16 to 4096"),
            (tenant("token = planted-token-0123456789"), "line 3"),
            (tenant("token = \"sha256:planted\""), "64 hexadecimal digits"),
            (tenant(&format!("token = \"sha256:{}\"", "ab".repeat(31))), "64 hexadecimal digits"),
            (tenant(&format!("token = \"sha256:{}\"", "+a".repeat(32))), "64 hexadecimal digits"),
            (tenant("token = \"env:EMBOSK_PLANTED_NOT_SET\""), "not set"),
            (tenant("tokens = \"planted-token-0123456789\""), "cannot be read here"),
            (tenant(&format!("token = \"{TOKEN}\"\ndefense = \"nonsense\"")), "tenant a: defense spec"),
            (tenant(&format!("token = \"{TOKEN}\"\ndefense = \"rerank(candidates=9)\"")), "ends in `rerank`"),
            (tenant(&format!("token = \"{TOKEN}\"\nupstream_key = \"planted\"")), "must name a variable"),
            (tenant(&format!("token = \"{TOKEN}\"")).repeat(2), "of an earlier one"),
            (tenant("token = \"file:/\""), "token's file is not a regular file"),
            (
                tenant(&format!("token = \"{TOKEN}\"")).replace("\"a\"", "\"a planted\""),
                "tenant 1 has no name",
            ),
        ] {
            let message = read(&text, true).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
            assert!(!message.contains("planted"), "{message}");
        }
    }
}
