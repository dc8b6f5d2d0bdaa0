//! Keys: their text, where they come from, and what they never show.

#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::process::Command;

use embosk_defenses::{Defense, Error, GaussianNoise, Key, Rng, Role, Rotation, Stack};
use ndarray::Array2;
use proptest::prelude::*;

/// The text of the key of bytes 0, 1, … 31: a format that never changes.
const TEXT: &str = "embosk1-000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f-073ce0a2";
const FINGERPRINT: &str = "bece91ff";

fn counting_key() -> Key {
    Key::from_bytes(std::array::from_fn(|place| place as u8))
}

#[test]
fn the_text_and_the_fingerprint_are_the_golden_ones() {
    assert_eq!(*counting_key().to_text(), TEXT);
    assert_eq!(counting_key().fingerprint(), FINGERPRINT);
    assert_eq!(TEXT.parse::<Key>().unwrap(), counting_key());
}

proptest! {
    #[test]
    fn text_round_trips(bytes: [u8; 32]) {
        let key = Key::from_bytes(bytes);
        prop_assert_eq!(format!("  {}\n", *key.to_text()).parse::<Key>().unwrap(), key);
    }

    #[test]
    fn one_wrong_digit_is_noticed(place in 8..81_usize, digit in "[0-9a-f]") {
        let mut text = TEXT.to_owned();
        text.replace_range(place..=place, &digit);
        prop_assert_eq!(text.parse::<Key>().is_ok(), text == TEXT);
    }

    #[test]
    fn any_text_is_read_or_refused(text: String) {
        prop_assert!(text.parse::<Key>().is_err());
    }
}

#[test]
fn what_is_not_a_key_is_refused_without_repeating_it() {
    let table = [
        ("", "begins with"),
        ("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "begins with"),
        ("embosk1-0001", "checksum is missing"),
        ("embosk1-0001-00000000", "64 hexadecimal digits"),
        (&TEXT[..TEXT.len() - 1], "8 hexadecimal digits"),
        (&TEXT.replace("1f-", "1g-"), "64 hexadecimal digits"),
        (&TEXT.replace("1f-", "1e-"), "does not match"),
        (&TEXT.replace("embosk1", "embosk2"), "begins with"),
    ];
    for (text, expected) in table {
        let message = text.parse::<Key>().unwrap_err().to_string();
        assert!(message.contains(expected), "{text:?}: {message}");
        assert!(!message.contains("0001"), "{message}");
    }
}

#[test]
fn keys_print_as_fingerprints() {
    assert_eq!(counting_key().to_string(), format!("fingerprint:{FINGERPRINT}"));
    assert_eq!(format!("{:?}", counting_key()), format!("Key(fingerprint:{FINGERPRINT})"));
    assert_ne!(Key::generate().unwrap(), Key::generate().unwrap());
}

#[test]
fn a_key_is_read_from_the_environment() {
    const VARIABLE: &str = "EMBOSK_TEST_KEY";
    if std::env::var_os(VARIABLE).is_some() {
        assert_eq!(Key::from_env(VARIABLE).unwrap(), counting_key());
        return;
    }
    assert!(matches!(Key::from_env(VARIABLE), Err(Error::KeyVariable { name }) if name == VARIABLE));
    // A process' own environment cannot be set safely, so the test runs itself with another.
    let again = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_key_is_read_from_the_environment"])
        .env(VARIABLE, TEXT)
        .status();
    assert!(again.unwrap().success());
}

#[test]
fn a_key_is_read_from_a_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{TEXT}").unwrap();
    assert_eq!(Key::from_file(file.path()).unwrap(), counting_key());
    let missing = Key::from_file(file.path().with_extension("missing"));
    assert!(matches!(missing, Err(Error::KeyFile { .. })), "{missing:?}");

    let mut short = tempfile::NamedTempFile::new().unwrap();
    write!(short, "{}", &TEXT[..40]).unwrap();
    let refusal = Key::from_file(short.path()).unwrap_err().to_string();
    let path = short.path().display().to_string();
    assert!(refusal.contains(&path) && refusal.contains("its checksum is missing"), "{refusal}");
    assert!(!refusal.contains(&TEXT[8..16]), "{refusal}");
}

#[cfg(unix)]
#[test]
fn a_key_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;

    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{TEXT}").unwrap();
    for open in [0o640, 0o604, 0o620, 0o777] {
        file.as_file().set_permissions(std::fs::Permissions::from_mode(open)).unwrap();
        let refusal = Key::from_file(file.path());
        assert!(matches!(refusal, Err(Error::KeyFileMode { mode, .. }) if mode == open), "{refusal:?}");
    }
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o400)).unwrap();
    assert!(Key::from_file(file.path()).is_ok());
    for no_file in ["/dev/zero", "/"] {
        let message = Key::from_file(no_file).unwrap_err().to_string();
        assert!(message.contains("no regular file") && !message.contains("chmod"), "{message}");
    }
}

/// Compiles only where a type does *not* implement a trait: otherwise `_` has two answers.
macro_rules! lacks {
    ($type:ty: $trait:path) => {{
        trait Ask<Answer> {
            const DONE: () = ();
        }
        impl<T> Ask<()> for T {}
        impl<T: $trait> Ask<u8> for T {}
        <$type as Ask<_>>::DONE
    }};
}

/// Nor can it be serialized: the crate does not know serde.
#[test]
fn a_key_is_neither_copied_nor_made_up_nor_ordered() {
    lacks!(Key: Clone);
    lacks!(Key: Default);
    lacks!(Key: std::hash::Hash);
    lacks!(Key: PartialOrd);
    lacks!(Key: AsRef<[u8]>);
    lacks!(Key: std::ops::Deref);
    lacks!(Rotation: Clone);
    lacks!(Rng: Clone);
    assert!(!include_str!("../Cargo.toml").contains("serde"));
}

fn under(byte: u8) -> Rotation {
    Rotation::new(&Key::from_bytes([byte; 32]), 4).unwrap()
}

#[test]
fn a_stack_names_its_keys() {
    let name = |byte| Key::from_bytes([byte; 32]).fingerprint();
    let noise = || GaussianNoise::new(0.1).unwrap();
    let table = [
        (Stack::new(), "none".to_owned()),
        (Stack::new().with(noise()), "none".to_owned()),
        (Stack::new().with(under(1)), name(1)),
        (Stack::new().with(Rotation::deferred(Key::from_bytes([1; 32]))).with(noise()), name(1)),
        (Stack::new().with(under(1)).with(Stack::new().with(noise()).with(under(1))), name(1)),
        (Stack::new().with(under(1)).with(under(2)), format!("{},{}", name(1), name(2))),
        (Stack::new().with(under(2)).with(under(1)), format!("{},{}", name(2), name(1))),
    ];
    for (stack, expected) in &table {
        assert_eq!(stack.fingerprint(), *expected, "{stack}");
        for (other, stored) in &table {
            let verdict = other.check_fingerprint(&stack.fingerprint());
            match verdict {
                Ok(()) => assert_eq!(stored, expected),
                Err(Error::OtherKey { stored: of, found }) => {
                    assert_ne!(stored, expected);
                    assert_eq!((of, found), (expected.clone(), stored.clone()));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert_eq!(under(1).fingerprint(), name(1));
}

/// What the check is for: under another key a search finds nothing, and nothing else would say so.
#[test]
fn a_query_under_another_key_is_an_error_that_can_be_caught() {
    let stored = Stack::new().with(under(1)).fingerprint();
    let queries = Stack::new().with(under(2));
    assert!(queries.protect(Role::Query, Array2::ones((1, 4)).view_mut(), &mut Rng::seeded(0)).is_ok());
    let refusal = queries.check_fingerprint(&stored).unwrap_err();
    let expected =
        format!("the vectors were protected under the key {stored}, the stack has {}", queries.fingerprint());
    assert_eq!(refusal.to_string(), expected);
}

#[test]
fn what_is_not_a_fingerprint_is_refused_without_repeating_it() {
    let stack = Stack::new().with(under(1));
    assert!(stack.check_fingerprint(&format!(" {}\n", stack.fingerprint())).is_ok());
    for text in ["", "bece91f", "BECE91FF", "bece91ff,", "fingerprint:bece91ff", "ä", TEXT] {
        let refusal = stack.check_fingerprint(text);
        assert!(matches!(refusal, Err(Error::Setting { name: "fingerprint", .. })), "{text:?}: {refusal:?}");
    }
}
