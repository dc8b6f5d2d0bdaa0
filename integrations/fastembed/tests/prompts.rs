//! The prompts of fastembed's models.

use embosk_fastembed::Prompts;
use fastembed::{EmbeddingModel, TextEmbedding};

#[test]
fn each_model_of_fastembed_has_been_looked_up() {
    let models = TextEmbedding::list_supported_models();
    assert!(models.len() > 30);
    for model in models {
        assert!(Prompts::of(&model.model).is_some(), "{}", model.model_code);
    }
}

#[test]
fn prompts_are_those_of_the_cards() {
    let search = "Represent this sentence for searching relevant passages: ";
    let table = [
        (EmbeddingModel::AllMiniLML6V2, "", ""),
        (EmbeddingModel::BGEM3, "", ""),
        (EmbeddingModel::MultilingualE5Large, "passage: ", "query: "),
        (EmbeddingModel::BGESmallENV15, "", search),
        (EmbeddingModel::SnowflakeArcticEmbedM, "", search),
        (EmbeddingModel::NomicEmbedTextV15, "search_document: ", "search_query: "),
        (EmbeddingModel::EmbeddingGemma300M, "title: none | text: ", "task: search result | query: "),
    ];
    for (model, document, query) in table {
        assert_eq!(Prompts::of(&model), Some(Prompts::new(document, query)), "{model:?}");
    }
}
