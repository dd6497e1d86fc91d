//! A slot of a service's table: who owns this share of the flows, and who did before.

/// One aligned word, read once: `current` in bits 0..24, `previous` in bits 24..48, flags above.
/// A backend id of 0 means nobody.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Slot(pub u64);

/// The largest backend id that a slot can hold.
pub const MAX_BACKEND: u32 = (1 << 24) - 1;

impl Slot {
    /// A slot whose owner is settled.
    #[inline(always)]
    pub const fn settled(backend: u32) -> Self {
        let id = (backend & MAX_BACKEND) as u64;
        Self(id | id << 24)
    }

    /// The backend that new flows go to.
    #[inline(always)]
    pub const fn current(self) -> u32 {
        self.0 as u32 & MAX_BACKEND
    }

    /// The last settled owner.
    #[inline(always)]
    pub const fn previous(self) -> u32 {
        (self.0 >> 24) as u32 & MAX_BACKEND
    }

    /// True where no flow needs to be remembered: one owner, no flag.
    #[inline(always)]
    pub const fn is_settled(self) -> bool {
        self.current() == self.previous() && self.0 >> 48 == 0
    }
}

const _: () = assert!(size_of::<Slot>() == 8);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_settled_slot_has_one_owner(backend in 0..=MAX_BACKEND) {
            let slot = Slot::settled(backend);
            prop_assert_eq!((slot.current(), slot.previous()), (backend, backend));
            prop_assert!(slot.is_settled());
        }

        #[test]
        fn the_parts_of_a_slot_do_not_touch(current in 0..=MAX_BACKEND, previous in 0..=MAX_BACKEND, flags in any::<u16>()) {
            let slot = Slot(u64::from(current) | u64::from(previous) << 24 | u64::from(flags) << 48);
            prop_assert_eq!((slot.current(), slot.previous()), (current, previous));
            prop_assert_eq!(slot.is_settled(), current == previous && flags == 0);
        }
    }

    #[test]
    fn a_backend_that_does_not_fit_touches_no_flag() {
        assert_eq!(Slot::settled(u32::MAX).0 >> 48, 0);
    }

    #[test]
    fn a_zeroed_slot_is_nobodys() {
        assert_eq!(Slot::default().current(), 0);
    }
}
