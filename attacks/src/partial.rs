//! Files that are written whole or not at all.
//!
//! A file is written beside its destination, under a random name, and renamed when its bytes are on the disk. A link in
//! its place is replaced, and never followed.
//! `embosk` writes its files here too. The module is not for other programs, and may change in any release.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::{Builder, NamedTempFile};

/// How the names of files in progress begin and end. Random letters are in between.
const PREFIX: &str = ".embosk-";
const SUFFIX: &str = ".part";

/// A younger file may belong to a process that has not locked it yet.
const STALE: Duration = Duration::from_mins(1);

/// Who may read a written file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Whoever the umask allows. Who cannot read a file that is replaced cannot read the new one either.
    Usual,
    /// Only its owner, as with a key file; on systems without such modes, as `Usual`.
    Owner,
}

/// Writes `path` whole or not at all.
///
/// # Errors
/// If it cannot be written. The old file is left, or the new one if only its name may not be on the disk yet.
pub fn write(
    path: &Path,
    readers: Readers,
    fill: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> io::Result<()> {
    filled(path, readers, fill)?.persist(path)?;
    sync(folder_of(path))
}

/// Writes `path` whole or not at all, and only if there is no such file.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if there is one, which is left. If it cannot be written, there is none.
pub fn write_new(
    path: &Path,
    readers: Readers,
    fill: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> io::Result<()> {
    filled(path, readers, fill)?.persist_noclobber(path)?;
    sync(folder_of(path)).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

/// Opens a file of ours, and never what a link in its place leads to. Of options that make a file, only
/// [`create_new`](OpenOptions::create_new) follows no link.
///
/// # Errors
/// If it is not a regular file, or cannot be opened.
pub fn open_ours(options: &OpenOptions, path: &Path) -> io::Result<File> {
    let refused = || io::Error::other("it is not a regular file; remove it, and run again");
    if fs::symlink_metadata(path).is_ok_and(|it| !it.is_file()) {
        return Err(refused());
    }
    let file = options.open(path)?;
    // it may have been exchanged meanwhile
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let [named, found] = [fs::symlink_metadata(path)?, file.metadata()?];
        if (named.dev(), named.ino()) != (found.dev(), found.ino()) {
            return Err(refused());
        }
    }
    Ok(file)
}

/// Reads a text file of ours, and never what a link in its place leads to.
///
/// # Errors
/// As [`open_ours`], and if it cannot be read or is not UTF-8.
pub fn read_ours(path: &Path) -> io::Result<String> {
    io::read_to_string(open_ours(OpenOptions::new().read(true), path)?)
}

/// Returns a new file beside `path` whose bytes are on the disk.
fn filled(
    path: &Path,
    readers: Readers,
    fill: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> io::Result<NamedTempFile> {
    let file = begin(folder_of(path), mode(path, readers))?;
    // whoever cleans up leaves a locked file alone; where there are no locks, its age must do
    let _ = file.as_file().lock();
    let mut buffer = BufWriter::new(file.as_file());
    fill(&mut buffer)?;
    buffer.flush()?;
    drop(buffer);
    file.as_file().sync_all()?;
    Ok(file)
}

/// Refuses a folder that cannot be written to, before hours of work.
///
/// # Errors
/// If no file can be made in it.
pub fn check_folder(folder: &Path) -> io::Result<()> {
    begin(folder, OWNER).map(drop)
}

/// Returns the folder that a file is in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Removes half-written files of killed processes from `folder`.
///
/// It removes only files that [`write`] began: by their names, and only if no process holds their lock.
pub fn remove_stale(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && is_abandoned(&entry.path()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether a name is that of a file which is being written.
pub fn is_ours(name: &str) -> bool {
    let letters = name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(SUFFIX));
    letters
        .is_some_and(|letters| letters.len() == LETTERS && letters.bytes().all(|c| c.is_ascii_alphanumeric()))
}

/// Whether a file is one that [`write`] began, and no process goes on with.
pub fn is_abandoned(path: &Path) -> bool {
    if !path.file_name().is_some_and(|name| is_ours(&name.to_string_lossy())) {
        return false;
    }
    let Ok(file) = open_ours(OpenOptions::new().read(true).write(true), path) else { return false };
    let written = file.metadata().and_then(|it| it.modified());
    let is_old = written.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > STALE));
    is_old && file.try_lock().is_ok()
}

/// How many letters are random.
const LETTERS: usize = 12;

/// The mode of a file that only its owner can read.
const OWNER: u32 = 0o600;

/// The mode of the file that takes the place of `path`, before the umask.
fn mode(path: &Path, readers: Readers) -> u32 {
    if readers == Readers::Owner {
        return OWNER;
    }
    #[cfg(unix)]
    if let Ok(old) = fs::symlink_metadata(path)
        && old.is_file()
    {
        return OWNER | 0o066 & std::os::unix::fs::PermissionsExt::mode(&old.permissions());
    }
    let _ = path;
    0o666
}

/// Creates a new file in `folder`; never one that exists, nor through a link.
fn begin(folder: &Path, mode: u32) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX).rand_bytes(LETTERS);
    // the umask takes from these
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    let _ = mode;
    // without the random name, which tells nobody anything
    builder.tempfile_in(folder).map_err(|error| {
        io::Error::new(error.kind(), format!("no file can be made in its folder: {}", error.kind()))
    })
}

/// Makes sure that a new name in `folder` is on the disk. Other systems than Unix cannot open a folder.
///
/// # Errors
/// If the folder cannot be synced.
pub fn sync(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, "before").unwrap();
        let failing = |file: &mut BufWriter<&File>| {
            file.write_all(b"half")?;
            Err(io::Error::other("the disk is full"))
        };
        assert!(write(&path, Readers::Usual, failing).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        write(&path, Readers::Usual, |file| file.write_all(b"after")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "after");
        assert_eq!(names(folder.path()), ["out"]);
    }

    #[test]
    fn what_exists_is_not_replaced_by_a_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write_new(&path, Readers::Owner, |file| file.write_all(b"first")).unwrap();
        let again = write_new(&path, Readers::Owner, |file| file.write_all(b"second")).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        let failing = |file: &mut BufWriter<&File>| {
            file.write_all(b"half")?;
            file.flush()?;
            Err(io::Error::other("the disk is full"))
        };
        assert!(write_new(&folder.path().join("other"), Readers::Owner, failing).is_err());
        assert_eq!(names(folder.path()), ["key"]);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_for_its_owner_is_closed_to_others() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        fs::write(&path, "before").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write(&path, Readers::Owner, |file| file.write_all(b"after")).unwrap();
        assert_eq!((mode(&path), fs::read_to_string(&path).unwrap().as_str()), (0o600, "after"));
        let usual = folder.path().join("usual");
        fs::write(&usual, "").unwrap();
        let new = mode(&usual);
        for (before, after) in [(0o600, 0o600), (0o640, new & 0o640), (0o444, new & 0o644), (0o777, new)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(before)).unwrap();
            write(&path, Readers::Usual, |file| file.write_all(b"again")).unwrap();
            assert_eq!(mode(&path), after, "{before:o}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let [document, link] = ["document", "link"].map(|name| folder.path().join(name));
        fs::write(&document, "someone's").unwrap();
        let plant = || std::os::unix::fs::symlink(&document, &link).unwrap();
        plant();
        for options in [OpenOptions::new().append(true), OpenOptions::new().write(true).create_new(true)] {
            assert!(open_ours(options, &link).is_err());
        }
        assert!(read_ours(&link).unwrap_err().to_string().contains("not a regular file"));
        assert!(write_new(&link, Readers::Owner, |file| file.write_all(b"ours")).is_err());
        write(&link, Readers::Owner, |file| file.write_all(b"ours")).unwrap();
        assert_eq!(read_ours(&link).unwrap(), "ours");
        assert!(fs::symlink_metadata(&link).unwrap().is_file());
        // one that leads nowhere makes no file there
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(folder.path().join("nowhere"), &link).unwrap();
        assert!(write_new(&link, Readers::Owner, |file| file.write_all(b"ours")).is_err());
        write(&link, Readers::Usual, |file| file.write_all(b"ours")).unwrap();
        assert_eq!(names(folder.path()), ["document", "link"]);
        assert_eq!(fs::read_to_string(&document).unwrap(), "someone's");
    }

    #[test]
    fn what_killed_processes_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let part = |letters: &str| format!("{PREFIX}{letters}{SUFFIX}");
        let (left, young, locked) = (part("abcdefABCDEF"), part("012345678901"), part("aaaaaaaaaaaa"));
        let others = [
            ".embosk-.part",
            ".embosk-abc.part",
            ".download.part",
            "embosk-abcdefABCDEF.part",
            "a.17.partial",
        ];
        for name in [&left, &young, &locked].into_iter().map(String::as_str).chain(others) {
            let file = File::create(folder.path().join(name)).unwrap();
            if name != young {
                file.set_modified(SystemTime::now() - 2 * STALE).unwrap();
            }
        }
        fs::create_dir(folder.path().join(part("bbbbbbbbbbbb"))).unwrap();
        let writer = File::open(folder.path().join(&locked)).unwrap();
        writer.lock().unwrap();
        remove_stale(folder.path());
        let kept = names(folder.path());
        assert!(!kept.contains(&left) && kept.contains(&young) && kept.contains(&locked), "{kept:?}");
        assert_eq!(kept.len(), others.len() + 3);
    }

    #[test]
    fn a_file_that_is_being_written_has_a_name_of_ours_that_nobody_guesses() {
        let folder = tempfile::tempdir().unwrap();
        let parts = [(); 2].map(|()| begin(folder.path(), OWNER).unwrap());
        let names = names(folder.path());
        assert!(names.iter().all(|name| is_ours(name)) && names[0] != names[1], "{names:?}");
        drop(parts);
        check_folder(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let missing = check_folder(&folder.path().join("missing")).unwrap_err().to_string();
        assert!(
            missing.starts_with("no file can be made in its folder: ") && !missing.contains(PREFIX),
            "{missing}"
        );
    }
}
