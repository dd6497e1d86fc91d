//! As whom a command runs.

use nix::unistd::{Gid, Group, Uid, User, geteuid};

use crate::config;

/// Ids to run a command with, and what goes with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    /// The user.
    pub uid: Uid,
    /// The group, the only one.
    pub gid: Gid,
    /// The user's name.
    pub name: String,
    /// The user's home.
    pub home: String,
}

/// No such ids, or not for this process.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// Not in the user database.
    #[error("there is no {what} `{name}` on this host: name another in `user`, or add it")]
    Unknown {
        /// User or group.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The database cannot be read.
    #[error("look for {what} `{name}`: {source}")]
    Unreadable {
        /// User or group.
        what: &'static str,
        /// Its name.
        name: String,
        /// The system's answer.
        #[source]
        source: nix::Error,
    },
    /// Only root may become somebody else.
    #[error("only root may run commands as `{name}`")]
    NotRoot {
        /// The other.
        name: String,
    },
}

impl Ids {
    /// Those of a user of this host.
    ///
    /// # Errors
    /// Where there is no such user or group, or this process may not become it.
    pub fn of(user: &config::User) -> Result<Self, UserError> {
        let name = &user.user;
        let found = found("user", name, User::from_name(name), || {
            User::from_uid(Uid::from_raw(name.parse().ok()?)).ok()?
        })?;
        let gid = match &user.group {
            None => found.gid,
            Some(name) => {
                let by_id = || Group::from_gid(Gid::from_raw(name.parse().ok()?)).ok()?;
                self::found("group", name, Group::from_name(name), by_id)?.gid
            }
        };
        if !geteuid().is_root() && found.uid != geteuid() {
            return Err(UserError::NotRoot { name: name.clone() });
        }
        Ok(Self {
            uid: found.uid,
            gid,
            name: found.name,
            home: found.dir.to_string_lossy().into_owned(),
        })
    }
}

/// By name, or else by number.
fn found<T>(
    what: &'static str,
    name: &str,
    by_name: nix::Result<Option<T>>,
    by_id: impl FnOnce() -> Option<T>,
) -> Result<T, UserError> {
    let name = || name.to_owned();
    match by_name {
        Ok(Some(found)) => Ok(found),
        Ok(None) => by_id().ok_or_else(|| UserError::Unknown { what, name: name() }),
        Err(source) => Err(UserError::Unreadable {
            what,
            name: name(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(user: &str, group: Option<&str>) -> config::User {
        config::User {
            user: user.to_owned(),
            group: group.map(str::to_owned),
        }
    }

    #[test]
    fn users_and_groups_are_found_by_name_and_by_number() {
        let root = Ids::of(&user("root", None)).expect("root");
        assert_eq!((root.uid.as_raw(), root.gid.as_raw()), (0, 0));
        assert_eq!(Ids::of(&user("0", Some("0"))).expect("root"), root);
        let other = Ids::of(&user("root", Some("daemon"))).expect("root");
        assert_eq!(other.gid.as_raw(), 1);
    }

    #[test]
    fn an_unknown_name_is_named_with_the_cure() {
        let words = |user: &config::User| Ids::of(user).expect_err("unknown").to_string();
        let text = words(&user("no-such-user", None));
        assert!(
            text.starts_with("there is no user `no-such-user` on this host: "),
            "{text}"
        );
        let text = words(&user("root", Some("no-such-group")));
        assert!(
            text.starts_with("there is no group `no-such-group` "),
            "{text}"
        );
    }
}
