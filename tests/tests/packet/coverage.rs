//! What is asked of all tables together.

use crate::{
    case::Case, filter, fragments, icmp, inconsistent, ipv4, ipv6, jumbo, nat, refusals, routes,
    tunnels, verdicts, vlan,
};
use lb_common::{Reason, key};
use std::collections::HashSet;

fn tables() -> Vec<Case> {
    [
        ipv4::cases(),
        ipv6::cases(),
        vlan::cases(),
        fragments::cases(),
        verdicts::cases(),
        jumbo::cases(),
        filter::cases(),
        inconsistent::cases(),
        refusals::cases(),
        tunnels::cases(),
        nat::cases(),
        routes::cases(),
        icmp::cases(),
    ]
    .concat()
}

/// Families in which a reason can be met.
fn families(reason: Reason) -> &'static [u8] {
    match reason {
        // Only IPv6 has them.
        Reason::ExtensionHeaders => &[key::IPV6],
        // 0: frames that carry no IP at all.
        Reason::NotBalanced => &[0, key::IPV4, key::IPV6],
        // Take a change of the table, see `windows`.
        Reason::RealServerDead
        | Reason::NotRemembered
        | Reason::UnknownConnection
        | Reason::AllFull
        | Reason::FlowTableFull => &[],
        Reason::Forwarded
        | Reason::NotAService
        | Reason::Truncated
        | Reason::ForeignMac
        | Reason::RealServerIsLocal
        | Reason::NotOwner
        | Reason::LaterFragment
        | Reason::NotOwnerStillLocal
        | Reason::TtlExpired
        | Reason::NoRealServer
        | Reason::NextHopUnresolved
        | Reason::EgressUnusable
        | Reason::VlanMismatch
        | Reason::AnsweredEcho
        | Reason::MartianSource
        | Reason::Inconsistent
        | Reason::TooLarge
        | Reason::AnsweredTtlExpired
        | Reason::AnsweredTooLarge
        | Reason::Replied
        | Reason::ClientUnresolved
        | Reason::ClientUnreachable
        | Reason::ForwardingDisabled => &[key::IPV4, key::IPV6],
    }
}

#[test]
fn every_reason_has_a_case_in_every_family_that_knows_it() {
    let met: HashSet<(u8, u8)> = tables()
        .iter()
        .map(|case| (case.reason as u8, case.family()))
        .collect();
    let missing: Vec<String> = Reason::ALL
        .iter()
        .flat_map(|&reason| families(reason).iter().map(move |&family| (reason, family)))
        .filter(|&(reason, family)| !met.contains(&(reason as u8, family)))
        .map(|(reason, family)| format!("{} in family {family}", reason.name()))
        .collect();
    assert!(missing.is_empty(), "no case has {}", missing.join(", "));
}

/// Reasons that come after the real server is chosen: in each mode the way on is another.
const OF_EACH_MODE: [Reason; 8] = [
    Reason::Forwarded,
    Reason::NextHopUnresolved,
    Reason::EgressUnusable,
    Reason::VlanMismatch,
    Reason::TtlExpired,
    Reason::TooLarge,
    Reason::AnsweredTtlExpired,
    Reason::AnsweredTooLarge,
];
const MODES: [&str; 3] = ["dr", "tun", "nat"];

#[test]
fn every_reason_that_a_mode_can_give_has_a_case_in_each_mode_and_family() {
    let met: HashSet<(u8, &str, u8)> = tables()
        .iter()
        .filter_map(|case| {
            let mode = case.service?.manner.mode();
            Some((case.reason as u8, mode, case.family()))
        })
        .collect();
    let mut missing = Vec::new();
    for reason in OF_EACH_MODE {
        for mode in MODES {
            for family in [key::IPV4, key::IPV6] {
                if !met.contains(&(reason as u8, mode, family)) {
                    missing.push(format!("{} in mode {mode}, family {family}", reason.name()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "no case has {}", missing.join(", "));
}

#[test]
fn every_case_has_a_name_of_its_own_in_its_table() {
    for table in [
        ipv4::cases(),
        ipv6::cases(),
        vlan::cases(),
        fragments::cases(),
        verdicts::cases(),
        jumbo::cases(),
        refusals::cases(),
        tunnels::cases(),
        nat::cases(),
        routes::cases(),
        icmp::cases(),
    ] {
        let mut names = HashSet::new();
        for case in table {
            assert!(
                names.insert(case.name.clone()),
                "two cases are called {:?}",
                case.name
            );
        }
    }
}
