//! The key of a service, which nobody reads by accident.

use std::fmt;

use zeroize::Zeroizing;

use crate::Error;

/// A key of an embedding service. It is sent to the service and shown nowhere: `Debug` hides it. Its text is wiped from
/// memory when it is dropped.
#[derive(Clone)]
pub struct ApiKey(Zeroizing<String>);

impl ApiKey {
    /// Creates a key from its text; white space around it is dropped.
    ///
    /// # Errors
    /// [`Error::Setting`] if it is empty or holds what no header can.
    pub fn new(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Setting(
                "the key of the embedder's service is empty, or holds white space or letters outside ASCII"
                    .into(),
            ));
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// Reads the key from a variable of the environment; none if it is not set or empty.
    ///
    /// # Errors
    /// As [`ApiKey::new`], with the variable's name.
    pub fn from_env(variable: &str) -> Result<Option<Self>, Error> {
        let refuse = |what: &str| Error::Setting(format!("the variable {variable}: {what}"));
        match std::env::var(variable).map(Zeroizing::new) {
            Ok(text) if text.trim().is_empty() => Ok(None),
            Ok(text) => Self::new(&text).map(Some).map_err(|error| refuse(&error.to_string())),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err(refuse("it is not UTF-8")),
        }
    }

    /// The text of the key, for the header.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_wiped_and_not_shown() {
        fn wipes_itself(_: &impl zeroize::ZeroizeOnDrop) {}
        let key = ApiKey::new(" sk-hunter2\n").unwrap();
        wipes_itself(&key.0);
        assert_eq!((key.text(), format!("{key:?}").as_str()), ("sk-hunter2", "ApiKey(…)"));
        for bad in ["", " ", "hunter 2", "hünter2", "hunter\r\nX: 2"] {
            let message = ApiKey::new(bad).unwrap_err().to_string();
            assert!(!message.contains('2'), "{message}");
        }
    }
}
