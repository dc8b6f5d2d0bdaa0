//! What is written on a line: specs and keys.

use embosk::evaluate::{Sweep, adversaries};
use embosk::{Key, Registry, Spec};

pub(crate) fn specs(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let registry = Registry::default();
    if let Ok(spec) = text.parse::<Spec>() {
        let printed = spec.to_string();
        let again = printed.parse::<Spec>().expect("what is printed can be read");
        assert_eq!(again.to_string(), printed, "and prints the same");
    }
    // a large dimension is honest work, and no fault of the reader
    if text.len() < 200 && !text.contains("dim") {
        let _ = registry.parse(text);
    }
    let _ = Sweep::parse(&registry, text);
    let _ = adversaries::parse(text);
}

pub(crate) fn keys(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(key) = text.parse::<Key>() {
        let text = text.trim_start_matches('\u{feff}').trim();
        assert!(key.to_text().eq_ignore_ascii_case(text), "a key has one spelling but for capitals");
    }
}
