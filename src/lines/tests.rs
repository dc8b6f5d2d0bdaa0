#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;

use super::*;

#[derive(Debug, PartialEq, Deserialize)]
struct Pair {
    input: String,
    output: Option<String>,
    #[serde(default)]
    spans: Vec<(usize, usize)>,
}

impl Record for Pair {
    const FIELDS: &'static [Field] = &[
        Field::text("input"),
        Field::text("output").optional(),
        Field::list("spans", "spans, each [start, end]").optional(),
    ];
}

/// A file of these bytes, whose name is always the same.
fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn texts(bytes: &[u8]) -> Result<Vec<String>, String> {
    read_texts(file(bytes).1.as_path()).map_err(|error| error.to_string())
}

fn pairs(bytes: &[u8]) -> Result<Vec<Pair>, String> {
    let (_folder, path) = file(bytes);
    records(&path).and_then(Iterator::collect).map_err(|error| error.to_string())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

const MARK: &[u8] = b"\xef\xbb\xbf";

#[test]
fn lines_are_texts_without_their_ends() {
    for (bytes, expected) in [
        (&b""[..], &[][..]),
        (b"one\n\nthree\r\n", &["one", "", "three"]),
        (b"one\ntwo", &["one", "two"]),
        (b"one\rtwo\n \n", &["one\rtwo", " "]),
        (&[MARK, b"one\n"].concat(), &["one"]),
        (MARK, &[]),
        // only the first is no part of the text
        (&[MARK, MARK, b"one\n", MARK, b"two\n"].concat(), &["\u{feff}one", "\u{feff}two"]),
    ] {
        assert_eq!(texts(bytes).unwrap(), expected, "{bytes:?}");
    }
}

#[test]
fn compressed_files_are_read_whatever_they_are_called() {
    let long: Vec<u8> = (0..200_000_u32).flat_map(|line| format!("line {line}\n").into_bytes()).collect();
    let expected = texts(&long).unwrap();
    assert_eq!(expected.len(), 200_000);
    let marked = [MARK, &long].concat();
    let (head, tail) = long.split_at(long.len() / 3);
    // a frame that a reader skips
    let skipped = [&b"\x50\x2a\x4d\x18\x03\0\0\0abc"[..]].concat();
    for (name, packed) in [
        ("gzip", gzip(&long)),
        ("zstd", zstd(&long)),
        ("with a mark", gzip(&marked)),
        ("zstd with a mark", zstd(&marked)),
        ("members", [gzip(head), gzip(b""), gzip(tail)].concat()),
        ("frames", [zstd(head), skipped.clone(), zstd(b""), zstd(tail), skipped].concat()),
    ] {
        assert!(texts(&packed).unwrap() == expected, "{name}");
    }
    for packed in [gzip(&long), zstd(&long)] {
        let half = texts(&packed[..packed.len() / 2]).unwrap_err();
        assert!(half.contains("it is damaged or cut off"), "{half}");
        let mut wrong = packed.clone();
        let last = wrong.len() - 2;
        wrong[last] ^= 1;
        let wrong = texts(&wrong).unwrap_err();
        assert!(wrong.contains("it is damaged or cut off"), "{wrong}");
    }
}

#[test]
fn files_that_are_no_text_are_told_by_their_first_bytes() {
    let tar = {
        let mut tar = vec![b'a'; 600];
        tar[257..262].copy_from_slice(b"ustar");
        tar
    };
    let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n";
    for (bytes, part) in [
        (&lfs[..], "Git LFS pointer"),
        (&gzip(lfs), "Git LFS pointer"),
        (b"\xff\xfe\0\0o\0\0\0", "UTF-32, not UTF-8"),
        (b"\0\0\xfe\xff\0\0\0o", "UTF-32"),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF file"),
        (b"\x89PNG\r\n\x1a\n", "a picture"),
        (b"\xff\xd8\xff\xe0", "a picture"),
        (b"SQLite format 3\0", "SQLite"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Microsoft Office"),
        (b"\x80\x04\x95\x0b", "a pickle file"),
        (b"one\rtwo\rthree", "line 1: its lines end with carriage returns"),
        (b"\xff\xfeo\0n\0e\0", "UTF-16, not UTF-8; convert it with `iconv"),
        (b"\xfe\xff\0o\0n", "UTF-16"),
        (b"{\0\"\0", "UTF-16LE"),
        (b"\0{\0\"", "UTF-16BE"),
        (b"\xfd7zXZ\0...", "unxz"),
        (b"BZh91AY&SY", "bunzip2"),
        (b"\x04\x22\x4d\x18", "unlz4"),
        (b"PK\x03\x04", "unzip"),
        (b"7z\xbc\xaf\x27\x1c", "7z x"),
        (&tar, "tar -xf"),
        (&gzip(&tar), "tar -xf"),
        (&gzip(&gzip(b"one")), "compressed twice"),
        (&zstd(&gzip(b"one")), "compressed twice"),
        (b"PAR1", "Parquet"),
        (b"ARROW1", "Arrow"),
        (b"\x93NUMPY", "NumPy"),
        (b"one\ntwo\nthr\xff", "line 3: it is not UTF-8; if it is Latin-1"),
    ] {
        for message in [texts(bytes).unwrap_err(), pairs(bytes).unwrap_err()] {
            // a line that is no JSON is told before a later one that is not UTF-8
            let expected = if message.contains("JSON object") { "line 1" } else { part };
            assert!(message.contains(expected) && message.contains("lines"), "{message} has no {part}");
        }
        assert!(texts(bytes).unwrap_err().contains(part));
    }
    let folder = tempfile::tempdir().unwrap();
    for (path, part) in
        [(folder.path().to_owned(), "it is a folder"), (folder.path().join("none"), "there is no such file")]
    {
        let message = read_texts(&path).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_line_has_a_limit() {
    let mut bytes = vec![b'a'; LONGEST];
    assert_eq!(texts(&bytes).unwrap()[0].len(), LONGEST);
    bytes.extend(b"\r\nb\n");
    assert_eq!(texts(&bytes).unwrap().len(), 2);
    let too_long = [b"first\n", bytes.as_slice()].concat();
    let too_long = too_long.iter().map(|&byte| if byte == b'\r' { b'a' } else { byte }).collect::<Vec<_>>();
    for bytes in [&too_long[..], &too_long[..too_long.len() - 3], &gzip(&too_long)] {
        let message = texts(bytes).unwrap_err();
        assert!(
            message.ends_with("lines, line 2: it has more than 16 MiB; a line holds one text"),
            "{message}"
        );
    }
}

#[cfg(unix)]
#[test]
fn a_file_without_an_end_is_refused() {
    let message = read_texts("/dev/zero").unwrap_err().to_string();
    assert!(message.contains("more than 16 MiB"), "{message}");
    let message = read_whole("/dev/zero", 1 << 20).unwrap_err().to_string();
    assert!(message.contains("more than 1 MiB"), "{message}");
}

#[test]
fn a_whole_file_has_a_limit_and_no_mark() {
    let read = |bytes: &[u8], limit| read_whole(file(bytes).1, limit).map_err(|error| error.to_string());
    assert_eq!(read(&[MARK, b"a = 1\n"].concat(), 6).unwrap(), "a = 1\n");
    assert!(read(&[b' '; 2049], 2048).unwrap_err().contains("it has more than 2 KiB"));
    assert!(read(b"\xff", 9).unwrap_err().contains("it is not UTF-8"));
}

#[test]
fn what_python_writes_is_read_where_nobody_looks() {
    for line in [
        r#"{"input": "a", "output": "b"}"#,
        r#"{"input": "a", "output": "b", "cosine": NaN}"#,
        r#"{"cosine": [NaN, Infinity, -Infinity], "input": "a", "output": "b"}"#,
        r#"{"metadata": {"year": NaN, "name": "\ud83d"}, "input": "a", "output": "b"}"#,
        r#"{"note": "\"NaN\\", "input": "a", "year":NaN, "output": "b"}"#,
    ] {
        let pair = Pair { input: "a".into(), output: Some("b".into()), spans: vec![] };
        assert_eq!(pairs(line.as_bytes()).unwrap(), [pair], "{line}");
    }
    // within a string it is text
    let line = r#"{"input": "NaN is -Infinity \\", "year": NaN, "output": "\ud83d\ude00"}"#;
    let pair = Pair { input: r"NaN is -Infinity \".into(), output: Some("😀".into()), spans: vec![] };
    assert_eq!(pairs(line.as_bytes()).unwrap(), [pair]);
}

#[test]
fn a_line_that_cannot_be_read_is_told_by_its_cause() {
    let no_object = "it is not a JSON object with the field \"input\": ";
    let with_prefix = |part: &str| format!("{no_object}{part}");
    for (line, expected) in [
        ("", with_prefix("it is empty")),
        ("\u{feff}{\"input\": \"secret\"}", with_prefix("it begins with a byte order mark")),
        ("[\"secret\"]", with_prefix("it is a JSON array")),
        ("<html>secret", with_prefix("it is HTML, XML or a TREC document")),
        ("\"input\": \"secret\",", with_prefix("it is a JSON string")),
        ("}", with_prefix("it goes on with what another line began")),
        ("1\tsecret", with_prefix("it looks like a line of a TSV or TREC file")),
        ("secret", with_prefix("it is something else")),
        ("{'input': 'secret'}", with_prefix("it has the single quotes of a Python dictionary")),
        ("{", with_prefix("it ends within the object")),
        ("{\"input\": \"secret", with_prefix("it ends within the object")),
        ("{\"input\": \"secret\",}", with_prefix("trailing comma at column 20")),
        ("{\"input\": \"secret\"} secret", with_prefix("trailing characters at column 21")),
        ("{\"input\": secret}", with_prefix("expected value at column 11")),
        ("{\"input\": NaN, secret}", with_prefix("key must be a string")),
        ("{\"input\": \"sec\tret\"}", with_prefix("control character")),
        ("{\"output\": \"secret\"}", "the field \"input\" is missing; it must be a string".into()),
        ("{\"input\": null}", "the field \"input\" is null; it must be a string".into()),
        ("{\"input\": 7154}", "the field \"input\" is a number; it must be a string".into()),
        ("{\"input\": [\"secret\"]}", "the field \"input\" is a list; it must".into()),
        ("{\"input\": {\"secret\": 1}}", "the field \"input\" is an object; it must".into()),
        ("{\"input\": NaN}", "the field \"input\" is NaN; it must be a string".into()),
        ("{\"input\": -Infinity}", "the field \"input\" is -Infinity; it must".into()),
        ("{\"input\": \"secret\", \"output\": NaN}", "the field \"output\" is NaN; it must".into()),
        ("{\"input\": \"secret \\ud83d\"}", "the field \"input\" holds half a surrogate pair".into()),
        ("{\"input\": \"\\ude00 secret\"}", "the field \"input\" holds half a surrogate pair".into()),
        ("{\"input\": \"secret\", \"spans\": 1}", "\"spans\" is a number; it must be a list of spans".into()),
        ("{\"input\": \"secret\", \"spans\": [[1]]}", "the field \"spans\" is not a list of spans".into()),
        ("{\"input\": \"secret\", \"spans\": [[1, NaN]]}", "the field \"spans\" is not a list of".into()),
        ("{\"input\": \"secret\", \"input\": \"b\"}", "a field is there twice".into()),
    ] {
        let good = "{\"input\": \"a\"}\n";
        let message = pairs(format!("{good}{line}\n").as_bytes()).unwrap_err();
        let (_, message) = message.split_once("lines, line 2: ").unwrap();
        assert!(message.starts_with(&expected) || message.contains(&expected), "{message} is not {expected}");
        assert!(!message.contains("secret") && !message.contains("7154"), "{message}");
    }
    for (first, expected) in [
        ("[", "it begins a JSON array; write one object a line"),
        ("input,output", "it looks like the header of a CSV file"),
        ("input\toutput", "it looks like a line of a TSV"),
        (
            "{\n  \"input\": \"secret\"\n}",
            "it ends within the object: the file is cut off, or an object has several",
        ),
    ] {
        let message = pairs(first.as_bytes()).unwrap_err();
        assert!(message.contains("line 1: ") && message.contains(expected), "{message}");
    }
}

#[test]
fn nothing_follows_an_error() {
    let (_folder, path) = file(b"one\n\xff\nthree\n");
    let lines: Vec<_> = lines(&path).unwrap().collect();
    assert!(matches!(lines.as_slice(), [Ok(_), Err(_)]));
}
