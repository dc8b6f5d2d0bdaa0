//! The spec grammar: what it takes, and what it says about the rest.

#![allow(clippy::unwrap_used)]

use std::io::Write as _;

use embosk_defenses::spec::{Kind, Part, Value};
use embosk_defenses::{
    Defense, Error, GaussianNoise, Key, Registry, Rerank, Rng, Role, Rotation, Spec, Stack,
};
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
        ("quantization(bits=8) | rerank(candidates=9)", "quantization(bits=8) | rerank(candidates=9)", 2),
        ("rerank(precision=f16, candidates=9)", "rerank(candidates=9, precision=f16)", 1),
        ("rerank(precision=int8, candidates=9)", "rerank(candidates=9)", 1),
        ("gaussian(sigma=\"0.01\" , on = \"queries\")", "gaussian(sigma=0.01, on=queries)", 1),
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
        (
            "",
            1,
            "expected a defense: known are dcpe, gaussian, microaggregation, permutation, product_quantization",
        ),
        (
            "gausian(sigma=1)",
            1,
            "unknown defense `gausian`; known are dcpe, gaussian, microaggregation, permutation, product_quantization",
        ),
        ("none | ", 8, "expected a defense"),
        ("gauss(1)", 1, "unknown defense `gauss`"),
        ("gaussian(1)", 10, "unknown parameter `1`"),
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
        ("gaussian(sigma=ä)", 16, "`sigma` should be a number"),
        ("gaussian(sigma=ä) ?", 19, "expected `|` or the end"),
        ("gaussian(sigma=1)ä", 18, "expected `|` or the end"),
        ("rotation()", 1, "`rotation` needs `key=…`"),
        ("rotation(key=env:X, kind=haaar)", 26, "`kind` should be haar or hadamard"),
        ("rotation(key=env:X, dim=four)", 25, "`dim` should be a whole number"),
        ("permutation()", 1, "`permutation` needs `key=…`"),
        ("scaling(beta=1)", 9, "unknown parameter `beta`; known are key (of `scaling`)"),
        ("dcpe(key=env:X)", 1, "`dcpe` needs `beta=…`"),
        ("dcpe(beta=1)", 1, "`dcpe` needs `key=…`"),
        ("rerank()", 1, "`rerank` needs `candidates=…`"),
        ("rerank(candidates=many)", 19, "`candidates` should be a whole number"),
        ("rerank(candidates=9, precision=int4)", 32, "`precision` should be int8, f16 or f32"),
        ("rerank(candidates=9, key=x)", 26, "a key is named as `env:NAME` or `file:PATH`"),
        (
            "gaussian(sigma=1) | rerank(candidates=9) | quantization(bits=8)",
            21,
            "`rerank` must be the last part of a stack; move it behind `quantization`",
        ),
        ("rerank(candidates=9) | rerank(candidates=9)", 1, "`rerank` is there twice; leave one out"),
        ("rotation(key=EMBOSK_KEY)", 14, "a key is named as `env:NAME` or `file:PATH`"),
        ("rotation(key=fingerprint:01234567)", 14, "names a key but does not hold it"),
        ("rotation(key=file:\"a", 19, "these quotes are not closed"),
        ("rotation(key=file:\"ä\\n\")", 21, "write `\\\\` for a backslash"),
        ("rotation(key=file:a\"b\")", 20, "quotes hold a whole value"),
        ("rotation(key=file:\"a\" b)", 23, "expected `,` or `)`"),
        ("gaussian(sigma=\"ä\", on=x)", 16, "`sigma` should be a number"),
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
        format!("rotation(key=\"{}\")", *text),
        format!("rotation(key=file:\"{digits}\")"),
        format!("rotation(key=env:K, {}=1)", &digits[..40]),
        format!("{}(", &digits[..40]),
        format!("{} x", &digits[..40]),
        format!("rotation(key={})", &digits[..40]),
        format!("rotation(key=env:K, kind=\"{})", &digits[..40]),
    ] {
        let error = spec.parse::<Stack>().unwrap_err();
        assert!(matches!(error, Error::Spec { .. }), "{error:?}");
        assert!(!error.to_string().contains(&digits[..8]), "{error}");
        if let Err(error) = spec.parse::<Spec>() {
            assert!(!error.to_string().contains(&digits[..8]), "{error}");
        }
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
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key (1), \"mine\"");
    std::fs::copy(file.path(), &path).unwrap();
    let quoted = path.display().to_string().replace('\\', "\\\\").replace('"', "\\\"");
    for spec in [format!("scaling(key=file:\"{quoted}\")"), format!("scaling( key = \"file:{quoted}\" )")] {
        assert_eq!(spec.parse::<Stack>().unwrap().to_string(), format!("scaling(key={key})"));
    }
    for (nameless, part) in
        [("env:", "no name of a variable"), ("file:", "no path"), ("file:\"\"", "no path")]
    {
        let refused = format!("scaling(key={nameless})").parse::<Stack>().unwrap_err().to_string();
        assert!(refused.contains("character 13: ") && refused.contains(part), "{refused}");
    }
    let unset = "rotation(key=env:EMBOSK_TEST_UNSET)".parse::<Stack>();
    assert!(matches!(unset, Err(Error::KeyVariable { name, .. }) if name == "EMBOSK_TEST_UNSET"));
}

#[test]
fn a_value_says_what_it_is() {
    let spec: Spec =
        "own(a=1e-2, b=word, c=env:NAME, d=file:a b, e=fingerprint:84375e6e, f=fit:0a, g=0.1..0.2/3, h=)"
            .parse()
            .unwrap();
    let kinds: Vec<_> = spec.values().map(Value::kind).collect();
    let expected = [
        Kind::Number(0.01),
        Kind::Word("word"),
        Kind::Env("NAME"),
        Kind::File("a b"),
        Kind::Fingerprint("84375e6e"),
        Kind::Fit("0a"),
        Kind::Word("0.1..0.2/3"),
        Kind::Word(""),
    ];
    assert_eq!(kinds, expected);
    let redacted = "own(a=1e-2, b=word, c=…, d=…, e=…, f=…, g=0.1..0.2/3, h=)";
    assert_eq!(spec.redacted().to_string(), redacted);
    assert_eq!(format!("{:?}", spec.parts()[0]), redacted);
    let positions: Vec<_> = spec.values().map(Value::position).collect();
    assert_eq!(positions[..3], [7, 15, 23]);
    assert_eq!((spec.parts()[0].position(), spec.parts()[0].parameters()[1].position()), (1, 13));
    let digits = format!("own(a={})", "0123456789abcdef".repeat(3));
    assert_eq!(digits.parse::<Spec>().unwrap().redacted().to_string(), "own(a=…)");
}

#[test]
fn a_stack_is_a_spec_whose_keys_are_fingerprints() {
    let stack = |byte| {
        let key = Key::from_bytes([byte; 32]);
        let rotation = Rotation::hadamard(&key, 4).unwrap();
        Stack::new().with(rotation).with(GaussianNoise::keyed(&key, 0.1).unwrap().on(Role::Query))
    };
    let (one, other) = (stack(1), stack(2));
    assert_eq!(one.spec().to_string(), one.to_string());
    assert_ne!(one.spec(), other.spec());
    assert_eq!(one.spec().without_keys(), other.spec().without_keys());
    assert_eq!(
        one.spec().without_keys().to_string(),
        "rotation(key=…, kind=hadamard) | gaussian(sigma=0.1, key=…, on=queries)"
    );
    let fresh = Stack::new().with(GaussianNoise::new(0.1).unwrap()).spec();
    let keyed = Stack::new().with(GaussianNoise::keyed(&Key::from_bytes([1; 32]), 0.1).unwrap()).spec();
    assert_ne!(fresh, keyed.without_keys(), "that there is a key is no detail of it");
}

#[test]
fn a_value_is_replaced_and_keeps_its_place() {
    let mut spec: Spec = "gaussian( sigma = 0.1..0.2/3 )".parse().unwrap();
    let build = |spec: &Spec| Registry::default().stack(spec);
    spec.values_mut().next().unwrap().replace(0.15);
    assert_eq!(build(&spec).unwrap().to_string(), "gaussian(sigma=0.15)");
    spec.values_mut().next().unwrap().replace("x");
    assert!(matches!(build(&spec), Err(Error::Spec { position: 19, .. })));
    // a spec that was never a text has no positions
    let written = Spec::from(Part::new("gaussian").with("sigma", "x"));
    let error = build(&written).unwrap_err().to_string();
    assert_eq!(error, "defense spec: `sigma` should be a number");
}

#[test]
fn a_spec_says_what_noise_it_draws() {
    let ball = "dcpe(key=env:A, beta=0.5)";
    let [document, query] = [Role::Document, Role::Query];
    let table = [
        ("none", document, None, false),
        ("rotation(key=env:A) | quantization(bits=8)", document, None, false),
        ("rotation(key=env:A) | gaussian(sigma=0.1)", document, Some("gaussian(sigma=0.1)"), false),
        ("gaussian(sigma=0.1, key=env:A)", document, None, true),
        ("gaussian(sigma=0.1, key=env:A, on=queries)", document, None, false),
        ("gaussian(sigma=0.1, key=env:A, on=queries)", query, None, true),
        ("gaussian(sigma=0.1, on=documents)", query, None, false),
        ("gaussian(sigma=0.1, key=env:A) | gaussian(sigma=0.2)", document, Some("gaussian(sigma=0.2)"), true),
        (ball, query, Some(ball), false),
        ("dcpe(key=env:A)", document, Some("dcpe(key=env:A)"), false),
        ("dcpe(key=env:A, beta=0.0)", document, None, false),
    ];
    for (text, role, fresh, keyed) in table {
        let spec: Spec = text.parse().unwrap();
        assert_eq!(spec.fresh_noise(role).map(ToString::to_string).as_deref(), fresh, "{text}");
        assert_eq!(spec.has_keyed_noise(role), keyed, "{text}");
    }
}

#[test]
fn names_that_a_spec_cannot_hold_are_not_registered() {
    let mut registry = Registry::default();
    let noise = |_: &embosk_defenses::Parameters<'_>| GaussianNoise::new(0.1);
    for name in ["", "none", "gaussian", "a b", "ä", "a("] {
        let refusal = registry.register(name, &[], noise).map(drop);
        assert!(matches!(refusal, Err(Error::Setting { .. })), "{name}");
    }
    assert!(registry.register("own", &["a b"], noise).is_err());
    registry.register("own", &[], noise).unwrap();
    assert!(registry.register("own", &[], noise).is_err());
    assert_eq!(registry.parse("own() | own()").unwrap().len(), 2);
    assert!("own()".parse::<Stack>().is_err());
}

fn a_spec() -> impl Strategy<Value = Spec> {
    let value = prop_oneof![
        (-1e30..1e30_f64).prop_map(Value::from),
        (-1e-3..1e-3_f64).prop_map(Value::from),
        "[ -~äß…\n\"\\\\(),|:]{0,12}".prop_map(Value::from),
        "[ -~äß\"\\\\(),|]{0,12}".prop_map(|path| Value::file(&path)),
        "[A-Z_]{1,8}".prop_map(|name| Value::env(&name)),
        "[0-9a-f]{8}".prop_map(|digits| Value::fingerprint(&digits)),
    ];
    let parameters = proptest::collection::vec(("[a-z_]{1,6}", value), 0..4);
    // `none` is no part
    let part = ("[a-z]{1,3}", parameters).prop_map(|(name, parameters)| {
        parameters.into_iter().fold(Part::new(&name), |part, (name, value)| part.with(&name, value))
    });
    proptest::collection::vec(part, 0..4).prop_map(Spec::from_iter)
}

proptest! {
    #[test]
    fn a_spec_is_printed_as_it_is_read(spec in a_spec()) {
        let printed = spec.to_string();
        let read: Spec = printed.parse().unwrap_or_else(|error| panic!("{printed}: {error}"));
        prop_assert_eq!(&read, &spec);
        prop_assert_eq!(read.to_string(), printed);
    }

    #[test]
    fn any_text_that_is_a_spec_is_printed_as_one(
        text in "[a-z]{1,3}\\([a-z]{1,2} ?= ?(file:|env:)?\"?[ -~ä]{0,10}\"?(, ?[a-z]{3} ?= ?[ -~ä]{0,6})?\\) ?"
    ) {
        if let Ok(spec) = text.parse::<Spec>() {
            prop_assert_eq!(spec.to_string().parse::<Spec>().unwrap(), spec);
        }
    }

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

#[test]
fn a_stack_that_goes_on_after_its_re_ranking_protects_nothing() {
    let wrong = Stack::new().with(Rerank::default()).with(GaussianNoise::new(0.1).unwrap());
    let twice = Stack::new().with(Stack::new().with(Rerank::default())).with(Rerank::default());
    for stack in [wrong, twice] {
        let mut vectors = ndarray::array![[1.0, 2.0]];
        let refused = stack.protect(Role::Document, vectors.view_mut(), &mut Rng::seeded(0));
        assert!(matches!(refused, Err(Error::Setting { name: "rerank", .. })), "{stack}: {refused:?}");
        let refused =
            stack.protect_with_ids(Role::Query, &[b"a".as_slice()], vectors.view_mut(), &mut Rng::seeded(0));
        assert!(matches!(refused, Err(Error::Setting { name: "rerank", .. })), "{stack}: {refused:?}");
        assert_eq!(vectors, ndarray::array![[1.0, 2.0]]);
    }
    for candidates in [0, 1_000_001] {
        assert!(matches!(Rerank::new(candidates), Err(Error::Setting { name: "candidates", .. })));
    }
}

#[test]
fn a_stack_says_how_its_candidates_are_ordered() {
    let key = Key::from_bytes([7; 32]);
    let stack = Stack::new().with(GaussianNoise::new(0.1).unwrap()).with(Rerank::new(50).unwrap().key(&key));
    let rerank = stack.reranking().unwrap();
    assert_eq!((rerank.candidates(), rerank.query_bytes(384)), (50, 50 * 449));
    assert!(rerank.is_sealed_under(&key) && rerank.sealer(&stack).is_some());
    assert_eq!(stack.to_string(), "gaussian(sigma=0.1) | rerank(candidates=50, key=fingerprint:c0f8b5c2)");
    assert!(Stack::new().with(GaussianNoise::new(0.1).unwrap()).reranking().is_none());
    assert!(Rerank::default().sealer(&stack).is_none());
}
