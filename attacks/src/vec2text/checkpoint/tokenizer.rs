//! A model's tokenizer: its own, or that of the language model it was started from.

use std::path::{Path, PathBuf};

use tokenizers::Tokenizer;

use crate::Error;
use crate::hub::Hub;
use crate::location::Location;
use crate::vec2text::config::{Claims, Config};
use crate::vec2text::t5::{EOS, PAD};

const NAME: &str = "tokenizer.json";
/// Names of language models that have no owner before them, as older checkpoints have it, and who owns
/// them now.
const WITHOUT_OWNER: [(&str, &str); 5] = [
    ("t5-small", "google-t5/t5-small"),
    ("t5-base", "google-t5/t5-base"),
    ("t5-large", "google-t5/t5-large"),
    ("t5-3b", "google-t5/t5-3b"),
    ("t5-11b", "google-t5/t5-11b"),
];

/// `tokenizer.json` of the folder, else of the language model that `config` names: a folder, or a model
/// in the cache or on the hub.
pub(super) fn of(dir: &Location, config: &Config, claims: &Claims) -> Result<Tokenizer, Error> {
    let own = dir.join(NAME);
    if own.exists() {
        return read(&own);
    }
    let names =
        [&config.model_name_or_path, claims.name_or_path.as_ref().unwrap_or(&config.model_name_or_path)];
    let mut failure = None;
    for name in names.into_iter().flat_map(|name| candidates(name)) {
        match find(&name) {
            Ok(path) => return read(&path.into()),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(missing(&own, config, failure))
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

fn missing(own: &Location, config: &Config, failure: Option<Error>) -> Error {
    let from = &config.model_name_or_path;
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
    Error::File { path: own.path().to_owned(), message }
}

/// Reads a tokenizer, without the truncation and padding that a file may ask for.
fn read(path: &Location) -> Result<Tokenizer, Error> {
    let refuse = |error: &dyn std::fmt::Display| Error::File {
        path: path.path().to_owned(),
        message: format!("damaged or not what it should be ({error}); get it anew"),
    };
    let bytes = path.read().map_err(|error| refuse(&error))?;
    let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| refuse(&error))?;
    tokenizer.with_truncation(None).map_err(|error| refuse(&error))?;
    tokenizer.with_padding(None);
    for (token, id) in [("<pad>", PAD), ("</s>", EOS)] {
        if tokenizer.token_to_id(token) != Some(id) {
            return Err(refuse(&format!("token {id} is not {token}, as it is in T5's")));
        }
    }
    Ok(tokenizer)
}
