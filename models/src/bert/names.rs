//! Hugging Face's names for the tensors of each model built like BERT.

use super::config::Family;

/// The names of the tensors.
pub(super) struct Names {
    /// The prefix of all names if a model was saved with a head.
    pub(super) prefix: &'static str,
    /// What comes before a layer's number.
    pub(super) layer: &'static str,
    pub(super) query: &'static str,
    pub(super) key: &'static str,
    pub(super) value: &'static str,
    pub(super) out: &'static str,
    pub(super) attention_norm: &'static str,
    pub(super) inner: &'static str,
    pub(super) outer: &'static str,
    pub(super) norm: &'static str,
}

const BERT: Names = Names {
    prefix: "bert",
    layer: "encoder.layer",
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    out: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    inner: "intermediate.dense",
    outer: "output.dense",
    norm: "output.LayerNorm",
};

const ROBERTA: Names = Names { prefix: "roberta", ..BERT };

const MPNET: Names = Names {
    prefix: "mpnet",
    query: "attention.attn.q",
    key: "attention.attn.k",
    value: "attention.attn.v",
    out: "attention.attn.o",
    attention_norm: "attention.LayerNorm",
    ..BERT
};

const DISTILBERT: Names = Names {
    prefix: "distilbert",
    layer: "transformer.layer",
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    out: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    inner: "ffn.lin1",
    outer: "ffn.lin2",
    norm: "output_layer_norm",
};

impl Names {
    pub(super) fn of(family: Family) -> &'static Self {
        match family {
            Family::Bert => &BERT,
            Family::Roberta => &ROBERTA,
            Family::Mpnet => &MPNET,
            Family::DistilBert => &DISTILBERT,
        }
    }
}
