//! What only version 3 has. RFC 9568 §5.1; RFC 5798 differs only in the checksum over IPv4.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |Version| Type  | Virtual Rtr ID|   Priority    |  IPvX Count   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |(rsvd) |   Max Adver Int (cs)  |          Checksum             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                   IPvX Address (1) .. (n)                     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use std::time::Duration;

/// The interval has the lower 12 bits. The upper four are sent as zero and not looked at: RFC 9568 §5.2.6.
const ADVERT_CS_MASK: u16 = 0x0fff;

/// A centisecond.
const CENTISECOND: Duration = Duration::from_millis(10);

/// From centiseconds. RFC 9568 §5.2.7.
pub(super) fn advert_interval(reserved_and_advert_cs: [u8; 2]) -> Duration {
    CENTISECOND * u32::from(u16::from_be_bytes(reserved_and_advert_cs) & ADVERT_CS_MASK)
}

/// To centiseconds: whole ones, 1 to 4095.
pub(super) fn advert_cs(interval: Duration) -> Option<u16> {
    let whole = interval.as_nanos().is_multiple_of(CENTISECOND.as_nanos());
    let advert_cs = u16::try_from(interval.as_nanos() / CENTISECOND.as_nanos()).ok()?;
    (whole && (1..=ADVERT_CS_MASK).contains(&advert_cs)).then_some(advert_cs)
}
