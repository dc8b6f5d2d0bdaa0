//! Fills a sentence's slots and notes where each entity is.

use super::draw::Draw;
use super::shapes::Shape;
use super::values::{
    COURSES, DIAGNOSES, DRUGS, EMPLOYERS, FIRST_NAMES, LAST_NAMES, MONTHS, PLACES, PRODUCTS, ROLES,
};
use super::{Entity, EntityKind, Fact, FactKind, Record, Split};

/// Each employer is found in this many towns, so that employer and place recur together.
const TOWNS_OF_AN_EMPLOYER: usize = 3;

/// A record of `shape`, its values drawn afresh.
pub(super) fn fill(shape: &Shape, split: Split, draw: &mut Draw) -> Record {
    let cast = Cast::draw(shape.template, split, draw);
    let topic = Fact { kind: FactKind::Topic, value: shape.topic };
    let mut record =
        Record { text: String::new(), entities: Vec::new(), family: shape.family, facts: vec![topic] };
    let mut rest = shape.template;
    while let Some((before, after)) = rest.split_once('{') {
        let (slot, after) = after.split_once('}').unwrap_or((after, ""));
        record.text.push_str(before);
        record.push(&cast.value(slot));
        rest = after;
    }
    record.text.push_str(rest);
    record
}

impl Record {
    fn push(&mut self, value: &Value) {
        let start = self.text.len();
        self.text.push_str(&value.text);
        let span = start..self.text.len();
        self.entities.extend(value.kind.map(|kind| Entity { kind, span }));
        self.facts.extend(value.fact.map(|(kind, value)| Fact { kind, value }));
    }
}

/// What fills a slot.
struct Value {
    text: String,
    kind: Option<EntityKind>,
    fact: Option<(FactKind, &'static str)>,
}

impl Value {
    /// Words without an entity in them.
    fn word(text: &str) -> Self {
        Self { text: text.to_owned(), kind: None, fact: None }
    }

    fn entity(kind: EntityKind, text: impl Into<String>) -> Self {
        Self { text: text.into(), kind: Some(kind), fact: None }
    }

    fn date(text: impl Into<String>, month: &'static str) -> Self {
        Self { fact: Some((FactKind::Month, month)), ..Self::entity(EntityKind::Date, text) }
    }

    fn fact(kind: EntityKind, fact: FactKind, text: &'static str) -> Self {
        Self { fact: Some((fact, text)), ..Self::entity(kind, text) }
    }
}

/// A value for every slot, drawn whether or not a sentence uses it, so that all sentences draw in the same order.
struct Cast {
    person: String,
    person2: String,
    surname: &'static str,
    place: &'static str,
    place2: &'static str,
    diagnosis: &'static str,
    drug: &'static str,
    dose: &'static str,
    employer: &'static str,
    role: &'static str,
    product: &'static str,
    course: &'static str,
    month: &'static str,
    day: usize,
    year: Option<usize>,
    fee: usize,
    rent: usize,
    pay: usize,
    amount: usize,
    account: usize,
}

impl Cast {
    fn draw(template: &str, split: Split, draw: &mut Draw) -> Self {
        let (first, last) = full_name(split, draw, &[]);
        let (first2, last2) = full_name(split, draw, &[last]);
        let surname = surname(draw, &[last, last2]);
        let employer = draw.below(EMPLOYERS.len());
        let at_employer = town(employer, draw);
        let anywhere = draw.one_of(PLACES);
        let place = if template.contains("{employer}") { at_employer } else { anywhere };
        let place2 = redraw(draw, PLACES, &[place]);
        let drug = draw.one_of(DRUGS);
        let (treated, any) = (draw.one_of(drug.treats), draw.one_of(DIAGNOSES));
        let diagnosis = if template.contains("{drug}") { treated } else { any };
        let (month, days) = draw.one_of(MONTHS);
        Self {
            person: format!("{first} {last}"),
            person2: format!("{first2} {last2}"),
            surname,
            place,
            place2,
            diagnosis,
            drug: drug.name,
            dose: draw.one_of(drug.doses),
            employer: EMPLOYERS[employer],
            role: draw.one_of(ROLES),
            product: draw.one_of(PRODUCTS),
            course: draw.one_of(COURSES),
            month,
            day: draw.stepped(1, days, 1),
            year: year(draw),
            fee: draw.stepped(20, 480, 20),
            rent: draw.stepped(800, 3_200, 50),
            pay: draw.stepped(2_500, 9_500, 100),
            amount: draw.stepped(600, 9_900, 100),
            account: draw.stepped(1_000, 9_999, 1),
        }
    }

    fn value(&self, slot: &str) -> Value {
        use EntityKind as K;
        match slot {
            "person" => Value::entity(K::Person, &self.person),
            "person2" => Value::entity(K::Person, &self.person2),
            "surname" => Value::entity(K::Person, self.surname),
            "place" => Value::fact(K::Place, FactKind::Place, self.place),
            "place2" => Value::fact(K::Place, FactKind::Place, self.place2),
            "diagnosis" => Value::fact(K::Diagnosis, FactKind::Diagnosis, self.diagnosis),
            "drug" => Value::fact(K::Drug, FactKind::Drug, self.drug),
            "employer" => Value::fact(K::Employer, FactKind::Employer, self.employer),
            "month" => Value::date(self.month, self.month),
            "day" => Value::date(format!("{} {}", self.month, self.day), self.month),
            "date" => Value::date(self.date(), self.month),
            "fee" => Value::entity(K::Amount, dollars(self.fee)),
            "rent" => Value::entity(K::Amount, dollars(self.rent)),
            "pay" => Value::entity(K::Amount, dollars(self.pay)),
            "amount" => Value::entity(K::Amount, dollars(self.amount)),
            "account" => Value::entity(K::Account, self.account.to_string()),
            "dose" => Value::word(self.dose),
            "role" => Value::word(self.role),
            "product" => Value::word(self.product),
            "course" => Value::word(self.course),
            // No shape names another slot: a test looks for these braces.
            _ => Value::word("{}"),
        }
    }

    fn date(&self) -> String {
        let Self { month, day, .. } = self;
        self.year.map_or_else(|| format!("{month} {day}"), |year| format!("{month} {day}, {year}"))
    }
}

/// A first and a last name of `split`, the last not one of `taken`.
fn full_name(split: Split, draw: &mut Draw, taken: &[&str]) -> (&'static str, &'static str) {
    loop {
        let first = draw.one_of(FIRST_NAMES);
        let last = surname(draw, taken);
        if Split::of(first, last) == split {
            return (first, last);
        }
    }
}

fn surname(draw: &mut Draw, taken: &[&str]) -> &'static str {
    redraw(draw, LAST_NAMES, taken)
}

/// Draws until the value is not one of `taken`.
fn redraw(draw: &mut Draw, values: &'static [&'static str], taken: &[&str]) -> &'static str {
    loop {
        let value = draw.one_of(values);
        if !taken.contains(&value) {
            return value;
        }
    }
}

/// One of an employer's towns, the same ones always.
fn town(employer: usize, draw: &mut Draw) -> &'static str {
    PLACES[(7 * employer + 13 * draw.below(TOWNS_OF_AN_EMPLOYER)) % PLACES.len()]
}

/// One date in four names its year.
fn year(draw: &mut Draw) -> Option<usize> {
    let year = draw.stepped(2020, 2025, 1);
    (draw.below(4) == 0).then_some(year)
}

fn dollars(amount: usize) -> String {
    match (amount / 1_000, amount % 1_000) {
        (0, rest) => format!("${rest}"),
        (thousands, rest) => format!("${thousands},{rest:03}"),
    }
}
