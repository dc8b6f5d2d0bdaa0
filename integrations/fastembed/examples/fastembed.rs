//! Protects the vectors of a model: `cargo run --example fastembed -- MODEL.onnx FOLDER`
//!
//! The folder holds the tokenizer's files. `ORT_DYLIB_PATH` names the shared library of ONNX Runtime.

use std::path::PathBuf;

use embosk::embedder::{Described, Identity};
use embosk::{BoxError, Key, Protected, Rotation};
use embosk_fastembed::FastEmbed;
use fastembed::{InitOptionsUserDefined, Pooling, TextEmbedding, TokenizerFiles, UserDefinedEmbeddingModel};

fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(model), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("name an ONNX file and the folder of its tokenizer".into());
    };
    let file = |name: &str| std::fs::read(folder.join(name));
    let tokenizer = TokenizerFiles {
        tokenizer_file: file("tokenizer.json")?,
        config_file: file("config.json")?,
        special_tokens_map_file: file("special_tokens_map.json")?,
        tokenizer_config_file: file("tokenizer_config.json")?,
    };
    let name = model.display().to_string();
    let model = UserDefinedEmbeddingModel::new(std::fs::read(&model)?, tokenizer).with_pooling(Pooling::Mean);
    let model = TextEmbedding::try_new_from_user_defined(model, InitOptionsUserDefined::new())?;
    let embedder = Described::new(FastEmbed::new(model)).identity(Identity::new("example", name));

    let key = Key::generate()?;
    // the rotation takes the dimension of the first vectors
    let protected = Protected::new(embedder).with(Rotation::deferred(&key));
    let texts = ["the rent is due in May", "roses need water", "a table for four"];
    let documents = protected.embed_documents(&texts)?;
    let query = protected.embed_queries(&["when is the rent due?"])?;
    let similarities = documents.dot(&query.row(0));
    println!("{}\nsimilarity of the query to each document: {similarities:.2}", protected.fingerprint());
    assert!(similarities[0] > similarities[1] && similarities[0] > similarities[2]);
    Ok(())
}
