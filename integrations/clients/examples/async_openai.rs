//! The crate async-openai behind embosk's defenses: `cargo run --example async_openai`
//!
//! The example asks a server of its own on this machine. Leave out `with_api_base` and `with_api_key` to ask OpenAI with
//! the key in `OPENAI_API_KEY`.

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use async_openai::types::embeddings::CreateEmbeddingRequestArgs;
use embosk::embedder::{Async, Described, Identity};
use embosk::{BoxError, Key, Protected, Rotation};
use embosk_clients::{DIM, serve, vector};

const MODEL: &str = "text-embedding-3-small";

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let base = format!("http://{}/v1", serve()?);
    let client = Client::with_config(OpenAIConfig::new().with_api_base(base).with_api_key("none"));
    let embed = move |texts: Vec<String>| {
        let client = client.clone();
        async move {
            let request = CreateEmbeddingRequestArgs::default().model(MODEL).input(texts).build()?;
            let mut data = client.embeddings().create(request).await?.data;
            data.sort_by_key(|item| item.index);
            Ok::<_, OpenAIError>(data.into_iter().map(|item| item.embedding).collect::<Vec<_>>())
        }
    };
    let embedder = Described::new(embed).identity(Identity::new(MODEL, format!("openai/{MODEL}")));

    let key = Key::generate()?;
    let protected = Protected::new(Async(embedder)).with(Rotation::new(&key, DIM)?);
    let texts = ["the rent is due in May", "roses need water", "a table for four"];
    let question = "when is the rent due?";
    let documents = protected.embed_documents(&texts).await?;
    let query = protected.embed_queries(&[question]).await?;

    // the vectors are others than the server's, and the search finds the same
    assert!(documents.row(0).iter().zip(vector(texts[0])).any(|(a, b)| (a - b).abs() > 0.01));
    let similarities = documents.dot(&query.row(0));
    for (text, similarity) in texts.iter().zip(&similarities) {
        let clean: f32 = vector(text).iter().zip(vector(question)).map(|(a, b)| a * b).sum();
        assert!((similarity - clean).abs() < 1e-5, "{similarity} {clean}");
    }
    println!("similarity of the query to each protected document: {similarities:.2}");
    Ok(())
}
