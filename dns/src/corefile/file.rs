//! Files as the reader of Corefiles takes them.

use super::SetupError;
use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use super::limits::MAX_FILE;

/// Whether an import can be read to its end: a pipe or a device may have none.
pub(super) fn check(path: &Path) -> Result<(), SetupError> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    match (metadata.is_file(), metadata.is_dir()) {
        (true, _) => Ok(()),
        (_, true) => Err("it is a folder; name a file, or a pattern that matches files only".into()),
        _ => Err("it is a pipe or a device; name a file".into()),
    }
}

/// A file's text. What isn't UTF-8 in it becomes U+FFFD: it may stand in comments.
pub(super) fn read(path: &Path) -> Result<String, SetupError> {
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > MAX_FILE {
        return Err(format!("it has more than {MAX_FILE} bytes").into());
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The path from the root, without `.` and `..`, as Go's filepath.Abs gives it.
pub(super) fn whole_path(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut whole = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                whole.pop();
            }
            Component::CurDir => {}
            other => whole.push(other),
        }
    }
    whole
}
