//! The documented example holds, and says what it seems to say.

use super::*;

/// The documented example.
pub(super) const EXAMPLE: &str = include_str!("../../../../docs/lb.toml");

#[test]
fn documented_example_holds_as_a_whole() {
    let config = config(EXAMPLE);
    assert_eq!(config.router_id, "edge-1");
    assert_eq!(config.services.len(), 3);
    assert_eq!(config.vrrp.len(), 1);
}
