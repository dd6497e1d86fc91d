//! One agent at a time: for a control socket, and for a data plane.

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::stat::{major, minor},
};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Held for the agent's life; the kernel releases it when the process ends, however that is.
#[derive(Debug)]
pub struct Lock {
    _socket: Flock<File>,
    _bpffs: Flock<File>,
}

/// Why the lock is not held.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another agent runs.
    #[error(
        "an agent is running already{holder}: stop it first; two on one host need a `control.socket` and a BPF file system each"
    )]
    Held {
        /// Its process id in words, if it is known.
        holder: String,
    },
    /// Another agent, with another control socket, has the pinned data plane.
    #[error(
        "an agent with another control socket{holder} has the data plane below {bpffs}: stop it first; two on one host need a BPF file system each"
    )]
    DatapathHeld {
        /// Its process id in words, if it is known.
        holder: String,
        /// The BPF file system.
        bpffs: PathBuf,
    },
    /// The lock file cannot be made.
    #[error("open the lock file {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

impl Lock {
    /// Takes the lock beside the control socket at `socket`, and that of the data plane pinned below `bpffs`.
    ///
    /// # Errors
    /// Where another agent has one of them.
    pub fn take(socket: &Path, bpffs: &Path) -> Result<Self, LockError> {
        let path = socket.with_extension("lock");
        let failed = |source| LockError::Io {
            path: path.clone(),
            source,
        };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        let mut socket = lock(file).map_err(|refused| match refused {
            Refused::Held { holder } => LockError::Held { holder },
            Refused::Failed(source) => failed(source),
        })?;
        let note = format!("{}\n", std::process::id());
        let noted = socket
            .set_len(0)
            .and_then(|()| socket.rewind())
            .and_then(|()| socket.write_all(note.as_bytes()));
        noted.map_err(failed)?;
        // The file system's root: what is below it comes and goes.
        let failed = |source| LockError::Io {
            path: bpffs.to_owned(),
            source,
        };
        let bpffs_lock =
            lock(File::open(bpffs).map_err(failed)?).map_err(|refused| match refused {
                Refused::Held { holder } => LockError::DatapathHeld {
                    holder,
                    bpffs: bpffs.to_owned(),
                },
                Refused::Failed(source) => failed(source),
            })?;
        Ok(Self {
            _socket: socket,
            _bpffs: bpffs_lock,
        })
    }
}

/// Why a file is not locked.
enum Refused {
    Held { holder: String },
    Failed(io::Error),
}

fn lock(file: File) -> Result<Flock<File>, Refused> {
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(file, errno)| match errno {
        Errno::EWOULDBLOCK => Refused::Held {
            holder: holder(&file)
                .map(|pid| format!(" (pid {pid})"))
                .unwrap_or_default(),
        },
        errno => Refused::Failed(errno.into()),
    })
}

/// Who has locked a file: proc(5), /proc/locks, "1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF". For messages only.
fn holder(file: &File) -> Option<u32> {
    let metadata = file.metadata().ok()?;
    let (major, minor) = (major(metadata.dev()), minor(metadata.dev()));
    let inode = format!("{major:02x}:{minor:02x}:{}", metadata.ino());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let mut fields = locks
        .lines()
        .map(|line| line.split_ascii_whitespace().skip(4));
    fields.find_map(|mut fields| {
        let pid = fields.next()?.parse().ok()?;
        (fields.next()? == inode).then_some(pid)
    })
}
