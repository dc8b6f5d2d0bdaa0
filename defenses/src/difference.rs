//! How the space of stored vectors can differ from a stack's.

use std::fmt;

/// How the space of stored vectors differs from a stack's. `stored` describes the vectors, `found` the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// A defense has another key.
    Key {
        /// The defense's name; `None` if the stored fingerprint has the old form, which names only keys.
        defense: Option<String>,
        /// The key's fingerprint.
        stored: String,
        /// The key's fingerprint.
        found: String,
    },
    /// A defense has another setting, such as another `kind`.
    Setting {
        /// The defense's name.
        defense: String,
        /// The setting's name.
        name: String,
        /// The value; `None` if there is none.
        stored: Option<String>,
        /// The value; `None` if there is none.
        found: Option<String>,
    },
    /// A defense is bound to another dimension.
    Dimension {
        /// The defense's name.
        defense: String,
        /// The dimension.
        stored: String,
        /// The dimension.
        found: String,
    },
    /// The same defenses are in another order.
    Order {
        /// The names, in order.
        stored: String,
        /// The names, in order.
        found: String,
    },
    /// There are other defenses.
    Defenses {
        /// The names, in order.
        stored: String,
        /// The names, in order.
        found: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stored vectors were protected ")?;
        match self {
            Self::Key { defense, stored, found } => {
                f.write_str("under another key: ")?;
                if let Some(defense) = defense {
                    write!(f, "in `{defense}`, ")?;
                }
                write!(f, "theirs is {stored}, this stack's is {found}")
            }
            Self::Setting { defense, name, stored, found } => {
                let value = |value: &Option<String>| match value {
                    Some(value) => format!("{name}={value}"),
                    None => format!("no {name}"),
                };
                let (stored, found) = (value(stored), value(found));
                write!(f, "with other settings: `{defense}` had {stored}, in this stack it has {found}")
            }
            Self::Dimension { defense, stored, found } => {
                write!(f, "in another dimension: `{defense}` had {stored}, in this stack it has {found}")
            }
            Self::Order { stored, found } => {
                write!(f, "in another order: by {stored}, this stack is {found}")
            }
            Self::Defenses { stored, found } => {
                write!(f, "by other defenses: by {stored}, this stack is {found}")
            }
        }
    }
}
