//! `config_sentence_transformers.json`: the prompts, the similarity, and the dimensions that are kept.

use std::collections::BTreeMap;

use super::fields::Fields;
use crate::Error;
use crate::location::Location;

/// How the vectors of a folder are meant to be compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Similarity {
    /// By the angle between them.
    #[default]
    Cosine,
    /// By their inner product.
    Dot,
    /// By their Euclidean distance.
    Euclidean,
    /// By the sum of the distances along each axis.
    Manhattan,
}

impl Similarity {
    const ALL: [(&str, Self); 4] = [
        ("cosine", Self::Cosine),
        ("dot", Self::Dot),
        ("euclidean", Self::Euclidean),
        ("manhattan", Self::Manhattan),
    ];

    /// Returns its name in `similarity_fn_name`.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, of)| *of == self).map_or("cosine", |(name, _)| name)
    }
}

/// What the file says.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    pub(super) prompts: Prompts,
    pub(super) similarity: Similarity,
    /// How many of the vectors' first dimensions are kept.
    pub(super) dimensions: Option<usize>,
}

/// What is put before a text; empty for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Prompts {
    pub(super) document: String,
    pub(super) query: String,
    /// What Python's `encode` puts before a text.
    pub(super) usual: String,
}

impl Settings {
    pub(super) fn read(file: &Location) -> Result<Self, Error> {
        let mut fields = Fields::read_if_there(file)?;
        fields.only("model_type", &["SentenceTransformer".into()])?;
        let named: BTreeMap<String, Option<String>> = fields.take("prompts")?.unwrap_or_default();
        let named = named.into_iter().map(|(name, prompt)| (name, prompt.unwrap_or_default())).collect();
        let usual: Option<String> = fields.take("default_prompt_name")?;
        let prompts = Prompts::of(&named, usual.as_deref())
            .map_err(|message| fields.refuse("default_prompt_name", message))?;
        let similarity = match fields.take::<String>("similarity_fn_name")? {
            None => Similarity::default(),
            Some(name) => {
                Similarity::ALL.iter().find(|(known, _)| *known == name).map(|(_, of)| *of).ok_or_else(
                    || {
                        let can = "cosine, dot, euclidean and manhattan are known";
                        fields.refuse("similarity_fn_name", format!("it is {name}; {can}"))
                    },
                )?
            }
        };
        let dimensions = fields.take("truncate_dim")?;
        if dimensions == Some(0) {
            return Err(fields.refuse("truncate_dim", "no dimension would be left"));
        }
        fields.ignore(&["__version__"]);
        fields.finish()?;
        Ok(Self { prompts, similarity, dimensions })
    }
}

impl Prompts {
    /// The prompt of each role: the one that is named for it, or otherwise the default one.
    ///
    /// Python fills in empty prompts for `query` and `document`, so that its `encode_query` and `encode_document`
    /// never use the default one or `passage`. A prompt that a folder names was meant for that role, so it is used.
    fn of(named: &BTreeMap<String, String>, usual: Option<&str>) -> Result<Self, String> {
        let first = |names: &[&str]| names.iter().find_map(|name| named.get(*name)).cloned();
        let usual = match usual {
            None => String::new(),
            Some(name) => match named.get(name) {
                Some(prompt) => prompt.clone(),
                None if ["query", "document"].contains(&name) => String::new(),
                None => return Err(format!("there is no prompt {name} in prompts")),
            },
        };
        Ok(Self {
            document: first(&["document", "passage", "corpus"]).unwrap_or_else(|| usual.clone()),
            query: first(&["query"]).unwrap_or_else(|| usual.clone()),
            usual,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(content: &Value) -> Result<Settings, String> {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("config_sentence_transformers.json");
        std::fs::write(&path, content.to_string()).unwrap();
        Settings::read(&(&path).into()).map_err(|error| error.to_string())
    }

    #[test]
    fn each_role_has_its_prompt_or_the_default_one() {
        for (content, document, query, usual) in [
            (json!({}), "", "", ""),
            (
                json!({ "prompts": { "query": null, "document": "" }, "default_prompt_name": null }),
                "",
                "",
                "",
            ),
            (json!({ "prompts": { "query": "q: ", "passage": "p: " } }), "p: ", "q: ", ""),
            (json!({ "prompts": { "query": "q: ", "corpus": "c: " } }), "c: ", "q: ", ""),
            (
                json!({ "prompts": { "query": "q: ", "passage": "p: ", "document": "d: " }, "default_prompt_name": "query" }),
                "d: ",
                "q: ",
                "q: ",
            ),
            (json!({ "prompts": { "s": "s: " }, "default_prompt_name": "s" }), "s: ", "s: ", "s: "),
            (
                json!({ "prompts": { "s": "s: ", "document": "" }, "default_prompt_name": "s" }),
                "",
                "s: ",
                "s: ",
            ),
            (json!({ "default_prompt_name": "query" }), "", "", ""),
        ] {
            let found = read(&content).unwrap().prompts;
            assert_eq!(
                (&*found.document, &*found.query, &*found.usual),
                (document, query, usual),
                "{content}"
            );
        }
    }

    #[test]
    fn what_cannot_be_honored_is_refused_by_name() {
        assert_eq!(
            read(&json!({ "similarity_fn_name": "dot", "truncate_dim": 5 })).unwrap().dimensions,
            Some(5)
        );
        for (content, name) in [
            (json!({ "default_prompt_name": "none" }), "default_prompt_name"),
            (json!({ "similarity_fn_name": "maxsim" }), "similarity_fn_name"),
            (json!({ "model_type": "SparseEncoder" }), "model_type"),
            (json!({ "truncate_dim": 0 }), "truncate_dim"),
            (json!({ "prompts": ["query: "] }), "prompts"),
            (json!({ "temperature": 1 }), "temperature"),
        ] {
            let message = read(&content).unwrap_err();
            assert!(
                message.contains("config_sentence_transformers.json: ") && message.contains(name),
                "{message}"
            );
        }
    }
}
