//! What `fuzz/run` runs: the reader that the variable `READER` names.
#![no_main]

use std::sync::LazyLock;

use embosk_fuzz::{READERS, Reader};
use libfuzzer_sys::fuzz_target;

static CHOSEN: LazyLock<Reader> = LazyLock::new(|| {
    let name = std::env::var("READER").unwrap_or_default();
    let found = READERS.into_iter().find(|(reader, _)| *reader == name);
    found.unwrap_or_else(|| panic!("READER names one of {:?}", READERS.map(|(name, _)| name))).1
});

fuzz_target!(|data: &[u8]| CHOSEN(data));
