//! Prints built-in records, one per line: `records COUNT [SEED] [--split train|held-out] [--families A,B…]`.
//!
//! Without `--split`, they are of the held-out split. The shipped attack was not trained on these texts, so
//! use them to try `embosk invert --input`. With `--families clinical,finance`, only records of these
//! families are printed.

use Family::{
    Clinical, Education, Employment, Finance, Housing, Insurance, Legal, Prescription, Support, Travel,
};
use embosk::evaluate::records::{Family, Split, generate};

const FAMILIES: [Family; 10] =
    [Clinical, Prescription, Employment, Finance, Legal, Support, Travel, Housing, Insurance, Education];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut numbers, mut split, mut families) = (Vec::new(), Split::HeldOut, FAMILIES.to_vec());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} takes a value"));
        match argument.as_str() {
            "--split" => split = named(&value()?)?,
            "--families" => families = value()?.split(',').map(family).collect::<Result<_, _>>()?,
            number => numbers.push(number.parse::<u64>()?),
        }
    }
    let count = numbers.first().map_or(10, |&count| count as usize);
    let records = generate(split, numbers.get(1).copied().unwrap_or(9));
    for record in records.filter(|record| families.contains(&record.family)).take(count) {
        println!("{}", record.text);
    }
    Ok(())
}

fn named(split: &str) -> Result<Split, String> {
    match split {
        "train" => Ok(Split::Train),
        "held-out" => Ok(Split::HeldOut),
        _ => Err(format!("--split is train or held-out, and not {split}")),
    }
}

fn family(name: &str) -> Result<Family, String> {
    let is_named = |family: &Family| format!("{family:?}").eq_ignore_ascii_case(name);
    let unknown = || format!("there is no family {name}; there are {FAMILIES:?}");
    FAMILIES.into_iter().find(is_named).ok_or_else(unknown)
}
