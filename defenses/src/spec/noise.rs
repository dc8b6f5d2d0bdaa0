//! What noise a spec draws, for a machine that does not have its keys.

use super::{Part, Spec, Value};
use crate::Role;

impl Spec {
    /// Returns the first part that draws noise anew for each release of a vector of `role`, if there is one. Without
    /// one, the defenses of this crate always protect a vector with its id to the same bytes, so that work may be
    /// repeated.
    ///
    /// ```
    /// use embosk_defenses::{Role, Spec};
    ///
    /// let spec: Spec = "rotation(key=env:EMBOSK_KEY) | gaussian(sigma=0.01)".parse()?;
    /// let fresh = spec.fresh_noise(Role::Document).map(ToString::to_string);
    /// assert_eq!(fresh.as_deref(), Some("gaussian(sigma=0.01)"));
    ///
    /// let keyed: Spec = "gaussian(sigma=0.01, key=env:EMBOSK_KEY)".parse()?;
    /// assert!(keyed.fresh_noise(Role::Document).is_none() && keyed.has_keyed_noise(Role::Document));
    /// # Ok::<(), embosk_defenses::Error>(())
    /// ```
    pub fn fresh_noise(&self, role: Role) -> Option<&Part> {
        // DCPE draws where in its ball a vector moves to
        let is_ball = |part: &Part| {
            part.name() == "dcpe"
                && part.find("beta").is_none_or(|beta| beta.text().parse::<f64>() != Ok(0.0))
        };
        let is_fresh = |part: &&Part| is_ball(part) || (is_noise(part, role) && part.find("key").is_none());
        self.parts().iter().find(is_fresh)
    }

    /// Returns whether a part has keyed noise on vectors of `role`, which is drawn by the id of each row.
    pub fn has_keyed_noise(&self, role: Role) -> bool {
        self.parts().iter().any(|part| is_noise(part, role) && part.find("key").is_some())
    }
}

/// Whether a part is noise on vectors of `role`.
fn is_noise(part: &Part, role: Role) -> bool {
    part.name() == "gaussian"
        && match part.find("on").map(Value::text) {
            Some("documents") => role == Role::Document,
            Some("queries") => role == Role::Query,
            _ => true,
        }
}
