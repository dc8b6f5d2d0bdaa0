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

    /// Returns the given answer and what is read from it, or asks until an answer can be read. An empty answer means
    /// the default.
    ///
    /// # Errors
    /// If the given answer cannot be read, or nothing was given and nobody can be asked.
    pub(super) fn answer<T>(
        &mut self,
        given: Option<&str>,
        asked: (&str, &str, &str),
        read: impl Fn(&str) -> Result<T, CliError>,
    ) -> Result<(String, T), CliError> {
        if let Some(given) = given {
            return Ok((given.to_owned(), read(given)?));
        }
        loop {
            let answer = self.ask(asked)?;
            match (read(&answer), &mut self.person) {
                (Err(error), Some((_, output))) => writeln!(output, "{error}")?,
                (read, _) => return Ok((answer, read?)),
            }
        }
    }

    /// Asks once.
    fn ask(&mut self, (option, question, usual): (&str, &str, &str)) -> Result<String, CliError> {
        let Some((input, output)) = &mut self.person else {
            return Err(CliError::new(format!(
                "{option} is missing, and there is no terminal to ask on; for example {option} \"{usual}\""
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

    fn person(answers: &'static [u8]) -> Questions {
        Questions { person: Some((Box::new(answers), Box::new(io::sink()))) }
    }

    #[test]
    fn what_is_given_is_not_asked_for_and_an_empty_answer_is_the_usual_one() {
        let mut asked = person(b"\n notes.txt \n");
        let mut answer = |given| asked.answer(given, QUESTION, |_| Ok(()));
        assert_eq!(answer(Some("mine")).unwrap().0, "mine");
        assert_eq!(answer(None).unwrap().0, "records");
        assert_eq!(answer(None).unwrap().0, "notes.txt");
        assert!(answer(None).unwrap_err().to_string().contains("--corpus"));
    }

    #[test]
    fn a_wrong_answer_is_asked_for_again_and_a_wrong_option_is_refused() {
        let length = |name: &str| match name {
            "gone.txt" => Err(CliError::new("there is no such file")),
            name => Ok(name.len()),
        };
        assert_eq!(
            person(b"gone.txt\nnotes.txt\n").answer(None, QUESTION, length).unwrap(),
            ("notes.txt".into(), 9)
        );
        assert!(person(b"notes.txt\n").answer(Some("gone.txt"), QUESTION, length).is_err());
        assert!(person(b"gone.txt\n").answer(None, QUESTION, length).is_err(), "the input ends");
    }

    #[test]
    fn without_a_terminal_the_missing_option_is_named() {
        let error = Questions { person: None }.answer(None, QUESTION, |_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("--corpus is missing") && error.contains("records"), "{error}");
    }
}
