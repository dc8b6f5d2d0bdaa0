//! Cache folders, whose content can be recomputed: only their owner can read them, and backups and version control
//! leave them out.

use std::fs;
use std::io;
use std::path::Path;

use crate::partial::{self, Readers};

/// The file that backup programs look for, by the specification of cache directories.
const TAG: &str = "CACHEDIR.TAG";
const TAGGED: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # Embeddings and other things that embosk can make again. Delete the folder whenever you like.\n";

const IGNORE: &str = ".gitignore";
const IGNORED: &str = "# made by embosk\n*\n";

/// Opens a cache folder, which is created if it is missing. Only its owner may look into a new one.
///
/// An existing folder is treated in the same way if it holds only files whose names `is_ours` knows. Any other folder
/// is left as it is: it may be the user's home.
pub(crate) fn open(folder: &Path, is_ours: impl Fn(&str) -> bool) -> io::Result<()> {
    if !folder.is_dir() {
        create(folder)?;
    }
    if holds_only(folder, is_ours)? { claim(folder) } else { Ok(()) }
}

/// Creates the folder, and those above it as usual.
fn create(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(partial::folder_of(folder))?;
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        // another process was faster
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

fn holds_only(folder: &Path, is_ours: impl Fn(&str) -> bool) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if !(is_mark(&name) || partial::is_ours(&name) || is_ours(&name)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a name is that of a file which marks the folder.
pub(crate) fn is_mark(name: &str) -> bool {
    name == TAG || name == IGNORE
}

/// Closes a folder of ours to others, and marks it.
fn claim(folder: &Path) -> io::Result<()> {
    close(folder);
    for (name, text) in [(TAG, TAGGED), (IGNORE, IGNORED)] {
        let path = folder.join(name);
        if !path.exists() {
            partial::write(&path, Readers::Owner, |file| io::Write::write_all(file, text.as_bytes()))?;
        }
    }
    Ok(())
}

/// Only its owner can read files in the folder anyway, so a folder of someone else's may stay open.
#[cfg(unix)]
fn close(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let is_open = fs::metadata(folder).is_ok_and(|it| it.permissions().mode() & 0o077 != 0);
    if is_open {
        let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    }
}

#[cfg(not(unix))]
fn close(_: &Path) {}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_folder_is_for_its_owner_and_marked() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("a/b");
        open(&folder, |_| false).unwrap();
        assert_eq!(mode(&folder), 0o700);
        assert!(
            fs::read_to_string(folder.join(TAG))
                .unwrap()
                .starts_with("Signature: 8a477f597d28d172789f06886806bc55")
        );
        assert!(fs::read_to_string(folder.join(IGNORE)).unwrap().ends_with("*\n"));
        assert_eq!(mode(&folder.join(TAG)), 0o600);
    }

    #[test]
    fn a_folder_of_an_earlier_version_is_closed_and_that_of_a_person_is_not() {
        let place = tempfile::tempdir().unwrap();
        for (name, is_closed) in [("0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a.f32", true), ("thesis.txt", false)] {
            let folder = place.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
            fs::write(folder.join(name), "").unwrap();
            for _ in 0..2 {
                open(&folder, |name| Path::new(name).extension().is_some_and(|end| end == "f32")).unwrap();
            }
            assert_eq!(mode(&folder), if is_closed { 0o700 } else { 0o755 }, "{name}");
            assert_eq!(folder.join(IGNORE).exists(), is_closed, "{name}");
        }
    }
}
