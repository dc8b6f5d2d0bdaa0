//! Keys: their text, where they come from, and what they never show.

#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::process::Command;

use embosk_defenses::{Error, Key, Quantization, Rng, Rotation};
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
        ("embosk1-0001", "checksum is missing; is it cut off"),
        (&format!("\"{TEXT}\""), "something is before the key"),
        (&format!("EMBOSK_KEY={TEXT}"), "something is before the key"),
        (&format!("{TEXT}\n{TEXT}"), "or something follows it"),
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
    assert!(matches!(Key::from_env(VARIABLE), Err(Error::KeyVariable { name, .. }) if name == VARIABLE));
    let other = Key::from_env("PATH").unwrap_err().to_string();
    assert!(other.contains("variable PATH should hold a key: a key begins with"), "{other}");
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
    assert!(matches!(&missing, Err(Error::KeyFile { .. })), "{missing:?}");
    assert!(missing.unwrap_err().to_string().ends_with("`embosk keygen --output FILE` makes one"));
    let wide = tempfile::NamedTempFile::new().unwrap();
    let utf_16: Vec<u8> = TEXT.encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(wide.path(), [b"\xff\xfe", &utf_16[..]].concat()).unwrap();
    assert!(Key::from_file(wide.path()).unwrap_err().to_string().contains("it may be UTF-16"));

    let mut short = tempfile::NamedTempFile::new().unwrap();
    write!(short, "{}", &TEXT[..40]).unwrap();
    let refusal = Key::from_file(short.path()).unwrap_err().to_string();
    let path = short.path().display().to_string();
    assert!(refusal.contains(&path) && refusal.contains("its checksum is missing"), "{refusal}");
    assert!(!refusal.contains(&TEXT[8..16]), "{refusal}");
}

#[test]
fn a_byte_order_mark_before_a_key_is_skipped() {
    assert_eq!(format!("\u{feff}{TEXT}\r\n").parse::<Key>().unwrap(), TEXT.parse().unwrap());
    assert!(format!("embosk1\u{feff}-{}", &TEXT[8..]).parse::<Key>().is_err());
}

#[cfg(unix)]
#[test]
fn a_key_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;

    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{TEXT}").unwrap();
    for open in [0o660, 0o604, 0o620, 0o650, 0o777] {
        file.as_file().set_permissions(std::fs::Permissions::from_mode(open)).unwrap();
        let refusal = Key::from_file(file.path());
        assert!(matches!(refusal, Err(Error::KeyFileMode { mode, .. }) if mode == open), "{refusal:?}");
        // a mounted secret's mode cannot be changed
        assert!(refusal.unwrap_err().to_string().contains("env:NAME"));
    }
    // a mounted secret is its group's to read
    for closed in [0o400, 0o600, 0o440, 0o640] {
        file.as_file().set_permissions(std::fs::Permissions::from_mode(closed)).unwrap();
        assert!(Key::from_file(file.path()).is_ok(), "{closed:o}");
    }
    for no_file in ["/dev/zero", "/"] {
        let message = Key::from_file(no_file).unwrap_err().to_string();
        assert!(message.contains("not a regular file") && !message.contains("chmod"), "{message}");
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

/// Nor can it be serialized: the crate does not know serde. A clone is a second handle on the same bytes, as a
/// test in `key.rs` shows.
#[test]
fn a_key_is_neither_copied_nor_made_up_nor_ordered() {
    lacks!(Key: Copy);
    lacks!(Key: Default);
    lacks!(Key: std::hash::Hash);
    lacks!(Key: PartialOrd);
    lacks!(Key: AsRef<[u8]>);
    lacks!(Key: std::ops::Deref);
    lacks!(Rotation: Clone);
    lacks!(Rng: Clone);
    assert!(!include_str!("../Cargo.toml").contains("serde"));
}

#[test]
fn a_clone_is_the_same_key() {
    let key = Key::generate().unwrap();
    let clone = key.clone();
    let fingerprint = key.fingerprint();
    drop(key);
    assert_eq!(clone.fingerprint(), fingerprint);
}

#[test]
fn an_error_does_not_give_as_its_source_what_it_displays_already() {
    use std::error::Error as _;

    for error in [
        Key::from_file("no such file").unwrap_err(),
        Quantization::load("no such file").unwrap_err(),
        "key".parse::<Key>().unwrap_err(),
    ] {
        let displayed = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            assert!(!displayed.contains(&cause.to_string()), "{displayed}: {cause}");
            source = cause.source();
        }
    }
}
