//! Files of the command line: NumPy arrays, and output that is written whole or not at all.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use crate::lines;
use ndarray::Array2;
use ndarray_npy::npy::header::Header;
use ndarray_npy::{ReadNpyError, ReadNpyExt, WriteNpyExt};

use super::error::CliError;
use super::terminal::print;
pub(crate) use crate::partial::Readers;
use crate::partial::{self, folder_of};

/// The header of a matrix of `f32` takes 128 bytes; nothing longer is parsed.
const HEADER: usize = 1024;

/// An error about a file.
pub(crate) fn bad(path: &Path, message: impl Display) -> CliError {
    CliError::new(format!("{}: {message}", path.display()))
}

/// An error about a file or folder that could not be opened, in clearer words than the operating system's, if there
/// are any.
pub(crate) fn unreadable(path: &Path, error: &io::Error) -> CliError {
    match error.kind() {
        io::ErrorKind::NotFound => bad(path, "there is no such file"),
        io::ErrorKind::IsADirectory => bad(path, "it is a folder; name a file"),
        _ => bad(path, error),
    }
}

/// Reads a text file of at most `limit` bytes, without its byte order mark; `missing` says what to do if there is
/// none.
pub(crate) fn read_text(path: &Path, limit: usize, missing: &str) -> Result<String, CliError> {
    if path.try_exists().is_ok_and(|exists| !exists) {
        return Err(bad(path, missing));
    }
    Ok(lines::read_whole(path, limit)?)
}

/// Reads a matrix of `f32`, `[rows, dim]`. A regular file is not held in memory beside the matrix.
pub(crate) fn read_npy(path: &Path) -> Result<Array2<f32>, CliError> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
    if metadata.is_file() {
        return read_matrix(path, BufReader::new(file), metadata.len());
    }
    // how long a pipe is shows at its end, and nothing beyond what its header promises is read
    let bytes = read_promised(path, &file)?;
    read_matrix(path, bytes.as_slice(), bytes.len() as u64)
}

/// Reads the bytes of a pipe up to one more than its header promises.
fn read_promised(path: &Path, pipe: impl Read) -> Result<Vec<u8>, CliError> {
    let failed = |error: io::Error| unreadable(path, &error);
    let (mut pipe, mut bytes) = (pipe.take(HEADER as u64), Vec::new());
    pipe.read_to_end(&mut bytes).map_err(failed)?;
    let promised = check_shape(path, &bytes, u64::MAX)?;
    pipe.set_limit(promised.saturating_add(1).saturating_sub(bytes.len() as u64));
    pipe.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Reads a matrix from a file of `length` bytes.
fn read_matrix(path: &Path, mut reader: impl Read, length: u64) -> Result<Array2<f32>, CliError> {
    let mut header = Vec::new();
    reader.by_ref().take(HEADER as u64).read_to_end(&mut header).map_err(|error| unreadable(path, &error))?;
    check_shape(path, &header, length)?;
    Array2::read_npy(header.chain(reader)).map_err(|error| bad(path, explain(&error)))
}

/// Returns the length that the header promises, if the file has it, because memory is allocated by the header.
fn check_shape(path: &Path, head: &[u8], file: u64) -> Result<u64, CliError> {
    let length = match head {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, low, high, ..] => {
            10 + u16::from_le_bytes([*low, *high]) as usize
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d, ..] => {
            12_usize.saturating_add(u32::from_le_bytes([*a, *b, *c, *d]) as usize)
        }
        _ => return Err(bad(path, format!("it is not a .npy file{}", told(head)))),
    };
    let mut header = head.get(..length).ok_or_else(|| bad(path, "its header is truncated or too long"))?;
    let is_f32 = is_f32(header);
    let shape = Header::from_reader(&mut header).map_err(|_| bad(path, "its header cannot be read"))?.shape;
    if shape.len() != 2 {
        let count = shape.len();
        let dimensions = if count == 1 { "dimension" } else { "dimensions" };
        return Err(bad(path, format!("it has {count} {dimensions}; vectors are a matrix, one a row")));
    }
    if shape[1] == 0 {
        return Err(bad(path, "its vectors have no coordinates"));
    }
    let promised = shape.iter().try_fold(size_of::<f32>(), |product, &side| product.checked_mul(side));
    match promised {
        Some(promised) if promised as u64 <= file - length as u64 => Ok(promised as u64 + length as u64),
        // a narrower type is told by its name, not as a file that is too short
        _ if !is_f32 => Ok(length as u64),
        _ => Err(bad(path, "it is truncated: it holds fewer values than its header says")),
    }
}

/// What a file is instead, by its first bytes.
fn told(head: &[u8]) -> &'static str {
    match head {
        [] => ", but empty",
        [b'P', b'K', 3, 4, ..] => ", but an archive, such as .npz; save one array of it with numpy.save",
        [0x1f, 0x8b, ..] => ", but compressed with gzip; unpack it first with `gunzip`",
        [0x80, 2..=5, ..] => ", but a pickle; save the array with numpy.save",
        [0x93, b'N', b'U', b'M', b'P', b'Y', _, _, ..] => " of a version that is known (1 to 3)",
        _ if head.starts_with(b"PAR1") => ", but Parquet; its name should end in .parquet",
        _ if head.starts_with(b"ARROW1") => ", but Arrow; its name should end in .arrow",
        _ if head.starts_with(b"version https://git-lfs") => {
            ", but a Git LFS pointer; fetch the file with `git lfs pull`"
        }
        _ => "",
    }
}

fn is_f32(header: &[u8]) -> bool {
    header.windows(2).any(|pair| pair == b"f4")
}

fn explain(error: &ReadNpyError) -> String {
    match error {
        ReadNpyError::WrongDescriptor(kind) => {
            format!(
                "its values are {kind}, but vectors are float32; convert them with .astype(numpy.float32)"
            )
        }
        ReadNpyError::ExtraBytes(extra) => format!("it has {extra} bytes more than its header says"),
        other => other.to_string(),
    }
}

/// Refuses an output that could not be written, before hours of work.
pub(crate) fn check_output(path: &Path) -> Result<(), CliError> {
    let folder = folder_of(path);
    match (folder.is_dir(), path.is_dir()) {
        (true, false) if path.exists() && !path.is_file() => Ok(()),
        (true, false) => partial::check_folder(folder).map_err(|error| bad(path, error)),
        (true, true) => Err(bad(path, "it is a folder; name a file to write")),
        (false, _) => {
            Err(bad(path, format!("there is no folder {} to write it to; make it first", folder.display())))
        }
    }
}

/// Writes a matrix of `f32`, whole or not at all.
pub(crate) fn write_npy(path: &Path, vectors: &Array2<f32>) -> Result<(), CliError> {
    write_atomically(path, Readers::Usual, |file| vectors.write_npy(file).map_err(io::Error::other))
}

/// Writes a matrix of bytes, whole or not at all.
pub(crate) fn write_bytes_npy(path: &Path, rows: &Array2<u8>) -> Result<(), CliError> {
    write_atomically(path, Readers::Usual, |file| rows.write_npy(file).map_err(io::Error::other))
}

/// Writes a file that then replaces `path`, so that no reader sees half a file and a failure leaves the old one. A
/// link stays one. A pipe or a device is written directly.
pub(crate) fn write_atomically(
    path: &Path,
    readers: Readers,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> Result<(), CliError> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let is_special = fs::metadata(&target).is_ok_and(|target| !target.is_file());
    let done = if is_special { write_into(&target, write) } else { partial::write(&target, readers, write) };
    done.map_err(|error| bad(path, error))
}

fn write_into(path: &Path, write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    let mut buffer = BufWriter::new(&file);
    write(&mut buffer)?;
    buffer.flush()
}

/// Writes text to `path`, or to stdout if there is none.
pub(crate) fn write_text(path: Option<&Path>, text: &str) -> Result<(), CliError> {
    match path {
        Some(path) => write_atomically(path, Readers::Usual, |file| file.write_all(text.as_bytes())),
        None => print(text).map(|_| ()),
    }
}

/// Writes a file whose name the user did not choose. A link in its place was planted: it is replaced, and not followed.
pub(crate) fn write_ours(readers: Readers, path: &Path, text: &str) -> Result<(), CliError> {
    partial::write(path, readers, |file| file.write_all(text.as_bytes())).map_err(|error| bad(path, error))
}

/// Writes text as [`write_text`] does, for the result of minutes of work: if the file fails, it goes to stdout rather
/// than nowhere.
pub(crate) fn write_result(path: Option<&Path>, text: &str) -> Result<(), CliError> {
    write_text(path, text).inspect_err(|_| {
        if path.is_some() {
            let _ = print(text);
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_fails_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let failing = |_: &mut BufWriter<&File>| Err(io::Error::other("the disk is full"));
        let error = write_atomically(&folder.path().join("out"), Readers::Usual, failing).unwrap_err();
        assert!(error.to_string().ends_with("out: the disk is full"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_one_only_if_the_user_named_it() {
        let folder = tempfile::tempdir().unwrap();
        let [target, link] = ["target", "link"].map(|name| folder.path().join(name));
        fs::write(&target, "before").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        write_text(Some(&link), "named").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "named");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        write_ours(Readers::Usual, &link, "ours").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "named");
        assert_eq!(fs::read_to_string(&link).unwrap(), "ours");
    }

    /// A file with this header, and so many bytes of zeros behind it.
    fn npy(dict: &str, data: usize) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend(u16::try_from(dict.len() + 1).unwrap().to_le_bytes());
        bytes.extend(dict.bytes().chain([b'\n']));
        bytes.resize(bytes.len() + data, 0);
        bytes
    }

    #[test]
    fn a_header_cannot_make_room_that_the_file_does_not_fill() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vectors.npy");
        let message = |dict: &str, data: usize| {
            fs::write(&path, npy(dict, data)).unwrap();
            read_npy(&path).map(|vectors| vectors.dim()).map_err(|error| error.to_string())
        };
        let dict = |kind: &str, shape: &str| {
            format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}")
        };
        assert_eq!(message(&dict("<f4", "(2, 3)"), 24), Ok((2, 3)));
        assert_eq!(message(&dict("<f4", "(0, 3)"), 0), Ok((0, 3)));
        let huge = format!("({0}, {0})", usize::MAX / 2);
        for (dict, data, part) in [
            (dict("<f4", "(2, 3)"), 23, "it is truncated"),
            (dict("<f4", "(1000000000000, 384)"), 64, "it is truncated"),
            (dict("<f4", &huge), 64, "it is truncated"),
            (dict("<f4", "(2, 3)"), 25, "1 bytes more"),
            (dict("<f4", "(2, 0)"), 0, "no coordinates"),
            (dict("<f4", "(6,)"), 24, "it has 1 dimension;"),
            (dict("<f8", "(2, 3)"), 48, "astype"),
            (dict("<f2", "(2, 3)"), 12, "astype"),
            ("(".repeat(2000), 0, "too long"),
            ("{".into(), 0, "header cannot be read"),
        ] {
            let message = message(&dict, data).unwrap_err();
            assert!(message.contains(part), "{message} has no {part}");
        }
        // a pipe that never ends is read as far as its header promises
        for (shape, data) in [("(2, 3)", 24), ("(300, 3)", 3600)] {
            let header = npy(&dict("<f4", shape), 0);
            let bytes = read_promised(&path, header.chain(io::repeat(0))).unwrap();
            assert_eq!(bytes.len(), HEADER.max(header.len() + data + 1), "{shape}");
        }
        assert!(read_promised(&path, io::repeat(0)).is_err());
        for (bytes, part) in [
            (&b"text"[..], "not a .npy file"),
            (b"", "but empty"),
            (b"PK\x03\x04", "numpy.save"),
            (b"\x1f\x8b\x08", "gunzip"),
            (b"\x80\x04\x95", "a pickle"),
            (b"\x93NUMPY\x09\x00\x76\x00", "of a version that is known"),
            (b"PAR1", "Parquet"),
            (b"ARROW1", "Arrow"),
            (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ] {
            fs::write(&path, bytes).unwrap();
            let message = read_npy(&path).unwrap_err().to_string();
            assert!(message.contains(part), "{message} has no {part}");
        }
    }
}
