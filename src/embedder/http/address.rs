//! Addresses of embedders: `http(s)://host[:port]/v1#model`.

use std::fmt;
use std::net::Ipv4Addr;

use ureq::http::Uri;

use crate::Error;

/// Where an embedder is, and which of the server's models it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// What is asked: `http://host/v1/embeddings`.
    pub(crate) endpoint: String,
    /// Without the model: `http://host/v1`.
    base: String,
    pub(crate) host: String,
    pub(crate) model: String,
}

/// Whether an embedder's name is an address.
pub(super) fn is_address(name: &str) -> bool {
    name.starts_with("http://") || name.starts_with("https://")
}

impl Address {
    /// Reads an address. It has no place for a key: reports and errors show it.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |what: &str| Error::Setting(format!("the embedder's address: {what}"));
        let address = Self::read(text, "http(s)://host[:port]/v1#model").map_err(|what| refuse(&what))?;
        if address.model.is_empty() {
            return Err(refuse(
                "it names no model; write the model behind a #, as in http://localhost:8080/v1#model",
            ));
        }
        Ok(address)
    }

    /// The same for the address of a server, which need not name a model.
    #[cfg(feature = "serve")]
    pub(crate) fn parse_upstream(text: &str) -> Result<Self, Error> {
        Self::read(text, "http(s)://host[:port]/v1, and #model behind it if only that model is served")
            .map_err(|what| Error::Setting(format!("the upstream's address: {what}")))
    }

    /// An error says what is wrong, and, if it cannot be read, what to write.
    fn read(text: &str, form: &str) -> Result<Self, String> {
        let refuse = |what: &str| Err(what.to_owned());
        let (base, model) = text.split_once('#').unwrap_or((text, ""));
        if base.contains('@') {
            return refuse(
                "it holds a user or a password, which reports would show; leave out what is before the @",
            );
        }
        let Some(uri) =
            base.parse::<Uri>().ok().filter(|uri| uri.host().is_some_and(|host| !host.is_empty()))
        else {
            return Err(format!("it cannot be read; write {form}"));
        };
        let query = uri.query().unwrap_or_default();
        if query.split('&').any(|part| !part.is_empty() && !part.starts_with("api-version=")) {
            return refuse(
                "its query has something else than api-version, which might be a key that reports would show; leave it out",
            );
        }
        let host = uri.authority().map_or_else(String::new, ToString::to_string);
        let path = uri.path().trim_end_matches('/');
        let path = path.strip_suffix("/embeddings").unwrap_or(path);
        let root = format!("{}://{host}{path}", uri.scheme_str().unwrap_or("http"));
        let query = if query.is_empty() { String::new() } else { format!("?{query}") };
        Ok(Self {
            endpoint: format!("{root}/embeddings{query}"),
            base: format!("{root}{query}"),
            host,
            model: model.to_owned(),
        })
    }

    /// Whether a key goes through the network in the clear.
    pub(crate) fn is_open(&self) -> bool {
        self.endpoint.starts_with("http://") && !self.is_local()
    }

    /// Whether the server runs on this machine.
    pub(crate) fn is_local(&self) -> bool {
        let has_port =
            self.host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        let name = has_port.map_or(self.host.as_str(), |(name, _)| name);
        let is_loopback = |name: &str| name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
        matches!(name, "localhost" | "[::1]") || is_loopback(name)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.base, self.model)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, endpoint, host, model) in [
            ("http://localhost:8080/v1#m", "http://localhost:8080/v1/embeddings", "localhost:8080", "m"),
            ("https://a.example/v1/#BAAI/bge", "https://a.example/v1/embeddings", "a.example", "BAAI/bge"),
            ("https://a.example/v1/embeddings#m:7b", "https://a.example/v1/embeddings", "a.example", "m:7b"),
            ("http://[::1]:80#m", "http://[::1]:80/embeddings", "[::1]:80", "m"),
            (
                "https://a.example/openai/deployments/d?api-version=2024-10-21#m",
                "https://a.example/openai/deployments/d/embeddings?api-version=2024-10-21",
                "a.example",
                "m",
            ),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(
                (address.endpoint.as_str(), address.host.as_str(), address.model.as_str()),
                (endpoint, host, model)
            );
            assert_eq!(Address::parse(&address.to_string()).unwrap(), address, "it is shown as it is read");
        }
    }

    #[test]
    fn what_may_hold_a_key_or_is_no_address_is_refused() {
        for (text, part) in [
            ("http://localhost/v1", "names no model"),
            ("http://localhost/v1#", "names no model"),
            ("https://ann:hunter2@a.example/v1#m", "user or a password"),
            ("https://a.example/v1?key=hunter2#m", "something else than api-version"),
            ("https://a.example/v1?api-version=1&code=hunter2#m", "something else"),
            ("http://#m", "cannot be read"),
            ("http://a b/v1#m", "cannot be read"),
        ] {
            let message = Address::parse(text).unwrap_err().to_string();
            assert!(message.contains(part) && !message.contains("hunter2"), "{message}");
        }
    }

    #[cfg(feature = "serve")]
    #[test]
    fn an_upstream_is_told_what_to_write() {
        let message = Address::parse_upstream("localhost:11434/v1").unwrap_err().to_string();
        assert!(message.starts_with("the upstream's address: it cannot be read; write http"), "{message}");
        assert_eq!(Address::parse_upstream("http://localhost:11434/v1").unwrap().model, "");
    }

    #[test]
    fn the_clear_is_what_others_hear() {
        let is_open = |text: &str| Address::parse(text).unwrap().is_open();
        assert!(is_open("http://a.example/v1#m"));
        assert!(is_open("http://127.0.0.1.example/v1#m"), "a name may begin with such numbers");
        for closed in [
            "https://a.example/v1#m",
            "http://localhost:1/v1#m",
            "http://127.0.0.1/v1#m",
            "http://127.1.2.3:8080/v1#m",
            "http://[::1]:1/v1#m",
            "http://[::1]/v1#m",
        ] {
            assert!(!is_open(closed), "{closed}");
        }
    }
}
