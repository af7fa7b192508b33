//! Shows the files of one folder at another place, through FUSE, until its standard input ends: so nothing stays mounted
//! after whoever started it, however that ended. Whoever still has a file open then gets errors, and waits for nothing.
//!
//! Files fail on demand: while `NAME.fails` exists in the folder behind and has the text `read 4096`, reads of `NAME` that get
//! past byte 4096 are EIO. `write` and `fsync` likewise. Nothing is remembered between calls but which files are open.
//!
//! Past 400 lines: half of them are the signatures of calls.

use std::collections::HashMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, stdin};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirEntryExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, exit};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, MountOption, OpenAccMode, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, Session,
    TimeOrNow, WriteFlags,
};
use nix::libc;
use nix::mount::{MntFlags, umount2};

const USAGE: &str = "expected: fuse MODE FOLDER AT
MODE is direct (FOPEN_DIRECT_IO: Linux refuses shared mappings) or cached.";

/// The system is to ask each time: files change behind it.
const NEVER: Duration = Duration::ZERO;

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    let (flags, behind, at) = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["direct", behind, at] => (FopenFlags::FOPEN_DIRECT_IO, behind, at),
        ["cached", behind, at] => (FopenFlags::empty(), behind, at),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut config = Config::default();
    config.mount_options =
        vec![MountOption::FSName("mmap-ndarray-test".into()), MountOption::DefaultPermissions];
    let folder = Folder { behind: behind.into(), flags, state: Mutex::default() };
    match Session::new(folder, at, &config).and_then(Session::spawn) {
        Ok(_serving) => {
            println!("mounted");
            let ended = stdin().read_to_end(&mut Vec::new());
            exit(i32::from(ended.is_err() || !unmount(at)))
        }
        Err(error) => {
            eprintln!("{at}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Unmounts, whether files are in use or not: they fail once this process has gone. Says whether that was done.
fn unmount(at: &str) -> bool {
    // Whoever is not root has mounted by the help of this program, too.
    umount2(at, MntFlags::MNT_DETACH).is_ok()
        || Command::new("fusermount3")
            .args(["-u", "-z", "--", at])
            .status()
            .is_ok_and(|status| status.success())
}

/// The files of one folder, without those below.
struct Folder {
    behind: PathBuf,
    flags: FopenFlags,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the system knows of, by number of inode, which is the one behind.
    nodes: HashMap<u64, Node>,
    open: HashMap<u64, File>,
    last: u64,
}

struct Node {
    /// A handle by which it is found under any name, or none; with it nobody else gets its number.
    file: File,
    name: OsString,
    lookups: u64,
}

impl State {
    fn node(&self, ino: INodeNo) -> io::Result<&Node> {
        self.nodes.get(&ino.0).ok_or_else(|| libc::ENOENT.into_error())
    }

    fn file(&self, handle: FileHandle) -> io::Result<File> {
        self.open.get(&handle.0).ok_or_else(|| libc::EBADF.into_error())?.try_clone()
    }

    fn keep(&mut self, file: File) -> FileHandle {
        self.last += 1;
        self.open.insert(self.last, file);
        FileHandle(self.last)
    }
}

trait IntoError {
    fn into_error(self) -> io::Error;
}

impl IntoError for i32 {
    fn into_error(self) -> io::Error {
        io::Error::from_raw_os_error(self)
    }
}

fn number(error: &io::Error) -> Errno {
    Errno::from_i32(error.raw_os_error().unwrap_or(libc::EIO))
}

impl Folder {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the system knows of a file from now on.
    fn look_up(&self, name: &OsStr) -> io::Result<FileAttr> {
        let flags = libc::O_PATH | libc::O_NOFOLLOW;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(self.behind.join(name))?;
        let attr = attr(&file.metadata()?);
        let mut state = self.state();
        let node = state.nodes.entry(attr.ino.0).or_insert(Node { file, name: name.into(), lookups: 0 });
        node.lookups += 1;
        name.clone_into(&mut node.name);
        Ok(attr)
    }

    fn attr(&self, ino: INodeNo) -> io::Result<FileAttr> {
        if ino == INodeNo::ROOT {
            return Ok(FileAttr { ino, ..attr(&fs::metadata(&self.behind)?) });
        }
        Ok(attr(&self.state().node(ino)?.file.metadata()?))
    }

    /// Whether a call that gets to `end` is to fail.
    fn try_to(&self, what: &str, ino: INodeNo, end: u64) -> io::Result<()> {
        let mut path = self.behind.join(&self.state().node(ino)?.name).into_os_string();
        path.push(".fails");
        let Ok(text) = fs::read_to_string(path) else { return Ok(()) };
        let mut words = text.split_whitespace();
        let from = |word: Option<&str>| word.and_then(|word| word.parse().ok()).unwrap_or(0);
        if words.next() == Some(what) && end > from(words.next()) {
            return Err(libc::EIO.into_error());
        }
        Ok(())
    }
}

/// A name under which a file can be opened that has none.
fn path_of(file: &File) -> PathBuf {
    Path::new("/proc/self/fd").join(file.as_raw_fd().to_string())
}

fn attr(metadata: &Metadata) -> FileAttr {
    let time = |seconds: i64| UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap_or(0));
    let nanos = |nanos: i64| Duration::from_nanos(nanos.try_into().unwrap_or(0));
    let mtime = time(metadata.mtime()) + nanos(metadata.mtime_nsec());
    FileAttr {
        ino: INodeNo(metadata.ino()),
        size: metadata.len(),
        blocks: metadata.blocks(),
        atime: time(metadata.atime()) + nanos(metadata.atime_nsec()),
        mtime,
        ctime: time(metadata.ctime()) + nanos(metadata.ctime_nsec()),
        crtime: mtime,
        kind: FileType::from_std(metadata.file_type()).unwrap_or(FileType::RegularFile),
        perm: (metadata.mode() & 0o7777) as u16,
        nlink: metadata.nlink() as u32,
        uid: metadata.uid(),
        gid: metadata.gid(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

/// Answers with the error of `$work`, or with what `$then` makes of its value.
macro_rules! answer {
    ($reply:ident, $work:expr, $value:pat => $then:expr) => {
        match $work {
            Ok($value) => $then,
            Err(error) => $reply.error(number(&error)),
        }
    };
}

impl Filesystem for Folder {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // As libfuse has it: pages go when a file turns out to have changed.
        config.add_capabilities(InitFlags::FUSE_AUTO_INVAL_DATA).map_err(|_| libc::ENOSYS.into_error())
    }

    fn lookup(&self, _: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        answer!(reply, self.look_up(name), attr => reply.entry(&NEVER, &attr, Generation(0)));
    }

    fn forget(&self, _: &Request, ino: INodeNo, lookups: u64) {
        let mut state = self.state();
        if let Some(node) = state.nodes.get_mut(&ino.0) {
            node.lookups = node.lookups.saturating_sub(lookups);
            if node.lookups == 0 {
                state.nodes.remove(&ino.0);
            }
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        answer!(reply, self.attr(ino), attr => reply.attr(&NEVER, &attr));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<std::time::SystemTime>,
        _: Option<FileHandle>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = || {
            let path = path_of(&self.state().node(ino)?.file);
            if let Some(mode) = mode {
                fs::set_permissions(&path, Permissions::from_mode(mode))?;
            }
            if uid.is_some() || gid.is_some() {
                std::os::unix::fs::chown(&path, uid, gid)?;
            }
            if let Some(size) = size {
                OpenOptions::new().write(true).open(&path)?.set_len(size)?;
            }
            self.attr(ino)
        };
        answer!(reply, set(), attr => reply.attr(&NEVER, &attr));
    }

    fn create(
        &self,
        _: &Request,
        _parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let create = || {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create_new(true).mode(mode & !umask);
            let file = options.open(self.behind.join(name))?;
            let attr = self.look_up(name)?;
            Ok((attr, self.state().keep(file)))
        };
        answer!(reply, create(), (attr, file) => reply.created(&NEVER, &attr, Generation(0), file, self.flags));
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let open = || {
            let mut state = self.state();
            let mode = flags.acc_mode();
            let mut options = OpenOptions::new();
            // Part of a page is read before it is written.
            options.read(true).write(mode != OpenAccMode::O_RDONLY);
            let file = options.open(path_of(&state.node(ino)?.file))?;
            Ok(state.keep(file))
        };
        answer!(reply, open(), file => reply.opened(file, self.flags));
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        file: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = || {
            self.try_to("read", ino, offset + u64::from(size))?;
            let file = self.state().file(file)?;
            let mut bytes = vec![0; size as usize];
            let mut len = 0;
            while let n @ 1.. = file.read_at(&mut bytes[len..], offset + len as u64)? {
                len += n;
            }
            bytes.truncate(len);
            Ok(bytes)
        };
        answer!(reply, read(), bytes => reply.data(&bytes));
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        file: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let write = || {
            self.try_to("write", ino, offset + bytes.len() as u64)?;
            let file = self.state().file(file)?;
            file.write_all_at(bytes, offset)
        };
        answer!(reply, write(), () => reply.written(bytes.len() as u32));
    }

    fn fsync(&self, _: &Request, ino: INodeNo, file: FileHandle, _: bool, reply: ReplyEmpty) {
        let sync = || {
            self.try_to("fsync", ino, u64::MAX)?;
            let file = self.state().file(file)?;
            file.sync_all()
        };
        answer!(reply, sync(), () => reply.ok());
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        file: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.state().open.remove(&file.0);
        reply.ok();
    }

    fn unlink(&self, _: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, fs::remove_file(self.behind.join(name)), () => reply.ok());
    }

    fn rename(
        &self,
        _: &Request,
        _: INodeNo,
        from: &OsStr,
        _: INodeNo,
        to: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let rename = || {
            // As file systems do that know of none.
            if !flags.is_empty() {
                return Err(libc::EINVAL.into_error());
            }
            let path = self.behind.join(to);
            fs::rename(self.behind.join(from), &path)?;
            if let Some(node) = self.state().nodes.get_mut(&fs::symlink_metadata(path)?.ino()) {
                to.clone_into(&mut node.name);
            }
            Ok(())
        };
        answer!(reply, rename(), () => reply.ok());
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let entry = |entry: io::Result<DirEntry>| {
            let entry = entry?;
            let kind = FileType::from_std(entry.file_type()?).unwrap_or(FileType::RegularFile);
            Ok((INodeNo(entry.ino()), kind, entry.file_name()))
        };
        let read = || fs::read_dir(&self.behind)?.map(entry).collect::<io::Result<Vec<_>>>();
        answer!(reply, read(), entries => {
            for (next, (ino, kind, name)) in (1..).zip(&entries).skip(offset as usize) {
                if reply.add(*ino, next, *kind, name) {
                    break;
                }
            }
            reply.ok();
        });
    }
}
