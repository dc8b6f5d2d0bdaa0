//! Checkpoints in the layout of published ones (tests/golden/published.py), whole, damaged and rewritten.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use embosk_models::weights::Weights;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Checkpoint;
use crate::vec2text::Vec2Text;
use crate::vec2text::corrector::Corrector;
use crate::vec2text::inverter::Inverter;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/published")
}

/// A copy of one of the folders, with the tokenizer in it.
fn folder(name: &str) -> TempDir {
    let place = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(data().join(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, place.path().join(path.file_name().unwrap())).unwrap();
    }
    fs::copy(data().join("tokenizer.json"), place.path().join("tokenizer.json")).unwrap();
    place
}

fn expected() -> HashMap<String, Tensor> {
    candle_core::safetensors::load(data().join("expected.safetensors"), &Device::Cpu).unwrap()
}

fn read(dir: &Path) -> Checkpoint {
    Checkpoint::read(dir, &Device::Cpu).unwrap()
}

fn inverter_logits(dir: &Path) -> Tensor {
    let expected = expected();
    let inverter = read(dir).model(Inverter::load).unwrap();
    let memory = inverter.encode(&expected["vectors"]).unwrap();
    inverter.t5.decode(&expected["ids"].to_dtype(DType::U32).unwrap(), &memory).unwrap()
}

fn furthest(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

fn equal(a: &Tensor, b: &Tensor) -> bool {
    furthest(a, b).to_bits() == 0
}

/// All tensors of a folder, as the file names them but without the embedder's.
fn tensors(dir: &Path) -> HashMap<String, Tensor> {
    let mut weights = Weights::find(dir).unwrap();
    let names: Vec<String> =
        weights.names().map(String::from).filter(|name| !name.starts_with("emb")).collect();
    let names = names.into_iter().chain(
        weights.names().filter(|name| name.starts_with("embedding")).map(String::from).collect::<Vec<_>>(),
    );
    names.map(|name| (name.clone(), weights.tensor(&name).unwrap())).collect()
}

fn save(dir: &Path, file: &str, tensors: &HashMap<String, Tensor>, dtype: DType) {
    let typed: HashMap<&str, Tensor> =
        tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.to_dtype(dtype).unwrap())).collect();
    candle_core::safetensors::save(&typed, dir.join(file)).unwrap();
}

/// A folder with the inverter's weights as safetensors, changed by `change`.
fn rewritten(dtype: DType, change: impl FnOnce(&mut HashMap<String, Tensor>)) -> TempDir {
    let place = folder("inverter");
    let mut all = tensors(place.path());
    change(&mut all);
    fs::remove_file(place.path().join("pytorch_model.bin")).unwrap();
    save(place.path(), "model.safetensors", &all, dtype);
    place
}

#[track_caller]
fn refused(dir: &Path, parts: &[&str]) {
    let Err(error) = Checkpoint::read(dir, &Device::Cpu) else { panic!("{parts:?} was not refused") };
    let message = error.to_string();
    assert!(parts.iter().all(|part| message.contains(part)), "{message}: {parts:?}");
}

#[test]
fn pickles_give_what_hugging_face_gives() {
    let expected = expected();
    let logits = inverter_logits(folder("inverter").path());
    assert!(furthest(&logits, &expected["inverter"]) < 1e-4);
    let place = folder("corrector");
    let corrector = read(place.path()).model(Corrector::load).unwrap();
    let hypotheses = expected["hypotheses"].to_dtype(DType::U32).unwrap();
    let memory =
        corrector.encode(&expected["vectors"], &expected["hypothesis_vectors"], &hypotheses).unwrap();
    let logits = corrector.t5.decode(&expected["ids"].to_dtype(DType::U32).unwrap(), &memory).unwrap();
    assert!(furthest(&logits, &expected["corrector"]) < 1e-4);
}

/// All types can hold the fixtures' numbers exactly.
#[test]
fn types_shards_and_formats_make_no_difference() {
    let logits = inverter_logits(folder("inverter").path());
    assert!(equal(&logits, &inverter_logits(folder("sharded").path())), "bfloat16, shards, pickled");
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        assert!(equal(&logits, &inverter_logits(rewritten(dtype, |_| {}).path())), "{dtype:?}");
    }
    let place = rewritten(DType::F32, |_| {});
    in_two(place.path());
    assert!(equal(&logits, &inverter_logits(place.path())), "shards of safetensors");
}

/// Cuts `model.safetensors` into two shards with an index.
fn in_two(dir: &Path) {
    let (mut parts, mut map) = ([HashMap::new(), HashMap::new()], serde_json::Map::new());
    for (at, (name, tensor)) in tensors(dir).into_iter().enumerate() {
        map.insert(name.clone(), json!(format!("model-{}.safetensors", at % 2)));
        parts[at % 2].insert(name, tensor);
    }
    for (at, part) in parts.iter().enumerate() {
        save(dir, &format!("model-{at}.safetensors"), part, DType::F16);
    }
    fs::remove_file(dir.join("model.safetensors")).unwrap();
    let index = json!({ "metadata": {}, "weight_map": map }).to_string();
    fs::write(dir.join("model.safetensors.index.json"), index).unwrap();
}

/// safetensors files without duplicates keep only one name of the token embedding, and not always the same one.
#[test]
fn any_name_of_the_token_embedding_will_do() {
    let logits = inverter_logits(folder("inverter").path());
    for kept in ["shared", "decoder.embed_tokens", "encoder.embed_tokens", "lm_head"] {
        let place = rewritten(DType::F32, |all| {
            all.retain(|name, tensor| tensor.dims() != [20, 8] || name.contains(kept));
        });
        assert!(equal(&logits, &inverter_logits(place.path())), "{kept}");
    }
}

#[test]
fn null_is_missing_and_the_tokenizer_cuts_nothing() {
    let (inverter, corrector) = (folder("inverter"), folder("corrector"));
    let (inverter, corrector) = (read(inverter.path()), read(corrector.path()));
    assert_eq!((inverter.config.max_seq_length, corrector.config.max_seq_length), (12, 32));
    assert_eq!(
        (inverter.config.num_repeat_tokens, inverter.config.model_name_or_path.as_str()),
        (2, "t5-base")
    );
    assert_eq!(inverter.tokenizer.encode("a a a a a a a a", true).unwrap().len(), 9);
    let attack = Vec2Text::from_checkpoints(&inverter, Some(&corrector)).unwrap();
    assert_eq!(attack.dimension(), 4);
}

#[test]
fn an_embedders_weights_are_not_read() {
    let place = folder("inverter");
    let checkpoint = read(place.path());
    assert!(
        checkpoint
            .tensors
            .keys()
            .all(|name| !name.starts_with("embedder.") && !name.contains("embed_tokens"))
    );
    // a head that shares its storage is no head of its own
    assert!(!checkpoint.tensors.contains_key("encoder_decoder.lm_head.weight"));
}

#[test]
fn damaged_pickles_are_refused() {
    let place = folder("inverter");
    let path = place.path().join("pytorch_model.bin");
    let whole = fs::read(&path).unwrap();
    for length in [0, 1, 100, whole.len() / 2, whole.len() - 30] {
        fs::write(&path, &whole[..length]).unwrap();
        refused(place.path(), &["pytorch_model.bin", "damaged"]);
    }
    for (file, part) in [("list.bin", "state dict"), ("nan.bin", "not finite")] {
        fs::copy(data().join(file), &path).unwrap();
        refused(place.path(), &["pytorch_model.bin", part]);
    }
}

#[test]
fn damaged_shards_are_refused() {
    let place = folder("sharded");
    let second = place.path().join("pytorch_model-00002-of-00002.bin");
    let whole = fs::read(&second).unwrap();
    fs::write(&second, &whole[..whole.len() / 3]).unwrap();
    refused(place.path(), &["00002-of-00002.bin", "damaged"]);
    fs::remove_file(&second).unwrap();
    refused(place.path(), &["00002-of-00002.bin", "there is no such file"]);
    assert!(!Weights::exist(place.path()));

    let place = rewritten(DType::F32, |_| {});
    in_two(place.path());
    let index = place.path().join("model.safetensors.index.json");
    let mut map: Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    map["weight_map"]["encoder_decoder.more.weight"] = json!("model-0.safetensors");
    fs::write(&index, map.to_string()).unwrap();
    refused(place.path(), &["index.json", "encoder_decoder.more.weight", "model-0.safetensors"]);
    map["weight_map"]["encoder_decoder.more.weight"] = json!("../model-0.safetensors");
    fs::write(&index, map.to_string()).unwrap();
    refused(place.path(), &["index.json", "another folder"]);
    fs::write(&index, "{}").unwrap();
    refused(place.path(), &["index.json", "weight_map"]);
}

/// Each has one tensor with a wrong shape.
#[test]
fn weights_that_do_not_fit_each_other_are_refused() {
    let decoder = "encoder_decoder.decoder.block.0.layer";
    for (name, shape) in [
        ("encoder_decoder.lm_head".to_owned(), (20, 16)),
        ("encoder_decoder.lm_head".to_owned(), (0, 8)),
        (format!("{decoder}.0.SelfAttention.q"), (8, 16)),
        (format!("{decoder}.0.SelfAttention.k"), (8, 16)),
        (format!("{decoder}.1.EncDecAttention.v"), (0, 8)),
        (format!("{decoder}.0.SelfAttention.relative_attention_bias"), (0, 2)),
        (format!("{decoder}.2.DenseReluDense.wi"), (12, 4)),
        (format!("{decoder}.2.DenseReluDense.wo"), (4, 12)),
    ] {
        let place = rewritten(DType::F32, |all| {
            let tensor = Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
            all.insert(format!("{name}.weight"), tensor);
        });
        let loaded = Checkpoint::read(place.path(), &Device::Cpu).and_then(|it| it.model(Inverter::load));
        let Err(error) = loaded else { panic!("{name} {shape:?}") };
        assert!(error.to_string().contains("model.safetensors"), "{name} {shape:?}: {error}");
    }
}

#[test]
fn contradictions_are_refused() {
    let place = folder("inverter");
    let path = place.path().join("config.json");
    let config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for (name, value, part) in [
        ("num_repeat_tokens", json!(16), "num_repeat_tokens is 16, and it is 2"),
        ("d_model", json!(512), "d_model is 512"),
        ("num_layers", json!(2), "num_layers is 2"),
        ("decoder_start_token_id", json!(1), "decoder_start_token_id"),
        ("feed_forward_proj", json!("gated-gelu"), "another feed-forward layer"),
        ("feed_forward_proj", json!("gated-silu"), "cannot be run"),
        ("max_seq_length", json!(0), "max_seq_length is 0"),
        ("max_seq_length", json!(1u64 << 40), "max_seq_length is"),
        ("max_seq_length", json!("long"), "config.json"),
    ] {
        let mut config = config.clone();
        config[name] = value;
        fs::write(&path, config.to_string()).unwrap();
        refused(place.path(), &[part]);
    }
    fs::write(&path, config.to_string()).unwrap();
    read(place.path());

    let own_head = |all: &mut HashMap<String, Tensor>| {
        all.insert(
            "encoder_decoder.lm_head.weight".into(),
            Tensor::ones((20, 8), DType::F32, &Device::Cpu).unwrap(),
        );
    };
    let place = rewritten(DType::F32, own_head);
    assert!(read(place.path()).tensors.contains_key("encoder_decoder.lm_head.weight"));
    let mut tied = config;
    tied["tie_word_embeddings"] = json!(true);
    fs::write(place.path().join("config.json"), tied.to_string()).unwrap();
    refused(place.path(), &["model.safetensors", "a head of its own"]);
}

#[test]
fn tokenizers_that_do_not_fit_are_refused() {
    let place = folder("inverter");
    let path = place.path().join("tokenizer.json");
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, whole.replace("</s>", "<end>")).unwrap();
    refused(place.path(), &["tokenizer.json", "token 1 is not </s>"]);
    fs::write(&path, &whole[..200]).unwrap();
    refused(place.path(), &["tokenizer.json", "damaged"]);
    fs::remove_file(&path).unwrap();
    // a preset's name is none that could be fetched
    let config = fs::read_to_string(place.path().join("config.json")).unwrap();
    fs::write(place.path().join("config.json"), config.replace("t5-base", "base")).unwrap();
    fs::write(place.path().join("spiece.model"), "").unwrap();
    refused(place.path(), &["tokenizer.json", "there is no such file", "spiece.model", "(base)"]);
    // the language model's own folder
    let t5 = tempfile::tempdir().unwrap();
    fs::write(t5.path().join("tokenizer.json"), &whole).unwrap();
    let config = config.replace("t5-base", &t5.path().display().to_string());
    fs::write(place.path().join("config.json"), config).unwrap();
    read(place.path());
}

#[test]
fn a_language_model_alone_is_no_attack() {
    let place = rewritten(DType::F32, |all| {
        *all = std::mem::take(all)
            .into_iter()
            .filter_map(|(name, tensor)| Some((name.strip_prefix("encoder_decoder.")?.to_owned(), tensor)))
            .collect();
    });
    refused(place.path(), &["language model alone", "--init"]);
    let place = rewritten(DType::F32, |all| all.retain(|name, _| name.starts_with("embedding")));
    refused(place.path(), &["no token embeddings"]);
}

/// Vectors may be those of small embedders or of the largest embedders behind an address.
#[test]
fn models_take_vectors_of_384_to_3072_dimensions() {
    use crate::vec2text::config::Preset;
    use crate::vec2text::train::initial;

    let preset = Preset { width: 16, feed_forward: 24, heads: 2, vocabulary: 60, ..Preset::TINY };
    for dim in [384, 768, 1024, 1536, 3072] {
        let inverter = initial::inverter(&preset, 60, dim, 1).unwrap().into_iter().collect();
        let corrector = initial::corrector(&inverter).unwrap().into_iter().collect();
        let place = tempfile::tempdir().unwrap();
        for (part, tensors) in [("inverter", &inverter), ("corrector", &corrector)] {
            let dir = place.path().join(part);
            fs::create_dir(&dir).unwrap();
            for file in ["config.json", "tokenizer.json"] {
                let from = if file == "config.json" { data().join("inverter") } else { data() };
                fs::copy(from.join(file), dir.join(file)).unwrap();
            }
            let mut config: Value =
                serde_json::from_slice(&fs::read(dir.join("config.json")).unwrap()).unwrap();
            config = json!({ "max_seq_length": config["max_seq_length"], "num_repeat_tokens": 8 });
            fs::write(dir.join("config.json"), config.to_string()).unwrap();
            save(&dir, "model.safetensors", tensors, DType::F16);
        }
        assert_eq!(Vec2Text::load(place.path()).unwrap().dimension(), dim);
    }
}
