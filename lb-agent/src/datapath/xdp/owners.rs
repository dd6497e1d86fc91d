//! The ownership words: one for each virtual router, one store moves all of its addresses.
//!
//! They are written by whoever runs the elections, at any time and beside the [`Writer`](super::Writer), which leaves all
//! but the one of [`ALWAYS_OWNED`](lb_common::control::ALWAYS_OWNED) alone.

use super::{maps::Maps, writer::owner_offset};
use lb_common::Owner;
use std::{fmt, sync::Arc};

/// The ownership words of the maps in force.
#[derive(Clone)]
pub struct Owners(Arc<Maps>);

impl Owners {
    pub(super) fn new(maps: Arc<Maps>) -> Self {
        Self(maps)
    }

    /// Stores the word of owner number `owner`. Packets obey it at once.
    pub fn store(&self, owner: u16, word: Owner) {
        self.0.control.store_word(0, owner_offset(owner), word.0);
    }

    /// The word of owner number `owner`.
    pub fn load(&self, owner: u16) -> Owner {
        Owner(self.0.control.load_word(0, owner_offset(owner)))
    }
}

impl fmt::Debug for Owners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owners")
    }
}
