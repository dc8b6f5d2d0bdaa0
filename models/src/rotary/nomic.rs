//! NomicBERT, as Hugging Face's `NomicBertModel` runs it.
//!
//! It reads both forms of its files: that of Hugging Face's class, and that of the code that came with the first
//! models.

use candle_core::Result;
use candle_nn::VarBuilder;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value, json};

use super::RotaryEncoder;
use super::attention::{Heads, Sight};
use super::config::{self, Config};
use super::layer::{Activation, Attention, Feed, Layer, Linear, Norm};
use super::turns::Turns;

/// The fields that change the states, with the defaults of Hugging Face's `NomicBertConfig`.
#[derive(Debug, Deserialize)]
#[serde(default, remote = "Self")]
pub(super) struct NomicConfig {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: String,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    layer_norm_eps: f64,
    head_dim: Option<usize>,
    rope_theta: Option<f64>,
    rope_parameters: Option<Map<String, Value>>,
    rope_scaling: Option<Map<String, Value>>,
    partial_rotary_factor: Option<f64>,
    quantization_config: Option<Value>,
}

impl Default for NomicConfig {
    fn default() -> Self {
        Self {
            vocab_size: 30528,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: "silu".into(),
            max_position_embeddings: 2048,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            head_dim: None,
            rope_theta: None,
            rope_parameters: None,
            rope_scaling: None,
            partial_rotary_factor: None,
            quantization_config: None,
        }
    }
}

/// The base of the rotations for models that name none.
const THETA: f64 = 1000.0;
/// The first models' names for fields.
const OLDER: [(&str, &str); 6] = [
    ("n_embd", "hidden_size"),
    ("n_layer", "num_hidden_layers"),
    ("n_head", "num_attention_heads"),
    ("n_inner", "intermediate_size"),
    ("layer_norm_epsilon", "layer_norm_eps"),
    ("rotary_emb_base", "rope_theta"),
];

/// Fields of the first models of which only one value can be run, with that code's defaults.
fn older_and_fixed() -> [(&'static str, Value, Value); 12] {
    [
        ("activation_function", json!("swiglu"), json!("gelu")),
        ("rotary_emb_fraction", json!(1.0), json!(0.0)),
        ("prenorm", json!(false), json!(false)),
        ("parallel_block", json!(false), json!(false)),
        ("use_rms_norm", json!(false), json!(false)),
        ("causal", json!(false), json!(false)),
        ("rotary_emb_interleaved", json!(false), json!(false)),
        ("rotary_emb_scale_base", json!(null), json!(null)),
        ("rotary_scaling_factor", json!(null), json!(null)),
        ("qkv_proj_bias", json!(false), json!(true)),
        ("mlp_fc1_bias", json!(false), json!(true)),
        ("mlp_fc2_bias", json!(false), json!(true)),
    ]
}

impl<'de> Deserialize<'de> for NomicConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let mut fields = Map::deserialize(deserializer)?;
        if fields.contains_key("n_embd") && !fields.contains_key("hidden_size") {
            renamed(&mut fields).map_err(de::Error::custom)?;
        }
        Self::deserialize(Value::Object(fields)).map_err(de::Error::custom)
    }
}

/// Gives the fields of the first models the names that they have in Hugging Face's class.
fn renamed(fields: &mut Map<String, Value>) -> std::result::Result<(), String> {
    for (name, runs, usual) in older_and_fixed() {
        let value = fields.get(name).unwrap_or(&usual);
        let same = *value == runs || value.as_f64().is_some_and(|value| Some(value) == runs.as_f64());
        if !same {
            return Err(format!("{name}: it is {value}; only {runs} can be run"));
        }
    }
    for (older, name) in OLDER {
        match fields.remove(older).filter(|value| !value.is_null()) {
            Some(value) => drop(fields.insert(name.into(), value)),
            None if older == "n_inner" => return Err("n_inner: it is missing".into()),
            None => {}
        }
    }
    Ok(())
}

impl NomicConfig {
    fn head_width(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    fn theta(&self) -> std::result::Result<f64, String> {
        let parameters = self.rope_scaling.as_ref().filter(|scaling| !scaling.is_empty());
        config::theta(parameters.or(self.rope_parameters.as_ref()), self.rope_theta.unwrap_or(THETA))
    }
}

impl Config for NomicConfig {
    fn refused(&self) -> Option<String> {
        config::divided("num_attention_heads", 0, self.num_attention_heads)
            .or_else(|| config::divided("head_dim", self.head_width(), 2))
            .or_else(|| config::activation("hidden_act", &self.hidden_act))
            .or_else(|| self.theta().err())
            .or_else(|| config::whole("partial_rotary_factor", self.partial_rotary_factor))
            .or_else(|| config::quantized(self.quantization_config.as_ref()))
    }
}

pub(super) fn load(vb: &VarBuilder<'_>, config: &NomicConfig) -> Result<RotaryEncoder> {
    let words = "embeddings.word_embeddings.weight";
    let prefixes = ["", "nomic_bert", "bert"];
    let under = |prefix: &&str| if prefix.is_empty() { vb.clone() } else { vb.pp(*prefix) };
    let vb = prefixes.iter().map(under).find(|vb| vb.contains_tensor(words));
    let Some(vb) = vb else { candle_core::bail!("there is no tensor {words}") };
    let width = config.hidden_size;
    let norm = either(&vb, "embeddings.LayerNorm", "emb_ln");
    let kinds = (config.type_vocab_size, width);
    Ok(RotaryEncoder {
        words: vb.get((config.vocab_size, width), words)?,
        kind: Some(vb.get(kinds, "embeddings.token_type_embeddings.weight")?.get(0)?),
        first_norm: Some(Norm::layer(&norm, width, config.layer_norm_eps, true)?),
        layers: (0..config.num_hidden_layers)
            .map(|number| layer(&vb, config, number))
            .collect::<Result<_>>()?,
        last_norm: None,
        usual: config.max_position_embeddings,
    })
}

/// What is under a name, or otherwise under the first models' name for it.
fn either<'a>(vb: &VarBuilder<'a>, name: &str, older: &str) -> VarBuilder<'a> {
    let found = vb.pp(name);
    if found.contains_tensor("weight") { found } else { vb.pp(older) }
}

fn layer(vb: &VarBuilder<'_>, config: &NomicConfig, number: usize) -> Result<Layer> {
    let newer = vb.pp(format!("layers.{number}"));
    let is_newer = newer.contains_tensor("mlp.down_proj.weight") || newer.contains_tensor("mlp.fc2.weight");
    let vb = if is_newer { newer } else { vb.pp(format!("encoder.layers.{number}")) };
    let (width, within) = (config.hidden_size, config.intermediate_size);
    let norm =
        |name: &str, older: &str| Norm::layer(&either(&vb, name, older), width, config.layer_norm_eps, true);
    let linear = |name: &str, older: &str, from, to| {
        Linear::load(&either(&vb.pp("mlp"), name, older), from, to, false)
    };
    let Some(activation) = Activation::of(&config.hidden_act) else {
        candle_core::bail!("the activation is not known")
    };
    Ok(Layer {
        attention_norm: Some(norm("post_attention_layernorm", "norm1")?),
        attention: attention(&vb, config)?,
        feed_norm: norm("post_mlp_layernorm", "norm2")?,
        feed: Feed {
            gate: linear("gate_proj", "fc12", width, within)?,
            up: linear("up_proj", "fc11", width, within)?,
            down: linear("down_proj", "fc2", within, width)?,
            activation,
        },
        before: false,
    })
}

fn attention(vb: &VarBuilder<'_>, config: &NomicConfig) -> Result<Attention> {
    let (width, heads, own) = (config.hidden_size, config.num_attention_heads, config.head_width());
    let within = heads * own;
    let linear = |name: &str, from, to| Linear::load(&vb.pp("self_attn").pp(name), from, to, false);
    let together = vb.pp("attn.Wqkv");
    Ok(Attention {
        read: if together.contains_tensor("weight") {
            Linear::load_parts(&together, width, within, false)?
        } else {
            [
                linear("q_proj", width, within)?,
                linear("k_proj", width, within)?,
                linear("v_proj", width, within)?,
            ]
        },
        out: Linear::load(&either(vb, "self_attn.o_proj", "attn.out_proj"), within, width, false)?,
        heads: Heads { queries: heads, keys: heads },
        head_norms: None,
        turns: Turns::new(config.theta().map_err(candle_core::Error::Msg)?, own),
        sight: Sight::ALL,
        scale: (own as f32).sqrt().recip(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The fields of `nomic-embed-text-v1.5`.
    fn older() -> Value {
        json!({
            "model_type": "nomic_bert", "n_embd": 24, "n_layer": 3, "n_head": 4, "n_inner": 40, "vocab_size": 90,
            "activation_function": "swiglu", "rotary_emb_fraction": 1.0, "rotary_emb_base": 900, "qkv_proj_bias": false,
            "mlp_fc1_bias": false, "mlp_fc2_bias": false, "layer_norm_epsilon": 1e-5, "prenorm": false, "causal": false,
            "rotary_scaling_factor": null, "n_positions": 8192
        })
    }

    #[test]
    fn both_forms_say_the_same() {
        let newer = json!({
            "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 40,
            "vocab_size": 90, "rope_parameters": { "rope_theta": 900, "rope_type": "default" }, "layer_norm_eps": 1e-5
        });
        let [mut newer, mut older] =
            [newer, older()].map(|value| serde_json::from_value::<NomicConfig>(value).unwrap());
        assert_eq!((newer.theta(), newer.refused()), (older.theta(), older.refused()));
        (newer.rope_parameters, older.rope_theta) = (None, None);
        assert_eq!(format!("{newer:?}"), format!("{older:?}"));
    }

    #[test]
    fn what_cannot_be_run_is_refused_by_name() {
        for (name, value) in [
            ("prenorm", json!(true)),
            ("rotary_emb_fraction", json!(0.5)),
            ("rotary_scaling_factor", json!(2)),
            ("qkv_proj_bias", json!(true)),
            ("activation_function", json!("gelu")),
            ("n_inner", json!(null)),
        ] {
            let mut config = older();
            config[name] = value;
            let message = serde_json::from_value::<NomicConfig>(config).unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
        for (config, name) in [
            (json!({ "hidden_act": "tanh" }), "hidden_act"),
            (json!({ "rope_parameters": { "rope_type": "yarn" } }), "rope_type"),
            (json!({ "partial_rotary_factor": 0.5 }), "partial_rotary_factor"),
            (json!({ "num_attention_heads": 0 }), "num_attention_heads"),
        ] {
            let config: NomicConfig = serde_json::from_value(config).unwrap();
            assert!(config.refused().is_some_and(|message| message.starts_with(name)), "{name}");
        }
    }
}
