//! ModernBERT, as Hugging Face's `ModernBertModel` runs it.

use candle_core::Result;
use candle_nn::VarBuilder;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::RotaryEncoder;
use super::attention::{Heads, Sight};
use super::config::{self, Config};
use super::layer::{Activation, Attention, Feed, Layer, Linear, Norm};
use super::turns::Turns;

/// The fields that change the states, with the defaults of Hugging Face's `ModernBertConfig`.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct ModernBertConfig {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    hidden_activation: String,
    max_position_embeddings: usize,
    norm_eps: f64,
    norm_bias: bool,
    attention_bias: bool,
    mlp_bias: bool,
    /// In every layer whose number is a multiple of this, beginning with 0, tokens see all others.
    global_attn_every_n_layers: usize,
    layer_types: Option<Vec<String>>,
    /// The width of the window that a token sees.
    local_attention: usize,
    /// The field of older files: half of that width.
    sliding_window: Option<usize>,
    global_rope_theta: Option<f64>,
    local_rope_theta: Option<f64>,
    rope_parameters: Option<Map<String, Value>>,
    rope_scaling: Option<Map<String, Value>>,
    head_dim: Option<usize>,
    quantization_config: Option<Value>,
}

impl Default for ModernBertConfig {
    fn default() -> Self {
        Self {
            vocab_size: 50368,
            hidden_size: 768,
            intermediate_size: 1152,
            num_hidden_layers: 22,
            num_attention_heads: 12,
            hidden_activation: "gelu".into(),
            max_position_embeddings: 8192,
            norm_eps: 1e-5,
            norm_bias: false,
            attention_bias: false,
            mlp_bias: false,
            global_attn_every_n_layers: 3,
            layer_types: None,
            local_attention: 128,
            sliding_window: None,
            global_rope_theta: None,
            local_rope_theta: None,
            rope_parameters: None,
            rope_scaling: None,
            head_dim: None,
            quantization_config: None,
        }
    }
}

/// Bases of the rotations for models that name none.
const GLOBAL_THETA: f64 = 160_000.0;
const LOCAL_THETA: f64 = 10_000.0;

impl ModernBertConfig {
    fn head_width(&self) -> usize {
        self.hidden_size / self.num_attention_heads.max(1)
    }

    /// Whether the tokens of a layer see only those nearby.
    fn is_local(&self, layer: usize) -> std::result::Result<bool, String> {
        let Some(types) = &self.layer_types else {
            return Ok(!layer.is_multiple_of(self.global_attn_every_n_layers.max(1)));
        };
        match types.get(layer).map(String::as_str) {
            Some("full_attention") => Ok(false),
            Some("sliding_attention") => Ok(true),
            other => Err(format!("layer_types: layer {layer} is {}", other.unwrap_or("missing"))),
        }
    }

    fn sight(&self, is_local: bool) -> Sight {
        let window = self.sliding_window.unwrap_or(self.local_attention / 2);
        if is_local { Sight { before: window, after: window } } else { Sight::ALL }
    }

    fn theta(&self, is_local: bool) -> std::result::Result<f64, String> {
        let (name, theta) = if is_local {
            ("sliding_attention", self.local_rope_theta.unwrap_or(LOCAL_THETA))
        } else {
            ("full_attention", self.global_rope_theta.unwrap_or(GLOBAL_THETA))
        };
        let own = self.rope_parameters.as_ref().and_then(|parameters| parameters.get(name)?.as_object());
        config::theta(own, theta)
    }
}

impl Config for ModernBertConfig {
    fn refused(&self) -> Option<String> {
        let mut layers = (0..self.num_hidden_layers).map(|layer| self.is_local(layer));
        config::divided("hidden_size", self.hidden_size, self.num_attention_heads)
            .or_else(|| config::divided("hidden_size / num_attention_heads", self.head_width(), 2))
            .or_else(|| config::divided("global_attn_every_n_layers", 0, self.global_attn_every_n_layers))
            .or_else(|| config::activation("hidden_activation", &self.hidden_activation))
            .or_else(|| config::theta(self.rope_scaling.as_ref(), 1.0).err())
            .or_else(|| [true, false].into_iter().find_map(|is_local| self.theta(is_local).err()))
            .or_else(|| layers.find_map(std::result::Result::err))
            .or_else(|| {
                let own = self.head_dim.filter(|own| *own != self.head_width())?;
                Some(format!("head_dim: it is {own}; only hidden_size / num_attention_heads can be run"))
            })
            .or_else(|| config::quantized(self.quantization_config.as_ref()))
    }
}

pub(super) fn load(vb: &VarBuilder<'_>, config: &ModernBertConfig) -> Result<RotaryEncoder> {
    let words = "embeddings.tok_embeddings.weight";
    let vb = if vb.contains_tensor(words) { vb.clone() } else { vb.pp("model") };
    let width = config.hidden_size;
    let norm = |name: &str| Norm::layer(&vb.pp(name), width, config.norm_eps, config.norm_bias);
    Ok(RotaryEncoder {
        words: vb.get((config.vocab_size, width), words)?,
        kind: None,
        first_norm: Some(norm("embeddings.norm")?),
        layers: (0..config.num_hidden_layers)
            .map(|number| layer(&vb, config, number))
            .collect::<Result<_>>()?,
        last_norm: Some(norm("final_norm")?),
        usual: config.max_position_embeddings,
    })
}

fn layer(vb: &VarBuilder<'_>, config: &ModernBertConfig, number: usize) -> Result<Layer> {
    let vb = vb.pp(format!("layers.{number}"));
    let (width, within) = (config.hidden_size, config.intermediate_size);
    let norm = |name: &str| Norm::layer(&vb.pp(name), width, config.norm_eps, config.norm_bias);
    let [gate, up] = Linear::load_parts(&vb.pp("mlp.Wi"), width, within, config.mlp_bias)?;
    let Some(activation) = Activation::of(&config.hidden_activation) else {
        candle_core::bail!("the activation is not known")
    };
    Ok(Layer {
        // the embeddings have been normed already
        attention_norm: (number > 0).then(|| norm("attn_norm")).transpose()?,
        attention: attention(&vb.pp("attn"), config, number)?,
        feed_norm: norm("mlp_norm")?,
        feed: Feed {
            gate,
            up,
            down: Linear::load(&vb.pp("mlp.Wo"), within, width, config.mlp_bias)?,
            activation,
        },
        before: true,
    })
}

fn attention(vb: &VarBuilder<'_>, config: &ModernBertConfig, number: usize) -> Result<Attention> {
    let (width, heads, own) = (config.hidden_size, config.num_attention_heads, config.head_width());
    let is_local = config.is_local(number).map_err(candle_core::Error::Msg)?;
    Ok(Attention {
        read: Linear::load_parts(&vb.pp("Wqkv"), width, width, config.attention_bias)?,
        out: Linear::load(&vb.pp("Wo"), width, width, config.attention_bias)?,
        heads: Heads { queries: heads, keys: heads },
        head_norms: None,
        turns: Turns::new(config.theta(is_local).map_err(candle_core::Error::Msg)?, own),
        sight: config.sight(is_local),
        scale: (own as f32).sqrt().recip(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(config: Value) -> ModernBertConfig {
        serde_json::from_value(config).unwrap()
    }

    #[test]
    fn layers_see_what_the_configuration_says() {
        let local = |config: Value| -> Vec<bool> {
            let config = read(config);
            (0..4).map(|layer| config.is_local(layer).unwrap()).collect()
        };
        assert_eq!(local(json!({})), [false, true, true, false]);
        assert_eq!(local(json!({ "global_attn_every_n_layers": 2 })), [false, true, false, true]);
        let types = json!(["sliding_attention", "full_attention", "full_attention", "sliding_attention"]);
        assert_eq!(local(json!({ "layer_types": types })), [true, false, false, true]);
        let window = |config: Value| read(config).sight(true).after;
        assert_eq!([window(json!({ "local_attention": 9 })), window(json!({ "sliding_window": 9 }))], [4, 9]);
    }

    #[test]
    fn rotations_have_a_base_for_each_kind_of_layer() {
        for (config, global, local) in [
            (json!({}), 160_000.0, 10_000.0),
            (json!({ "global_rope_theta": 80_000, "local_rope_theta": 5 }), 80_000.0, 5.0),
            (
                json!({ "rope_parameters": { "full_attention": { "rope_theta": 3.0 } }, "local_rope_theta": 5 }),
                3.0,
                5.0,
            ),
        ] {
            let found = read(config);
            assert_eq!((found.theta(false), found.theta(true)), (Ok(global), Ok(local)));
        }
    }

    #[test]
    fn what_cannot_be_run_is_refused_by_name() {
        for (config, name) in [
            (json!({ "num_attention_heads": 7 }), "hidden_size"),
            (json!({ "hidden_activation": "tanh" }), "hidden_activation"),
            (json!({ "global_attn_every_n_layers": 0 }), "global_attn_every_n_layers"),
            (json!({ "layer_types": ["chunked_attention"] }), "layer_types"),
            (json!({ "rope_scaling": { "type": "linear", "factor": 2 } }), "rope_type"),
            (json!({ "rope_parameters": { "sliding_attention": { "rope_type": "dynamic" } } }), "rope_type"),
            (json!({ "head_dim": 32 }), "head_dim"),
            (json!({ "quantization_config": {} }), "quantization_config"),
        ] {
            let message = read(config).refused().unwrap();
            assert!(message.starts_with(name), "{message}");
        }
        assert_eq!(ModernBertConfig::default().refused(), None);
    }
}
