//! Whether somebody else than root can decide what a command does.
//!
//! The agent runs as root. A program that others can change, or replace by changing a directory on the way to it, makes
//! each of them root, or whomever it is run as. Every directory on the way and the program itself must belong to root,
//! and be writable by root alone, through every symbolic link.

use std::collections::VecDeque;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

/// As many symbolic links as the kernel follows (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// A program that is not run.
#[derive(Debug, thiserror::Error)]
pub enum Insecure {
    /// Others than root can change it.
    #[error(
        "{program} is not run: {place} {why}; give it to root alone (chown root, chmod go-w), or set \
         scripts.allow_insecure"
    )]
    Changeable {
        /// The program.
        program: PathBuf,
        /// What can be changed: it or a directory on the way.
        place: PathBuf,
        /// How.
        why: String,
    },
    /// It is not there, or cannot be reached.
    #[error("{program}: {source}")]
    Unreachable {
        /// The program.
        program: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

/// Looks at the whole way to `program`, an absolute path.
///
/// # Errors
/// The first place that others than root can change.
pub fn check(program: &Path) -> Result<(), Insecure> {
    let unreachable = |source| Insecure::Unreachable {
        program: program.to_owned(),
        source,
    };
    let judged = |place: &Path, metadata: &Metadata| match changeable(metadata) {
        None => Ok(()),
        Some(why) => Err(Insecure::Changeable {
            program: program.to_owned(),
            place: place.to_owned(),
            why,
        }),
    };
    let mut at = PathBuf::from("/");
    judged(&at, &fs::symlink_metadata(&at).map_err(unreachable)?)?;
    let mut way: VecDeque<PathBuf> = steps(program).collect();
    let mut links = 0;
    while let Some(step) = way.pop_front() {
        if step.as_os_str() == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&step);
        let metadata = fs::symlink_metadata(&next).map_err(unreachable)?;
        if !metadata.is_symlink() {
            judged(&next, &metadata)?;
            at = next;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(unreachable(io::Error::from_raw_os_error(libc::ELOOP)));
        }
        let target = fs::read_link(&next).map_err(unreachable)?;
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        for step in steps(&target).collect::<Vec<_>>().into_iter().rev() {
            way.push_front(step);
        }
    }
    Ok(())
}

fn steps(path: &Path) -> impl Iterator<Item = PathBuf> {
    path.components().filter_map(|step| match step {
        Component::Normal(name) => Some(name.into()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

/// How others than root can change it. Access lists show in the group's bits.
fn changeable(metadata: &Metadata) -> Option<String> {
    let mode = metadata.mode() & 0o7777;
    if metadata.uid() != 0 {
        return Some(format!("belongs to user {}", metadata.uid()));
    }
    if mode & 0o002 != 0 {
        return Some(format!("can be written by everybody (mode {mode:04o})"));
    }
    if mode & 0o020 != 0 && metadata.gid() != 0 {
        return Some(format!(
            "can be written by group {} (mode {mode:04o})",
            metadata.gid()
        ));
    }
    None
}

#[cfg(test)]
mod tests;
