//! A slot of a service's table: who owns this share of the flows, and who did before.

/// One aligned word, read once: `current` in bits 0..24, `previous` in bits 24..48, [`Slot::REMEMBERS`] in bit 48, the
/// window's end in bits 49..64, see [`Deadline`]. A backend id of 0 means nobody.
///
/// **A flow that has no entry in the flow table belongs to `previous`.** Everything else follows from that: while the two
/// differ (the *window*), flows that go to `current` are remembered, and those of `previous` that show themselves too, so
/// that at the window's end those without an entry may be given to `current`.
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

    /// Some flows of this slot are in the flow table, though no window is open.
    pub const REMEMBERS: u64 = 1 << 48;

    /// True where no flow needs to be remembered: one owner, no flag. All that most packets ask.
    #[inline(always)]
    pub const fn is_settled(self) -> bool {
        self.0 >> 24 == self.0 & MAX_BACKEND as u64
    }

    /// True while flows are told apart by their age.
    #[inline(always)]
    pub const fn is_open(self) -> bool {
        self.current() != self.previous()
    }

    /// True where flows may be in the flow table though no window is open.
    pub const fn remembers(self) -> bool {
        self.0 & Self::REMEMBERS != 0
    }

    /// When the window ends; means nothing where none is open.
    pub const fn deadline(self) -> Deadline {
        Deadline((self.0 >> 49) as u16)
    }

    /// The word after `owner` (0: nobody) has become the slot's owner.
    ///
    /// `previous` is the last settled owner, whatever came between, and also when it died: it may come back with its
    /// connections alive. Where it is the owner again, entry-less flows are where they belong and the window is over, but
    /// flows that went elsewhere meanwhile are in the flow table. A window that is open keeps its end: it was long enough
    /// for the flows of `previous`, and all others are remembered anyway.
    pub const fn owned_by(self, owner: u32, deadline: Deadline) -> Self {
        let (current, previous) = (self.current(), self.previous());
        if owner == current {
            return self;
        }
        if previous == 0 {
            return Self(Self::settled(owner).0 | self.0 & Self::REMEMBERS);
        }
        let ids = (owner & MAX_BACKEND) as u64 | (previous as u64) << 24;
        if owner == previous {
            return Self(ids | Self::REMEMBERS);
        }
        let deadline = if self.is_open() {
            self.deadline()
        } else {
            deadline
        };
        Self(ids | self.0 & Self::REMEMBERS | (deadline.0 as u64) << 49)
    }

    /// The word at the window's end: flows without an entry belong to `current` from now on.
    pub const fn closed(self) -> Self {
        if self.is_open() {
            Self(Self::settled(self.current()).0 | Self::REMEMBERS)
        } else {
            self
        }
    }

    /// The word once no flow of the slot is in the flow table.
    pub const fn forgotten(self) -> Self {
        if self.is_open() {
            self
        } else {
            Self::settled(self.current())
        }
    }
}

/// When a window ends: boot time in units of [`Deadline::UNIT_S`] seconds, 15 bits. Lies less than half the range from
/// now, so that it is told from the past without knowing the day. Kept in the slot so that a restart of the agent finds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadline(u16);

impl Deadline {
    /// Seconds of one unit: how much longer than asked a window may last.
    pub const UNIT_S: u64 = 4;
    /// The longest window, seconds: 18 hours.
    pub const MAX_WINDOW_S: u64 = (Self::HALF as u64 - 2) * Self::UNIT_S;
    const BITS: u16 = 0x7fff;
    const HALF: u16 = 0x4000;

    /// The first moment that is no less than `window_s` after `now_s`, both in seconds, `now_s` of boot time.
    pub const fn after(now_s: u64, window_s: u64) -> Self {
        let window_s = if window_s > Self::MAX_WINDOW_S {
            Self::MAX_WINDOW_S
        } else {
            window_s
        };
        Self((now_s + window_s).div_ceil(Self::UNIT_S) as u16 & Self::BITS)
    }

    /// Seconds from `now_s` until then; 0: it has passed.
    pub const fn remaining_s(self, now_s: u64) -> u64 {
        let now = (now_s / Self::UNIT_S) as u16;
        let units = self.0.wrapping_sub(now) & Self::BITS;
        if units == 0 || units >= Self::HALF {
            0
        } else {
            units as u64 * Self::UNIT_S - now_s % Self::UNIT_S
        }
    }

    /// Whether it has come.
    pub const fn has_passed(self, now_s: u64) -> bool {
        self.remaining_s(now_s) == 0
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

    proptest! {
        #[test]
        fn a_deadline_lasts_as_long_as_asked_and_at_most_a_unit_longer(now_s in 0..1_u64 << 40, window_s in 0..=Deadline::MAX_WINDOW_S) {
            let remaining = Deadline::after(now_s, window_s).remaining_s(now_s);
            prop_assert!(remaining >= window_s && remaining < window_s + Deadline::UNIT_S, "{remaining}");
        }

        #[test]
        fn a_deadline_passes_when_its_time_has_come(now_s in 0..1_u64 << 40, window_s in 1..=Deadline::MAX_WINDOW_S, late_s in 0..Deadline::MAX_WINDOW_S) {
            let deadline = Deadline::after(now_s, window_s);
            let remaining = deadline.remaining_s(now_s);
            prop_assert!(!deadline.has_passed(now_s + remaining - 1));
            prop_assert!(deadline.has_passed(now_s + remaining));
            prop_assert!(deadline.has_passed(now_s + remaining + late_s));
        }

        #[test]
        fn previous_is_the_last_settled_owner_whatever_comes_between(first in 1..9_u32, owners in proptest::collection::vec(0..9_u32, 1..9), now_s in 0..1_u64 << 40) {
            let mut slot = Slot::settled(first);
            for &owner in &owners {
                slot = slot.owned_by(owner, Deadline::after(now_s, 900));
                prop_assert_eq!((slot.current(), slot.previous()), (owner, first));
            }
            let closed = slot.closed();
            prop_assert_eq!((closed.current(), closed.previous()), (slot.current(), slot.current()));
            prop_assert!(closed.remembers() || slot == Slot::settled(first));
            prop_assert!(closed.forgotten().is_settled());
        }

        #[test]
        fn an_open_window_keeps_its_end(first in 1..9_u32, second in 11..19_u32, third in 21..29_u32, now_s in 0..1_u64 << 40) {
            let early = Deadline::after(now_s, 900);
            let slot = Slot::settled(first).owned_by(second, early);
            prop_assert_eq!(slot.deadline(), early);
            prop_assert_eq!(slot.owned_by(third, Deadline::after(now_s + 100, 900)).deadline(), early);
            let again = slot.owned_by(first, early).owned_by(third, Deadline::after(now_s + 100, 900));
            prop_assert_eq!(again.deadline(), Deadline::after(now_s + 100, 900));
            prop_assert!(again.remembers());
        }
    }

    #[test]
    fn the_first_owner_of_a_slot_that_was_nobodys_is_settled() {
        let slot = Slot::default().owned_by(7, Deadline::after(0, 900));
        assert_eq!(slot, Slot::settled(7));
    }

    #[test]
    fn a_slot_that_nobody_serves_keeps_who_did() {
        let slot = Slot::settled(7).owned_by(0, Deadline::after(0, 900));
        assert_eq!((slot.current(), slot.previous()), (0, 7));
        assert_eq!(slot.owned_by(7, Deadline::after(9, 900)).previous(), 7);
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
