//! A command as words: changes one option, and quotes words so that a shell reads the same ones.

/// The words with an option set to a value: it replaces the present value, or is added at the end.
pub(crate) fn with_option(words: &[String], option: &str, value: &str) -> Vec<String> {
    let mut words = words.to_vec();
    let joined = format!("{option}=");
    match words.iter().position(|word| word == option || word.starts_with(&joined)) {
        Some(at) if words[at] == option => {
            words.splice(at + 1..words.len().min(at + 2), [value.to_owned()]);
        }
        Some(at) => words[at] = joined + value,
        None => words.extend([option.to_owned(), value.to_owned()]),
    }
    words
}

/// The words without an option and its value, as often as it is there.
pub(crate) fn without_option(words: &[String], option: &str) -> Vec<String> {
    let joined = format!("{option}=");
    let mut kept = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == option {
            words.next();
        } else if !word.starts_with(&joined) {
            kept.push(word.clone());
        }
    }
    kept
}

/// The command line of these words.
pub(crate) fn command(words: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let words = words.into_iter().map(|word| quoted(word.as_ref()));
    std::iter::once("embosk".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// A word, quoted so that a POSIX shell reads it back.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@+%…".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_replaced_or_added() {
        for (given, expected) in [
            ("evaluate --corpus a.txt", "embosk evaluate --corpus a.txt --samples 140"),
            ("evaluate --samples 20 --corpus a.txt", "embosk evaluate --samples 140 --corpus a.txt"),
            ("evaluate --samples=20 --seed 1", "embosk evaluate --samples=140 --seed 1"),
        ] {
            let words: Vec<String> = given.split(' ').map(str::to_owned).collect();
            assert_eq!(command(with_option(&words, "--samples", "140")), expected);
        }
    }

    #[test]
    fn an_option_is_left_out_with_its_value() {
        for (given, expected) in [
            ("recommend --keep 0.9 --corpus a --keep=1", "embosk recommend --corpus a"),
            ("recommend --keeper 0.9 --keep", "embosk recommend --keeper 0.9"),
        ] {
            let words: Vec<String> = given.split(' ').map(str::to_owned).collect();
            assert_eq!(command(without_option(&words, "--keep")), expected);
        }
    }
}
