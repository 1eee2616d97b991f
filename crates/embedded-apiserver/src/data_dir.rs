//! The directory of a server that survives its process: the objects, and the keys that clients trust.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::storage::{DiskStorage, StorageError};

/// A directory that only its owner may read.
#[derive(Debug, Clone)]
pub struct DataDir {
    path: PathBuf,
}

fn failed(path: &Path, error: &std::io::Error) -> StorageError {
    let (path, why) = (path.to_owned(), error.to_string());
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            StorageError::NotWritable { path, why }
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StorageError::Full(path),
        _ => StorageError::Failed { path, why },
    }
}

impl DataDir {
    /// Creates the directory where it is missing.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StorageError> {
        let path = path.into();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|error| failed(&path, &error))?;
        Ok(Self { path })
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The storage of the server's objects, `objects.redb`.
    pub fn storage(&self) -> Result<DiskStorage, StorageError> {
        DiskStorage::open(&self.file("objects.redb"))
    }

    /// The text of a file. When there is none yet, what `make` returns is written there first: from then on the text stays the
    /// same, whatever happens.
    pub fn keep<E: From<StorageError>>(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<String, E>,
    ) -> Result<String, E> {
        let path = self.file(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => return Ok(text),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&path, &error).into()),
        }
        let text = make()?;
        self.write(name, &text)?;
        Ok(text)
    }

    /// Replaces a file, as a whole or not at all.
    pub fn write(&self, name: &str, text: &str) -> Result<(), StorageError> {
        let (path, draft) = (self.file(name), self.file(&format!(".{name}.new")));
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&draft, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|error| failed(&path, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_made_once_and_belongs_to_its_owner() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let directory = DataDir::open(&path).unwrap();
        let keep = |text: &str| {
            directory
                .keep::<StorageError>("key", || Ok(text.to_owned()))
                .unwrap()
        };
        assert_eq!(
            (keep("first"), keep("second")),
            ("first".to_owned(), "first".to_owned())
        );
        directory.write("key", "third").unwrap();
        assert_eq!(keep("fourth"), "third");
        let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(path), mode(directory.file("key"))), (0o700, 0o600));
        let none = DataDir::open(directory.file("key")).unwrap_err().to_string();
        assert!(none.contains("/a/b/key"), "{none}");
    }
}
