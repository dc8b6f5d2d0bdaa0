//! One request, from its head to its answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, EXPECT, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use ndarray::Array2;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

use super::admission::Ticket;
use super::error::Refusal;
use super::record::Record;
use super::request::{self, Asked};
use super::response::{self, json_response};
use super::source::{self, Kind};
use super::state::Shared;
use super::tenants::Tenant;
use super::{ids, role};
use crate::{Defense, Rng, Role, Stack};

/// The header with the fingerprint of the stack. A request may send the stored one, to be compared.
const FINGERPRINT: HeaderName = HeaderName::from_static("x-embosk-fingerprint");

/// The header that names a request in the logs.
const REQUEST: HeaderName = HeaderName::from_static("x-request-id");

/// A longer body takes a place while it arrives, and is parsed away from the threads that wait for connections.
const SHORT: usize = 64 << 10;

/// How long a client may send no byte of a body.
const SILENT: Duration = Duration::from_secs(10);

/// How long the body of a refused request is read, so that its client sees the answer.
const DISCARDING: Duration = Duration::from_secs(1);

/// The most bytes that are read of it.
const DISCARDED: usize = 64 << 20;

pub(super) async fn any_role(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    embeddings(shared, None, request).await
}

pub(super) async fn documents(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    embeddings(shared, Some(Role::Document), request).await
}

pub(super) async fn queries(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    embeddings(shared, Some(Role::Query), request).await
}

async fn embeddings(shared: Arc<Shared>, route: Option<Role>, request: Request) -> Response {
    let mut record = Record::new(shared.next_number(), Arc::clone(&shared.metrics));
    let (mut response, code) = match answer(&shared, route, request, &mut record).await {
        Ok(response) => (response, "ok"),
        Err(refusal) => {
            let code = refusal.code;
            (refusal.into_response(), code)
        }
    };
    if let Ok(id) = HeaderValue::from_str(record.id()) {
        response.headers_mut().insert(REQUEST, id);
    }
    if shared.is_draining() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    record.answered(response.status().as_u16(), code);
    response
}

async fn answer(
    shared: &Arc<Shared>,
    route: Option<Role>,
    request: Request,
    record: &mut Record,
) -> Result<Response, Refusal> {
    let deadline = Instant::now() + shared.limits.timeout;
    let (head, mut body) = request.into_parts();
    let (tenant, ticket, body) = match receive(shared, &head.headers, &mut body, deadline, record).await {
        Ok(received) => received,
        Err(refusal) => {
            discard(body, &head.headers).await;
            return Err(refusal);
        }
    };
    record.bytes = body.len();
    let mut asked = parse(body, shared.limits.inputs).await?;
    record.inputs = asked.input.len();
    let plan = plan(shared, &tenant, route, &head.headers, &mut asked)?;
    record.role = Some(plan.role);

    let turn = shared.admission.turn(ticket, deadline).await?;
    let began = Instant::now();
    let said = match &shared.source.0 {
        Kind::Upstream(upstream) => {
            let own = tenant.upstream_key.as_ref();
            let said = upstream.ask(&plan.model, &asked, own, shared.limits.answer, deadline).await;
            shared.metrics.upstream.observe(began.elapsed());
            Some(said?)
        }
        Kind::Local { .. } => None,
    };
    let job = {
        let shared = Arc::clone(shared);
        move || {
            let done = finish(&shared, &tenant, &plan, &asked, said);
            // the turn is over when the work is, even if nobody waits for the answer any longer
            drop(turn);
            done
        }
    };
    let done = timeout_at(deadline, tokio::task::spawn_blocking(job)).await;
    let (body, fingerprint) = match done {
        Ok(Ok(done)) => done?,
        Ok(Err(_)) => return Err(Refusal::internal("the vectors could not be protected")),
        Err(_) => {
            let why = "the vectors were not ready within the time of a request";
            return Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, "timeout", why));
        }
    };
    shared.metrics.inputs.fetch_add(record.inputs as u64, Ordering::Relaxed);
    let mut response = json_response(StatusCode::OK, body);
    let fingerprint = HeaderValue::from_str(&fingerprint)
        .map_err(|_| Refusal::internal("the stack's fingerprint fits no header"))?;
    response.headers_mut().insert(FINGERPRINT, fingerprint);
    Ok(response)
}

/// Finds the tenant, and reads the body.
async fn receive(
    shared: &Shared,
    headers: &HeaderMap,
    body: &mut Body,
    deadline: Instant,
    record: &mut Record,
) -> Result<(Arc<Tenant>, Ticket, Vec<u8>), Refusal> {
    let tenant = admit(shared, headers, record)?;
    let (ticket, body) = read_body(shared, body, deadline).await?;
    Ok((tenant, ticket, body))
}

/// Finds the tenant, unless there is no place for the request.
fn admit(shared: &Shared, headers: &HeaderMap, record: &mut Record) -> Result<Arc<Tenant>, Refusal> {
    let tenants = shared.tenants();
    // a page in a browser could otherwise use a server on this machine
    if !tenants.are_known() && headers.contains_key(ORIGIN) {
        let why =
            "requests of web pages are refused, because the server asks for no token; use a tenants file";
        return Err(Refusal::new(StatusCode::FORBIDDEN, "origin_refused", why).closes());
    }
    let tenant = tenants.find(headers).ok_or_else(|| {
        let why =
            "the request has no token, or one that is not known; send it as Authorization: Bearer TOKEN";
        Refusal::new(StatusCode::UNAUTHORIZED, "invalid_api_key", why).closes()
    })?;
    record.tenant = Some(Arc::clone(&tenant));
    shared.admission.check()?;
    Ok(tenant)
}

/// Reads what is left of a body, because a connection that is closed before may lose the answer.
async fn discard(body: Body, headers: &HeaderMap) {
    if !headers.contains_key(EXPECT) {
        let mut body = Limited::new(body, DISCARDED);
        let _ = timeout(DISCARDING, async { while let Some(Ok(_)) = body.frame().await {} }).await;
    }
}

/// Reads a body, and takes a place when it is whole or longer than [`SHORT`]: the places bound the memory of long bodies,
/// and whoever sends a head alone keeps nobody out.
async fn read_body(
    shared: &Shared,
    body: &mut Body,
    deadline: Instant,
) -> Result<(Ticket, Vec<u8>), Refusal> {
    let most = shared.limits.body;
    let too_large = || {
        let why = format!("the body has more than {most} bytes; send the inputs in several requests");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", why).closes()
    };
    // a client that announces the length is refused before anything of it is held
    if body.size_hint().lower() > most as u64 {
        return Err(too_large());
    }
    let (mut body, mut bytes, mut ticket) = (Limited::new(body, most), Vec::new(), None);
    loop {
        match timeout_at(deadline.min(Instant::now() + SILENT), body.frame()).await {
            Ok(Some(Ok(frame))) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Ok(None) => break,
            Ok(Some(Err(error))) if error.is::<LengthLimitError>() => return Err(too_large()),
            Ok(Some(Err(_))) => {
                return Err(Refusal::bad("body_incomplete", "the body ends in the middle").closes());
            }
            Err(_) => {
                let why = "the body did not arrive within the time of a request, or paused for 10 s";
                return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", why).closes());
            }
        }
        if ticket.is_none() && bytes.len() > SHORT {
            ticket = Some(shared.admission.enter()?);
        }
    }
    Ok((ticket.map_or_else(|| shared.admission.enter(), Ok)?, bytes))
}

async fn parse(body: Vec<u8>, most: usize) -> Result<Asked, Refusal> {
    if body.len() <= SHORT {
        return request::read(&body, most);
    }
    let read = tokio::task::spawn_blocking(move || request::read(&body, most)).await;
    read.unwrap_or_else(|_| Err(Refusal::internal("the request could not be read")))
}

/// What is done with a request.
struct Plan {
    role: Role,
    /// The fingerprint that the client stored, if it sends one.
    stored: Option<HeaderValue>,
    /// The model as the upstream and the answer name it.
    model: String,
    ids: Ids,
}

/// The row ids that noise depends on.
enum Ids {
    Unused,
    Given(Vec<String>),
    /// From the inputs, and from what tells the model's vectors from others.
    Derived(String),
}

fn plan(
    shared: &Shared,
    tenant: &Tenant,
    route: Option<Role>,
    headers: &HeaderMap,
    asked: &mut Asked,
) -> Result<Plan, Refusal> {
    let (name, of_model) = match asked.model.as_deref().map(role::of_model) {
        Some((name, role)) => (Some(name), role),
        None => (None, None),
    };
    let (model, identity) = shared.source.model(name)?;
    let matters = tenant.has_roles || shared.source.has_roles(model);
    let role = role::decide([of_model, role::of_headers(headers)?, route], matters)?;
    shared.source.check(asked)?;
    let given = ids::of_headers(headers, &asked.input)?;
    let ids = match given {
        _ if !tenant.stacks.whole().uses_ids(role) => Ids::Unused,
        Some(given) => Ids::Given(given),
        None => Ids::Derived(shared.source.vectors_of(identity, role)),
    };
    let stored = headers.get(FINGERPRINT).cloned();
    if asked.dimensions.is_none() {
        check_fingerprint(tenant.stacks.whole(), stored.as_ref())?;
    }
    let model = model.to_owned();
    shared.source.mark(&model, role, asked)?;
    Ok(Plan { role, stored, model, ids })
}

/// Compares the fingerprint that a client stored, if it sends one.
fn check_fingerprint(stack: &Stack, stored: Option<&HeaderValue>) -> Result<(), Refusal> {
    let Some(stored) = stored else { return Ok(()) };
    match stored.to_str().map(|stored| stack.check_fingerprint(stored)) {
        Ok(Ok(_)) => Ok(()),
        _ => Err(Refusal::new(
            StatusCode::CONFLICT,
            "other_space",
            "the fingerprint of the request is not that of the server's stack, so these vectors cannot be compared with the \
             stored ones; compare the keys and settings of the two stacks",
        )
        .param("x-embosk-fingerprint")),
    }
}

/// Reads or makes the vectors, protects them, and writes the answer.
fn finish(
    shared: &Shared,
    tenant: &Tenant,
    plan: &Plan,
    asked: &Asked,
    said: Option<Vec<u8>>,
) -> Result<(Vec<u8>, String), Refusal> {
    let began = Instant::now();
    let (vectors, tokens) = match (&shared.source.0, said) {
        (_, Some(said)) => source::read(&said, asked.input.len())?,
        (Kind::Local { embedder, .. }, None) => {
            let embedded = source::embed(embedder, plan.role, asked)?;
            shared.metrics.upstream.observe(began.elapsed());
            embedded
        }
        (Kind::Upstream(_), None) => return Err(Refusal::internal("the upstream was not asked")),
    };
    let began = Instant::now();
    let vectors = source::cut(vectors, asked.dimensions)?;
    let dimension = vectors.ncols();
    // not before: a stack is bound to `dimensions` that the model has
    let stack = tenant.stacks.of(asked.dimensions)?;
    check_fingerprint(&stack, plan.stored.as_ref())?;
    if let Some(warning) = tenant.stacks.norm_warning(plan.role, &vectors) {
        tracing::warn!(tenant = tenant.name, "{warning}");
    }
    let vectors = protect(&stack, plan, asked, vectors)?;
    // a stack without a dimension matches any; by now it has one
    check_fingerprint(&stack, plan.stored.as_ref())?;
    if asked.dimensions.is_none() {
        tenant.stacks.saw(dimension);
    }
    let body = response::body(&vectors, asked.is_base64, &plan.model, tokens)?;
    shared.metrics.protecting.observe(began.elapsed());
    Ok((body, stack.fingerprint()))
}

fn protect(stack: &Stack, plan: &Plan, asked: &Asked, vectors: Array2<f32>) -> Result<Array2<f32>, Refusal> {
    use crate::defenses::Error;
    let mut rng = Rng::from_os().map_err(|_| Refusal::internal("the operating system gave no randomness"))?;
    let derived;
    let ids = match &plan.ids {
        Ids::Unused => None,
        Ids::Given(ids) => Some(ids),
        Ids::Derived(model) => {
            derived = ids::derived(model, asked);
            Some(&derived)
        }
    };
    let protected = match ids {
        Some(ids) => {
            let ids: Vec<&[u8]> = ids.iter().map(String::as_bytes).collect();
            stack.protect_owned_with_ids(plan.role, &ids, vectors, &mut rng)
        }
        None => stack.protect_owned(plan.role, vectors, &mut rng),
    };
    protected.map_err(|error| match error {
        // no message of a defense holds a vector
        Error::Dimension { .. } if asked.dimensions.is_some() => Refusal::bad(
            "wrong_dimension",
            format!("{error}; leave `dimensions` out, or ask for the stack's"),
        )
        .param("dimensions"),
        Error::Dimension { .. } => {
            Refusal::upstream("wrong_dimension", format!("{error}; is it the right model?"))
        }
        Error::NotFinite { .. } => Refusal::upstream("upstream_invalid", error.to_string()),
        _ => Refusal::internal("the defense refused the vectors"),
    })
}
