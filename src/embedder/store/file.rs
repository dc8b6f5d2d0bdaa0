//! Files that only their owner may read, and how they are locked.

#[cfg(unix)]
use std::fs;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use crate::partial;

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
    let file = partial::open_ours(options, path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // a file that was copied may be open to others; that of another user is theirs to close
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
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
