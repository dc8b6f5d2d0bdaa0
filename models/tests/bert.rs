//! Our BERT against candle-transformers'.
#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::BertModel;
use embosk_models::Error;
use embosk_models::bert::BertEncoder;

fn bits(states: &Tensor) -> Vec<u32> {
    states.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

/// Few and many values, so that candle works alone and with all its threads; with and without padding.
#[test]
fn states_are_candles_to_the_bit() {
    let config = |value| serde_json::from_value(value).unwrap();
    let vb = VarBuilder::from_tensors(common::weights(), DType::F32, &Device::Cpu);
    let theirs = BertModel::load(vb.clone(), &serde_json::from_value(common::config()).unwrap()).unwrap();
    for activation in ["gelu", "relu"] {
        let mut of = common::config();
        of["hidden_act"] = activation.into();
        let theirs = BertModel::load(vb.clone(), &serde_json::from_value(of.clone()).unwrap()).unwrap();
        let ours = BertEncoder::from_tensors(&vb, config(of)).unwrap();
        for (batch, length) in [(1, 1), (3, 17), (32, 70), (9, common::LONGEST)] {
            let id = |at: usize| (at * 7919 % common::WORDS) as u32;
            let ids = Tensor::from_iter((0..batch * length).map(id), &Device::Cpu).unwrap();
            let ids = ids.reshape((batch, length)).unwrap();
            let kinds = ids.zeros_like().unwrap();
            let expected = bits(&theirs.forward(&ids, &kinds, None).unwrap());
            assert!(bits(&ours.states(&ids, None).unwrap()) == expected, "{activation} {batch} {length}");
            let is_token = |at: usize| u32::from(at % length < length - at / length % length);
            let mask = Tensor::from_iter((0..batch * length).map(is_token), &Device::Cpu).unwrap();
            let mask = mask.reshape((batch, length)).unwrap();
            let expected = bits(&theirs.forward(&ids, &kinds, Some(&mask)).unwrap());
            let found = bits(&ours.states(&ids, Some(&mask)).unwrap());
            assert!(found == expected, "{activation} {batch} {length}, padded");
        }
    }
    // under the prefix that whole models have
    let prefixed = common::weights().into_iter().map(|(name, tensor)| (format!("bert.{name}"), tensor));
    let prefixed = VarBuilder::from_tensors(prefixed.collect(), DType::F32, &Device::Cpu);
    let ours = BertEncoder::from_tensors(&prefixed, config(common::config())).unwrap();
    let ids = Tensor::new(&[[5u32, 9, 2]], &Device::Cpu).unwrap();
    let expected = theirs.forward(&ids, &ids.zeros_like().unwrap(), None).unwrap();
    assert!(bits(&ours.states(&ids, None).unwrap()) == bits(&expected));
}

#[test]
fn what_is_not_a_bert_is_refused() {
    let place = tempfile::tempdir().unwrap();
    common::write(place.path());
    let refused = |name: &str, value: serde_json::Value| {
        let mut config = common::config();
        config[name] = value;
        std::fs::write(place.path().join("config.json"), config.to_string()).unwrap();
        let error = BertEncoder::load_on(&place.path().into(), &Device::Cpu).unwrap_err();
        assert!(matches!(error, Error::File { .. }), "{name}");
        error.to_string()
    };
    assert!(refused("num_attention_heads", 7.into()).contains("not a multiple"));
    assert!(refused("num_attention_heads", 0.into()).contains("not a multiple"));
    assert!(refused("hidden_act", "swish".into()).contains("config.json"));
    assert!(refused("position_embedding_type", "relative_key".into()).contains("config.json"));
    assert!(refused("num_hidden_layers", 3.into()).contains("model.safetensors"));
    assert!(refused("intermediate_size", 99.into()).contains("model.safetensors"));
}
