//! What only version 2 has. RFC 3768 §5.1, with the authentication of RFC 2338 §5.3.6 and §10.2.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |Version| Type  | Virtual Rtr ID|   Priority    | Count IP Addrs|
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   Auth Type   | Adver Int (s) |          Checksum             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                     IP Address (1) .. (n)                     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                     Authentication Data (8 bytes)             |
//! |                                                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use std::fmt;
use std::hint::black_box;
use std::time::Duration;

use thiserror::Error;

/// Offset of the type of authentication.
pub(super) const AUTH_TYPE: usize = 4;
/// Offset of the interval in seconds.
pub(super) const ADVERT_S: usize = 5;
/// The authentication data's length. It is there whatever the type is: RFC 3768 §5.3.10.
pub const AUTH_BYTES: usize = 8;

/// No authentication: RFC 3768 §5.3.6.
pub(super) const AUTH_NONE: u8 = 0;
/// A plain-text password: RFC 2338 §5.3.6.
pub(super) const AUTH_PASS: u8 = 1;
/// An IP authentication header: RFC 2338 §5.3.6.
pub(super) const AUTH_HEADER: u8 = 2;

/// A plain-text password. It guards against accidents, not against anyone who can listen.
///
/// Two are compared in a time that does not depend on where they differ, and `Debug` does not show it.
#[derive(Clone, Copy)]
pub struct Password([u8; AUTH_BYTES]);

/// Why a text is no password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a password of {length} bytes; 1 to 8 can be sent")]
pub struct PasswordLength {
    /// Of the text, in bytes.
    pub length: usize,
}

impl Password {
    /// As received.
    pub(super) const fn from_wire(bytes: [u8; AUTH_BYTES]) -> Self {
        Self(bytes)
    }

    /// As sent: padded with zeros.
    pub const fn bytes(&self) -> [u8; AUTH_BYTES] {
        self.0
    }
}

impl TryFrom<&str> for Password {
    type Error = PasswordLength;

    fn try_from(text: &str) -> Result<Self, PasswordLength> {
        let length = text.len();
        let mut bytes = [0; AUTH_BYTES];
        match bytes.get_mut(..length) {
            Some(start) if length > 0 => start.copy_from_slice(text.as_bytes()),
            Some(_) | None => return Err(PasswordLength { length }),
        }
        Ok(Self(bytes))
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        let pairs = self.0.iter().zip(&other.0);
        pairs.fold(0, |differing, (a, b)| black_box(differing | (a ^ b))) == 0
    }
}

impl Eq for Password {}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// From seconds. RFC 3768 §5.3.7.
pub(super) fn advert_interval(advert_s: u8) -> Duration {
    Duration::from_secs(advert_s.into())
}

/// To seconds: whole ones, 1 to 255.
pub(super) fn advert_s(interval: Duration) -> Option<u8> {
    let whole = interval.subsec_nanos() == 0;
    let advert_s = u8::try_from(interval.as_secs()).ok()?;
    (whole && advert_s > 0).then_some(advert_s)
}
