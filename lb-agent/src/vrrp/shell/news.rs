//! Changes of state, for whoever wants to be told: commands, pipes, mail.

use crate::vrrp::fsm::State;
use std::{fmt, sync::Arc};

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Whose {
    /// An instance with this place in the list of all.
    Instance(usize),
    /// A sync group, likewise.
    Group(usize),
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Whose it is.
    pub whose: Whose,
    /// The name of that.
    pub name: String,
    /// The state before.
    pub old: State,
    /// The state now; `Init`: stopped.
    pub new: State,
    /// The priority at that moment; of a group: 0.
    pub priority: u8,
    /// Why, in words.
    pub reason: String,
}

type Told = dyn Fn(News) + Send + Sync;

/// Where news are told.
#[derive(Clone)]
pub struct NewsSink(Arc<Told>);

impl NewsSink {
    /// Tells `told`, which must not block, in the order of the changes.
    pub fn new(told: impl Fn(News) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }

    pub(super) fn tell(&self, news: News) {
        (self.0)(news);
    }
}

impl fmt::Debug for NewsSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewsSink")
    }
}

/// Where a group stands whose members stand there: master with all of them, in fault with any of them.
pub fn of_group(members: impl IntoIterator<Item = State> + Clone) -> State {
    let any = |state| members.clone().into_iter().any(|member| member == state);
    let is_master = members
        .clone()
        .into_iter()
        .all(|member| member == State::Master);
    match () {
        () if is_master => State::Master,
        () if any(State::Fault) => State::Fault,
        () if any(State::Init) => State::Init,
        () => State::Backup,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_master_with_all_and_in_fault_with_any_of_its_members() {
        use State::{Backup, Fault, Init, Master};
        for (members, group) in [
            ([Master, Master], Master),
            ([Master, Backup], Backup),
            ([Backup, Backup], Backup),
            ([Backup, Fault], Fault),
            ([Init, Fault], Fault),
            ([Init, Backup], Init),
        ] {
            assert_eq!(of_group(members), group, "{members:?}");
        }
    }
}
