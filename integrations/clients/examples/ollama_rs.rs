//! The crate ollama-rs behind embosk's defenses: `cargo run --example ollama_rs`
//!
//! The example asks a server of its own on this machine. `Ollama::default()` asks Ollama on its usual port.

use std::sync::Arc;

use embosk::embedder::{Async, ByRole, Described, Identity};
use embosk::{BoxError, Key, Protected, Role, Rotation};
use embosk_clients::{DIM, serve, vector};
use ollama_rs::Ollama;
use ollama_rs::error::OllamaError;
use ollama_rs::generation::embeddings::request::GenerateEmbeddingsRequest;

const MODEL: &str = "nomic-embed-text";

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let client = Arc::new(Ollama::try_new(format!("http://{}", serve()?))?);
    // this model wants to know what a text is for
    let embed = ByRole(move |role, texts: Vec<String>| {
        let client = Arc::clone(&client);
        let prompted: Vec<String> = texts.iter().map(|text| format!("{}{text}", prompt(role))).collect();
        async move {
            let request = GenerateEmbeddingsRequest::new(MODEL.to_owned(), prompted.into());
            Ok::<_, OllamaError>(client.generate_embeddings(request).await?.embeddings)
        }
    });
    let embedder = Described::new(embed).identity(Identity::new(MODEL, format!("ollama/{MODEL}")));

    let key = Key::generate()?;
    let protected = Protected::new(Async(embedder)).with(Rotation::new(&key, DIM)?);
    let texts = ["the rent is due in May", "roses need water", "a table for four"];
    let question = "when is the rent due?";
    let documents = protected.embed_documents(&texts).await?;
    let query = protected.embed_queries(&[question]).await?;

    // the vectors are others than the server's, and the search finds the same
    let clean_query = vector(&format!("{}{question}", prompt(Role::Query)));
    assert!(query.iter().zip(&clean_query).any(|(a, b)| (a - b).abs() > 0.01));
    let similarities = documents.dot(&query.row(0));
    for (text, similarity) in texts.iter().zip(&similarities) {
        let document = vector(&format!("{}{text}", prompt(Role::Document)));
        let clean: f32 = document.iter().zip(&clean_query).map(|(a, b)| a * b).sum();
        assert!((similarity - clean).abs() < 1e-5, "{similarity} {clean}");
    }
    println!("similarity of the query to each protected document: {similarities:.2}");
    Ok(())
}

fn prompt(role: Role) -> &'static str {
    match role {
        Role::Document => "search_document: ",
        Role::Query => "search_query: ",
    }
}
