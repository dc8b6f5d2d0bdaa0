//! Prints built-in records of the held-out split, one a line: `records COUNT [SEED]`.
//!
//! They are texts to try `embosk invert --input` with that the shipped attack was not trained on.

use embosk::evaluate::Corpus;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.next().unwrap_or_else(|| "10".into()).parse()?;
    let seed = arguments.next().unwrap_or_else(|| "9".into()).parse()?;
    for text in Corpus::records(count, seed).texts() {
        println!("{text}");
    }
    Ok(())
}
