//! Whether the vectors are of documents or of queries: by model alias, by header or by route.

use axum::http::{HeaderMap, StatusCode};

use super::error::Refusal;
use crate::{Defense, Role, Stack};

/// The header that names the role.
pub(super) const HEADER: &str = "x-embosk-role";

/// Defenses that treat documents and queries alike. For any other, the role must be given.
const ALIKE: [&str; 8] = [
    "dcpe",
    "gaussian",
    "permutation",
    "product_quantization",
    "projection",
    "quantization",
    "rotation",
    "scaling",
];

/// Whether a stack treats documents and queries differently, or might: a user's own defense is not known.
pub(super) fn matters(stack: &Stack) -> bool {
    stack.spec().parts().iter().any(|part| {
        // noise on one side alone
        let is_one_sided = part.find("on").is_some_and(|on| on.to_string() != "both");
        is_one_sided || !ALIKE.contains(&part.name())
    })
}

/// A model's name without the role at its end, and that role.
pub(super) fn of_model(name: &str) -> (&str, Option<Role>) {
    match name.rsplit_once(':') {
        Some((model, role)) => match named(role) {
            Some(role) => (model, Some(role)),
            // other parts belong to the name, as in `bge-m3:latest`
            None => (name, None),
        },
        None => (name, None),
    }
}

/// The role that a header names.
pub(super) fn of_headers(headers: &HeaderMap) -> Result<Option<Role>, Refusal> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let role = value.to_str().ok().and_then(|text| named(text.trim()));
    match (role, values.next()) {
        (Some(role), None) => Ok(Some(role)),
        _ => Err(Refusal::bad("invalid_role", "the header x-embosk-role must be document or query, once")
            .param(HEADER)),
    }
}

/// The one role that is given. If none is, documents stand for both, unless the role matters.
pub(super) fn decide(given: [Option<Role>; 3], matters: bool) -> Result<Role, Refusal> {
    let mut roles = given.into_iter().flatten();
    match roles.next() {
        Some(first) if roles.all(|role| role == first) => Ok(first),
        Some(_) => Err(Refusal::bad(
            "conflicting_roles",
            "the model, the header x-embosk-role and the route name different roles; name one",
        )),
        None if !matters => Ok(Role::Document),
        None => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "role_required",
            "documents and queries differ here, so a request must say which it is: ask for the model `name:document` or \
             `name:query`, send the header x-embosk-role, or post to /document/v1/embeddings or /query/v1/embeddings",
        )
        .param("model")),
    }
}

fn named(text: &str) -> Option<Role> {
    match text {
        "document" => Some(Role::Document),
        "query" => Some(Role::Query),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_model_may_end_in_a_role() {
        assert_eq!(of_model("m:query"), ("m", Some(Role::Query)));
        assert_eq!(of_model("a:b:document"), ("a:b", Some(Role::Document)));
        assert_eq!(of_model("bge-m3:latest"), ("bge-m3:latest", None));
        assert_eq!(of_model("query"), ("query", None));
    }

    #[test]
    fn roles_agree_or_are_refused() {
        let (query, document) = (Some(Role::Query), Some(Role::Document));
        assert_eq!(decide([query, None, query], true).unwrap(), Role::Query);
        assert_eq!(decide([None; 3], false).unwrap(), Role::Document);
        assert_eq!(decide([None; 3], true).unwrap_err().code, "role_required");
        assert_eq!(decide([query, document, None], false).unwrap_err().code, "conflicting_roles");
    }

    #[test]
    fn noise_on_one_side_makes_the_role_matter() {
        let matters = |spec: &str| matters(&spec.parse().unwrap());
        assert!(!matters("none") && !matters("gaussian(sigma=0.1) | quantization(bits=8)"));
        assert!(matters("gaussian(sigma=0.1, on=documents)") && matters("gaussian(sigma=0.1, on=queries)"));
    }
}
