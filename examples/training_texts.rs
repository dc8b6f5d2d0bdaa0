//! Writes the list of training texts for a model that was trained before such lists existed:
//!
//! ```sh
//! cargo run --release --features cli --example training_texts -- training_texts.bin 10 sentences.txt
//! ```
//!
//! The arguments are the file to write, the bits of a text's hash (with 10, one in 1,024 other texts is mistaken for
//! a trained one), and files with one text per line. The texts are normalized as the shipped embedders read them.

use embosk::attacks::vec2text::TrainingTexts;
use embosk::embedder::reference;
use embosk::evaluate::corpus::read_texts;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [output, bits, files @ ..] = arguments.as_slice() else {
        return Err("arguments: OUTPUT BITS FILE…".into());
    };
    let embedder = reference()?;
    let mut texts = Vec::new();
    for file in files {
        texts.extend(read_texts(file)?.iter().map(|text| embedder.normalize(text)));
    }
    let bytes = TrainingTexts::new(&texts, bits.parse()?).to_bytes();
    println!("{} texts in {} bytes", texts.len(), bytes.len());
    std::fs::write(output, bytes)?;
    Ok(())
}
