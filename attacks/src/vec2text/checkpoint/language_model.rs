//! Which tensors of a file are the model's, and whether they are what its configuration says.

use std::collections::HashMap;

use candle_core::{DType, Result, Tensor, bail};

use super::Weights;
use crate::vec2text::config::Claims;

/// What a model's language model is under. A T5 alone has no prefix.
pub(super) const PREFIX: &str = "encoder_decoder.";
/// What an embedder in the same file is under.
const EMBEDDER: &str = "embedder.";
const SHARED: &str = "shared.weight";
const HEAD: &str = "lm_head.weight";
/// Copies of the token embedding, one of which may be the only one in a file without duplicates.
const COPIES: [&str; 3] = ["decoder.embed_tokens.weight", "encoder.embed_tokens.weight", HEAD];

/// The tensors to read, by the name that each has in the file and in the model.
pub(super) fn wanted(weights: &Weights) -> Vec<(String, String)> {
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

/// Drops a head that is the token embedding again, and compares the tensors with what the
/// configuration claims.
pub(super) fn settle(tensors: &mut HashMap<String, Tensor>, claims: &Claims) -> Result<()> {
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
/// Where the configuration says something that the tensors are not, or that cannot be run.
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
    let inner = format!("{first}.1.DenseReluDense.{}.weight", if gated { "wi_0" } else { "wi" });
    let claimed = [
        ("vocab_size", claims.vocab_size, dim(SHARED, 0)),
        ("d_model", claims.d_model, dim(SHARED, 1)),
        ("d_ff", claims.d_ff, dim(&inner, 0)),
        ("num_heads", claims.num_heads, dim(&bias, 1)),
        ("relative_attention_num_buckets", claims.relative_attention_num_buckets, dim(&bias, 0)),
        ("num_layers", claims.num_layers, layers("encoder")),
        ("num_decoder_layers", claims.num_decoder_layers, layers("decoder")),
        ("relative_attention_max_distance", claims.relative_attention_max_distance, Some(128)),
        ("pad_token_id", claims.pad_token_id, Some(0)),
        ("eos_token_id", claims.eos_token_id, Some(1)),
        ("decoder_start_token_id", claims.decoder_start_token_id, Some(0)),
        ("num_repeat_tokens", claims.num_repeat_tokens, pseudo_tokens(tensors)),
    ];
    for (name, claimed, found) in claimed {
        if let (Some(claimed), Some(found)) = (claimed, found)
            && claimed != found
        {
            bail!("config.json says that {name} is {claimed}, and it is {found}")
        }
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

/// How many pieces of the model's width a vector becomes.
fn pseudo_tokens(tensors: &HashMap<String, Tensor>) -> Option<usize> {
    let width = tensors.get(&format!("{PREFIX}{SHARED}"))?.dims().get(1).copied()?;
    let names = ["embedding_transform.3.weight", "embedding_transform_1.3.weight"];
    let last = names.iter().find_map(|name| tensors.get(*name))?;
    last.dims().first()?.checked_div(width)
}
