//! The built-in corpus: short made-up records that hold personal data.
//!
//! A record is one sentence of a file that should not leak: a diagnosis, a raise, an eviction. Every person, date,
//! figure and name in it is labelled, so that an attack is scored by what it recovers and not by how its text sounds.
//! All of them are invented.
//!
//! What a seed gives is a data format: the same seed gives the same records in every version.

use std::collections::HashSet;
use std::ops::Range;

mod draw;
mod queries;
mod shapes;
mod template;
mod values;

pub use queries::{RecordQuery, queries};

use super::facts;
use draw::Draw;
use shapes::{Shape, shapes};

/// Returns an endless stream of records of one split, no two with the same text.
///
/// The same `split` and `seed` give the same records in every version. The records of two seeds may overlap; those of
/// the two splits never do, because they share no full name.
///
/// ```
/// use embosk::evaluate::records::{Split, generate};
///
/// let records: Vec<_> = generate(Split::Train, 1).take(100).collect();
/// assert!(records.iter().all(|record| !record.entities.is_empty()));
/// ```
pub fn generate(split: Split, seed: u64) -> impl Iterator<Item = Record> {
    let mut seen = HashSet::new();
    let mut records = Records::new(split, seed);
    std::iter::from_fn(move || {
        loop {
            let record = records.draw();
            if seen.insert(record.text.clone()) {
                return Some(record);
            }
        }
    })
}

/// One sentence and what is personal in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The sentence: printable ASCII, 8 to 32 words.
    pub text: String,
    /// The labelled spans, in the order of the text and without overlap.
    pub entities: Vec<Entity>,
    /// The kind of file that the record is from.
    pub family: Family,
    /// What the record says, in a form by which queries can be judged: its topic, then a fact for each place, month,
    /// diagnosis, drug and employer in the text.
    pub facts: Vec<Fact>,
}

impl Record {
    /// Returns its entities as facts that can be guessed.
    pub(super) fn labels(&self) -> Vec<facts::Fact> {
        self.entities
            .iter()
            .map(|Entity { kind, span }| facts::Fact::new(kind.name(), span.clone()))
            .collect()
    }
}

/// A labelled stretch of a record's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// What the span holds.
    pub kind: EntityKind,
    /// Byte offsets into [`Record::text`].
    pub span: Range<usize>,
}

/// What an [`Entity`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum EntityKind {
    /// A full name or, after a title or for a third party, a last name.
    Person,
    /// A day (`March 14` or `March 14, 2023`) or a month.
    Date,
    /// A city.
    Place,
    /// A sum in dollars, its sign included.
    Amount,
    /// An illness.
    Diagnosis,
    /// A medicine, without its dose.
    Drug,
    /// A company, including one that is sued or paid.
    Employer,
    /// The four digits of an account, policy, case, booking or ticket.
    Account,
}

impl EntityKind {
    /// Returns its name in reports, such as `person`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Date => "date",
            Self::Place => "place",
            Self::Amount => "amount",
            Self::Diagnosis => "diagnosis",
            Self::Drug => "drug",
            Self::Employer => "employer",
            Self::Account => "account",
        }
    }
}

/// The kind of file that a [`Record`] is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Family {
    /// Visits and diagnoses.
    Clinical,
    /// Drugs and pharmacies.
    Prescription,
    /// Staff and pay.
    Employment,
    /// Banks, loans and taxes.
    Finance,
    /// Courts and claims.
    Legal,
    /// Customers and their tickets.
    Support,
    /// Trips and bookings.
    Travel,
    /// Tenants and landlords.
    Housing,
    /// Policies and claims.
    Insurance,
    /// Schools and students.
    Education,
}

/// Something that a [`Record`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fact {
    /// What the value is.
    pub kind: FactKind,
    /// One of a fixed list, such as `Denver` or `March`.
    pub value: &'static str,
}

/// What a [`Fact`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FactKind {
    /// What the whole record is about: `refund`, `eviction`.
    Topic,
    /// A city.
    Place,
    /// The month of a date.
    Month,
    /// An illness.
    Diagnosis,
    /// A medicine.
    Drug,
    /// A company.
    Employer,
}

/// Which records a model may be trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// The records to train an attack on.
    Train,
    /// The records to measure on.
    HeldOut,
}

impl Split {
    /// Returns the split that a full name belongs to: held out if the FNV-1a hash (64 bits) of `first last` is a
    /// multiple of ten, which is about one name in ten.
    ///
    /// Every full name in a record is of the record's split. A last name alone may be in both.
    pub fn of(first: &str, last: &str) -> Self {
        let name = first.bytes().chain([b' ']).chain(last.bytes());
        let hash = name.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        if hash.is_multiple_of(10) { Self::HeldOut } else { Self::Train }
    }
}

/// Records as they are drawn, repeats included.
struct Records {
    shapes: Vec<Shape>,
    split: Split,
    draw: Draw,
}

impl Records {
    fn new(split: Split, seed: u64) -> Self {
        let label = match split {
            Split::Train => *b"records train v1",
            Split::HeldOut => *b"records held  v1",
        };
        Self { shapes: shapes(), split, draw: Draw::new(label, seed) }
    }

    fn draw(&mut self) -> Record {
        let shape = self.shapes[self.draw.below(self.shapes.len())];
        template::fill(&shape, self.split, &mut self.draw)
    }
}

#[cfg(test)]
mod tests;
