//! Why a packet met its verdict. Every verdict names one.

/// Reasons a service's row has room for; a power of two.
pub const REASONS: u32 = 64;

/// What became of the packets of a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Sent to a real server.
    Forwarded,
    /// Handed to the host's own stack.
    Passed,
    /// Made into an answer, which went back where the packet came from.
    Answered,
    /// Dropped.
    Dropped,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal, $name:literal, $fate:ident, counted: $counted:literal;)+) => {
        /// Why a packet was forwarded, passed or dropped. The number is its column in a service's row of counters.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Reason { $($(#[doc = $doc])+ $variant = $code,)+ }

        impl Reason {
            /// Every reason, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name that status, metrics and logs show.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What became of the packet.
            #[inline(always)]
            pub const fn fate(self) -> Fate {
                match self { $(Self::$variant => Fate::$fate,)+ }
            }

            /// Whether the reason has a counter of its own. The most frequent ones have none: forwarded packets are
            /// counted by backend, and the host's own traffic is not to pay for being counted.
            #[inline(always)]
            pub const fn counted(self) -> bool {
                match self { $(Self::$variant => $counted,)+ }
            }
        }
    };
}

reasons! {
    /// Sent to a real server.
    Forwarded = 0, "forwarded", Forwarded, counted: false;
    /// Neither IPv4 nor IPv6, or neither TCP nor UDP: the host's business.
    NotBalanced = 1, "not_balanced", Passed, counted: false;
    /// Not for the address and port of a service.
    NotAService = 2, "not_a_service", Passed, counted: false;
    /// Shorter than its headers say. The host's stack discards it in silence.
    Truncated = 3, "truncated", Passed, counted: true;
    /// For a service's address, but the frame is for another station: a flooded frame.
    ForeignMac = 4, "foreign_mac", Passed, counted: true;
    /// The real server is this host.
    RealServerIsLocal = 5, "real_server_is_local", Passed, counted: false;
    /// This host is not the owner of the virtual address.
    NotOwner = 6, "not_owner", Passed, counted: true;
    /// A fragment without a transport header, whose first one did not come before it: it cannot be told where it belongs.
    LaterFragment = 7, "later_fragment", Passed, counted: true;
    /// A NAT real server's reply, sent to its client from the virtual address.
    Replied = 8, "replied", Forwarded, counted: true;
    /// Not the owner, but the address is still on this host, whose stack would answer with a reset.
    NotOwnerStillLocal = 16, "not_owner_still_local", Dropped, counted: true;
    /// TTL or hop limit would reach zero here, and the sender was not told: it was told enough, or is nobody to tell.
    TtlExpired = 17, "ttl_expired", Dropped, counted: true;
    /// The service has no live real server.
    NoRealServer = 18, "no_real_server", Dropped, counted: true;
    /// The real server's next hop is not resolved.
    NextHopUnresolved = 19, "next_hop_unresolved", Dropped, counted: true;
    /// The interface towards the real server cannot send.
    EgressUnusable = 20, "egress_unusable", Dropped, counted: true;
    /// The frame's VLAN is not the one the real server is reached by.
    VlanMismatch = 21, "vlan_mismatch", Dropped, counted: true;
    /// IPv6 extension headers for a virtual address, too many or too long to see past.
    ExtensionHeaders = 23, "extension_headers", Dropped, counted: true;
    /// The maps contradict each other. Cannot happen; counted so that it would be seen.
    Inconsistent = 24, "inconsistent", Dropped, counted: true;
    /// Too large for the way to the real server, and the sender was not told: it was told enough, or is nobody to tell.
    TooLarge = 25, "too_large", Dropped, counted: true;
    /// A NAT real server's reply, for whose client the kernel has a route but no neighbour entry yet.
    ClientUnresolved = 26, "client_unresolved", Dropped, counted: true;
    /// A NAT real server's reply, for whose client the kernel has no route.
    ClientUnreachable = 27, "client_unreachable", Dropped, counted: true;
    /// A NAT real server's reply, on an interface where the kernel's forwarding (`ip_forward`) is off.
    ForwardingDisabled = 28, "forwarding_disabled", Dropped, counted: true;
    /// TTL or hop limit would reach zero here: the sender was told so ("time exceeded").
    AnsweredTtlExpired = 40, "answered_ttl_expired", Answered, counted: true;
    /// Too large for the way to the real server: the sender was told so ("fragmentation needed", "packet too big").
    AnsweredTooLarge = 41, "answered_too_large", Answered, counted: true;
    /// The connection's real server was just found dead and may come straight back: its packets are held.
    RealServerDead = 42, "real_server_dead", Dropped, counted: true;
    /// The flow table has no room for the flow: it was forwarded, but will not be known again. Counted beside the verdict.
    NotRemembered = 43, "not_remembered", Forwarded, counted: true;
    /// An echo request ("ping") to a virtual address: answered.
    AnsweredEcho = 44, "answered_echo", Answered, counted: true;
    /// For a service, from an address that stands for no host (RFC 1812 §5.3.7).
    MartianSource = 45, "martian_source", Dropped, counted: true;
    /// A segment of a connection that is not known, for a service that remembers each: it began before this host's time, or
    /// was silent for too long.
    UnknownConnection = 46, "unknown_connection", Dropped, counted: true;
    /// Every real server that takes new connections has as many as it may.
    AllFull = 47, "all_full", Dropped, counted: true;
    /// The flow table has no room for a connection of a service that remembers each.
    FlowTableFull = 48, "flow_table_full", Dropped, counted: true;
}

const _: () = {
    let mut i = 0;
    while i < Reason::ALL.len() {
        assert!((Reason::ALL[i] as u32) < REASONS);
        assert!(i == 0 || (Reason::ALL[i - 1] as u8) < Reason::ALL[i] as u8);
        i += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::HashSet, vec::Vec};

    #[test]
    fn names_and_numbers_are_unique() {
        let names: HashSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        let numbers: HashSet<_> = Reason::ALL.iter().map(|&reason| reason as u8).collect();
        assert_eq!(
            (names.len(), numbers.len()),
            (Reason::ALL.len(), Reason::ALL.len())
        );
    }

    #[test]
    fn names_are_fit_for_metrics() {
        for reason in Reason::ALL {
            let name = reason.name();
            assert!(
                !name.is_empty()
                    && name
                        .bytes()
                        .all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
                "{name:?}"
            );
        }
    }

    #[test]
    fn names_are_the_variants_names() {
        for reason in Reason::ALL {
            let variant = std::format!("{reason:?}");
            let name: std::string::String = reason
                .name()
                .split('_')
                .flat_map(|word| {
                    let (first, rest) = word.split_at(1);
                    [first.to_uppercase(), rest.into()]
                })
                .collect();
            assert_eq!(name, variant);
        }
    }

    #[test]
    fn nothing_is_dropped_without_being_counted() {
        let silent: Vec<_> = Reason::ALL
            .iter()
            .filter(|reason| reason.fate() == Fate::Dropped && !reason.counted())
            .collect();
        assert!(silent.is_empty(), "{silent:?}");
    }

    #[test]
    fn forwarding_costs_no_second_counter() {
        for reason in [
            Reason::Forwarded,
            Reason::RealServerIsLocal,
            Reason::NotAService,
            Reason::NotBalanced,
        ] {
            assert!(!reason.counted(), "{reason:?}");
        }
    }

    #[test]
    fn the_row_length_is_a_power_of_two() {
        assert!(REASONS.is_power_of_two());
    }
}
