//! What the `config.json` files of these models have in common.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::layer::Activation;
use crate::Error;
use crate::json;
use crate::location::Location;
use crate::stub;

/// A `config.json`, or the error that says which field cannot be run.
pub(super) trait Config: DeserializeOwned {
    /// What in it cannot be run, after the field's name.
    fn refused(&self) -> Option<String>;
}

pub(super) fn read<C: Config>(path: &Location) -> Result<C, Error> {
    let bytes = path.read().map_err(|error| Error::file(path.path(), error))?;
    let config: C = json::read(&bytes).map_err(|error| stub::damaged(path, error))?;
    match config.refused() {
        Some(message) => Err(Error::file(path.path(), message)),
        None => Ok(config),
    }
}

/// Refuses a number of heads that does not divide another number.
pub(super) fn divided(name: &str, whole: usize, by: usize) -> Option<String> {
    let fits = by > 0 && whole.is_multiple_of(by);
    (!fits).then(|| format!("{name}: {whole} cannot be divided by {by}"))
}

/// Refuses activations that cannot be run.
pub(super) fn activation(name: &str, value: &str) -> Option<String> {
    let can = "silu, swish, gelu, gelu_new, gelu_pytorch_tanh and relu can be run";
    Activation::of(value).is_none().then(|| format!("{name}: it is {value}; {can}"))
}

/// Refuses weights in fewer bits.
pub(super) fn quantized(config: Option<&Value>) -> Option<String> {
    config.map(|_| {
        String::from("quantization_config: quantized weights cannot be run; save them in 16 or 32 bits")
    })
}

/// Refuses a configuration that turns only a share of a head's values.
pub(super) fn whole(name: &str, share: Option<f64>) -> Option<String> {
    let share = share.filter(|share| (share - 1.0).abs() > f64::EPSILON)?;
    Some(format!("{name}: it is {share}; only 1 can be run"))
}

/// The base of the rotations, from `rope_scaling`, `rope_parameters` or `theta`, whichever comes first. Only plain
/// ones can be run.
pub(super) fn theta(parameters: Option<&Map<String, Value>>, theta: f64) -> Result<f64, String> {
    let Some(parameters) = parameters else { return Ok(theta) };
    let field = |name: &str| parameters.get(name).filter(|value| !value.is_null());
    let kind = field("rope_type").or_else(|| field("type")).and_then(Value::as_str).unwrap_or("default");
    if kind != "default" {
        return Err(format!("rope_type: it is {kind}; only default can be run"));
    }
    let theta = field("rope_theta").and_then(Value::as_f64).unwrap_or(theta);
    if theta > 0.0 { Ok(theta) } else { Err(format!("rope_theta: {theta} is not above 0")) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_plain_rotations_are_run() {
        for (parameters, expected) in [
            (json!(null), Ok(7.0)),
            (json!({ "rope_type": "default", "rope_theta": 100 }), Ok(100.0)),
            (json!({ "rope_theta": null }), Ok(7.0)),
            (json!({ "type": "yarn", "factor": 4 }), Err("yarn")),
            (json!({ "rope_theta": 0 }), Err("rope_theta")),
        ] {
            match (theta(parameters.as_object(), 7.0), expected) {
                (Ok(found), Ok(expected)) => assert!((found - expected).abs() < f64::EPSILON),
                (Err(message), Err(name)) => assert!(message.contains(name), "{message}"),
                (found, _) => panic!("{parameters}: {found:?}"),
            }
        }
    }
}
