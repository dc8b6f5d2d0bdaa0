//! Opens a file of text, compressed or not.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::unreadable;
use super::zstd::Frames;
use crate::Error;

/// This many bytes tell what a file is. A tar archive has its mark after the first 257.
const HEAD: usize = 512;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// Opens a file as text: decompressed, and after the byte order mark.
pub(super) fn open(path: &Path) -> Result<Box<dyn BufRead>, Error> {
    unpack(File::open(path).map_err(|error| unreadable(path, &error))?, path)
}

/// Reads text: decompressed, and after the byte order mark. Errors name `path`.
pub(super) fn unpack(reader: impl Read + 'static, path: &Path) -> Result<Box<dyn BufRead>, Error> {
    let open = || {
        let (head, packed) = peek(BufReader::new(reader))?;
        if head.starts_with(GZIP) {
            return unpacked(Named { inner: MultiGzDecoder::new(packed), kind: "gzip" });
        }
        if head.starts_with(ZSTD) {
            return unpacked(Named { inner: Frames::new(packed), kind: "zstd" });
        }
        Ok((head, Box::new(packed) as Box<dyn BufRead>))
    };
    let (head, mut text) = open().map_err(|error| unreadable(path, &error))?;
    if let Some(message) = refusal(&head) {
        return Err(Error::file(path, message));
    }
    if head.starts_with(BYTE_ORDER_MARK) {
        text.consume(BYTE_ORDER_MARK.len());
    }
    Ok(text)
}

fn unpacked(decoder: impl Read + 'static) -> io::Result<(Vec<u8>, Box<dyn BufRead>)> {
    let (head, text) = peek(BufReader::new(decoder))?;
    Ok((head, Box::new(text)))
}

/// A reader whose first bytes were looked at.
type Peeked<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// The first bytes, and a reader that still begins with them. A pipe may give them piece by piece.
fn peek<R: BufRead>(mut reader: R) -> io::Result<(Vec<u8>, Peeked<R>)> {
    let mut head = Vec::new();
    reader.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(reader)))
}

/// A decoder whose errors say what it decodes.
struct Named<R> {
    inner: R,
    kind: &'static str,
}

impl<R: Read> Read for Named<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            let kind = self.kind;
            io::Error::new(
                error.kind(),
                format!("it is damaged or cut off: {error}; test it with `{kind} -t`, or fetch it again"),
            )
        })
    }
}

/// Why a file that begins like this is not text, and what to do.
fn refusal(head: &[u8]) -> Option<String> {
    let unpack = |kind: &str, command: &str| {
        Some(format!("it is compressed with {kind}; unpack it first with `{command}`"))
    };
    let convert =
        |kind: &str| Some(format!("it is a {kind} file; export its texts as JSON lines or as text first"));
    match head {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => {
            Some("it is UTF-32, not UTF-8; convert it with `iconv -f UTF-32 -t UTF-8`".into())
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some(utf_16("UTF-16")),
        [0, second, ..] if *second != 0 => Some(utf_16("UTF-16BE")),
        [first, 0, ..] if *first != 0 => Some(utf_16("UTF-16LE")),
        _ if head.starts_with(b"version https://git-lfs.github.com/spec/") => {
            Some("it is a Git LFS pointer, not the file itself; fetch the file with `git lfs pull`".into())
        }
        _ if head.starts_with(GZIP) || head.starts_with(ZSTD) => {
            Some("it is compressed twice; unpack it once with `gunzip` or `unzstd`".into())
        }
        _ if head.starts_with(b"\xfd7zXZ\0") => unpack("xz", "unxz"),
        _ if head.starts_with(b"BZh") && head.get(4..7) == Some(b"1AY") => unpack("bzip2", "bunzip2"),
        _ if head.starts_with(b"\x04\x22\x4d\x18") => unpack("lz4", "unlz4"),
        _ if head.starts_with(b"PK\x03\x04") => unpack("zip", "unzip"),
        _ if head.starts_with(b"7z\xbc\xaf\x27\x1c") => unpack("7-Zip", "7z x"),
        _ if head.get(257..262) == Some(b"ustar") => {
            Some("it is a tar archive; unpack it with `tar -xf`, and name a file of it".into())
        }
        _ if head.starts_with(b"%PDF-") => convert("PDF"),
        _ if head.starts_with(b"\x89PNG")
            || head.starts_with(b"\xff\xd8\xff")
            || head.starts_with(b"GIF8") =>
        {
            Some("it is a picture; is it the right file?".into())
        }
        _ if head.starts_with(b"SQLite format 3\0") => convert("SQLite"),
        _ if head.starts_with(b"\x89HDF\r\n") => convert("HDF5"),
        // Word and Excel before 2007
        _ if head.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") => convert("Microsoft Office"),
        _ if matches!(head, [0x80, 2..=5, ..]) => convert("pickle"),
        _ if head.starts_with(b"PAR1") => convert("Parquet"),
        _ if head.starts_with(b"ARROW1") => convert("Arrow"),
        _ if head.starts_with(b"\x93NUMPY") => {
            Some("it is a NumPy array, not text; vectors go where a .npy file is asked for".into())
        }
        _ => None,
    }
}

fn utf_16(encoding: &str) -> String {
    format!("it is UTF-16, not UTF-8; convert it with `iconv -f {encoding} -t UTF-8`")
}
