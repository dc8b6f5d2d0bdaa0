//! The command at the foot of the page.

use std::path::Path;

use crate::cli::words;
use crate::defenses::Spec;

/// The command as it was given, without what a reader of the page must not see: where keys and fits are kept, and the
/// folders of an absolute path. `defenses` are the specs as they were given.
pub(super) fn shown(given: impl Iterator<Item = String>, defenses: &[String]) -> String {
    let without_names = |value: &str| match value.parse::<Spec>() {
        Ok(spec) if defenses.iter().any(|defense| defense == value) => spec.redacted().to_string(),
        _ => shortened(value),
    };
    let word = |word: String| match word.split_once('=') {
        Some((flag, value)) if flag.starts_with("--") => format!("{flag}={}", without_names(value)),
        _ => without_names(&word),
    };
    words::command(given.map(word))
}

fn shortened(value: &str) -> String {
    let path = Path::new(value);
    match path.file_name() {
        Some(name) if path.is_absolute() => format!("…/{}", name.to_string_lossy()),
        _ => value.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    #[cfg(unix)]
    #[test]
    fn no_key_and_no_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("secret.key");
        std::fs::write(&key, &*crate::Key::generate().unwrap().to_text()).unwrap();
        // a key that others may read is refused
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let keyed = format!("rotation(key=file:{}) | gaussian(sigma=0.1..0.2/2)", key.display());
        let defenses = [keyed.clone(), "none".to_owned()];
        let expected = "'rotation(key=…) | gaussian(sigma=0.1..0.2/2)'";
        let cases = [
            (["curve", "--defense", &keyed], format!("embosk curve --defense {expected}")),
            (
                ["curve", &format!("--defense={keyed}"), "--find=leak<=0.1"],
                format!("embosk curve '--defense={}' '--find=leak<=0.1'", expected.trim_matches('\'')),
            ),
            (
                ["--embedder", "/home/ann/models/minilm", "--output=/tmp/out"],
                "embosk --embedder …/minilm --output=…/out".to_owned(),
            ),
            (["--corpus", "mine/it's", "none"], "embosk --corpus 'mine/it'\\''s' none".to_owned()),
        ];
        for (words, shown) in cases {
            assert_eq!(super::shown(words.into_iter().map(str::to_owned), &defenses), shown);
        }
    }
}
