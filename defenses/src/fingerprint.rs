//! The keys of a stack, named in a text that is stored beside its vectors.

use crate::Error;

/// What a keyed defense prints before its key's fingerprint.
pub(crate) const MARK: &str = "fingerprint:";

/// The fingerprint of a stack without keys.
const NONE: &str = "none";

/// The fingerprints in a printed spec: once where all are the same, and else each in turn, so that two
/// keys that have changed places are noticed too.
pub(crate) fn of_spec(spec: &str) -> String {
    let mut all: Vec<_> = spec.split(MARK).skip(1).filter_map(leading_digits).collect();
    if all.iter().all(|one| *one == all[0]) {
        all.truncate(1);
    }
    if all.is_empty() { NONE.to_owned() } else { all.join(",") }
}

/// Compares a stored fingerprint with a stack's.
pub(crate) fn check(stored: &str, found: String) -> Result<(), Error> {
    // What is no fingerprint is not repeated: it may be a key.
    if stored != NONE && !stored.split(',').all(is_fingerprint) {
        let expected = "what `Stack::fingerprint` gave: 8 hexadecimal digits, or `none`";
        return Err(Error::Setting { name: "fingerprint", expected });
    }
    if stored == found { Ok(()) } else { Err(Error::OtherKey { stored: stored.to_owned(), found }) }
}

fn leading_digits(text: &str) -> Option<&str> {
    text.get(..8).filter(|digits| is_fingerprint(digits))
}

fn is_fingerprint(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
