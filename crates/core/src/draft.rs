//! Files on their way to a name, for whoever writes a whole file in the place of another, or of none.

use std::fs::{File, Metadata, OpenOptions};
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::fault;
use crate::file::Lock;
use crate::sys::{self, Folder};

/// A file that is to have the name of `target`, and until then is nobody's. Dropped before that, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Draft {
    file: File,
    temp: Temp,
    target: PathBuf,
    /// What the caller calls the target, for errors.
    path: PathBuf,
    folder: Folder,
}

impl Draft {
    /// Makes an empty file in the folder of `target`, with the owner, group and permissions of the one that it replaces, as
    /// far as the process may.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses.
    pub(crate) fn begin(target: PathBuf, path: &Path, replaced: Option<&Metadata>) -> Result<Self> {
        let failed = |syscall| move |error| Error::io(syscall, path, error);
        let folder = Folder::open(folder_of(&target)).map_err(failed("open"))?;
        let (file, temp) = Temp::create(&target, replaced.is_some()).map_err(failed("open"))?;
        if let Some(metadata) = replaced {
            let permissions = sys::keep_owner(&file, metadata).map_err(failed("fchown"))?;
            // Where the group is another one, a list would say what that one may do.
            let same = permissions == metadata.permissions();
            fault::point("fchmod")
                .and_then(|()| file.set_permissions(permissions))
                .map_err(failed("fchmod"))?;
            if same {
                sys::keep_access_list(&file, &target).map_err(failed("fsetxattr"))?;
            }
        }
        Ok(Self { file, temp, target, path: path.to_path_buf(), folder })
    }

    /// The file, open for reading and writing.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Where it is to be.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Brings all of the file to the disk.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses.
    pub(crate) fn sync(&self) -> Result<()> {
        let synced = fault::point("fsync").and_then(|()| sys::sync_all(&self.file));
        synced.map_err(|error| Error::io("fsync", &self.path, error))
    }

    /// Gives the file its name; `held` is the file that has it now, open, where there is one.
    ///
    /// # Errors
    /// `EEXIST` where somebody made a file meanwhile and `overwrite` is off, any other [`Error::Io`]. After one with
    /// `fsync` of the folder the new file is there, whole, and only not known to outlast a power loss.
    pub(crate) fn publish(self, overwrite: bool, held: Option<File>) -> Result<()> {
        let Self { file, mut temp, target, path, folder } = self;
        let failed = |syscall| move |error| Error::io(syscall, &path, error);
        if !temp.link(&file, &target, overwrite).map_err(failed.clone()("link"))? {
            let name = temp.name(&file).map_err(failed.clone()("link"))?;
            // Windows does not always replace a file that is open. A lock that is taken in the moment between is one of a
            // file that was replaced, which whoever takes it finds out.
            let _held = held.filter(|_| !cfg!(windows));
            let renamed = if overwrite { sys::rename(name, &target) } else { sys::rename_new(name, &target) };
            renamed.map_err(failed.clone()("rename"))?;
        }
        temp.keep();
        sys::unlock(&file);
        folder.sync().map_err(failed("fsync"))
    }

    /// Gives the file the name of the one that is there, with `lock` held on it from its first moment; returns it with
    /// what came of syncing the folder, for the file is there then.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses; the file that was there is there still.
    pub(crate) fn replace(self, lock: Option<Lock>) -> Result<(File, Result<()>)> {
        let Self { file, mut temp, target, path, folder } = self;
        let failed = |syscall| move |error| Error::io(syscall, &path, error);
        let name = temp.name(&file).map_err(failed.clone()("link"))?;
        if let Some(lock) = lock {
            // While only its temporary name is known, so that nobody can be in between.
            lock.take(&file).map_err(|error| failed.clone()("flock")(error.into()))?;
        }
        sys::rename(name, &target).map_err(failed.clone()("rename"))?;
        temp.keep();
        if lock.is_none() {
            sys::unlock(&file);
        }
        Ok((file, folder.sync().map_err(failed("fsync"))))
    }
}

/// A file on its way to a name: without one where the system has such files, else under a temporary one, which is
/// removed when dropped. A file without a name is gone with the process, however that ends.
///
/// A name outlives a killed process. So the file is locked for as long as it has a temporary one, and the first name
/// tried follows from the target's: whoever creates the target next finds the name taken, the file without a lock, and
/// removes it.
#[derive(Debug)]
struct Temp {
    target: PathBuf,
    /// Of the target's name.
    hash: u64,
    path: Option<PathBuf>,
}

impl Temp {
    /// Makes a file in the folder of `target`; one that replaces another is private until it has its permissions.
    fn create(target: &Path, private: bool) -> io::Result<(File, Self)> {
        // The same in every process of one build of this library; another build only finds nothing.
        let mut hasher = DefaultHasher::new();
        target.file_name().hash(&mut hasher);
        let mut temp = Self { target: target.to_path_buf(), hash: hasher.finish(), path: None };
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        if private {
            sys::owner_only(&mut options);
        }
        if let Some(file) = sys::open_unnamed(&mut options.clone(), folder_of(target))? {
            return Ok((file, temp));
        }
        options.create_new(true);
        let file = temp.with_name(|path| {
            fault::point("create")?;
            let file = options.open(path)?;
            // Before it was locked it looked abandoned, and may be gone.
            if sys::lock(&file) && sys::has_name(&file, path) {
                Ok(file)
            } else {
                Err(io::ErrorKind::AlreadyExists.into())
            }
        })?;
        Ok((file, temp))
    }

    /// Gives a file without a name the name `target` at once, so that even a kill has nothing to leave; false where it
    /// has to be put in the place of another file, or has a name.
    fn link(&self, file: &File, target: &Path, overwrite: bool) -> io::Result<bool> {
        if self.path.is_some() {
            return Ok(false);
        }
        match sys::link(file, target) {
            Err(error) if overwrite && error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            done => done.map(|()| true),
        }
    }

    /// The file's name, given to it now if it has none.
    fn name(&mut self, file: &File) -> io::Result<&Path> {
        if self.path.is_none() {
            // Nobody else knows the file, so nobody can be in the way.
            sys::lock(file);
            self.with_name(|path| sys::link(file, path))?;
        }
        Ok(self.path.as_deref().unwrap_or(Path::new("")))
    }

    /// Calls `make` with the target's temporary name, then with names that nobody has thought of, until one is free.
    fn with_name<T>(&mut self, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
        let mut unique = self.hash;
        loop {
            // A fixed length whatever the target's name, which may be as long as names can be.
            let path = folder_of(&self.target).join(format!(".mmap-ndarray-{unique:016x}.tmp"));
            match make(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if !sys::remove_abandoned(&path, &self.target) {
                        unique = RandomState::new().build_hasher().finish();
                    }
                }
                Err(error) => return Err(error),
                Ok(value) => {
                    self.path = Some(path);
                    return Ok(value);
                }
            }
        }
    }

    /// The file has its real name now.
    fn keep(mut self) {
        self.path = None;
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Nobody is left to tell: the error that led here is already on its way to the caller.
            drop(std::fs::remove_file(path));
        }
    }
}

/// The folder that holds `path`'s name.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The name at the end of a chain of symbolic links, whether or not a file is there.
pub(crate) fn follow_links(path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_path_buf();
    // As many links as Linux follows before it says ELOOP.
    for _ in 0..40 {
        fault::point("readlink")?;
        match std::fs::read_link(&target) {
            Ok(link) => target = folder_of(&target).join(link),
            Err(_) => return Ok(target),
        }
    }
    std::fs::metadata(path).map(|_| target)
}
