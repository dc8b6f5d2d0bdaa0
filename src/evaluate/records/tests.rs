use std::collections::BTreeSet;

use super::draw::Draw;
use super::shapes::shapes;
use super::values::{DIAGNOSES, DRUGS, EMPLOYERS, FIRST_NAMES, LAST_NAMES, MONTHS, PLACES};
use super::*;

const SPLITS: [Split; 2] = [Split::Train, Split::HeldOut];

/// How many records of each of the 118 shapes.
const OF_EACH_SHAPE: usize = 200;

#[test]
fn every_shape_keeps_the_bounds_of_a_record() {
    for record in of_every_shape() {
        let text = &record.text;
        assert!((8..=32).contains(&text.split_whitespace().count()), "{text}");
        assert!(text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{text}");
        assert!(!text.contains(['{', '}']) && !text.contains("  "), "{text}");
        assert!(text.ends_with('.'), "{text}");
        assert!(figures(&record) <= 2, "{text}");
    }
}

#[test]
fn spans_cover_their_entities_and_no_more() {
    for record in of_every_shape() {
        let mut end = 0;
        for Entity { kind, span } in &record.entities {
            let entity = &record.text[span.clone()];
            assert!(span.start >= end && is_a(*kind, entity), "{kind:?} {entity}: {}", record.text);
            assert!(!record.text[..span.start].ends_with(char::is_alphanumeric), "{}", record.text);
            assert!(!record.text[span.end..].starts_with(char::is_alphanumeric), "{}", record.text);
            end = span.end;
        }
        assert!(record.entities.iter().any(|entity| entity.kind == EntityKind::Person));
        assert!((2..=5).contains(&record.entities.len()), "{}", record.text);
    }
}

#[test]
fn facts_are_the_topic_and_what_the_entities_say() {
    for record in of_every_shape() {
        let said = record.entities.iter().filter_map(|entity| {
            let text = &record.text[entity.span.clone()];
            let kind = match entity.kind {
                EntityKind::Place => FactKind::Place,
                EntityKind::Date => FactKind::Month,
                EntityKind::Diagnosis => FactKind::Diagnosis,
                EntityKind::Drug => FactKind::Drug,
                EntityKind::Employer => FactKind::Employer,
                _ => return None,
            };
            let month = text.split_once(' ').map_or(text, |(month, _)| month);
            Some((kind, if kind == FactKind::Month { month } else { text }))
        });
        assert_eq!(record.facts[0].kind, FactKind::Topic);
        assert!(said.eq(record.facts[1..].iter().map(|fact| (fact.kind, fact.value))), "{record:?}");
    }
}

#[test]
fn families_and_shapes_are_many_and_all_of_them_are_drawn() {
    let shapes = shapes();
    let families: BTreeSet<Family> = shapes.iter().map(|shape| shape.family).collect();
    assert!(shapes.len() >= 64 && families.len() >= 8);
    for family in families {
        assert!(shapes.iter().filter(|shape| shape.family == family).count() >= 7, "{family:?}");
    }
    let records = sample(Split::Train, 5_000);
    for shape in shapes {
        let fits = |record: &Record| {
            record.family == shape.family && has_in_order(&record.text, words_between_slots(shape.template))
        };
        assert!(records.iter().any(fits), "{}", shape.template);
    }
}

#[test]
fn splits_share_no_full_name() {
    let held_out = |first: &&str, last: &&str| Split::of(first, last) == Split::HeldOut;
    let held_out_with = |first| LAST_NAMES.iter().filter(|last| held_out(first, last)).count();
    let share = FIRST_NAMES.iter().map(held_out_with).sum::<usize>() as f64
        / (FIRST_NAMES.len() * LAST_NAMES.len()) as f64;
    assert!((0.09..0.11).contains(&share), "{share}");

    for split in SPLITS {
        for record in sample(split, 20_000) {
            for (first, last) in full_names(&record) {
                assert_eq!(Split::of(first, last), split, "{}", record.text);
            }
        }
    }
}

/// Computed by another program.
#[test]
fn the_split_of_a_name_is_fixed() {
    let names = [
        ("Dennis", "Simmons", Split::HeldOut),
        ("Barbara", "Butler", Split::HeldOut),
        ("Jessica", "Morales", Split::HeldOut),
        ("Charles", "Ford", Split::Train),
        ("Priya", "Costa", Split::Train),
        ("Nina", "Hamilton", Split::Train),
    ];
    for (first, last, split) in names {
        assert_eq!(Split::of(first, last), split, "{first} {last}");
    }
}

#[test]
fn no_text_comes_twice() {
    for split in SPLITS {
        let records = sample(split, 20_000);
        let texts: BTreeSet<_> = records.iter().map(|record| &record.text).collect();
        assert_eq!(texts.len(), records.len());
    }
}

#[test]
fn a_seed_fixes_the_records() {
    assert!(generate(Split::Train, 3).take(500).eq(generate(Split::Train, 3).take(500)));
    assert!(generate(Split::Train, 3).take(500).ne(generate(Split::Train, 4).take(500)));
}

/// The format: these may never change.
#[test]
fn golden_records() {
    for (split, golden) in SPLITS.into_iter().zip([TRAIN, HELD_OUT]) {
        let records: Vec<_> = generate(split, 1).take(5).map(|record| marked(&record)).collect();
        assert_eq!(records, golden);
    }
}

/// FNV-1a over the texts of the first 10,000 records, which depends on every shape and every list.
#[test]
fn the_first_ten_thousand_records_are_fixed() {
    for (split, golden) in SPLITS.into_iter().zip([0xc056_796e_03d6_0b2e, 0x8ad1_0ae5_0a72_4e53]) {
        let hash = generate(split, 1).take(10_000).fold(0xcbf2_9ce4_8422_2325, |hash: u64, record| {
            record
                .text
                .bytes()
                .fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
        });
        assert_eq!(hash, golden, "{hash:#018x}");
    }
}

#[rustfmt::skip]
const TRAIN: [&str; 5] = [
    "[Person Anita Collins] rented a car in [Place Montreal] for [Amount $340] and returned it late.",
    "[Person Ravi Gupta] paid a [Amount $140] copay for [Drug albuterol] at a pharmacy in [Place Oakland].",
    "The coffee maker ordered by [Person Antonio Ford] was delivered to the wrong address in [Place Dallas].",
    "[Person Susan Ryan] filed for divorce in [Place Sacramento] on [Date November 10] with [Person Diaz] as counsel.",
    "[Person Edward Quinn], a former security guard at [Employer Magnolia Textiles], receives disability benefits for [Diagnosis anxiety].",
];

#[rustfmt::skip]
const HELD_OUT: [&str; 5] = [
    "A judge in [Place Berlin] granted [Person Jack Edwards] a restraining order against [Person Luis Cook].",
    "Dr. [Person Ivanov] referred [Person Maya Flores] to a specialist in [Place Calgary] for [Diagnosis atrial fibrillation].",
    "[Person Robert Klein] sold the house in [Place Lisbon] to [Person Priya Ramirez] on [Date April 13].",
    "[Person Andrew Shah] was charged twice for the same smart watch on [Date June 2].",
    "[Person Aisha Novak] reserved a hotel room in [Place Oakland] under booking number [Account 8159].",
];

#[test]
fn queries_are_answered_by_the_records_that_state_what_they_ask() {
    let records = sample(Split::HeldOut, 2_000);
    let values: BTreeSet<&str> = records.iter().flat_map(|r| &r.facts).map(|fact| fact.value).collect();
    let mut longest_first: Vec<&str> = values.into_iter().collect();
    longest_first.sort_by_key(|value| std::cmp::Reverse(value.len()));

    let mut phrasings = BTreeSet::new();
    for query in queries(&records, usize::MAX, 1) {
        let (asked, phrasing) = named(&query.text, &longest_first);
        let states_all = |index: &usize| {
            let states = |value| records[*index].facts.iter().any(|fact| fact.value == value);
            asked.iter().copied().all(states)
        };
        let expected: Vec<usize> = (0..records.len()).filter(states_all).collect();
        assert_eq!(query.relevant, expected, "{} {asked:?}", query.text);
        assert!((2..=20).contains(&query.relevant.len()), "{}", query.text);
        phrasings.insert(phrasing);
    }
    assert!(phrasings.len() >= 12, "{phrasings:?}");
}

/// The format, computed by another program: FNV-1a over the texts of all questions, and the first of them.
#[test]
fn golden_queries() {
    let asked = queries(&sample(Split::HeldOut, 2_000), usize::MAX, 1);
    assert_eq!(asked.len(), 816);
    assert_eq!(asked[0].text, "patients with eczema in January");
    assert_eq!(asked[0].relevant, [157, 1976]);
    let hash = asked.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, query| {
        query.text.bytes().fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    });
    assert_eq!(hash, 0x823a_234b_6eb0_fb7f, "{hash:#018x}");
}

#[test]
fn queries_are_as_many_as_asked_and_of_many_kinds() {
    let records = sample(Split::HeldOut, 2_000);
    let asked = queries(&records, 150, 1);
    let texts: BTreeSet<_> = asked.iter().map(|query| &query.text).collect();
    assert_eq!((asked.len(), texts.len()), (150, 150));
    assert!(asked == queries(&records, 150, 1) && asked != queries(&records, 150, 2));

    let all = queries(&records, usize::MAX, 1);
    let texts: BTreeSet<_> = all.iter().map(|query| &query.text).collect();
    assert_eq!(texts.len(), all.len());
    assert_eq!(queries(&records[..1], 10, 1), []);
    assert_eq!(queries(&[], 10, 1), []);
    assert_eq!(queries(&records, 0, 1), []);
}

fn sample(split: Split, n: usize) -> Vec<Record> {
    generate(split, 11).take(n).collect()
}

fn of_every_shape() -> impl Iterator<Item = Record> {
    let mut draw = Draw::new([0; 16], 1);
    let splits = SPLITS.into_iter().cycle().take(OF_EACH_SHAPE);
    let each = move |shape: Shape| {
        let fill = |split| template::fill(&shape, split, &mut draw);
        splits.clone().map(fill).collect::<Vec<_>>()
    };
    shapes().into_iter().flat_map(each)
}

/// The numbers in a record: labelled figures and doses.
fn figures(record: &Record) -> usize {
    use EntityKind::{Account, Amount, Date};
    let labelled = |entity: &&Entity| matches!(entity.kind, Account | Amount | Date);
    let doses = ["mg", "mcg", "units"];
    record.entities.iter().filter(labelled).count()
        + record.text.split([' ', '.']).filter(|word| doses.contains(word)).count()
}

fn is_a(kind: EntityKind, text: &str) -> bool {
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    match kind {
        EntityKind::Person if rest.is_empty() => LAST_NAMES.contains(&first),
        EntityKind::Person => FIRST_NAMES.contains(&first) && LAST_NAMES.contains(&rest),
        EntityKind::Date => MONTHS.iter().any(|(month, days)| first == *month && is_day(rest, *days)),
        EntityKind::Place => PLACES.contains(&text),
        EntityKind::Amount => text.strip_prefix('$').is_some_and(is_sum),
        EntityKind::Diagnosis => DIAGNOSES.contains(&text),
        EntityKind::Drug => DRUGS.iter().any(|drug| drug.name == text),
        EntityKind::Employer => EMPLOYERS.contains(&text),
        EntityKind::Account => text.len() == 4 && text.parse::<u16>().is_ok(),
    }
}

/// The rest of a date after its month: nothing, a day, or a day and a year.
fn is_day(text: &str, last: usize) -> bool {
    let (day, year) = text.split_once(", ").unwrap_or((text, "2020"));
    let day_fits = day.parse().is_ok_and(|day| (1..=last).contains(&day));
    (text.is_empty() || day_fits) && year.parse().is_ok_and(|year: u16| (2020..=2025).contains(&year))
}

fn is_sum(text: &str) -> bool {
    let digits = text.replace(',', "");
    let grouped = text.len() < 4 || text.as_bytes()[1] == b',';
    digits.parse::<u16>().is_ok_and(|sum| (20..10_000).contains(&sum)) && grouped
}

fn full_names(record: &Record) -> impl Iterator<Item = (&str, &str)> {
    let people = record.entities.iter().filter(|entity| entity.kind == EntityKind::Person);
    people.filter_map(|entity| record.text[entity.span.clone()].split_once(' '))
}

/// The record's text with every entity in brackets after its kind.
fn marked(record: &Record) -> String {
    let mut text = record.text.clone();
    for Entity { kind, span } in record.entities.iter().rev() {
        text.replace_range(span.clone(), &format!("[{kind:?} {}]", &record.text[span.clone()]));
    }
    text
}

fn words_between_slots(template: &str) -> impl Iterator<Item = &str> {
    template.split(['{', '}']).step_by(2)
}

fn has_in_order<'a>(text: &str, mut pieces: impl Iterator<Item = &'a str>) -> bool {
    let after = |rest: &str, piece: &str| rest.split_once(piece).map(|(_, after)| after.to_owned());
    pieces.try_fold(text.to_owned(), |rest, piece| after(&rest, piece)).is_some()
}

/// The fact values that a query names, read from its text alone, and the words around them.
fn named<'a>(query: &str, longest_first: &[&'a str]) -> (Vec<&'a str>, String) {
    let mut rest = format!(" {} ", query.trim_end_matches('?')).replace(' ', "  ");
    let mut found = Vec::new();
    for value in longest_first {
        let spaced = format!(" {} ", value.replace(' ', "  "));
        if rest.contains(&spaced) {
            rest = rest.replace(&spaced, " _ ");
            found.push(*value);
        }
    }
    (found, rest)
}
