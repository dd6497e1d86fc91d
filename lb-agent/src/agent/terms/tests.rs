//! Terms of real servers that come, go, die and return.

use super::*;
use crate::datapath::FlowRules;

const LIMITS: Limits = Limits {
    drain_s: 900,
    dead_hold_s: 5,
};

fn server(number: u8, state: BackendState, weight: u16) -> RealServer {
    RealServer {
        address: IpAddr::from([10, 0, 0, number]),
        port: 80,
        mode: Mode::Dr,
        tunnel_source: None,
        weight,
        state,
        term: Term {
            tenure: match state {
                BackendState::Up => Tenure::Keeps,
                BackendState::Down => Tenure::Holds,
            },
            until_s: None,
        },
        next_hop: NextHop::Unresolved,
    }
}

fn desired(real_servers: &[RealServer]) -> Desired {
    Desired {
        local: Default::default(),
        services: vec![Service {
            name: "web".to_owned(),
            keys: Vec::new(),
            owners: Vec::new(),
            table: [].into(),
            real_servers: real_servers.to_vec(),
            flows: FlowRules::default(),
            shares: Vec::new(),
        }],
        devices: Vec::new(),
    }
}

fn terms() -> Terms {
    Terms {
        limits: BTreeMap::from([("web".to_owned(), LIMITS)]),
        known: BTreeMap::new(),
    }
}

/// Address, tenure and end of each real server that the data plane is told of.
fn told(
    terms: &mut Terms,
    real_servers: &[RealServer],
    now_s: u64,
) -> Vec<(u8, Tenure, Option<u64>)> {
    let mut desired = desired(real_servers);
    terms.apply(
        &mut desired,
        |_, _| Some(server(0, BackendState::Up, 0)),
        now_s,
    );
    let told = desired.services[0].real_servers.iter().map(|server| {
        let IpAddr::V4(address) = server.address else {
            panic!("an IPv4 address")
        };
        (address.octets()[3], server.term.tenure, server.term.until_s)
    });
    told.collect()
}

#[test]
fn a_removed_server_stays_until_its_drain_ends() {
    let mut terms = terms();
    let (one, two) = (
        server(1, BackendState::Up, 1),
        server(2, BackendState::Up, 1),
    );
    told(&mut terms, &[one.clone(), two], 100);
    let one = [one];
    let both = vec![(1, Tenure::Keeps, None), (2, Tenure::Keeps, Some(1_000))];
    assert_eq!(told(&mut terms, &one, 100), both);
    assert_eq!(
        terms.addresses().collect::<Vec<_>>(),
        [1, 2].map(|number| IpAddr::from([10, 0, 0, number]))
    );
    assert_eq!(terms.next_end_s(), Some(1_000));
    assert_eq!(told(&mut terms, &one, 999), both);
    assert_eq!(told(&mut terms, &one, 1_000), [(1, Tenure::Keeps, None)]);
    assert_eq!(terms.next_end_s(), None);
}

#[test]
fn a_dead_server_is_held_then_released_and_keeps_again_when_it_is_back() {
    let mut terms = terms();
    let (up, down) = (
        server(1, BackendState::Up, 1),
        server(1, BackendState::Down, 1),
    );
    told(&mut terms, std::slice::from_ref(&up), 100);
    assert_eq!(
        told(&mut terms, std::slice::from_ref(&down), 100),
        [(1, Tenure::Holds, Some(105))]
    );
    assert_eq!(
        told(&mut terms, &[down], 105),
        [(1, Tenure::Released, None)]
    );
    assert_eq!(told(&mut terms, &[up], 200), [(1, Tenure::Keeps, None)]);
}

#[test]
fn a_server_that_is_dead_from_the_start_has_nothing_to_hold() {
    let down = server(1, BackendState::Down, 1);
    assert_eq!(
        told(&mut terms(), &[down], 100),
        [(1, Tenure::Released, None)]
    );
}

#[test]
fn a_dead_server_that_is_removed_goes_when_it_is_released() {
    let mut terms = terms();
    told(&mut terms, &[server(1, BackendState::Up, 1)], 100);
    told(&mut terms, &[server(1, BackendState::Down, 1)], 100);
    assert_eq!(told(&mut terms, &[], 101), [(1, Tenure::Holds, Some(105))]);
    assert_eq!(told(&mut terms, &[], 105), []);
}

#[test]
fn a_dead_server_that_is_to_be_drained_keeps_its_flows_for_the_drain_timeout() {
    let mut terms = terms();
    let mut down = server(1, BackendState::Down, 0);
    down.term = Term::default();
    told(&mut terms, &[server(1, BackendState::Up, 1)], 100);
    let down = [down];
    assert_eq!(
        told(&mut terms, &down, 100),
        [(1, Tenure::Keeps, Some(1_000))]
    );
    assert_eq!(
        told(&mut terms, &down, 1_000),
        [(1, Tenure::Released, None)]
    );
    assert_eq!(
        told(&mut terms, &[server(1, BackendState::Up, 1)], 1_001),
        [(1, Tenure::Keeps, None)]
    );
}

#[test]
fn the_deadline_of_a_drain_may_be_another_and_may_be_changed() {
    let mut terms = terms();
    told(&mut terms, &[server(1, BackendState::Up, 1)], 100);
    let mut until = |until_s: Option<u64>, now_s| {
        let mut drained = server(1, BackendState::Up, 0);
        drained.term.until_s = until_s;
        told(&mut terms, &[drained], now_s)
    };
    assert_eq!(until(Some(160), 100), [(1, Tenure::Keeps, Some(160))]);
    assert_eq!(until(Some(200), 120), [(1, Tenure::Keeps, Some(200))]);
    assert_eq!(until(None, 130), [(1, Tenure::Keeps, Some(200))]);
    assert_eq!(until(Some(140), 140), [(1, Tenure::Released, None)]);
    assert_eq!(until(Some(900), 150), [(1, Tenure::Released, None)]);
    assert_eq!(
        terms.term("web", IpAddr::from([10, 0, 0, 1]), 80),
        Some(Term {
            tenure: Tenure::Released,
            until_s: None
        })
    );
}
