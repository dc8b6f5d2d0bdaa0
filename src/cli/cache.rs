use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Subcommand;
use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, Table};

use super::error::CliError;
use super::files;
use super::models::{Cache, Part};
use super::session::Session;
use super::terminal::{duration, print};
use crate::cache_folder;
use crate::partial;

/// List what the cache folder keeps, or remove it.
///
/// Everything in it can be computed again. It holds clean vectors and guessed texts, so remove it when you are done.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the parts of the cache, with their sizes and when each was last written.
    List {
        #[command(flatten)]
        cache: Cache,
    },
    /// Remove the parts, or all of them. Files that embosk did not make stay. A cache folder that is not there is an
    /// error.
    Clear {
        /// What to remove. Default: everything.
        #[arg(value_enum, value_name = "PART")]
        parts: Vec<Part>,
        #[command(flatten)]
        cache: Cache,
    },
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<ExitCode, CliError> {
    match &args.verb {
        Verb::List { cache } => print(&list(cache)?).map(drop)?,
        Verb::Clear { parts, cache } => clear(cache, parts, session)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The files of a part that are ours, and how many are not.
#[derive(Debug, Default)]
struct Content {
    /// With their sizes.
    ours: Vec<(PathBuf, u64)>,
    latest: Option<SystemTime>,
    foreign: usize,
}

impl Content {
    /// Looks into a folder. One that does not exist is empty; a link to a folder is not followed.
    fn of(folder: &Path, is_ours: impl Fn(&str) -> bool) -> Result<Self, CliError> {
        let mut content = Self::default();
        let is_folder = fs::symlink_metadata(folder).is_ok_and(|it| it.is_dir());
        if !is_folder {
            return Ok(content);
        }
        for entry in fs::read_dir(folder).map_err(|error| files::bad(folder, error))? {
            let entry = entry.map_err(|error| files::bad(folder, error))?;
            content.add(&entry, &is_ours).map_err(|error| files::bad(&entry.path(), error))?;
        }
        Ok(content)
    }

    fn add(&mut self, entry: &fs::DirEntry, is_ours: impl Fn(&str) -> bool) -> io::Result<()> {
        let metadata = match entry.metadata() {
            // another process was faster
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            metadata => metadata?,
        };
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if cache_folder::is_mark(&name) {
            return Ok(());
        }
        // what a killed process left half-written holds the same
        if metadata.is_file() && (is_ours(&name) || partial::is_abandoned(&entry.path())) {
            self.ours.push((entry.path(), metadata.len()));
            self.latest = self.latest.max(metadata.modified().ok());
        } else {
            self.foreign += 1;
        }
        Ok(())
    }
}

/// The table of the parts.
pub(super) fn list(cache: &Cache) -> Result<String, CliError> {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["part", "files", "size", "last written", "what it is"]);
    let mut total = 0;
    for part in Part::ALL {
        let content = Content::of(&cache.folder(part), |name| part.is_ours(name))?;
        let bytes = content.ours.iter().map(|(_, size)| size).sum();
        total += bytes;
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let cells = [
            Cell::new(part.name()),
            right(content.ours.len().to_string()),
            right(size(bytes)),
            right(content.latest.map_or("–".into(), |at| age(at, SystemTime::now()))),
            Cell::new(part.content()),
        ];
        table.add_row(cells);
    }
    let lines: String = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    Ok(format!("{}: {}\n{lines}", cache.root().display(), size(total)))
}

fn clear(cache: &Cache, parts: &[Part], session: &Session) -> Result<(), CliError> {
    if !cache.root().is_dir() {
        let message =
            "there is no such folder, so nothing was removed; --cache or EMBOSK_CACHE names another";
        return Err(files::bad(cache.root(), message));
    }
    let parts = if parts.is_empty() { &Part::ALL } else { parts };
    let (mut removed, mut bytes, mut foreign) = (0, 0, 0);
    for part in parts {
        let content = Content::of(&cache.folder(*part), |name| part.is_ours(name))?;
        for (file, size) in &content.ours {
            match fs::remove_file(file) {
                Ok(()) => {
                    removed += 1;
                    bytes += size;
                }
                // another process was faster
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(files::bad(file, error)),
            }
        }
        foreign += content.foreign;
    }
    let files = |count: usize| if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
    session.terminal.remark(&format!("removed {} ({})", files(removed), size(bytes)));
    if foreign > 0 {
        session.terminal.remark(&format!("left what embosk did not make: {foreign}"));
    }
    Ok(())
}

/// `12 B`, `3.4 kB`, `560 MB`.
fn size(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut amount = bytes as f64;
    let mut unit = 0;
    // 999.5 would be printed as 1000
    while amount >= 999.5 && unit + 1 < units.len() {
        amount /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && amount < 9.95);
    format!("{amount:.digits$} {}", units[unit])
}

fn age(at: SystemTime, now: SystemTime) -> String {
    let seconds = now.duration_since(at).map_or(0.0, |age| age.as_secs_f64());
    let days = seconds / 86_400.0;
    if days >= 2.0 { format!("{days:.0} days ago") } else { format!("{} ago", duration(seconds)) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::digest::Digest;

    #[test]
    fn sizes_and_ages_are_short() {
        let sizes = [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (9_960, "10 kB"), (999_600, "1.0 MB")];
        for (bytes, expected) in sizes {
            assert_eq!(size(bytes), expected);
        }
        assert_eq!(size(u64::MAX), "18446744 TB");
        let now = SystemTime::now();
        for (seconds, expected) in [(5, "5 s ago"), (7_200, "2 h 0 min ago"), (300_000, "3 days ago")] {
            assert_eq!(age(now - Duration::from_secs(seconds), now), expected);
        }
        assert_eq!(age(now + Duration::from_mins(1), now), "0 s ago", "a clock that was set back");
    }

    #[test]
    fn only_our_files_are_removed_and_no_link_is_followed() {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache::at(place.path().join("cache"));
        let other = place.path().join("other");
        let rows = cache.folder(Part::Rows);
        let digest = Digest::of(["a"]).short();
        fs::create_dir_all(&rows).unwrap();
        fs::create_dir_all(cache.folder(Part::Embeddings)).unwrap();
        fs::create_dir(&other).unwrap();
        let paths = [
            (rows.join(format!("{digest}.json")), false),
            (rows.join("data.json"), true),
            (cache.folder(Part::Embeddings).join(format!("{digest}-v2.f32")), true),
            (other.join("mine.txt"), true),
        ];
        for (path, _) in &paths {
            fs::write(path, "12345").unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(&other, cache.folder(Part::Hypotheses)).unwrap();
        let listed = list(&cache).unwrap();
        assert!(listed.contains("10 B") && listed.contains("rows"), "{listed}");
        clear(&cache, &[Part::Rows, Part::Hypotheses], &Session::default()).unwrap();
        for (path, stays) in &paths {
            assert_eq!(path.exists(), *stays, "{}", path.display());
        }
        clear(&cache, &[], &Session::default()).unwrap();
        assert!(!paths[2].0.exists() && paths[1].0.exists() && paths[3].0.exists());
    }
}
