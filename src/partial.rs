//! Files that are there whole or not at all.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::Error;

/// What is longer in the writing belongs to nobody any more.
const STALE: Duration = Duration::from_secs(60 * 60);
/// No living process takes so long to write a file; one of another machine or container cannot be told from
/// a dead one before.
const WRITTEN: Duration = Duration::from_secs(60);

/// Writes `path` whole or not at all: first to `path.<process>.partial`.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    // not `with_extension`: the name of a stack has dots in it
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}.partial", std::process::id()));
    fs::write(&partial, bytes).and_then(|()| fs::rename(&partial, path)).map_err(|error| {
        let _ = fs::remove_file(&partial);
        Error::file(path, error)
    })
}

/// Removes from `folder` what killed processes left half written.
pub(crate) fn remove_stale(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if process(&path)
            .is_some_and(|process| is_older(&path, if is_dead(process) { WRITTEN } else { STALE }))
        {
            let _ = fs::remove_file(path);
        }
    }
}

/// The process that a `….<process>.partial` is of.
fn process(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_suffix(".partial")?.rsplit_once('.')?.1.parse().ok()
}

/// Whether the process is known to be gone, on this machine; a folder may be shared by several, and only
/// Linux tells in a file.
fn is_dead(process: u32) -> bool {
    Path::new("/proc/self").exists() && !Path::new("/proc").join(process.to_string()).exists()
}

fn is_older(path: &Path, than: Duration) -> bool {
    let written = fs::metadata(path).and_then(|it| it.modified());
    written.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > than))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_dead_processes_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let living = format!("a.f32.{}.partial", std::process::id());
        // no process has so high a number
        let dead = format!("a.f32.{}.partial", u32::MAX);
        for name in [&living, &dead, "b.f32.partial", "c.partial", "d.f32.17"] {
            fs::write(path(name), "half").unwrap();
        }
        let (old, elsewhere) =
            (format!("e.{}.partial", std::process::id()), format!("f.{}.partial", u32::MAX));
        let written = |name: &str, before: Duration| {
            fs::File::create(path(name)).unwrap().set_modified(SystemTime::now() - before).unwrap();
        };
        written(&old, 2 * STALE);
        written(&dead, 2 * WRITTEN);
        written(&elsewhere, Duration::ZERO);
        remove_stale(folder.path());
        assert_eq!(path(&dead).exists(), !Path::new("/proc/self").exists());
        assert!(!path(&old).exists());
        for name in [&living, &elsewhere, "b.f32.partial", "c.partial", "d.f32.17"] {
            assert!(path(name).exists(), "{name}");
        }
        write(&path("a.f32"), b"whole").unwrap();
        assert_eq!(fs::read(path("a.f32")).unwrap(), b"whole");
        assert!(!path(&living).exists());
    }
}
