//! The spec grammar: what it takes, and what it says about the rest.

#![allow(clippy::unwrap_used)]

use std::io::Write as _;

use embosk_defenses::{Error, Key, Stack};
use proptest::prelude::*;

#[test]
fn reads_what_is_written_and_prints_it_in_one_way() {
    let table = [
        ("none", "none", 0),
        (" none ", "none", 0),
        ("gaussian(sigma=0.01)", "gaussian(sigma=0.01)", 1),
        ("gaussian(sigma=1e-2)", "gaussian(sigma=0.01)", 1),
        ("\tgaussian ( sigma = 0.01 )\n", "gaussian(sigma=0.01)", 1),
        ("quantization(bits=8)|gaussian(sigma=0)", "quantization(bits=8) | gaussian(sigma=0)", 2),
        ("none | quantization(bits=1)", "quantization(bits=1)", 1),
        ("quantization(bits=4) | none", "quantization(bits=4)", 1),
        ("quantization(scale=2e-1, bits=8)", "quantization(bits=8, scale=0.2)", 1),
    ];
    for (spec, printed, parts) in table {
        let stack: Stack = spec.parse().unwrap_or_else(|error| panic!("{spec:?}: {error}"));
        assert_eq!(stack.to_string(), printed, "{spec:?}");
        assert_eq!((stack.len(), stack.is_empty()), (parts, parts == 0), "{spec:?}");
    }
}

#[test]
fn says_what_is_wrong_and_where() {
    let table = [
        ("", 1, "expected a defense: known are dcpe, gaussian, permutation, product_quantization"),
        (
            "gausian(sigma=1)",
            1,
            "unknown defense `gausian`; known are dcpe, gaussian, permutation, product_quantization",
        ),
        ("none | ", 8, "expected a defense"),
        ("| none", 1, "expected a defense"),
        ("gaussian", 9, "expected `(` after `gaussian`"),
        ("gaussian()", 1, "`gaussian` needs `sigma=…`"),
        ("gaussian(sigma=1", 17, "expected `,` or `)`"),
        ("gaussian(sigma 1)", 16, "expected `=` after `sigma`"),
        ("gaussian(sigma=1,)", 18, "expected a parameter"),
        ("gaussian(sigma=1, sigma=2)", 19, "`sigma` is given twice"),
        (
            "gaussian(sigmo=1)",
            10,
            "unknown parameter `sigmo`; known are sigma, key, on, renormalize (of `gaussian`)",
        ),
        ("gaussian(sigma=much)", 16, "`sigma` should be a number"),
        ("quantization(bits=-8)", 19, "`bits` should be 8, 4 or 1"),
        ("none | gaussian(sigma=)", 23, "`sigma` should be a number"),
        ("quantization(bits=8, scale=fit:01)", 28, "names a fit but does not hold it"),
        ("product_quantization(codebook=fit:01)", 31, "names a fit but does not hold it"),
        ("quantization(bits=8, scale=0.2, dither=x)", 40, "a key is named as `env:NAME` or `file:PATH`"),
        ("none none", 6, "expected `|` or the end"),
        ("ä", 1, "expected a defense"),
        ("none | ä", 8, "expected a defense"),
        ("gaussian(sigma=ä) ?", 16, "`sigma` should be a number"),
        ("gaussian(sigma=1)ä", 18, "expected `|` or the end"),
        ("rotation()", 1, "`rotation` needs `key=…`"),
        ("rotation(key=env:X, kind=haaar)", 26, "`kind` should be haar or hadamard"),
        ("rotation(key=env:X, dim=four)", 25, "`dim` should be a whole number"),
        ("permutation()", 1, "`permutation` needs `key=…`"),
        ("scaling(beta=1)", 9, "unknown parameter `beta`; known are key (of `scaling`)"),
        ("dcpe(key=env:X)", 1, "`dcpe` needs `beta=…`"),
        ("dcpe(beta=1)", 1, "`dcpe` needs `key=…`"),
        ("rotation(key=EMBOSK_KEY)", 14, "a key is named as `env:NAME` or `file:PATH`"),
        ("rotation(key=fingerprint:01234567)", 14, "names a key but does not hold it"),
    ];
    for (spec, column, expected) in table {
        let error = spec.parse::<Stack>().unwrap_err();
        let Error::Spec { position, ref message } = error else { panic!("{spec:?}: {error:?}") };
        assert!(message.contains(expected), "{spec:?}: {message}");
        assert_eq!(position, column, "{spec:?}: {message}");
    }
}

#[test]
fn values_out_of_range_say_the_range() {
    for (spec, name) in [
        ("gaussian(sigma=-1)", "sigma"),
        ("gaussian(sigma=nan)", "sigma"),
        ("quantization(bits=3)", "bits"),
        ("quantization(bits=8, scale=0)", "scale"),
        ("quantization(bits=8, scale=inf)", "scale"),
    ] {
        let error = spec.parse::<Stack>().unwrap_err();
        assert!(matches!(error, Error::Setting { name: of, .. } if of == name), "{spec}: {error}");
    }
}

#[test]
fn a_key_in_a_spec_is_refused_and_never_repeated() {
    let key = Key::generate().unwrap();
    let text = key.to_text();
    let digits = &text[8..72];
    for spec in [
        format!("rotation(key={})", *text),
        format!("rotation(key=env:{})", *text),
        format!("rotation(key=file:{})", *text),
        format!("rotation(key={digits})"),
        format!("rotation(key=env:{digits})"),
        format!("rotation({})", *text),
        format!("rotation({digits}=1)"),
        format!("{digits}()"),
        format!("gaussian(sigma={})", *text),
    ] {
        let error = spec.parse::<Stack>().unwrap_err();
        assert!(matches!(error, Error::Spec { .. }), "{error:?}");
        assert!(!error.to_string().contains(&digits[..8]), "{error}");
    }
}

#[test]
fn keyed_defenses_find_their_key_and_print_the_fingerprint() {
    let key = Key::generate().unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "{}", *key.to_text()).unwrap();
    let path = file.path().display();
    for spec in [format!("rotation(key=file:{path})"), format!("rotation( dim=4, key = file:{path} )")] {
        let stack: Stack = spec.parse().unwrap();
        assert_eq!(stack.to_string(), format!("rotation(key=fingerprint:{})", key.fingerprint()));
    }
    for (spec, printed) in [
        ("rotation(key=file:PATH, kind=haar)", "rotation(key=KEY)"),
        ("rotation(key=file:PATH, kind=hadamard)", "rotation(key=KEY, kind=hadamard)"),
        ("rotation(kind=hadamard, dim=4, key=file:PATH)", "rotation(key=KEY, kind=hadamard)"),
        ("permutation(key=file:PATH)", "permutation(key=KEY)"),
        ("permutation(key=file:PATH, dim=4)", "permutation(key=KEY)"),
        ("scaling(key=file:PATH)", "scaling(key=KEY)"),
        ("dcpe(key=file:PATH, beta=5e-1)", "dcpe(key=KEY, beta=0.5)"),
    ] {
        let stack: Stack = spec.replace("PATH", &path.to_string()).parse().unwrap();
        assert_eq!(stack.to_string(), printed.replace("KEY", &key.to_string()), "{spec}");
    }
    let unset = "rotation(key=env:EMBOSK_TEST_UNSET)".parse::<Stack>();
    assert!(matches!(unset, Err(Error::KeyVariable { name }) if name == "EMBOSK_TEST_UNSET"));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(spec: String) {
        let _ = spec.parse::<Stack>();
    }

    #[test]
    fn any_text_of_the_grammars_words_is_read_or_refused(
        spec in "((none|gaussian|quantization|sigma|bits|rotation|dcpe|key|dim|kind|[(),=|]|env:|file:| |0\\.1|8|ä){0,12})"
    ) {
        let _ = spec.parse::<Stack>();
    }
}
