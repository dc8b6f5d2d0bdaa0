use crate::Error;

/// The argument of an adversary's name, in parentheses.
#[derive(Debug, Clone, Copy)]
pub struct Argument<'a> {
    pub(super) name: &'a str,
    text: Option<&'a str>,
}

impl<'a> Argument<'a> {
    /// Splits `leaked( 768 )` into its name and its argument.
    pub(super) fn of(text: &'a str) -> Self {
        let text = text.trim();
        match text.strip_suffix(')').and_then(|text| text.split_once('(')) {
            Some((name, argument)) => Self { name: name.trim_end(), text: Some(argument.trim()) },
            None => Self { name: text, text: None },
        }
    }

    /// Returns the text, without the space around it. `None` if there are no parentheses.
    pub fn text(&self) -> Option<&'a str> {
        self.text
    }

    /// Accepts a name without parentheses.
    ///
    /// # Errors
    /// When there are parentheses.
    pub fn nothing(&self) -> Result<(), Error> {
        match self.text {
            None => Ok(()),
            Some(_) => Err(Error::Setting(format!("`{}` takes nothing in parentheses", self.name))),
        }
    }

    /// Accepts a number, 1 or more.
    ///
    /// # Errors
    /// When there is no such number; the message says `of_what` it should be the number.
    pub fn number(&self, of_what: &str) -> Result<usize, Error> {
        self.text.and_then(positive).ok_or_else(|| {
            let name = self.name;
            Error::Setting(format!("`{name}` takes its number of {of_what}, 1 or more: {name}(16)"))
        })
    }
}

/// A number, 1 or more.
pub(super) fn positive(text: &str) -> Option<usize> {
    text.trim().parse().ok().filter(|&number| number > 0)
}
