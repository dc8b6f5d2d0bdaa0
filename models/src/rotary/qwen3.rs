//! Qwen3, as Hugging Face's `Qwen3Model` runs it, without a cache.

use candle_core::Result;
use candle_nn::VarBuilder;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::RotaryEncoder;
use super::attention::{Heads, Sight};
use super::config::{self, Config};
use super::layer::{Activation, Attention, Feed, Layer, Linear, Norm};
use super::turns::Turns;

/// The fields that change the states, with the defaults of Hugging Face's `Qwen3Config`.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Qwen3Config {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    hidden_act: String,
    max_position_embeddings: usize,
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_parameters: Option<Map<String, Value>>,
    rope_scaling: Option<Map<String, Value>>,
    partial_rotary_factor: Option<f64>,
    attention_bias: bool,
    use_sliding_window: bool,
    sliding_window: Option<usize>,
    max_window_layers: usize,
    layer_types: Option<Vec<String>>,
    /// True in a decoder. Embedders trained from one may say false: then tokens also see those after them.
    is_causal: Option<bool>,
    quantization_config: Option<Value>,
}

impl Default for Qwen3Config {
    fn default() -> Self {
        Self {
            vocab_size: 151_936,
            hidden_size: 4096,
            intermediate_size: 22016,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: Some(32),
            head_dim: Some(128),
            hidden_act: "silu".into(),
            max_position_embeddings: 32768,
            rms_norm_eps: 1e-6,
            rope_theta: None,
            rope_parameters: None,
            rope_scaling: None,
            partial_rotary_factor: None,
            attention_bias: false,
            use_sliding_window: false,
            sliding_window: Some(4096),
            max_window_layers: 28,
            layer_types: None,
            is_causal: None,
            quantization_config: None,
        }
    }
}

/// Hugging Face's base of rotations for models that name none.
const THETA: f64 = 10_000.0;

impl Qwen3Config {
    fn heads(&self) -> Heads {
        let queries = self.num_attention_heads;
        Heads { queries, keys: self.num_key_value_heads.unwrap_or(queries) }
    }

    fn head_width(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    fn theta(&self) -> std::result::Result<f64, String> {
        let parameters = self.rope_scaling.as_ref().filter(|scaling| !scaling.is_empty());
        config::theta(parameters.or(self.rope_parameters.as_ref()), self.rope_theta.unwrap_or(THETA))
    }

    /// What the tokens of a layer see.
    fn sight(&self, layer: usize) -> std::result::Result<Sight, String> {
        let window = self.sliding_window.filter(|_| self.use_sliding_window);
        let is_sliding = match &self.layer_types {
            None => window.is_some() && layer >= self.max_window_layers,
            Some(types) => match types.get(layer).map(String::as_str) {
                Some("full_attention") => false,
                Some("sliding_attention") => true,
                other => return Err(format!("layer_types: layer {layer} is {}", other.unwrap_or("missing"))),
            },
        };
        let causal = self.is_causal.unwrap_or(true);
        match (is_sliding, window, causal) {
            (false, _, true) => Ok(Sight { before: usize::MAX, after: 0 }),
            (false, _, false) => Ok(Sight::ALL),
            (true, Some(window), true) if window > 0 => Ok(Sight { before: window - 1, after: 0 }),
            (true, Some(_), false) => Err("is_causal: it is false, and a window cannot be run then".into()),
            (true, _, _) => Err("sliding_window: a layer has a window, and its length is missing".into()),
        }
    }
}

impl Config for Qwen3Config {
    fn refused(&self) -> Option<String> {
        let heads = self.heads();
        let mut layers = (0..self.num_hidden_layers).map(|layer| self.sight(layer));
        config::divided("num_attention_heads", heads.queries, heads.keys)
            .or_else(|| config::divided("head_dim", self.head_width(), 2))
            .or_else(|| config::activation("hidden_act", &self.hidden_act))
            .or_else(|| self.theta().err())
            .or_else(|| layers.find_map(std::result::Result::err))
            .or_else(|| config::whole("partial_rotary_factor", self.partial_rotary_factor))
            .or_else(|| config::quantized(self.quantization_config.as_ref()))
    }
}

pub(super) fn load(vb: &VarBuilder<'_>, config: &Qwen3Config) -> Result<RotaryEncoder> {
    let words = "embed_tokens.weight";
    let vb = if vb.contains_tensor(words) { vb.clone() } else { vb.pp("model") };
    let width = config.hidden_size;
    Ok(RotaryEncoder {
        words: vb.get((config.vocab_size, width), words)?,
        kind: None,
        first_norm: None,
        layers: (0..config.num_hidden_layers)
            .map(|number| layer(&vb, config, number))
            .collect::<Result<_>>()?,
        last_norm: Some(Norm::rms(&vb.pp("norm"), width, config.rms_norm_eps)?),
        usual: config.max_position_embeddings,
    })
}

fn layer(vb: &VarBuilder<'_>, config: &Qwen3Config, number: usize) -> Result<Layer> {
    let vb = vb.pp(format!("layers.{number}"));
    let (width, within) = (config.hidden_size, config.intermediate_size);
    let norm = |name: &str| Norm::rms(&vb.pp(name), width, config.rms_norm_eps);
    let linear = |name: &str, from, to| Linear::load(&vb.pp("mlp").pp(name), from, to, false);
    let Some(activation) = Activation::of(&config.hidden_act) else {
        candle_core::bail!("the activation is not known")
    };
    Ok(Layer {
        attention_norm: Some(norm("input_layernorm")?),
        attention: attention(&vb.pp("self_attn"), config, number)?,
        feed_norm: norm("post_attention_layernorm")?,
        feed: Feed {
            gate: linear("gate_proj", width, within)?,
            up: linear("up_proj", width, within)?,
            down: linear("down_proj", within, width)?,
            activation,
        },
        before: true,
    })
}

fn attention(vb: &VarBuilder<'_>, config: &Qwen3Config, number: usize) -> Result<Attention> {
    let (width, heads, own) = (config.hidden_size, config.heads(), config.head_width());
    let linear = |name: &str, from, to| Linear::load(&vb.pp(name), from, to, config.attention_bias);
    let norm = |name: &str| Norm::rms(&vb.pp(name), own, config.rms_norm_eps);
    let settled = |message| candle_core::Error::Msg(message);
    Ok(Attention {
        read: [
            linear("q_proj", width, heads.queries * own)?,
            linear("k_proj", width, heads.keys * own)?,
            linear("v_proj", width, heads.keys * own)?,
        ],
        out: linear("o_proj", heads.queries * own, width)?,
        heads,
        head_norms: Some([norm("q_norm")?, norm("k_norm")?]),
        turns: Turns::new(config.theta().map_err(settled)?, own),
        sight: config.sight(number).map_err(settled)?,
        scale: (own as f32).sqrt().recip(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn layers_see_what_the_configuration_says() {
        let sights = |config: Value| -> Vec<(usize, usize)> {
            let config: Qwen3Config = serde_json::from_value(config).unwrap();
            (0..3).map(|layer| config.sight(layer).unwrap()).map(|of| (of.before, of.after)).collect()
        };
        let all = usize::MAX;
        assert_eq!(sights(json!({ "sliding_window": 5 })), [(all, 0), (all, 0), (all, 0)]);
        assert_eq!(
            sights(json!({ "sliding_window": 5, "use_sliding_window": true, "max_window_layers": 1 })),
            [(all, 0), (4, 0), (4, 0)]
        );
        assert_eq!(
            sights(json!({
                "sliding_window": 5, "use_sliding_window": true,
                "layer_types": ["sliding_attention", "full_attention", "full_attention"]
            })),
            [(4, 0), (all, 0), (all, 0)]
        );
        assert_eq!(sights(json!({ "is_causal": false })), [(all, all), (all, all), (all, all)]);
    }

    #[test]
    fn what_cannot_be_run_is_refused_by_name() {
        for (config, name) in [
            (json!({ "num_key_value_heads": 5 }), "num_attention_heads"),
            (json!({ "head_dim": 7 }), "head_dim"),
            (json!({ "hidden_act": "tanh" }), "hidden_act"),
            (json!({ "rope_scaling": { "rope_type": "yarn", "factor": 4.0 } }), "rope_type"),
            (json!({ "layer_types": ["full_attention"] }), "layer_types"),
            (json!({ "num_hidden_layers": 1, "layer_types": ["sliding_attention"] }), "sliding_window"),
            (json!({ "partial_rotary_factor": 0.5 }), "partial_rotary_factor"),
            (json!({ "quantization_config": {} }), "quantization_config"),
        ] {
            let config: Qwen3Config = serde_json::from_value(config).unwrap();
            let message = config.refused().unwrap();
            assert!(message.starts_with(name), "{message}");
        }
        assert_eq!(Qwen3Config::default().refused(), None);
    }
}
