//! Files that only their owner may read, and how they are locked.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

pub(super) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Opens the file itself, and closes it to others. A link could lead to someone's document, which would be overwritten
/// as a damaged file.
pub(super) fn opened(options: &OpenOptions, path: &Path) -> io::Result<File> {
    let refused = || io::Error::other("it is not a regular file; remove it, and run again");
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => return Err(refused()),
        _ => {}
    }
    let file = options.open(path)?;
    // it may have been exchanged meanwhile
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let [named, found] = [fs::symlink_metadata(path)?, file.metadata()?];
        if (named.dev(), named.ino()) != (found.dev(), found.ino()) {
            return Err(refused());
        }
        // a file that was copied may be open to others; that of another user is theirs to close
        if found.mode() & 0o077 != 0 {
            let _ = file.set_permissions(fs::Permissions::from_mode(0o600));
        }
    }
    Ok(file)
}

/// A file that is locked against other processes. Without locks, rows are still checked one by one.
pub(super) struct Locked<'a>(&'a File);

impl<'a> Locked<'a> {
    pub(super) fn exclusive(file: &'a File) -> Self {
        let _ = file.lock();
        Self(file)
    }

    pub(super) fn shared(file: &'a File) -> Self {
        let _ = file.lock_shared();
        Self(file)
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}
