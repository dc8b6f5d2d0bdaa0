//! How a service is told whether a text is a document or a query.

use crate::{Error, Role};

/// What is sent for texts in a role, beside the texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoleSettings {
    /// Stands before each text.
    pub prompt: String,
    /// A field of the request and its value, such as `input_type` and `query`.
    pub field: Option<(String, String)>,
    /// Another model than the address names.
    pub model: Option<String>,
}

impl RoleSettings {
    /// Sets what stands before each text.
    pub fn prompt(self, prompt: impl Into<String>) -> Self {
        Self { prompt: prompt.into(), ..self }
    }

    /// Sets a field of the request.
    pub fn field(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { field: Some((name.into(), value.into())), ..self }
    }

    /// Sets the model.
    pub fn model(self, model: impl Into<String>) -> Self {
        Self { model: Some(model.into()), ..self }
    }
}

/// How documents and queries are told apart. By default they are not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    /// Of texts that are stored and searched.
    pub document: RoleSettings,
    /// Of texts that search.
    pub query: RoleSettings,
}

const BGE: &str = "Represent this sentence for searching relevant passages: ";
const INSTRUCT: &str =
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: ";
const QWEN: &str =
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:";

impl Roles {
    /// Presets by name, with the models that they are for, as the models' cards describe them.
    pub const PRESETS: [(&str, &str); 12] = [
        (
            "none",
            "no roles: OpenAI's text-embedding models, bge-m3, all-MiniLM and other sentence-transformers",
        ),
        ("e5", "e5 and multilingual-e5: `query: ` and `passage: `"),
        ("e5-instruct", "e5-mistral and multilingual-e5-large-instruct: an instruction before queries"),
        ("bge", "bge-small, -base and -large for English: an instruction before queries"),
        ("mxbai", "mxbai-embed-large and snowflake-arctic-embed 1: the same instruction"),
        ("arctic", "snowflake-arctic-embed 2: `query: `"),
        ("nomic", "nomic-embed-text: `search_query: ` and `search_document: `"),
        ("qwen", "Qwen3-Embedding: an instruction before queries"),
        ("cohere", "Cohere's embed 3 and 4: the field input_type, search_query and search_document"),
        ("voyage", "Voyage: the field input_type, query and document"),
        ("nvidia", "NVIDIA's NIM: the field input_type, query and passage"),
        ("jina", "jina-embeddings 3 and 4: the field task, retrieval.query and retrieval.passage"),
    ];

    /// The roles of a [preset](Self::PRESETS).
    ///
    /// # Errors
    /// [`Error::Setting`] if there is no such preset; the message lists them.
    pub fn preset(name: &str) -> Result<Self, Error> {
        let roles = match name {
            "none" => Self::default(),
            "e5" => Self::prompts("passage: ", "query: "),
            "e5-instruct" => Self::prompts("", INSTRUCT),
            "bge" | "mxbai" => Self::prompts("", BGE),
            "arctic" => Self::prompts("", "query: "),
            "nomic" => Self::prompts("search_document: ", "search_query: "),
            "qwen" => Self::prompts("", QWEN),
            "cohere" => Self::fields("input_type", "search_document", "search_query"),
            "voyage" => Self::fields("input_type", "document", "query"),
            "nvidia" => Self::fields("input_type", "passage", "query"),
            "jina" => Self::fields("task", "retrieval.passage", "retrieval.query"),
            _ => {
                let names = Self::PRESETS.map(|(name, _)| name).join(", ");
                return Err(Error::Setting(format!(
                    "{name}: there is no such preset of roles; there are {names}"
                )));
            }
        };
        Ok(roles)
    }

    /// The name of the preset for a model, by the model's name; `none` where it is not known.
    pub fn preset_of(model: &str) -> &'static str {
        let model = model.to_lowercase();
        let has = |part: &str| model.contains(part);
        let is_any = |parts: &[&str]| parts.iter().any(|part| has(part));
        match () {
            () if has("e5-mistral") || (has("e5-") && has("-instruct")) => "e5-instruct",
            () if is_any(&["e5-small", "e5-base", "e5-large"]) => "e5",
            () if has("bge-") && has("-en") && !has("bge-en-icl") => "bge",
            () if has("mxbai-embed-large") => "mxbai",
            () if has("arctic-embed") => {
                if is_any(&["v2", "embed2"]) {
                    "arctic"
                } else {
                    "mxbai"
                }
            }
            () if has("nomic-embed-text") => "nomic",
            () if has("qwen3-embedding") => "qwen",
            () if has("embed-") && is_any(&["-v3.0", "embed-v4"]) => "cohere",
            () if model.starts_with("voyage-") || has("/voyage-") => "voyage",
            () if has("nv-embedqa") => "nvidia",
            () if is_any(&["jina-embeddings-v3", "jina-embeddings-v4"]) => "jina",
            () => "none",
        }
    }

    /// Of a role.
    pub(super) fn of(&self, role: Role) -> &RoleSettings {
        match role {
            Role::Document => &self.document,
            Role::Query => &self.query,
        }
    }

    fn prompts(document: &str, query: &str) -> Self {
        let settings = |prompt: &str| RoleSettings::default().prompt(prompt);
        Self { document: settings(document), query: settings(query) }
    }

    fn fields(name: &str, document: &str, query: &str) -> Self {
        let settings = |value: &str| RoleSettings::default().field(name, value);
        Self { document: settings(document), query: settings(query) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn well_known_models_have_their_presets() {
        for (model, preset) in [
            ("text-embedding-3-small", "none"),
            ("intfloat/multilingual-e5-small", "e5"),
            ("intfloat/e5-base-v2", "e5"),
            ("intfloat/multilingual-e5-large-instruct", "e5-instruct"),
            ("intfloat/e5-mistral-7b-instruct", "e5-instruct"),
            ("BAAI/bge-small-en-v1.5", "bge"),
            ("BAAI/bge-m3", "none"),
            ("bge-en-icl", "none"),
            ("mxbai-embed-large", "mxbai"),
            ("snowflake-arctic-embed", "mxbai"),
            ("snowflake-arctic-embed2", "arctic"),
            ("Snowflake/snowflake-arctic-embed-l-v2.0", "arctic"),
            ("nomic-embed-text:v1.5", "nomic"),
            ("Qwen/Qwen3-Embedding-0.6B", "qwen"),
            ("embed-multilingual-v3.0", "cohere"),
            ("embed-v4.0", "cohere"),
            ("voyage-3.5", "voyage"),
            ("nvidia/nv-embedqa-e5-v5", "nvidia"),
            ("jina-embeddings-v3", "jina"),
            ("jina-embeddings-v2-base-en", "none"),
            ("mistral-embed", "none"),
            ("all-minilm", "none"),
        ] {
            assert_eq!(Roles::preset_of(model), preset, "{model}");
        }
    }

    #[test]
    fn each_preset_is_one_and_others_are_refused() {
        for (name, _) in Roles::PRESETS {
            let roles = Roles::preset(name).unwrap();
            assert_eq!(roles.document == roles.query, name == "none", "{name}");
        }
        let refused = Roles::preset("bert").unwrap_err().to_string();
        assert!(refused.contains("no such preset") && refused.contains("voyage"), "{refused}");
    }
}
