//! What kind of file a name stands for.

use std::path::Path;

use clap::ValueEnum;

use super::super::error::CliError;
use super::super::files;

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A NumPy array of float32.
    Npy,
    /// A Parquet file.
    Parquet,
    /// An Arrow IPC file or stream, which is Feather version 2 too.
    Arrow,
    /// JSON lines, one object per line.
    Jsonl,
}

const KNOWN: &str = ".npy, .parquet, .arrow, .feather or .jsonl";

impl Format {
    /// Returns what `input` is: what was `said`, or what its name says.
    pub(super) fn of(input: &Path, said: Option<Self>) -> Result<Self, CliError> {
        if input.is_dir() {
            return Err(files::bad(input, "it is a folder; name a file"));
        }
        let format = match (said, is_standard(input)) {
            (Some(format), _) => format,
            (None, true) => {
                return Err(CliError::new(
                    "stdin has no name that says what it is; add --format jsonl or --format arrow",
                ));
            }
            (None, false) => Self::by_name(input, true)?,
        };
        match format {
            Self::Npy | Self::Parquet if is_standard(input) => Err(CliError::new(
                "only JSON lines and Arrow streams are read from stdin; name a file for other formats",
            )),
            format => Ok(format),
        }
    }

    fn by_name(path: &Path, packed: bool) -> Result<Self, CliError> {
        let extension = |path: &Path| path.extension().map(|it| it.to_string_lossy().to_ascii_lowercase());
        match extension(path).as_deref() {
            Some("npy") | None => Ok(Self::Npy),
            Some("parquet" | "pq") => Ok(Self::Parquet),
            Some("arrow" | "arrows" | "feather" | "ipc") => Ok(Self::Arrow),
            Some("jsonl" | "ndjson") => Ok(Self::Jsonl),
            Some("gz" | "zst")
                if Self::by_name(&path.with_extension(""), false).is_ok_and(|it| it == Self::Jsonl) =>
            {
                if packed {
                    return Ok(Self::Jsonl);
                }
                Err(files::bad(path, "it would be written uncompressed; leave out the ending .gz or .zst"))
            }
            _ => Err(files::bad(
                path,
                format!("its name does not end in {KNOWN}; add --format if it is one of these"),
            )),
        }
    }
}

/// Whether `-` was written, which stands for stdin or stdout.
pub(in super::super) fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Refuses an output whose name says that it is something else than the input. If `--format` was given, a name that says
/// nothing is fine.
pub(super) fn check_output(
    output: &Path,
    (format, is_given): (Format, bool),
    codes: bool,
) -> Result<(), CliError> {
    if is_standard(output) {
        return match format {
            Format::Jsonl | Format::Arrow if !codes => Ok(()),
            Format::Jsonl | Format::Arrow => {
                Err(CliError::new("codes have files beside them; name a file for them"))
            }
            _ => Err(CliError::new(
                "only JSON lines and Arrow streams are written to stdout; name a file for the output",
            )),
        };
    }
    match Format::by_name(output, false) {
        Ok(_) if output.extension().is_none() => Ok(()),
        Ok(named) if named != format => {
            let name = |format: Format| {
                format.to_possible_value().map(|it| it.get_name().to_owned()).unwrap_or_default()
            };
            let (named, format) = (name(named), name(format));
            Err(files::bad(
                output,
                format!("its name says {named}, but what comes out is {format} as the input is; name it so"),
            ))
        }
        Err(error) if !is_given || output.extension().is_some_and(|it| it == "gz" || it == "zst") => {
            Err(error)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_a_file_is() {
        for (name, expected) in [
            ("a.npy", Format::Npy),
            ("/dev/fd/63", Format::Npy),
            ("a.PARQUET", Format::Parquet),
            ("a.b.feather", Format::Arrow),
            ("a.arrow", Format::Arrow),
            ("a.jsonl", Format::Jsonl),
            ("a.jsonl.gz", Format::Jsonl),
            ("a.jsonl.zst", Format::Jsonl),
        ] {
            assert_eq!(Format::of(Path::new(name), None).unwrap(), expected, "{name}");
        }
        for (name, part) in [
            ("a.csv", "does not end in .npy"),
            ("a.txt", "add --format"),
            ("a.gz", "does not end in"),
            ("a.parquet.gz", "does not end in"),
            ("-", "--format jsonl"),
        ] {
            let message = Format::of(Path::new(name), None).unwrap_err().to_string();
            assert!(message.contains(part), "{name}: {message}");
        }
        assert_eq!(Format::of(Path::new("-"), Some(Format::Jsonl)).unwrap(), Format::Jsonl);
        assert!(Format::of(Path::new("-"), Some(Format::Parquet)).is_err());
    }

    #[test]
    fn an_output_is_of_the_same_kind() {
        let check = |name: &str, format, codes| {
            check_output(Path::new(name), (format, false), codes).map_err(|error| error.to_string())
        };
        assert_eq!(check("a.parquet", Format::Parquet, true), Ok(()));
        assert_eq!(check("a", Format::Parquet, true), Ok(()));
        assert_eq!(check("-", Format::Jsonl, false), Ok(()));
        for (name, format, codes, part) in [
            ("a.npy", Format::Parquet, false, "its name says npy, but what comes out is parquet"),
            ("a.jsonl.gz", Format::Jsonl, false, "uncompressed"),
            ("a.csv", Format::Parquet, false, "does not end in"),
            ("-", Format::Parquet, false, "written to stdout"),
            ("-", Format::Arrow, true, "files beside them"),
        ] {
            let message = check(name, format, codes).unwrap_err();
            assert!(message.contains(part), "{name}: {message}");
        }
    }
}
