//! Questions to the person at the terminal.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::cli::error::CliError;

/// The longest answer that is read.
const LONGEST: u64 = 64 << 10;

/// Asks questions at the terminal, if there is one.
pub(super) struct Questions {
    person: Option<(Box<dyn BufRead>, Box<dyn Write>)>,
}

impl Questions {
    /// Asks on stderr, if stdin and stderr are a terminal.
    pub(super) fn at_the_terminal() -> Self {
        let is_there = io::stdin().is_terminal() && io::stderr().is_terminal();
        let person = || (Box::new(io::stdin().lock()) as Box<dyn BufRead>, Box::new(io::stderr()) as _);
        Self { person: is_there.then(person) }
    }

    /// Returns the given answer, or asks. An empty answer means the default.
    ///
    /// # Errors
    /// If nothing was given and nobody can be asked.
    pub(super) fn answer(
        &mut self,
        given: Option<&str>,
        (option, question, usual): (&str, &str, &str),
    ) -> Result<String, CliError> {
        if let Some(given) = given {
            return Ok(given.to_owned());
        }
        let Some((input, output)) = &mut self.person else {
            return Err(CliError::new(format!(
                "{option} is missing, and there is no terminal to ask at; for example {option} \"{usual}\""
            )));
        };
        write!(output, "{question} [{usual}]: ")?;
        output.flush()?;
        let mut answer = String::new();
        if io::Read::take(input, LONGEST).read_line(&mut answer)? == 0 {
            return Err(CliError::new(format!("the input ended before {option} was answered")));
        }
        let answer = answer.trim();
        Ok(if answer.is_empty() { usual } else { answer }.to_owned())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const QUESTION: (&str, &str, &str) = ("--corpus", "Texts", "records");

    #[test]
    fn what_is_given_is_not_asked_for_and_an_empty_answer_is_the_usual_one() {
        let mut asked = Questions { person: Some((Box::new(&b"\n notes.txt \n"[..]), Box::new(io::sink()))) };
        assert_eq!(asked.answer(Some("mine"), QUESTION).unwrap(), "mine");
        assert_eq!(asked.answer(None, QUESTION).unwrap(), "records");
        assert_eq!(asked.answer(None, QUESTION).unwrap(), "notes.txt");
        assert!(asked.answer(None, QUESTION).unwrap_err().to_string().contains("--corpus"));
    }

    #[test]
    fn without_a_terminal_the_missing_option_is_named() {
        let error = Questions { person: None }.answer(None, QUESTION).unwrap_err().to_string();
        assert!(error.contains("--corpus is missing") && error.contains("records"), "{error}");
    }
}
