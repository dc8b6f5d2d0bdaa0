//! Finds a T5's tensors in a file, and checks them against its configuration.
//!
//! A T5 may be a file's only model or a part of a larger one. In memory its tensors are under [`PREFIX`] either
//! way.

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{DType, Result, Tensor, bail};
use serde::Deserialize;

use crate::Error;
use crate::json;
use crate::location::Location;
use crate::stub;
use crate::weights::Weights;

/// The prefix of a T5's tensors in a larger model. A T5 alone has no prefix.
pub const PREFIX: &str = "encoder_decoder.";
/// What a folder without a configuration lacks.
const CONFIG: &str = "a model's folder has config.json, weights (model.safetensors or pytorch_model.bin, or their \
                      shards) and tokenizer.json";
/// The prefix of an embedder in the same file.
const EMBEDDER: &str = "embedder.";
const SHARED: &str = "shared.weight";
const HEAD: &str = "lm_head.weight";
/// Copies of the token embedding, one of which may be the only one in a file without duplicates.
const COPIES: [&str; 3] = ["decoder.embed_tokens.weight", "encoder.embed_tokens.weight", HEAD];

/// The fields of a `config.json` that the tensors determine as well, or of which only one value can be run. A Hugging
/// Face T5 has most of them, a larger model's configuration only a few.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Claims {
    /// The language model that training began with.
    #[serde(rename = "_name_or_path")]
    pub name_or_path: Option<String>,
    vocab_size: Option<usize>,
    d_model: Option<usize>,
    d_ff: Option<usize>,
    num_heads: Option<usize>,
    num_layers: Option<usize>,
    num_decoder_layers: Option<usize>,
    relative_attention_num_buckets: Option<usize>,
    relative_attention_max_distance: Option<usize>,
    feed_forward_proj: Option<String>,
    tie_word_embeddings: Option<bool>,
    pad_token_id: Option<usize>,
    eos_token_id: Option<usize>,
    decoder_start_token_id: Option<usize>,
    layer_norm_epsilon: Option<f64>,
    d_kv: Option<usize>,
}

/// Reads the tensors of a T5's encoder alone, under their names in a larger model, and returns which file they are
/// from.
pub(super) fn encoder(dir: &Location) -> std::result::Result<(PathBuf, HashMap<String, Tensor>), Error> {
    let path = dir.join("config.json");
    let config = path.read().map_err(|error| Error::unreadable(path.path(), &error, CONFIG))?;
    let claims: Claims = json::read(&config).map_err(|error| stub::damaged(&path, error))?;
    // Hugging Face's default for a feed-forward layer that the file does not name
    let feed_forward_proj = claims.feed_forward_proj.or_else(|| Some("relu".into()));
    let claims = Claims { num_decoder_layers: None, tie_word_embeddings: None, feed_forward_proj, ..claims };
    let mut weights = Weights::find(dir)?;
    let file = weights.path().to_owned();
    let mut tensors = HashMap::new();
    for (stored, name) in wanted(&weights) {
        if ["shared.", "encoder."].iter().any(|part| name.starts_with(&format!("{PREFIX}{part}"))) {
            tensors.insert(name, weights.tensor(&stored)?);
        }
    }
    settle(&mut tensors, &claims)
        .map_err(|error| Error::file(&file, format!("not what it should be: {error}; get it anew")))?;
    Ok((file, tensors))
}

/// Lists the tensors to read, by the name that each has in the file and in memory. Those of an embedder in the
/// same file are left out.
pub fn wanted(weights: &Weights) -> Vec<(String, String)> {
    let alone = !weights.names().any(|name| name.starts_with(PREFIX));
    let own = |name: &str| if alone { name.to_owned() } else { format!("{PREFIX}{name}") };
    let ours = |name: &str| if alone { format!("{PREFIX}{name}") } else { name.to_owned() };
    let shared = own(SHARED);
    let copies = COPIES.map(own);
    let only_copy = if weights.has(&shared) { None } else { copies.iter().find(|copy| weights.has(copy)) };
    weights
        .names()
        .filter(|name| !name.starts_with(EMBEDDER))
        .filter(|name| {
            !alone
                || ["shared.", "encoder.", "decoder.", "lm_head."].iter().any(|part| name.starts_with(part))
        })
        .filter_map(|name| match copies.iter().position(|copy| copy == name) {
            _ if Some(name) == only_copy.map(String::as_str) => Some((name.to_owned(), ours(&shared))),
            // the head is read: it may be a copy, or the model's own
            Some(place) if COPIES[place] != HEAD => None,
            _ => Some((name.to_owned(), ours(name))),
        })
        .collect()
}

/// Drops a head that repeats the token embedding, and compares the tensors with what the configuration claims.
///
/// # Errors
/// If they contradict each other, or there is no T5 among the tensors.
#[allow(clippy::implicit_hasher, reason = "the map is the one that candle builds models from")]
pub fn settle(tensors: &mut HashMap<String, Tensor>, claims: &Claims) -> Result<()> {
    let (shared, head) = (format!("{PREFIX}{SHARED}"), format!("{PREFIX}{HEAD}"));
    if !tensors.contains_key(&shared) {
        bail!("there are no token embeddings ({shared}), so it is no T5")
    }
    let same = match (tensors.get(&shared), tensors.get(&head)) {
        (Some(shared), Some(head)) => equal(shared, head)?,
        _ => false,
    };
    match (claims.tie_word_embeddings, tensors.contains_key(&head)) {
        (Some(true), true) if !same => {
            bail!("config.json says that the head is the token embedding, and there is a head of its own")
        }
        (Some(false), false) => bail!("config.json says that there is a head of its own, and there is none"),
        // T5 scales the states before a head that it shares, so a copy must not pass for its own
        (Some(true) | None, true) if same => {
            tensors.remove(&head);
        }
        _ => {}
    }
    check(tensors, claims)
}

fn equal(a: &Tensor, b: &Tensor) -> Result<bool> {
    if a.dims() != b.dims() {
        return Ok(false);
    }
    Ok(a.ne(b)?.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()? == 0.0)
}

/// # Errors
/// If the configuration contradicts the tensors, or says something that cannot be run.
fn check(tensors: &HashMap<String, Tensor>, claims: &Claims) -> Result<()> {
    let dim = |name: &str, axis: usize| {
        tensors.get(&format!("{PREFIX}{name}")).and_then(|tensor| tensor.dims().get(axis).copied())
    };
    let layers = |side: &str| {
        let block = |index: &usize| {
            tensors.contains_key(&format!("{PREFIX}{side}.block.{index}.layer.0.SelfAttention.q.weight"))
        };
        Some((0..tensors.len()).take_while(block).count())
    };
    let first = "encoder.block.0.layer";
    let bias = format!("{first}.0.SelfAttention.relative_attention_bias.weight");
    let gated = tensors.contains_key(&format!("{PREFIX}{first}.1.DenseReluDense.wi_0.weight"));
    let queries = format!("{first}.0.SelfAttention.q.weight");
    let of_head = dim(&queries, 0).zip(dim(&bias, 1)).and_then(|(inner, heads)| inner.checked_div(heads));
    let inner = format!("{first}.1.DenseReluDense.{}.weight", if gated { "wi_0" } else { "wi" });
    let claimed = [
        ("vocab_size", claims.vocab_size, dim(SHARED, 0)),
        ("d_model", claims.d_model, dim(SHARED, 1)),
        ("d_ff", claims.d_ff, dim(&inner, 0)),
        ("num_heads", claims.num_heads, dim(&bias, 1)),
        ("relative_attention_num_buckets", claims.relative_attention_num_buckets, dim(&bias, 0)),
        ("d_kv", claims.d_kv, of_head),
        ("num_layers", claims.num_layers, layers("encoder")),
        ("num_decoder_layers", claims.num_decoder_layers, layers("decoder")),
        ("relative_attention_max_distance", claims.relative_attention_max_distance, Some(128)),
        ("pad_token_id", claims.pad_token_id, Some(0)),
        ("eos_token_id", claims.eos_token_id, Some(1)),
        ("decoder_start_token_id", claims.decoder_start_token_id, Some(0)),
    ];
    for (name, claimed, found) in claimed {
        if let (Some(claimed), Some(found)) = (claimed, found)
            && claimed != found
        {
            bail!("config.json says that {name} is {claimed}, and it is {found}")
        }
    }
    // written from 32 bits by some
    if let Some(epsilon) = claims.layer_norm_epsilon.filter(|epsilon| (epsilon * 1e6 - 1.0).abs() > 1e-6) {
        bail!("config.json says that layer_norm_epsilon is {epsilon}, and only 0.000001 can be run")
    }
    match (claims.feed_forward_proj.as_deref(), gated) {
        (None, _) | (Some("relu"), false) | (Some("gated-gelu"), true) => Ok(()),
        (Some("relu" | "gated-gelu"), _) => {
            bail!("config.json names another feed-forward layer than there is")
        }
        (Some(_), _) => {
            bail!("config.json names a feed-forward layer that cannot be run; relu and gated-gelu can")
        }
    }
}
