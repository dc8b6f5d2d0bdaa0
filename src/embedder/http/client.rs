//! One request at a time, and what its answer means.
//!
//! What a server answers beside vectors is never repeated: errors of services quote keys and texts.

use std::io::ErrorKind;
use std::time::{Duration, SystemTime};

use ndarray::Array2;
use serde_json::{Map, Value, json};
use ureq::Agent;
use ureq::http::{HeaderMap, Response, StatusCode};

use super::address::Address;
use super::answer::{self, Fault};
use super::key::ApiKey;
use super::patience::retry_after;
use super::roles::RoleSettings;

/// No answer of ours is longer.
const LONGEST_ANSWER: u64 = 1 << 30;

/// Why a request has no vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Another attempt may succeed, after so long if the server says so.
    Passing(String, Option<Duration>),
    /// Fewer or shorter texts may succeed.
    TooMuch(String),
    /// Nothing will.
    Final(String),
}

/// A connection to the service.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    address: Address,
    key: Option<ApiKey>,
    timeout: Duration,
}

impl Client {
    pub(super) fn new(address: Address, key: Option<ApiKey>, timeout: Duration) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // a key must not follow a redirect to somebody else
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(timeout))
            .user_agent(concat!("embosk/", env!("CARGO_PKG_VERSION")));
        // what stays on this machine does not go through a proxy
        let config = if address.is_local() { config.proxy(None) } else { config };
        Self { agent: config.build().into(), address, key, timeout }
    }

    /// Asks once for the vectors of `texts`, `[texts, dim]`.
    pub(super) fn ask(&self, request: &[u8], texts: usize) -> Result<Array2<f32>, Failure> {
        let mut post = self.agent.post(&self.address.endpoint).header("content-type", "application/json");
        if let Some(key) = &self.key {
            post = post.header("authorization", format!("Bearer {}", key.text()));
            if self.address.host.ends_with(".azure.com") {
                post = post.header("api-key", key.text());
            }
        }
        let mut response = post.send(request).map_err(|error| self.unreached(&error))?;
        let body = response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_vec();
        if response.status() != StatusCode::OK {
            return Err(self.refused(&response, &body.unwrap_or_default()));
        }
        let body = body.map_err(|error| self.unreached(&error))?;
        answer::read(&body, texts).map_err(|fault| match fault {
            Fault::Short => Failure::Passing("the answer ends in the middle".into(), None),
            Fault::Wrong(message) => Failure::Final(message),
        })
    }

    /// What went wrong before there was an answer.
    fn unreached(&self, error: &ureq::Error) -> Failure {
        let passing = |what: String| Failure::Passing(what, None);
        match error {
            ureq::Error::Timeout(_) => {
                passing(format!("there was no answer within {} s", self.timeout.as_secs_f64()))
            }
            ureq::Error::HostNotFound => passing("the host is not found".into()),
            ureq::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
                passing("the connection is refused; is the server running?".into())
            }
            ureq::Error::Io(error) => passing(format!("the connection failed ({})", error.kind())),
            ureq::Error::BodyExceedsLimit(_) => Failure::Final("the answer is longer than 1 GiB".into()),
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::TlsRequired => Failure::Final(
                "no safe connection could be made (TLS); check the certificate and http or https".into(),
            ),
            _ => passing("the connection broke off".into()),
        }
    }

    /// What a status says.
    fn refused<B>(&self, response: &Response<B>, body: &[u8]) -> Failure {
        let status = response.status();
        let said = |what: &str| format!("{what} (HTTP status {})", status.as_u16());
        let code = shown_code(body);
        match (status.as_u16(), code.as_deref()) {
            (429, Some("insufficient_quota")) => {
                Failure::Final(said("the account has no credit left (insufficient_quota)"))
            }
            (408 | 425 | 429 | 500 | 502..=504 | 529, _) => {
                let what =
                    if status.as_u16() == 429 { "the server asks for patience" } else { "the server failed" };
                Failure::Passing(said(what), waited_for(response.headers()))
            }
            (401 | 403, _) if self.key.is_none() => Failure::Final(said(
                "the server wants a key; set EMBOSK_API_KEY, or name the variable that holds it with --api-key-env",
            )),
            (401 | 403, _) => Failure::Final(said("the server refuses the key")),
            (404, _) => Failure::Final(said("the address has no embeddings, or the model is unknown there")),
            (400, Some("role_required")) => Failure::Final(said(
                "the server wants to be told whether a text is a document or a query (role_required), as a protecting \
                 sidecar does; name the address of its upstream, and the stack as a defense",
            )),
            (400 | 413 | 422, code) => {
                let code = code.map(|code| format!("{code}; ")).unwrap_or_default();
                Failure::TooMuch(said(&format!(
                    "the server refuses the request ({code}a text may be too long for the model, or a setting unknown to the \
                     server)"
                )))
            }
            (300..=399, _) => Failure::Final(said("the address redirects; name the one that it leads to")),
            _ => Failure::Final(said("the server refuses the request")),
        }
    }
}

/// The body of a request.
pub(super) fn request(
    address: &Address,
    role: &RoleSettings,
    (dimensions, in_base64): (Option<usize>, bool),
    texts: &[&str],
) -> Vec<u8> {
    let mut request = Map::new();
    request.insert("model".into(), json!(role.model.as_ref().unwrap_or(&address.model)));
    request.insert(
        "input".into(),
        texts.iter().map(|text| format!("{}{text}", role.prompt)).collect::<Vec<_>>().into(),
    );
    if let Some(dimensions) = dimensions {
        request.insert("dimensions".into(), json!(dimensions));
    }
    if in_base64 {
        request.insert("encoding_format".into(), json!("base64"));
    }
    if let Some((name, value)) = &role.field {
        request.insert(name.clone(), json!(value));
    }
    Value::Object(request).to_string().into_bytes()
}

fn waited_for(headers: &HeaderMap) -> Option<Duration> {
    let millis = headers.get("retry-after-ms").and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let said = || retry_after(headers.get("retry-after")?.to_str().ok()?, SystemTime::now());
    millis.map(Duration::from_millis).or_else(said)
}

/// The code in an error's body, if it is one of those that services are known to use: anything else may quote a text.
pub(crate) fn known_code(body: &[u8]) -> Option<&'static str> {
    const KNOWN: [&str; 5] = [
        "insufficient_quota",
        "context_length_exceeded",
        "invalid_value",
        "unsupported_parameter",
        "model_not_found",
    ];
    let codes = codes(body);
    codes.iter().find_map(|code| KNOWN.into_iter().find(|known| *known == code.as_str()))
}

/// The code in an error's body, for a message to the user: a known one, or the first that consists of lower-case words
/// joined by underscores, as no key does.
fn shown_code(body: &[u8]) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c == '_';
    let is_joined = |code: &String| code.len() <= 40 && code.contains('_') && code.chars().all(is_plain);
    known_code(body).map(str::to_owned).or_else(|| codes(body).into_iter().find(is_joined))
}

/// What stands in the places for codes.
fn codes(body: &[u8]) -> Vec<String> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = |field: &str| body["error"][field].as_str().map(str::to_owned);
    [said("code"), said("type")].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_shown_if_it_can_be_no_key() {
        for (error, expected) in [
            (json!({"code": "role_required", "type": "invalid_request_error"}), Some("role_required")),
            (json!({"code": null, "type": "invalid_request_error"}), Some("invalid_request_error")),
            (json!({"code": "other", "type": "insufficient_quota"}), Some("insufficient_quota")),
            (json!({"code": "the text: I owe 5", "type": 3}), None),
            (json!({"code": "a_".repeat(21)}), None),
            (json!({"code": "sk_4f3a"}), None),
            (json!({"code": ""}), None),
            (json!("no object"), None),
        ] {
            let body = json!({ "error": error }).to_string();
            assert_eq!(shown_code(body.as_bytes()).as_deref(), expected, "{body}");
        }
        assert_eq!((shown_code(b"no JSON"), known_code(b"{}")), (None, None));
    }

    #[test]
    fn a_sidecar_that_protects_is_told_apart() {
        let address = Address::parse("http://localhost:1/v1#m").map_err(|error| error.to_string());
        let client = address.map(|address| Client::new(address, None, Duration::from_secs(1)));
        let response = Response::builder().status(400).body(());
        let (Ok(client), Ok(response)) = (client, response) else { panic!("both are well formed") };
        let refused =
            |code: &str| client.refused(&response, json!({"error": {"code": code}}).to_string().as_bytes());
        let Failure::Final(message) = refused("role_required") else { panic!("no retry helps") };
        assert!(message.contains("role_required") && message.contains("upstream"), "{message}");
        let Failure::TooMuch(message) = refused("too_many_tokens") else { panic!("fewer texts may help") };
        assert!(message.contains("(too_many_tokens; a text may be"), "{message}");
    }
}
