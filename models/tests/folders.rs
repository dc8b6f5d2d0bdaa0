//! Variants of a sentence-transformers folder against Python's sentence-transformers (models/tests/golden/folders.py), and
//! folders that are refused.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::folders::{Goldens, Variant, data, folder, goldens};
use embosk_models::SentenceTransformer;
use ndarray::Array2;
use serde_json::{Value, json};

fn agree(found: &Array2<f32>, expected: &[Vec<f32>], what: &str) {
    assert_eq!(found.dim(), (expected.len(), expected[0].len()), "{what}");
    for (row, (found, expected)) in found.rows().into_iter().zip(expected).enumerate() {
        let furthest = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(furthest < 2e-5, "{what}, text {row}: {furthest}");
    }
}

/// Together, where they are padded, and alone.
#[test]
fn variants_agree_with_sentence_transformers() {
    let Goldens { texts, variants } = goldens();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert!(variants.len() > 40);
    for Variant { name, files, vectors, queries, documents } in variants {
        let place = folder(&files);
        let model = SentenceTransformer::load(place.path()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (queries, documents) =
            (queries.as_ref().unwrap_or(&vectors), documents.as_ref().unwrap_or(&vectors));
        agree(&model.encode(&texts).unwrap(), &vectors, &name);
        agree(&model.encode_queries(&texts).unwrap(), queries, &format!("{name}, queries"));
        agree(&model.encode_documents(&texts).unwrap(), documents, &format!("{name}, documents"));
        for (row, text) in texts.iter().enumerate() {
            agree(&model.encode(&[text]).unwrap(), &vectors[row..=row], &format!("{name}, alone"));
        }
        assert_eq!(model.has_roles(), queries != documents, "{name}");
    }
}

/// What lies outside a document's window changes no vector, and nothing is cut where no text is too long.
#[test]
fn only_what_lies_in_the_window_is_read() {
    let Goldens { texts, variants } = goldens();
    let mut is_cut = false;
    for Variant { name, files, .. } in variants {
        let place = folder(&files);
        let whole = SentenceTransformer::load(place.path()).unwrap();
        let models = [SentenceTransformer::load(place.path()).unwrap().max_length(6).unwrap(), whole];
        for (model, text) in models.iter().flat_map(|model| texts.iter().map(move |text| (model, text))) {
            let window = model.window(text).unwrap();
            let part = &text[window.clone()];
            if text[..window.start].ends_with(char::is_alphanumeric) {
                // half a word is other tokens than a word's second half
                continue;
            }
            is_cut |= part.len() < text.len();
            // what is cut off is not counted
            assert_eq!(model.document_tokens(&[text]).unwrap(), model.document_tokens(&[part]).unwrap());
            assert_eq!(
                model.document_tokens(&[text, part]).unwrap(),
                2 * model.document_tokens(&[part]).unwrap()
            );
            let [of_text, of_part] =
                [text, part].map(|text| model.encode_documents(&[text]).unwrap().row(0).to_vec());
            agree(&Array2::from_shape_vec((1, of_text.len()), of_text).unwrap(), &[of_part], &name);
            assert_eq!(model.window(part).unwrap(), 0..part.len(), "{name}");
        }
    }
    assert!(is_cut);
}

/// Caches are named by the hash: it tells variants with other vectors apart.
#[test]
fn the_hash_changes_with_the_vectors() {
    let mut seen = BTreeMap::new();
    for Variant { name, files, vectors, queries, .. } in goldens().variants {
        let place = folder(&files);
        let hash = SentenceTransformer::load(place.path()).unwrap().hash().to_owned();
        let vectors = format!("{vectors:?} {queries:?}");
        let (other, before) = seen.entry(hash).or_insert_with(|| (name.clone(), vectors.clone()));
        assert!(*before == vectors, "{name} and {other} have one hash");
    }
}

/// The hash without prompts is that of the first version: of the files and nothing else.
#[test]
fn settings_without_effect_leave_the_hash_alone() {
    let hash = |files: Value| {
        let files: BTreeMap<String, Value> = serde_json::from_value(files).unwrap();
        SentenceTransformer::load(folder(&files).path()).unwrap().hash().to_owned()
    };
    let settings = |content: Value| hash(json!({ "config_sentence_transformers.json": content }));
    let plain = hash(json!({}));
    assert_eq!(plain, settings(json!({ "prompts": {}, "similarity_fn_name": "cosine", "__version__": {} })));
    assert_eq!(
        plain,
        settings(json!({ "prompts": { "query": "", "document": "" }, "default_prompt_name": null }))
    );
    assert_eq!(plain, settings(json!({ "prompts": { "other": "other: " } })));
    assert_ne!(plain, settings(json!({ "prompts": { "query": "query: " } })));
    assert_ne!(plain, settings(json!({ "truncate_dim": 3 })));
    assert_eq!(plain, HASH);
}

/// Of the base folder, as the first version computed it: SHA-256 of its files, each after its length, in the order
/// config.json, sentence_bert_config.json, tokenizer.json, modules.json, 1_Pooling/config.json, model.safetensors.
const HASH: &str = "d583e43192d3d851ba00687109e4caebeb7aa96ee175fe5bb6e7192d62244f53";

/// What Python's `encode_document` does not do: `passage` is a document's prompt, and the default prompt one for roles
/// without a prompt.
#[test]
fn a_prompt_that_a_folder_names_for_a_role_is_used() {
    let load = |content: Value| {
        let files = BTreeMap::from([("config_sentence_transformers.json".to_owned(), content)]);
        let place = folder(&files);
        SentenceTransformer::load(place.path()).unwrap()
    };
    let plain = load(json!({}));
    let e5 = load(
        json!({ "prompts": { "query": "bad: ", "passage": "cab: " }, "default_prompt_name": "passage" }),
    );
    assert!(e5.has_roles() && !plain.has_roles());
    assert_eq!(e5.encode_documents(&["a dad"]).unwrap(), plain.encode(&["cab: a dad"]).unwrap());
    assert_eq!(e5.encode_queries(&["a dad"]).unwrap(), plain.encode(&["bad: a dad"]).unwrap());
    assert_eq!(e5.encode(&["a dad"]).unwrap(), plain.encode(&["cab: a dad"]).unwrap());
    let usual = load(json!({ "prompts": { "s": "fade: " }, "default_prompt_name": "s" }));
    assert_eq!(usual.encode_queries(&["a dad"]).unwrap(), plain.encode(&["fade: a dad"]).unwrap());
    assert!(!usual.has_roles());
}

#[test]
fn what_cannot_be_run_is_refused_by_file_and_field() {
    let module = |path: &str, kind: &str| json!({ "path": path, "type": format!("sentence_transformers.models.{kind}") });
    let with = |name: &str, config: Value| {
        let modules = [module("", "Transformer"), module("1_Pooling", "Pooling"), module("2", name)];
        json!({ "modules.json": modules, "2/config.json": config, "2/model.safetensors": "dense.safetensors" })
    };
    let config = |name: &str, value: Value| {
        let mut config: Value = serde_json::from_slice(&fs::read(data("config.json")).unwrap()).unwrap();
        config[name] = value;
        json!({ "config.json": config })
    };
    let custom = json!([{ "path": "", "type": "custom_st.Transformer" }, module("1_Pooling", "Pooling")]);
    for (files, file, what) in [
        (with("CNN", json!({})), "modules.json", "CNN"),
        (json!({ "modules.json": custom }), "modules.json", "custom_st.Transformer"),
        (json!({ "modules.json": [module("", "Transformer")] }), "modules.json", "Transformer"),
        (json!({ "modules.json": [{ "path": "", "type": "x", "lr": 1 }] }), "modules.json", "lr"),
        (
            json!({ "1_Pooling/config.json": { "pooling_mode": "median" } }),
            "1_Pooling/config.json",
            "pooling_mode",
        ),
        (json!({ "1_Pooling/config.json": { "pooling_mode": [] } }), "1_Pooling/config.json", "pooling_mode"),
        (
            json!({ "1_Pooling/config.json": { "pooling_layers": 2 } }),
            "1_Pooling/config.json",
            "pooling_layers",
        ),
        (json!({ "1_Pooling/config.json": null }), "1_Pooling/config.json", "no such file"),
        (
            with("Dense", json!({ "activation_function": "torch.nn.Softmax" })),
            "2/config.json",
            "activation_function",
        ),
        (with("Dense", json!({ "activation_function": "my.Tanh" })), "2/config.json", "activation_function"),
        (
            with("Dense", json!({ "module_input_name": "token_embeddings" })),
            "2/config.json",
            "module_input_name",
        ),
        (with("Dense", json!({ "module_output_name": "other" })), "2/config.json", "module_output_name"),
        (with("Dense", json!({ "bias": false })), "2/config.json", "bias"),
        (with("Dense", json!({ "out_features": 9 })), "2/model.safetensors", "config.json"),
        (with("Dense", json!({ "rank": 9 })), "2/config.json", "rank"),
        (with("LayerNorm", json!({ "dimension": 8 })), "2/model.safetensors", "norm.weight"),
        (
            with("Normalize", json!({ "module_input_name": "token_embeddings" })),
            "2/config.json",
            "module_input_name",
        ),
        (
            json!({ "config_sentence_transformers.json": { "model_type": "CrossEncoder" } }),
            "config_sentence_transformers.json",
            "model_type",
        ),
        (
            json!({ "sentence_bert_config.json": { "query_length": 3 } }),
            "sentence_bert_config.json",
            "query_length",
        ),
        (config("is_decoder", json!(true)), "config.json", "is_decoder"),
        (config("position_embedding_type", json!("relative_key")), "config.json", "position_embedding_type"),
        (config("quantization_config", json!({ "bits": 8 })), "config.json", "quantization_config"),
        (config("model_type", json!("gpt2")), "config.json", "gpt2"),
        (
            json!({ "tokenizer_config.json": { "added_tokens_decoder": { "9": { "content": "[NEW]" } } } }),
            "tokenizer_config.json",
            "added_tokens_decoder",
        ),
        (
            json!({ "tokenizer_config.json": { "truncation_side": "middle" } }),
            "tokenizer_config.json",
            "truncation_side",
        ),
        (json!({ "model.safetensors": null }), "model.safetensors", "no such file"),
    ] {
        let files: BTreeMap<String, Value> = serde_json::from_value(files).unwrap();
        let message = SentenceTransformer::load(folder(&files).path()).unwrap_err().to_string();
        assert!(message.contains(&format!("{file}: ")) && message.contains(what), "{file} {what}: {message}");
    }
}

#[test]
fn stand_ins_for_files_are_named() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 90\n";
    for (content, expected) in
        [(pointer, "git lfs pull"), ("<!doctype html><html>", "web page"), ("", "empty")]
    {
        for file in [
            "model.safetensors",
            "tokenizer.json",
            "config.json",
            "modules.json",
            "1_Pooling/config.json",
            "tokenizer_config.json",
        ] {
            let files = BTreeMap::from([(file.to_owned(), json!(content))]);
            let message = SentenceTransformer::load(folder(&files).path()).unwrap_err().to_string();
            assert!(message.contains(file) && message.contains(expected), "{file}: {message}");
        }
        let pickled = json!({ "model.safetensors": null, "pytorch_model.bin": content });
        let files: BTreeMap<String, Value> = serde_json::from_value(pickled).unwrap();
        let message = SentenceTransformer::load(folder(&files).path()).unwrap_err().to_string();
        assert!(message.contains("pytorch_model.bin") && message.contains(expected), "{message}");
    }
}
