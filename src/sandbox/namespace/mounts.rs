//! What the job sees of the file system.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mkdirat, symlinkat};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change, unmount,
};

use super::enter::{During as _, Failure};
use crate::sandbox::{Access, Job, Root};

/// Devices that every program expects.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Entries of a root that are always the sandbox's own.
const OWN: [&str; 4] = ["proc", "dev", "sys", "tmp"];
const QUIET: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// A mount that failed; overlayfs is told apart because there is another way.
pub(super) enum Trouble {
    Overlay(i32),
    Other(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Trouble::Other(failure)
    }
}

/// Builds the job's root and makes it `/`.
pub(super) fn build(job: &Job) -> Result<(), Trouble> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .during("make its mounts private")?;
    let new = &place(job)?;
    match &job.root {
        Root::ReadOnly { dir } => assemble(new, dir)?,
        Root::Changeable { lower, changes } => overlay(new, lower, changes)?,
        Root::Writable { dir } => bind(dir, new, false)?,
    }
    own_folders(new, job)?;
    let mut in_memory: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    for entry in &job.mounts {
        let target = new.join(entry.target.relative());
        if entry.source.is_dir() {
            make_folders(new, &target)?;
        } else {
            make_folders(new, target.parent().unwrap_or(new))?;
            touch(&target)?;
        }
        if job.surroundings.scratch_in_memory && entry.access == Access::Scratch {
            match in_memory.get(&entry.source) {
                Some(first) => bind(first, &target, false)?,
                None => {
                    mount("tmpfs", &target, "tmpfs", QUIET, Some(c"mode=0755")).during("mount memory")?;
                    copy_backwards(&entry.source, &target).during("copy into memory")?;
                    in_memory.insert(entry.source.clone(), target);
                }
            }
            continue;
        }
        bind(&entry.source, &target, entry.access == Access::ReadOnly)?;
    }
    if matches!(job.root, Root::ReadOnly { .. }) {
        restrict(new, false, libc::MOUNT_ATTR_RDONLY)?;
    }
    rustix::process::chdir(new).during("enter its root")?;
    rustix::process::pivot_root(".", ".").during("change its root")?;
    unmount(".", UnmountFlags::DETACH).during("leave the host's files")?;
    rustix::process::chdir("/").during("enter its root")?;
    Ok(())
}

/// Finds a folder for the new root. Any will do that holds no source of a mount; one of a system's usual ones, or whatever
/// lies at the top of a root that has little else.
fn place(job: &Job) -> Result<PathBuf, Failure> {
    let mut sources: Vec<&Path> = job.mounts.iter().map(|mount| mount.source.as_path()).collect();
    sources.extend(job.emulator.iter().map(|emulator| emulator.dir.as_path()));
    match &job.root {
        Root::ReadOnly { dir } | Root::Writable { dir } => sources.push(dir),
        Root::Changeable { lower, changes } => sources.extend([lower.as_path(), changes.as_path()]),
    }
    let is_free =
        |folder: &PathBuf| folder.is_dir() && !sources.iter().any(|source| source.starts_with(folder));
    if let Some(usual) = ["/sys", "/mnt", "/media"].map(PathBuf::from).into_iter().find(is_free) {
        return Ok(usual);
    }
    let mut others = Vec::new();
    for entry in fs_err::read_dir("/").during("look for a folder for its root")? {
        let entry = entry.during("look for a folder for its root")?;
        let is_ours = entry.file_type().is_ok_and(|kind| kind.is_dir());
        others.extend(Some(entry.path()).filter(|path| is_ours && !is_kept(path)));
    }
    others.sort();
    let none = || std::io::Error::from_raw_os_error(libc::ENOENT);
    others
        .into_iter()
        .find(is_free)
        .ok_or_else(none)
        .during("find a folder for its root, such as `/mnt` or `/tmp`")
}

/// Tells whether a folder of the host's root is needed while the new one is built.
fn is_kept(path: &Path) -> bool {
    ["/proc", "/dev"].map(Path::new).contains(&path)
}

/// A small tmpfs with the entries of `dir` bound read-only onto it.
fn assemble(new: &Path, dir: &Path) -> Result<(), Failure> {
    mount("tmpfs", new, "tmpfs", QUIET, Some(c"mode=0755,size=16m")).during("mount its root")?;
    for entry in fs_err::read_dir(dir).during("read its root")? {
        let entry = entry.during("read its root")?;
        let name = entry.file_name();
        if OWN.iter().any(|own| name == *own) {
            continue;
        }
        let target = new.join(&name);
        let kind = entry.file_type().during("read its root")?;
        if kind.is_symlink() {
            let text = fs_err::read_link(entry.path()).during("read its root")?;
            symlinkat(&text, CWD, &target).during("make its root")?;
            continue;
        }
        if kind.is_dir() {
            make_folders(new, &target)?;
        } else {
            touch(&target)?;
        }
        bind(&entry.path(), &target, true)?;
    }
    Ok(())
}

fn overlay(new: &Path, lower: &Path, changes: &Path) -> Result<(), Trouble> {
    let (upper, work) = (changes.join("upper"), changes.join("work"));
    for folder in [&upper, &work] {
        match mkdirat(CWD, folder, Mode::from(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => return Err(Err::<(), _>(errno).during("make its root").unwrap_err().into()),
        }
    }
    // In the options `,` and `:` part things; a backslash makes them plain (overlayfs(5)).
    let text = |path: &Path| {
        path.display().to_string().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,")
    };
    let options =
        format!("lowerdir={},upperdir={},workdir={},userxattr", text(lower), text(&upper), text(&work));
    let options = CString::new(options).map_err(|_| Trouble::Overlay(libc::EINVAL))?;
    mount("overlay", new, "overlay", QUIET, Some(options.as_c_str()))
        .map_err(|errno| Trouble::Overlay(errno.raw_os_error()))
}

/// `/proc`, `/dev`, `/tmp` and an empty `/sys`, which are never an input's.
fn own_folders(new: &Path, job: &Job) -> Result<(), Failure> {
    for own in OWN {
        make_folders(new, &new.join(own))?;
    }
    let at = |path: &str| new.join(path);
    mount("proc", at("proc"), "proc", QUIET | MountFlags::NOEXEC, None).during("mount /proc")?;
    if !job.mounts.iter().any(|mount| mount.target.as_str() == "/tmp") {
        mount("tmpfs", at("tmp"), "tmpfs", QUIET, Some(c"mode=1777")).during("mount /tmp")?;
    }
    if !matches!(job.root, Root::ReadOnly { .. }) && at("run").is_dir() {
        mount("tmpfs", at("run"), "tmpfs", QUIET, Some(c"mode=0755")).during("mount /run")?;
    }
    mount("tmpfs", at("dev"), "tmpfs", MountFlags::NOSUID | MountFlags::NOEXEC, Some(c"mode=0755,size=1m"))
        .during("mount /dev")?;
    for device in DEVICES {
        let target = at("dev").join(device);
        touch(&target)?;
        mount_bind_recursive(Path::new("/dev").join(device), &target)
            .during(format!("bind /dev/{device}"))?;
    }
    for (name, text) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlinkat(text, CWD, at("dev").join(name)).during("make /dev")?;
    }
    for folder in ["dev/pts", "dev/shm"] {
        make_folders(new, &at(folder))?;
    }
    mount(
        "devpts",
        at("dev/pts"),
        "devpts",
        MountFlags::NOSUID | MountFlags::NOEXEC,
        Some(c"newinstance,ptmxmode=0666,mode=0620"),
    )
    .during("mount /dev/pts")?;
    mount("tmpfs", at("dev/shm"), "tmpfs", QUIET | MountFlags::NOEXEC, Some(c"mode=1777"))
        .during("mount /dev/shm")?;
    Ok(())
}

fn bind(source: &Path, target: &Path, read_only: bool) -> Result<(), Failure> {
    mount_bind_recursive(source, target).during(format!("bind {}", target.display()))?;
    let flags = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    restrict(target, true, if read_only { flags | libc::MOUNT_ATTR_RDONLY } else { flags })
}

/// Copies what is below a folder, the last name first.
fn copy_backwards(from: &Path, to: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let mut entries = fs_err::read_dir(from)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.file_name()));
    for entry in entries {
        let (own, new) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            symlinkat(fs_err::read_link(&own)?, CWD, &new)?;
            continue;
        }
        let meta = entry.metadata()?;
        if kind.is_dir() {
            mkdirat(CWD, &new, Mode::from(0o700))?;
            copy_backwards(&own, &new)?;
        } else {
            fs_err::copy(&own, &new)?;
        }
        fs_err::set_permissions(&new, meta.permissions())?;
        let time = |seconds, nanoseconds| rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        let times = rustix::fs::Timestamps {
            last_access: time(meta.atime(), meta.atime_nsec()),
            last_modification: time(meta.mtime(), meta.mtime_nsec()),
        };
        rustix::fs::utimensat(CWD, &new, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// Adds restrictions to a mount, which keeps those that it has (mount_setattr(2), Linux 5.12).
fn restrict(target: &Path, below: bool, flags: u64) -> Result<(), Failure> {
    let path =
        CString::new(target.as_os_str().as_bytes()).map_err(std::io::Error::from).during("name a mount")?;
    let attributes = libc::mount_attr { attr_set: flags, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let recursive = if below { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: `path` is a C string and `attributes` a `struct mount_attr` of the size given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            recursive,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error()).during(format!("restrict {}", target.display()))
    }
}

/// Makes a folder and those above it, up to `top`. Follows no link: a root may be hostile.
fn make_folders(top: &Path, folder: &Path) -> Result<(), Failure> {
    let mut at = PathBuf::from(top);
    let below = folder.strip_prefix(top).unwrap_or(Path::new(""));
    for part in below.components() {
        at.push(part);
        match mkdirat(CWD, &at, Mode::from(0o755)) {
            Ok(()) => {}
            Err(rustix::io::Errno::EXIST) => {
                let stat = rustix::fs::lstat(&at).during("make a mount point")?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    return Err(rustix::io::Errno::NOTDIR).during(format!("make {}", at.display()));
                }
            }
            Err(errno) => return Err(errno).during(format!("make {}", at.display())),
        }
    }
    Ok(())
}

fn touch(path: &Path) -> Result<(), Failure> {
    use rustix::fs::{OFlags, open};
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open(path, flags, Mode::from(0o644)).map(drop).during("make a mount point")
}
