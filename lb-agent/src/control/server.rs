//! The socket's side of the agent.
//!
//! One task accepts, one serves each connection; requests go to the agent's own loop, which alone knows how everything
//! stands. A client that is slow or silent holds up nobody but itself.

use super::protocol::{MAX_LINE, Request, Response};
use nix::unistd::{Group, chown};
use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Requests that wait for the agent's loop; more wait in their connections.
const QUEUE: usize = 16;
/// Connections at a time: operators and a monitoring system, with room.
const CONNECTIONS: usize = 32;
/// How long a client may take for a line. Well below the patience of our own command line: should all places be taken by
/// clients that say nothing, whoever waits behind them is still answered.
const PATIENCE: Duration = Duration::from_secs(2);
/// Who may speak to the agent besides root.
const GROUP: &str = "lb";

/// A request on its way to the agent's loop, and where the answer goes.
pub type Asked = (Request, oneshot::Sender<Response>);

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The kernel refuses.
    #[error("open the control socket {path}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A file is in its place.
    #[error(
        "open the control socket {path}: there is something that is no socket; move it away, or name another path"
    )]
    Taken {
        /// The socket.
        path: PathBuf,
    },
}

/// The listening socket. Removed when dropped.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Server {
    /// Listens at `path`, mode 0660, group `lb` where there is one. Must only be called by whoever holds the agent's
    /// lock: a socket found there is a dead one's.
    ///
    /// # Errors
    /// Where the socket cannot be made.
    pub fn listen(path: &Path) -> Result<(Self, mpsc::Receiver<Asked>), ServerError> {
        let failed = |source| ServerError::Io {
            path: path.to_owned(),
            source,
        };
        remove_stale(path)?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed)?;
        if let Ok(Some(group)) = Group::from_name(GROUP) {
            chown(path, None, Some(group.gid)).map_err(|error| failed(error.into()))?;
        }
        let (asked, requests) = mpsc::channel(QUEUE);
        let server = Self {
            path: path.to_owned(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        server.tasks.spawn(accept(
            listener,
            asked,
            server.tasks.clone(),
            server.stop.clone(),
        ));
        Ok((server, requests))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        // Fails only where somebody removed it before.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes the socket of an agent that was killed. Must only be called by whoever holds the agent's lock.
///
/// # Errors
/// Where it cannot be removed, or something else than a socket is there: that is somebody's file.
pub fn remove_stale(path: &Path) -> Result<(), ServerError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path),
        Ok(_) => {
            return Err(ServerError::Taken {
                path: path.to_owned(),
            });
        }
        Err(source) => Err(source),
    };
    match removed {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(ServerError::Io {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

async fn accept(
    listener: UnixListener,
    asked: mpsc::Sender<Asked>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let places = std::sync::Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = std::sync::Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (asked, stop) = (asked.clone(), stop.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        served = serve(stream, asked) => {
                            if let Err(error) = served {
                                tracing::debug!(%error, "control connection ended");
                            }
                        }
                    }
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: others must end first.
                tracing::warn!(%error, "accept a control connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(mut stream: UnixStream, asked: mpsc::Sender<Asked>) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut line = String::new();
    let mut read = BufReader::new(read.take(MAX_LINE));
    timeout(PATIENCE, read.read_line(&mut line)).await??;
    let response = match serde_json::from_str(&line) {
        Ok(request) => {
            let (answer, answered) = oneshot::channel();
            let ended = || Response::Error("the agent is ending".to_owned());
            match asked.send((request, answer)).await {
                Ok(()) => answered.await.unwrap_or_else(|_| ended()),
                Err(_) => ended(),
            }
        }
        Err(error) => Response::Error(format!(
            "not a request: {error}; expected a line such as {{\"command\":\"status\"}}"
        )),
    };
    let mut text = serde_json::to_string(&response).map_err(io::Error::other)?;
    text.push('\n');
    timeout(PATIENCE, write.write_all(text.as_bytes())).await?
}
