//! The command line's side of the control socket.

use super::protocol::{Request, Response};
use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long the agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no agent answers at {path}: start it with `lb-agent run --config FILE`, or name its socket with --socket"
    )]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The socket may not be used.
    #[error("speak to the agent at {path}: allowed to root and to the group lb")]
    NotAllowed {
        /// The socket.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// It takes too long.
    #[error(
        "the agent at {path} has not answered within {} s: it is stopped, or very busy; its log says what with",
        PATIENCE.as_secs()
    )]
    Silent {
        /// The socket.
        path: PathBuf,
    },
    /// The connection broke.
    #[error("speak to the agent at {path}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The answer cannot be read.
    #[error("the agent at {path} answers what this version does not understand")]
    Foreign {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// Asks the agent at `path`.
///
/// # Errors
/// Where there is no answer.
pub fn ask(path: &Path, request: Request) -> Result<Response, ClientError> {
    let failed = |source: io::Error| {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning { path, source }
            }
            // EAGAIN is how a socket's timeout is told.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::Silent { path },
            io::ErrorKind::PermissionDenied => ClientError::NotAllowed { path, source },
            _ => ClientError::Io { path, source },
        }
    };
    let mut stream = UnixStream::connect(path).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
    let foreign = |source| ClientError::Foreign {
        path: path.to_owned(),
        source,
    };
    let mut line = serde_json::to_string(&request).map_err(foreign)?;
    line.push('\n');
    stream.write_all(line.as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    BufReader::new(stream)
        .read_line(&mut answer)
        .map_err(failed)?;
    serde_json::from_str(&answer).map_err(foreign)
}
