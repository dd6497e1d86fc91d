//! One agent at a time.

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

/// Held for the agent's life; the kernel releases it when the process ends, however that is.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, not used")] Flock<File>);

/// Why the lock is not held.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another agent runs.
    #[error("an agent is running already{holder}: stop it first, or give this one a `control.socket` and a BPF file system of its own")]
    Held {
        /// Its process id in words, if it is known.
        holder: String,
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
    /// Takes the lock beside the control socket at `socket`.
    ///
    /// # Errors
    /// Where another agent has it.
    pub fn take(socket: &Path) -> Result<Self, LockError> {
        let path = socket.with_extension("lock");
        let failed = |source| LockError::Io { path: path.clone(), source };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).map_err(failed)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                let note = format!("{}\n", std::process::id());
                let noted = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(note.as_bytes()));
                noted.map_err(failed)?;
                Ok(Self(file))
            }
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let mut holder = String::new();
                // Only for the message.
                let _ = file.read_to_string(&mut holder);
                let holder = holder.trim();
                Err(LockError::Held { holder: if holder.is_empty() { String::new() } else { format!(" (pid {holder})") } })
            }
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }
}
