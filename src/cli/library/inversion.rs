use std::sync::Arc;

use ndarray::Array2;
use serde_json::{Map, Value};

use super::{Program, Request};
use crate::attacks::{Attack, Inversion, Resources};
use crate::cli::error::CliError;
use crate::cli::invert::Own;
use crate::cli::loaded::Loaded;
use crate::cli::settings::NamedAttack;
use crate::cli::terminal::Terminal;
use crate::cli::{invert, models};
use crate::embedder::{OracleOf, embed_checked};
use crate::evaluate::english;
use crate::{Embedder, Error, Role};

impl Program {
    /// Turns vectors, `[rows, dim]`, of `embedder` back into texts, as `embosk invert --attack` does. `attack` has the
    /// fields of a budget's `[attack]`; by default it is `auto`. Guided search learns words and language from
    /// `own_texts`, by default from built-in English sentences.
    ///
    /// # Errors
    /// [`Error::Setting`] for vectors that no text can have, or an attack that does not fit the embedder, and errors of
    /// the attack and of the embedder.
    pub fn invert(
        &self,
        embedder: Arc<dyn Embedder>,
        vectors: Array2<f32>,
        attack: Map<String, Value>,
        own_texts: Option<Vec<String>>,
    ) -> Result<Vec<Inversion>, Error> {
        invert::check(&vectors).map_err(Error::Setting)?;
        let asked = Request::new(Map::from_iter([("attack".to_owned(), Value::Object(attack))]))?;
        let embedder = Loaded::own(embedder);
        let vectors =
            if embedder.is_normalized() { invert::scaled(vectors, Terminal::Quiet) } else { vectors };
        let (attack, guides) = attack_of(&asked.settings.attack, &embedder)
            .map_err(|error| Error::Setting(error.to_string()))?;
        let own = guides.then(|| own(&embedder, own_texts)).transpose()?;
        let oracle = OracleOf(&embedder);
        let resources =
            own.iter().try_fold(Resources::new(&oracle), |resources, own| own.added_to(resources))?;
        Ok(attack.invert(vectors.view(), &resources)?)
    }
}

/// The attack, and whether it searches with the attacker's own texts.
fn attack_of(named: &NamedAttack, embedder: &Loaded) -> Result<(Box<dyn Attack>, bool), CliError> {
    let name = named.model.as_deref().unwrap_or(models::AUTO);
    let stages = named.stages(embedder.hash(), false);
    let search = named.search;
    search.warn_of_idle(stages);
    let trained = models::trained(name, embedder, Terminal::Quiet)?.map(|(_, attack)| search.apply(attack));
    Ok((models::searching(trained, stages.guided, &search), stages.guided))
}

fn own(embedder: &Loaded, texts: Option<Vec<String>>) -> Result<Own, Error> {
    let mut texts = texts.unwrap_or_else(english);
    let language = invert::split_language(&mut texts);
    let all: Vec<&str> = texts.iter().map(String::as_str).collect();
    let vectors = embed_checked(embedder, Role::Document, &all)?;
    Ok(Own { texts, vectors, language })
}
