//! What the operator has said about a real server, which goes before all else.

/// What the operator has said about a real server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// Whether it is to serve.
    pub stance: Stance,
    /// Its weight, in place of any other.
    pub weight: Option<u16>,
}

/// Whether a real server is to serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stance {
    /// As health allows.
    #[default]
    Enabled,
    /// It gets nothing new, and what it has ends in peace.
    Draining {
        /// When its connections are cut, seconds of boot time; `None`: after the service's `drain_timeout`.
        until_s: Option<u64>,
    },
    /// It gets nothing at all.
    Disabled,
}

impl Word {
    /// In words, such as "disabled, weight 5".
    pub fn in_words(self) -> String {
        let stance = match self.stance {
            Stance::Enabled => "enabled",
            Stance::Draining { .. } => "to be drained",
            Stance::Disabled => "disabled",
        };
        match self.weight {
            Some(weight) => format!("{stance}, weight {weight}"),
            None => format!("{stance}, weight as configured"),
        }
    }
}

impl Stance {
    /// Whether it takes new connections, as far as the operator says.
    pub fn serves(self) -> bool {
        self == Self::Enabled
    }

    /// Whether it is to be drained.
    pub fn drains(self) -> bool {
        matches!(self, Self::Draining { .. })
    }
}
