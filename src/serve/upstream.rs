//! The service behind the sidecar, asked once for each request.
//!
//! Neither the address of an error nor what the upstream answers beside vectors is repeated.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, StatusCode, redirect};
use rustls::RootCertStore;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout, timeout_at};

use super::error::Refusal;
use super::request::{self, Asked, Input};
use super::tls;
use crate::embedder::wire::{Address, known_code, retry_after};
use crate::embedder::{ApiKey, RoleSettings, Roles};
use crate::{Error, Role};

/// How long a connection may take to be made.
const CONNECTING: Duration = Duration::from_secs(10);

/// How many connections are kept for the next requests, until the server says how many it needs.
const IDLE: usize = 1;

/// How long the check whether the upstream can be reached may take.
const CHECKING: Duration = Duration::from_secs(2);

/// The most bytes of an answer, and the most for each vector: one of 8192 dimensions with 32 bytes each.
const ANSWER: usize = 1 << 20;
const ANSWER_PER_INPUT: usize = 256 << 10;

/// The most bytes of a refusal that are read.
const REFUSAL: usize = 64 << 10;

/// The longest wait that is passed on, in seconds.
const LONGEST_WAIT: u64 = 3600;

/// A service that answers `POST /v1/embeddings` as OpenAI does.
pub struct Upstream {
    address: Address,
    key: Option<ApiKey>,
    in_base64: bool,
    marking: Marking,
    /// The authorities that are trusted.
    roots: RootCertStore,
    client: Client,
}

/// How the upstream is told what a text is.
enum Marking {
    Alike(Roles),
    /// By the preset of the model that a request names.
    ByModel,
}

impl Upstream {
    /// Creates the upstream at `http(s)://host[:port]/v1`. With `#model` behind it, only that model is served.
    ///
    /// # Errors
    /// [`Error::Setting`] if the address cannot be read or has a place that may hold a key.
    pub fn new(address: &str) -> Result<Self, Error> {
        let address = Address::parse_upstream(address)?;
        let roots = tls::public_authorities();
        let client = client(&address, roots.clone(), IDLE)?;
        let marking = Marking::Alike(Roles::default());
        Ok(Self { address, key: None, in_base64: false, marking, roots, client })
    }

    /// Trusts the authorities in a PEM file, and no others.
    ///
    /// # Errors
    /// [`Error::File`] if the file holds no certificates that can be read, and [`Error::Setting`] if the upstream's
    /// address does not begin with `https`.
    pub fn authorities(self, path: impl AsRef<Path>) -> Result<Self, Error> {
        if !self.address.endpoint.starts_with("https://") {
            return Err(Error::Setting(
                "the upstream's address begins with http, so there is no certificate to check; write https, or leave the authorities out"
                    .into(),
            ));
        }
        let roots = tls::authorities(path.as_ref())?;
        let client = client(&self.address, roots.clone(), IDLE)?;
        Ok(Self { roots, client, ..self })
    }

    /// Keeps at most this many connections for the next requests, because each is an open file.
    pub(super) fn keep_idle(&mut self, most: usize) -> Result<(), Error> {
        self.client = client(&self.address, self.roots.clone(), most)?;
        Ok(())
    }

    /// Sets how the upstream is told whether a text is a document or a query. Default: not at all.
    ///
    /// # Errors
    /// [`Error::Setting`] if the roles set the model or another field that requests set.
    pub fn roles(self, roles: Roles) -> Result<Self, Error> {
        let sets_ours = |role: &RoleSettings| {
            let is_ours = |field: &(String, String)| request::READ.contains(&field.0.as_str());
            role.model.is_some() || role.field.as_ref().is_some_and(is_ours)
        };
        if [&roles.document, &roles.query].into_iter().any(sets_ours) {
            return Err(Error::Setting(
                "the upstream's roles set the model, or a field that requests set; use a prompt or another field".into(),
            ));
        }
        Ok(Self { marking: Marking::Alike(roles), ..self })
    }

    /// Tells the upstream the role of each text by the [preset](Roles::preset_of) for the model that the request names.
    pub fn roles_by_model(self) -> Self {
        Self { marking: Marking::ByModel, ..self }
    }

    /// Sets the key that is sent. What clients send as theirs is never passed on.
    ///
    /// # Errors
    /// [`Error::Setting`] if the key would go through a network in the clear.
    pub fn key(self, key: ApiKey) -> Result<Self, Error> {
        if self.address.is_open() {
            return Err(Error::Setting(
                "the upstream's key would go through the network in the clear; use https, or an upstream on this machine"
                    .into(),
            ));
        }
        Ok(Self { key: Some(key), ..self })
    }

    /// Sets whether vectors are asked for in Base64, which is shorter. Both forms are read in any case.
    pub fn base64(self, in_base64: bool) -> Self {
        Self { in_base64, ..self }
    }

    /// Whether a key may be sent.
    pub(super) fn takes_keys(&self) -> bool {
        !self.address.is_open()
    }

    /// The model that a request means.
    pub(super) fn model<'a>(&'a self, asked: Option<&'a str>) -> Result<&'a str, Refusal> {
        match (self.address.model.as_str(), asked.filter(|name| !name.is_empty())) {
            ("", Some(asked)) => Ok(asked),
            ("", None) => {
                Err(Refusal::bad("invalid_value", "`model` is missing; name the model").param("model"))
            }
            (only, None) => Ok(only),
            (only, Some(asked)) if only == asked => Ok(only),
            _ => Err(Refusal::new(
                StatusCode::NOT_FOUND,
                "model_not_found",
                "the server serves one model, and the request names another; name the one of the server",
            )
            .param("model")),
        }
    }

    /// Whether the upstream is told what a text is.
    pub(super) fn has_roles(&self, model: &str) -> bool {
        let roles = self.roles_of(model);
        roles.document != roles.query
    }

    /// Adds to a request what tells the upstream the role.
    pub(super) fn mark(&self, model: &str, role: Role, asked: &mut Asked) -> Result<(), Refusal> {
        let roles = self.roles_of(model);
        let settings = match role {
            Role::Document => &roles.document,
            Role::Query => &roles.query,
        };
        if !asked.input.begin_with(&settings.prompt) {
            let why = "`input` holds tokens, but the role is a prompt before each text; send texts";
            return Err(Refusal::bad("invalid_value", why).param("input"));
        }
        let Some((name, value)) = &settings.field else { return Ok(()) };
        let value = Value::from(value.as_str());
        match asked.forwarded.insert(name.clone(), value.clone()) {
            Some(given) if given != value => Err(Refusal::bad(
                "conflicting_roles",
                format!(
                    "the field `{name}` differs from what the role of the request sets; leave the field out"
                ),
            )),
            _ => Ok(()),
        }
    }

    fn roles_of(&self, model: &str) -> Cow<'_, Roles> {
        match &self.marking {
            Marking::Alike(roles) => Cow::Borrowed(roles),
            // every name that it returns is a preset's
            Marking::ByModel => Cow::Owned(Roles::preset(Roles::preset_of(model)).unwrap_or_default()),
        }
    }

    /// Asks for the vectors, in an answer of at most `most` bytes; `own` is the tenant's key.
    pub(super) async fn ask(
        &self,
        model: &str,
        asked: &Asked,
        own: Option<&ApiKey>,
        most: usize,
        deadline: Instant,
    ) -> Result<Vec<u8>, Refusal> {
        let body = serde_json::to_vec(&Request {
            model,
            input: &asked.input,
            dimensions: asked.dimensions,
            encoding_format: self.in_base64.then_some("base64"),
            forwarded: &asked.forwarded,
        });
        let body = body.map_err(|_| Refusal::internal("the request to the upstream could not be written"))?;
        let most = most.min(ANSWER + asked.input.len().saturating_mul(ANSWER_PER_INPUT));
        match timeout_at(deadline, self.exchange(body, own.or(self.key.as_ref()), most)).await {
            Ok(answer) => answer,
            Err(_) => Err(late()),
        }
    }

    async fn exchange(&self, body: Vec<u8>, key: Option<&ApiKey>, most: usize) -> Result<Vec<u8>, Refusal> {
        let response = match self.send(body.clone(), key).await {
            // a connection that was kept open may have been closed by now
            Err(error) if !error.is_connect() && !error.is_timeout() => self.send(body, key).await,
            sent => sent,
        };
        let response = response.map_err(|error| unreached(&error))?;
        if response.status() == StatusCode::OK {
            return read(response, most).await;
        }
        let (status, wait) = (response.status(), wait(&response));
        let said = read(response, REFUSAL).await.unwrap_or_default();
        Err(refused(status, known_code(&said), wait))
    }

    async fn send(&self, body: Vec<u8>, key: Option<&ApiKey>) -> Result<reqwest::Response, reqwest::Error> {
        let mut request =
            self.client.post(&self.address.endpoint).header(CONTENT_TYPE, "application/json").body(body);
        if let Some(key) = key {
            request = request.header(AUTHORIZATION, secret(&format!("Bearer {}", key.text())));
            if self.address.host.ends_with(".azure.com") {
                request = request.header("api-key", secret(key.text()));
            }
        }
        request.send().await
    }

    /// Whether a connection to the upstream can be made. No key and no text is sent.
    pub(super) async fn is_reachable(&self) -> bool {
        match timeout(CHECKING, self.client.head(&self.address.endpoint).send()).await {
            Ok(Ok(_)) => true,
            // whoever hangs up is there
            Ok(Err(error)) => !error.is_connect() && !error.is_timeout(),
            Err(_) => false,
        }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("host", &self.address.host).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a Input,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_format: Option<&'static str>,
    #[serde(flatten)]
    forwarded: &'a Map<String, Value>,
}

fn client(address: &Address, roots: RootCertStore, idle: usize) -> Result<Client, Error> {
    let client = Client::builder()
        .tls_backend_preconfigured(tls::client(roots)?)
        // a key must not follow a redirect to somebody else
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECTING)
        .pool_max_idle_per_host(idle)
        .user_agent(concat!("embosk/", env!("CARGO_PKG_VERSION")));
    // what stays on this machine does not go through a proxy
    let client = if address.is_local() { client.no_proxy() } else { client };
    client.build().map_err(|_| Error::Setting("no HTTP client could be made".into()))
}

/// A header that no `Debug` shows. [`ApiKey`] holds only what a header can.
fn secret(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// Reads a body of at most `most` bytes.
async fn read(mut response: reqwest::Response, most: usize) -> Result<Vec<u8>, Refusal> {
    let too_long = || {
        let why =
            format!("the upstream's answer has more than {most} bytes; ask for fewer inputs in a request");
        Refusal::upstream("upstream_invalid", why)
    };
    let said = response.content_length().unwrap_or_default();
    if usize::try_from(said).is_ok_and(|said| said > most) {
        return Err(too_long());
    }
    let mut body = Vec::with_capacity((said as usize).min(ANSWER));
    loop {
        match response.chunk().await {
            Ok(None) => return Ok(body),
            Ok(Some(chunk)) if body.len() + chunk.len() > most => return Err(too_long()),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Err(_) => {
                return Err(Refusal::upstream(
                    "upstream_incomplete",
                    "the upstream's answer ends in the middle",
                ));
            }
        }
    }
}

/// What went wrong before there was an answer.
fn unreached(error: &reqwest::Error) -> Refusal {
    if error.is_timeout() {
        late()
    } else if error.is_connect() {
        Refusal::upstream("upstream_unreachable", "no connection to the upstream could be made")
    } else {
        Refusal::upstream(
            "upstream_broken",
            "the connection to the upstream broke off, or brought no answer in HTTP",
        )
    }
}

fn late() -> Refusal {
    let why = "the upstream did not answer within the time of a request";
    Refusal::new(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", why)
}

/// What a status says.
fn refused(status: StatusCode, code: Option<&'static str>, wait: Option<u64>) -> Refusal {
    let number = status.as_u16();
    let passing = |status, code, why: &str| {
        let refusal = Refusal::new(status, code, format!("{why} (HTTP status {number})"));
        refusal.retry_after(wait.unwrap_or(1))
    };
    match (number, code) {
        (429, Some("insufficient_quota")) => {
            Refusal::upstream("upstream_quota", "the upstream's account has no credit left")
        }
        (429, _) => passing(StatusCode::TOO_MANY_REQUESTS, "upstream_busy", "the upstream asks for patience"),
        (503 | 529, _) => {
            passing(StatusCode::SERVICE_UNAVAILABLE, "upstream_busy", "the upstream is not available")
        }
        (401 | 403, _) => {
            Refusal::upstream("upstream_key", "the upstream refuses the key of the server, or wants one")
        }
        (404, _) => Refusal::new(
            StatusCode::NOT_FOUND,
            "model_not_found",
            "the upstream has no embeddings at its address, or does not know the model",
        )
        .param("model"),
        (400 | 413 | 422, code) => {
            let code = code.map(|code| format!("{code}; ")).unwrap_or_default();
            Refusal::bad(
                "upstream_refused",
                format!(
                    "the upstream refuses the request ({code}HTTP status {number}); an input may be too long for the \
                     model, or a field unknown to the upstream"
                ),
            )
        }
        (300..=399, _) => {
            Refusal::upstream("upstream_redirects", "the upstream's address redirects; it is not followed")
        }
        _ => Refusal::upstream("upstream_failed", format!("the upstream failed (HTTP status {number})")),
    }
}

/// The seconds that the upstream asks to wait.
fn wait(response: &reqwest::Response) -> Option<u64> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    let wait = retry_after(value, SystemTime::now())?;
    Some((wait.as_secs_f64().ceil() as u64).clamp(1, LONGEST_WAIT))
}
