//! Files of the command line: NumPy arrays, and output that is there whole or not at all.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use ndarray::Array2;
use ndarray_npy::npy::header::Header;
use ndarray_npy::{ReadNpyError, ReadNpyExt, WriteNpyExt};

use super::error::CliError;
use super::terminal::print;

/// The header of a matrix of `f32` takes 128 bytes; nothing longer is parsed.
const HEADER: usize = 1024;

/// An error about a file.
pub(crate) fn bad(path: &Path, message: impl Display) -> CliError {
    CliError::new(format!("{}: {message}", path.display()))
}

/// An error about a file or folder that could not be opened, in words where there are better ones than
/// the operating system's.
pub(crate) fn unreadable(path: &Path, error: &io::Error) -> CliError {
    match error.kind() {
        io::ErrorKind::NotFound => bad(path, "there is no such file"),
        io::ErrorKind::IsADirectory => bad(path, "it is a folder; name a file"),
        _ => bad(path, error),
    }
}

/// Reads a matrix of `f32`, `[rows, dim]`.
pub(crate) fn read_npy(path: &Path) -> Result<Array2<f32>, CliError> {
    let bytes = fs::read(path).map_err(|error| unreadable(path, &error))?;
    check_shape(path, &bytes)?;
    Array2::read_npy(bytes.as_slice()).map_err(|error| bad(path, explain(&error)))
}

/// The shape that the header promises is what the file holds: room is made by the header.
fn check_shape(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let length = match bytes {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, low, high, ..] => {
            10 + u16::from_le_bytes([*low, *high]) as usize
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d, ..] => {
            12_usize.saturating_add(u32::from_le_bytes([*a, *b, *c, *d]) as usize)
        }
        _ => return Err(bad(path, "it is not a .npy file")),
    };
    let header = bytes.get(..length).filter(|_| length <= HEADER);
    let mut header = header.ok_or_else(|| bad(path, "its header is truncated or too long"))?;
    let shape = Header::from_reader(&mut header).map_err(|_| bad(path, "its header cannot be read"))?.shape;
    if shape.len() != 2 {
        return Err(bad(path, format!("it has {} dimensions; vectors are a matrix, one a row", shape.len())));
    }
    if shape[1] == 0 {
        return Err(bad(path, "its vectors have no coordinates"));
    }
    let promised = shape.iter().try_fold(size_of::<f32>(), |product, &side| product.checked_mul(side));
    match promised {
        Some(promised) if promised <= bytes.len() - length => Ok(()),
        // a narrower type is told by its name, not as a file that is too short
        _ if !is_f32(&bytes[..length]) => Ok(()),
        _ => Err(bad(path, "it is truncated: it holds fewer values than its header says")),
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
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (folder.is_dir(), path.is_dir()) {
        (true, false) if path.exists() && !path.is_file() => Ok(()),
        (true, false) => {
            let probe = beside(path);
            File::create(&probe).and_then(|_| fs::remove_file(&probe)).map_err(|error| bad(path, error))
        }
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

/// Who may read what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Whom the umask lets.
    Usual,
    /// Whoever wrote it, as with a key file; where there are no such modes, as usual.
    Owner,
}

/// Writes beside `path` and renames into place, so that no reader sees half a file and a failure
/// leaves what was there. A pipe or a device is written as it is.
pub(crate) fn write_atomically(
    path: &Path,
    readers: Readers,
    write: impl Fn(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), CliError> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let special = fs::metadata(&target).is_ok_and(|target| !target.is_file());
    let part = if special { target.clone() } else { beside(&target) };
    let done = open(&part, special, readers)
        .and_then(|file| fill(file, special, write))
        .and_then(|()| if special { Ok(()) } else { fs::rename(&part, &target) });
    done.map_err(|error| {
        if !special {
            let _ = fs::remove_file(&part);
        }
        bad(path, error)
    })
}

/// Removes what processes that were killed left half written in `folder`.
pub(crate) fn remove_parts(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        if is_hidden && path.extension().is_some_and(|extension| extension == "part") {
            let _ = fs::remove_file(path);
        }
    }
}

fn open(path: &Path, special: bool, readers: Readers) -> io::Result<File> {
    let mut options = File::options();
    options.write(true);
    if special {
        return options.open(path);
    }
    #[cfg(unix)]
    if readers == Readers::Owner {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    options.create(true).truncate(true).open(path)
}

fn fill(file: File, special: bool, write: impl Fn(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    write(&mut file)?;
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    if special { Ok(()) } else { file.sync_all() }
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.part", std::process::id()))
}

/// Writes text to `path`, or to stdout where there is none.
pub(crate) fn write_text(path: Option<&Path>, text: &str) -> Result<(), CliError> {
    match path {
        Some(path) => write_text_for(Readers::Usual, path, text),
        None => print(text).map(|_| ()),
    }
}

/// Writes text to a file that `readers` may read.
pub(crate) fn write_text_for(readers: Readers, path: &Path, text: &str) -> Result<(), CliError> {
    write_atomically(path, readers, |file| file.write_all(text.as_bytes()))
}

/// As [`write_text`], for what took minutes of work: where the file fails, it is better on stdout than
/// nowhere.
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
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, "before").unwrap();
        let failing = |file: &mut BufWriter<File>| {
            file.write_all(b"half")?;
            Err(io::Error::other("the disk is full"))
        };
        assert!(
            write_atomically(&path, Readers::Usual, failing)
                .unwrap_err()
                .to_string()
                .ends_with("out: the disk is full")
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        write_text(Some(&path), "after").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "after");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_for_its_owner_is_closed_to_others() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        fs::write(&path, "before").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write_text_for(Readers::Owner, &path, "after").unwrap();
        assert_eq!((mode(), fs::read_to_string(&path).unwrap().as_str()), (0o600, "after"));
        write_text(Some(&path), "again").unwrap();
        let usual = folder.path().join("usual");
        fs::write(&usual, "").unwrap();
        assert_eq!(mode(), fs::metadata(usual).unwrap().permissions().mode() & 0o777);
    }

    #[test]
    fn a_header_cannot_make_room_that_the_file_does_not_fill() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vectors.npy");
        let message = |dict: &str, data: usize| {
            let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
            bytes.extend(u16::try_from(dict.len() + 1).unwrap().to_le_bytes());
            bytes.extend(dict.bytes().chain([b'\n']));
            bytes.resize(bytes.len() + data, 0);
            fs::write(&path, bytes).unwrap();
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
            (dict("<f4", "(6,)"), 24, "it has 1 dimensions"),
            (dict("<f8", "(2, 3)"), 48, "astype"),
            (dict("<f2", "(2, 3)"), 12, "astype"),
            ("(".repeat(2000), 0, "too long"),
            ("{".into(), 0, "header cannot be read"),
        ] {
            let message = message(&dict, data).unwrap_err();
            assert!(message.contains(part), "{message} has no {part}");
        }
        fs::write(&path, "text").unwrap();
        assert!(read_npy(&path).unwrap_err().to_string().contains("not a .npy file"));
    }
}
