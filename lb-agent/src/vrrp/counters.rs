//! What happened, by reason and number.

/// Numbers by reason. Reasons are an enum with [`Reason`].
#[derive(Clone, Debug)]
pub struct Counters<R> {
    values: Vec<u64>,
    reason: std::marker::PhantomData<R>,
}

/// Something that is counted.
pub trait Reason: Copy + 'static {
    /// Every one there is, in the order of [`index`](Self::index).
    const ALL: &'static [Self];

    /// Its place in [`ALL`](Self::ALL).
    fn index(self) -> usize;

    /// Its name in metrics and status. Names are kept from version to version.
    fn name(self) -> &'static str;
}

impl<R: Reason> Counters<R> {
    /// All zero.
    pub fn new() -> Self {
        Self {
            values: vec![0; R::ALL.len()],
            reason: std::marker::PhantomData,
        }
    }

    /// One more.
    pub fn add(&mut self, reason: R) {
        if let Some(value) = self.values.get_mut(reason.index()) {
            *value += 1;
        }
    }

    /// How many so far.
    pub fn get(&self, reason: R) -> u64 {
        self.values.get(reason.index()).copied().unwrap_or_default()
    }

    /// All of them, with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        R::ALL
            .iter()
            .map(|reason| (reason.name(), self.get(*reason)))
    }
}

impl<R: Reason> Default for Counters<R> {
    fn default() -> Self {
        Self::new()
    }
}

/// An enum of reasons with their names.
macro_rules! reasons {
    ($(#[$doc:meta])* $type:ident { $($(#[$reason_doc:meta])* $reason:ident = $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type {
            $($(#[$reason_doc])* $reason,)+
        }

        impl $crate::vrrp::counters::Reason for $type {
            const ALL: &'static [Self] = &[$(Self::$reason,)+];

            fn index(self) -> usize {
                self as usize
            }

            fn name(self) -> &'static str {
                match self {
                    $(Self::$reason => $name,)+
                }
            }
        }
    };
}

pub(crate) use reasons;
