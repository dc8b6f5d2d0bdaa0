//! The tokenizer of a T5: its own, or that of the language model that its training began with.

use std::path::{Path, PathBuf};

use tokenizers::Tokenizer;

use crate::Error;
use crate::hub::Hub;
use crate::location::Location;
use crate::stub;

/// The token that pads, and that decoding starts from.
pub const PAD: u32 = 0;
/// The token that ends a text.
pub const EOS: u32 = 1;

const NAME: &str = "tokenizer.json";
/// Names of language models without an owner, as older checkpoints have them, and their owners now.
const WITHOUT_OWNER: [(&str, &str); 5] = [
    ("t5-small", "google-t5/t5-small"),
    ("t5-base", "google-t5/t5-base"),
    ("t5-large", "google-t5/t5-large"),
    ("t5-3b", "google-t5/t5-3b"),
    ("t5-11b", "google-t5/t5-11b"),
];

/// Loads `tokenizer.json` of the folder, or otherwise of the first of these language models that has one: a folder,
/// or a model in the cache or on the hub. Truncation and padding that a file may ask for are left out.
///
/// # Errors
/// [`Error::File`] if there is none, or it is not a T5's.
pub fn tokenizer(dir: &Location, language_models: &[&str]) -> Result<Tokenizer, Error> {
    let own = dir.join(NAME);
    if own.exists() {
        return read(&own);
    }
    let mut failure = None;
    for name in language_models.iter().flat_map(|name| candidates(name)) {
        match find(&name) {
            Ok(path) => return read(&path.into()),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(missing(&own, language_models, failure))
}

fn candidates(name: &str) -> Vec<String> {
    let owned = WITHOUT_OWNER.iter().find(|(short, _)| *short == name).map(|(_, long)| (*long).to_owned());
    let known = owned.is_some() || Path::new(name).join(NAME).exists() || Hub::is_name(name);
    if known { owned.into_iter().chain([name.to_owned()]).collect() } else { Vec::new() }
}

fn find(name: &str) -> Result<PathBuf, Error> {
    let local = Path::new(name).join(NAME);
    if local.exists() { Ok(local) } else { Hub::from_env().file(name, NAME) }
}

fn missing(own: &Location, language_models: &[&str], failure: Option<Error>) -> Error {
    let from = language_models.first().copied().unwrap_or_default();
    let mut message = format!(
        "there is no such file, and none of the language model that it was started from ({from}); put that model's \
         tokenizer.json beside config.json"
    );
    if own.path().with_file_name("spiece.model").exists() {
        message += " (there is spiece.model alone: Hugging Face's AutoTokenizer.from_pretrained(…).save_pretrained(…) \
                    writes the other)";
    }
    if let Some(error) = failure {
        message = format!("{message}; {error}");
    }
    Error::file(own.path(), message)
}

/// Reads a tokenizer, without the truncation and padding that a file may ask for.
fn read(path: &Location) -> Result<Tokenizer, Error> {
    let bytes = path.read().map_err(|error| Error::damaged(path.path(), error))?;
    let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| stub::damaged(path, error))?;
    tokenizer.with_truncation(None).map_err(|error| Error::damaged(path.path(), error))?;
    tokenizer.with_padding(None);
    for (token, id) in [("<pad>", PAD), ("</s>", EOS)] {
        if tokenizer.token_to_id(token) != Some(id) {
            let message = format!("token {id} is not {token}, as it is in T5's");
            return Err(Error::damaged(path.path(), message));
        }
    }
    Ok(tokenizer)
}
