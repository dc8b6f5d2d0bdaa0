//! Files that stand in for the real ones: Git LFS pointers, web pages saved under a file's name, and empty files.

use std::fmt;
use std::io::Read;

use crate::Error;
use crate::location::Location;

/// How many bytes are enough to tell.
const BEGINNING: u64 = 64;

/// Reports a file that cannot be used. If it is not a model's file at all, says what it is.
pub(crate) fn damaged(file: &Location, error: impl fmt::Display) -> Error {
    let mut beginning = Vec::new();
    let read = file.open().and_then(|opened| opened.take(BEGINNING).read_to_end(&mut beginning));
    match read.ok().and_then(|_| of(&beginning)) {
        Some(what) => Error::file(file.path(), what),
        None => Error::damaged(file.path(), error),
    }
}

/// What a file that begins like this is instead of a model's.
fn of(beginning: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(beginning).trim_start().to_lowercase();
    if beginning.is_empty() {
        return Some("damaged: the file is empty; fetch it again");
    }
    if text.starts_with("version https://git-lfs.github.com/spec/") {
        return Some(
            "this is a Git LFS pointer, not the file itself; run `git lfs install` and `git lfs pull` in the folder, \
             or fetch the file from the hub",
        );
    }
    let is_page = ["<!doctype html", "<html", "<head"].iter().any(|tag| text.starts_with(tag));
    is_page.then_some(
        "this is a web page, not the file itself; fetch the raw file (on the hub: `resolve` in the address, not `blob`)",
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn stand_ins_are_named_and_others_are_damaged() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("model.safetensors");
        for (content, expected) in [
            ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS pointer"),
            ("\n<!DOCTYPE html>\n<html>", "web page"),
            ("<HTML lang=\"en\">", "web page"),
            ("", "empty"),
            ("{\"a\": 1", "cut off"),
        ] {
            std::fs::write(&path, content).unwrap();
            let message = damaged(&(&path).into(), "cut off").to_string();
            assert!(message.contains(expected) && message.contains("model.safetensors"), "{message}");
        }
    }
}
