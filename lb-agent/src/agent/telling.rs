//! Who is told when an instance or a group changes its state: the operator's commands and pipes.
//!
//! Mail is told in the same place, see [`sink`]'s `also`.

use crate::{
    config::{Command, Config, VrrpNotify},
    notify::{Notice, Notices},
    script::{Runner, Script, ScriptError},
    vrrp::{
        fsm::State,
        shell::{News, NewsSink, Whose},
    },
};
use nix::{errno::Errno, sys::stat::Mode, unistd::mkfifo};
use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Nobody could be told.
#[derive(Debug, thiserror::Error)]
pub enum TellingError {
    /// A command cannot be run as it is configured.
    #[error("notify of {name}: {source}")]
    Script {
        /// The instance or group.
        name: String,
        /// Why.
        #[source]
        source: ScriptError,
    },
    /// A pipe cannot be opened.
    #[error("open the pipe {path}: {source}")]
    Pipe {
        /// Where.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

/// Whom an instance or a group has to be told.
#[derive(Debug, Default)]
struct Told {
    /// By the state they are for.
    commands: BTreeMap<&'static str, Script>,
    any: Option<Script>,
    pipe: Option<Pipe>,
}

/// A pipe with a name. Whoever reads it may come later: the kernel keeps as many lines as it has room for.
#[derive(Debug)]
struct Pipe {
    path: PathBuf,
    file: File,
}

/// Where the elections tell their news. `also` is told each of them besides.
///
/// # Errors
/// Where a command cannot be run or a pipe not be opened.
pub fn sink(
    config: &Config,
    runner: &Runner,
    notices: Notices,
    also: impl Fn(&News) + Send + Sync + 'static,
) -> Result<NewsSink, TellingError> {
    let mut told = BTreeMap::new();
    for (place, vrrp) in config.vrrp.iter().enumerate() {
        let one = Told::new(&vrrp.name, &vrrp.notify, config, runner)?;
        told.insert(Whose::Instance(place), one);
    }
    for (place, group) in config.sync_groups.iter().enumerate() {
        let one = Told::new(&group.name, &group.notify, config, runner)?;
        told.insert(Whose::Group(place), one);
    }
    let router_id = config.router_id.clone();
    Ok(NewsSink::new(move |news| {
        also(&news);
        if let Some(told) = told.get(&news.whose) {
            told.tell(&news, &router_id, &notices);
        }
    }))
}

impl Told {
    fn new(
        name: &str,
        notify: &VrrpNotify,
        config: &Config,
        runner: &Runner,
    ) -> Result<Self, TellingError> {
        let ready = |command: &Command| {
            Script::new(command, notify.user.as_ref(), &config.scripts, runner).map_err(|source| {
                TellingError::Script {
                    name: name.to_owned(),
                    source,
                }
            })
        };
        let mut commands = BTreeMap::new();
        for (state, command) in [
            (State::Master, &notify.master),
            (State::Backup, &notify.backup),
            (State::Fault, &notify.fault),
            (State::Init, &notify.stop),
        ] {
            if let Some(command) = command {
                commands.insert(word(state), ready(command)?);
            }
        }
        Ok(Self {
            commands,
            any: notify.any.as_ref().map(ready).transpose()?,
            pipe: notify.fifo.as_deref().map(Pipe::open).transpose()?,
        })
    }

    fn tell(&self, news: &News, router_id: &str, notices: &Notices) {
        let (kind, about) = match news.whose {
            Whose::Instance(_) => ("INSTANCE", format!("vrrp {}", news.name)),
            Whose::Group(_) => ("GROUP", format!("sync_group {}", news.name)),
        };
        let (state, priority) = (word(news.new), news.priority.to_string());
        if let Some(pipe) = &self.pipe {
            pipe.write(&format!("{kind} \"{}\" {state} {priority}\n", news.name));
        }
        for script in self.commands.get(state).into_iter().chain(&self.any) {
            let told = [kind, &news.name, state, &priority];
            notices.send(Notice {
                about: about.clone(),
                script: script.clone(),
                arguments: told.map(str::to_owned).to_vec(),
                environment: vec![
                    ("LB_ROUTER_ID", router_id.to_owned()),
                    ("LB_KIND", kind.to_owned()),
                    ("LB_NAME", news.name.clone()),
                    ("LB_STATE", state.to_owned()),
                    ("LB_OLD_STATE", word(news.old).to_owned()),
                    ("LB_PRIORITY", priority.clone()),
                    ("LB_REASON", news.reason.clone()),
                ],
            });
        }
    }
}

/// A state's name, as scripts written for keepalived know it.
fn word(state: State) -> &'static str {
    match state {
        State::Init => "STOP",
        State::Backup => "BACKUP",
        State::Master => "MASTER",
        State::Fault => "FAULT",
    }
}

impl Pipe {
    /// Opens it, and makes it where there is none.
    fn open(path: &Path) -> Result<Self, TellingError> {
        let failed = |source| TellingError::Pipe {
            path: path.to_owned(),
            source,
        };
        match mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(failed(error.into())),
        }
        // Also for reading: else it could not be opened, and every line were lost, while nobody reads.
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let file = options.custom_flags(libc::O_NONBLOCK).open(path);
        let file = file.map_err(failed)?;
        let is_pipe = file.metadata().map_err(failed)?.file_type().is_fifo();
        match is_pipe {
            true => Ok(Self {
                path: path.to_owned(),
                file,
            }),
            false => Err(failed(io::Error::other("something else has that name"))),
        }
    }

    fn write(&self, line: &str) {
        // A line is far shorter than what the kernel writes whole or not at all (PIPE_BUF, pipe(7)).
        if let Err(error) = (&self.file).write_all(line.as_bytes()) {
            let pipe = self.path.display();
            tracing::warn!(%pipe, %error, line = line.trim_end(), "a line is lost: is anybody reading?");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};

    // V102
    #[test]
    fn lines_wait_in_the_pipe_for_whoever_reads_it() {
        let path = std::env::temp_dir().join(format!("lb-pipe-{}", std::process::id()));
        let told = Told {
            pipe: Some(Pipe::open(&path).expect("open")),
            ..Told::default()
        };
        let notifier_is_not_asked = Notices::nowhere();
        for (new, old) in [(State::Master, State::Backup), (State::Init, State::Master)] {
            let news = News {
                whose: Whose::Instance(0),
                name: "VI_1".to_owned(),
                old,
                new,
                priority: 150,
                reason: String::new(),
            };
            told.tell(&news, "lb1", &notifier_is_not_asked);
        }
        let reader = BufReader::new(File::open(&path).expect("open"));
        std::fs::remove_file(&path).expect("remove");
        let lines: Vec<String> = reader.lines().take(2).map(Result::unwrap).collect();
        assert_eq!(
            lines,
            ["INSTANCE \"VI_1\" MASTER 150", "INSTANCE \"VI_1\" STOP 150"]
        );
    }

    #[test]
    fn what_is_no_pipe_is_refused() {
        let error = Pipe::open(Path::new("/dev/null")).expect_err("no pipe");
        assert_eq!(
            error.to_string(),
            "open the pipe /dev/null: something else has that name"
        );
    }
}
