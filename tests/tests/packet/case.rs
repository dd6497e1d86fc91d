//! One line of a table, and how a table is run.

use crate::{
    packets,
    rig::{self, Answers, Counters, Outcome, Rig},
    world::{CLIENT, DIRECTOR, Named, OTHER_PORT},
};
use lb_common::{Reason, key, reason::Fate};
use std::{fmt::Write as _, net::SocketAddr};

/// A frame, and everything that is to come of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// What the frame is.
    pub name: String,
    pub frame: Vec<u8>,
    pub verdict: u32,
    pub reason: Reason,
    /// Where the reason is counted, if it is; `None`: in the row of no service.
    pub service: Option<Named>,
    /// Number of the real server that is to be counted.
    pub real_server: Option<u8>,
    pub output: Vec<u8>,
}

impl Case {
    /// Left to the host without a byte changed, as no service's.
    pub fn passed(name: impl Into<String>, frame: Vec<u8>, reason: Reason) -> Self {
        Self::untouched(name.into(), frame, reason, None)
    }

    /// Left to the host, or dropped, for a reason that is counted for `service`.
    pub fn refused(
        name: impl Into<String>,
        frame: Vec<u8>,
        reason: Reason,
        service: Named,
    ) -> Self {
        Self::untouched(name.into(), frame, reason, Some(service))
    }

    /// Dropped for the address's sake, before a service was found.
    pub fn dropped(name: impl Into<String>, frame: Vec<u8>, reason: Reason) -> Self {
        Self::untouched(name.into(), frame, reason, None)
    }

    fn untouched(name: String, frame: Vec<u8>, reason: Reason, service: Option<Named>) -> Self {
        let verdict = match reason.fate() {
            Fate::Passed => rig::PASS,
            Fate::Dropped => rig::DROP,
            Fate::Forwarded | Fate::Answered => panic!("{name}: such packets are not untouched"),
        };
        Self {
            name,
            output: frame.clone(),
            frame,
            verdict,
            reason,
            service,
            real_server: None,
        }
    }

    /// Left to the host, which is the real server.
    pub fn local(name: impl Into<String>, frame: Vec<u8>, service: Named) -> Self {
        Self {
            real_server: Some(0),
            ..Self::refused(name, frame, Reason::RealServerIsLocal, service)
        }
    }

    /// Sent back out of the interface it came from, to the first real server of `service`.
    pub fn sent(name: impl Into<String>, frame: Vec<u8>, service: Named) -> Self {
        let output = service.sent(&frame, DIRECTOR);
        Self {
            name: name.into(),
            frame,
            verdict: rig::TX,
            reason: Reason::Forwarded,
            service: Some(service),
            real_server: Some(0),
            output,
        }
    }

    /// Sent out of the other interface, to the first real server of `service`.
    pub fn redirected(name: impl Into<String>, frame: Vec<u8>, service: Named) -> Self {
        let output = service.sent(&frame, OTHER_PORT);
        Self {
            verdict: rig::REDIRECT,
            output,
            ..Self::sent(name, frame, service)
        }
    }

    /// A reply of the first real server of `service`, sent to its client: back out of the interface it came from.
    pub fn replied(name: impl Into<String>, frame: Vec<u8>, service: Named) -> Self {
        let routed = packets::routed(&frame, CLIENT, DIRECTOR);
        let from = SocketAddr::new(service.address(), service.port);
        Self {
            name: name.into(),
            output: packets::translated(&routed, packets::End::Source, from),
            frame,
            verdict: rig::TX,
            reason: Reason::Replied,
            service: Some(service),
            real_server: None,
        }
    }

    /// The same, out of the other interface.
    pub fn replied_elsewhere(name: impl Into<String>, frame: Vec<u8>, service: Named) -> Self {
        let mut case = Self::replied(name, frame, service);
        case.output[6..12].copy_from_slice(&OTHER_PORT);
        case.verdict = rig::REDIRECT;
        case
    }

    /// Answered by an error, which goes back in the frame that the packet came in.
    fn told(
        name: impl Into<String>,
        frame: Vec<u8>,
        reason: Reason,
        told: packets::Told,
        service: Named,
    ) -> Self {
        Self {
            name: name.into(),
            output: packets::told(&frame, told),
            frame,
            verdict: rig::TX,
            reason,
            service: Some(service),
            real_server: None,
        }
    }

    /// Answered because its last hop would be here.
    pub fn expired(name: impl Into<String>, frame: Vec<u8>, service: Named) -> Self {
        let reason = Reason::AnsweredTtlExpired;
        Self::told(name, frame, reason, packets::Told::TtlExpired, service)
    }

    /// Answered because its way takes `mtu` bytes at most.
    pub fn too_large(name: impl Into<String>, frame: Vec<u8>, mtu: u32, service: Named) -> Self {
        let reason = Reason::AnsweredTooLarge;
        Self::told(
            name,
            frame,
            reason,
            packets::Told::TooLarge { mtu },
            service,
        )
    }

    /// The family of the frame's packet, by its EtherType: [`key::IPV4`], [`key::IPV6`], or 0 for neither.
    pub fn family(&self) -> u8 {
        match packets::ether_type(&self.frame) {
            Some(packets::IPV4) => key::IPV4,
            Some(packets::IPV6) => key::IPV6,
            _ => 0,
        }
    }

    /// How the counters are to move.
    fn movement(&self, rig: &Rig) -> Counters {
        let id = self
            .service
            .map_or(0, |service| rig.service_id(&service.a_key()));
        let mut moved = Counters::default();
        if self.reason.counted() {
            moved.reasons.insert((id, self.reason), 1);
        }
        if let (Some(service), Some(number)) = (self.service, self.real_server) {
            let backend = rig.backend_id(id, service.real_server(number));
            moved.backends.insert(backend, (1, self.frame.len() as u64));
        }
        moved
    }
}

/// Runs every case of a table, and fails with all that went wrong.
pub fn check(cases: &[Case]) {
    let mut rig = rig::world();
    check_on(&mut rig, cases);
}

/// As [`check`], on a rig that is at hand.
pub fn check_on(rig: &mut Rig, cases: &[Case]) {
    assert!(!cases.is_empty(), "a table without a case");
    let mut failures = String::new();
    let mut before = rig.counters();
    for case in cases {
        // Tables have more cases than may be answered at once.
        rig.set_answers(match case.reason {
            Reason::TtlExpired | Reason::TooLarge => Answers::Exhausted,
            _ => Answers::Due,
        });
        let outcome = rig.run(&case.frame);
        let after = rig.counters();
        let moved = after.since(&before);
        before = after;
        if let Some(failure) = difference(case, &outcome, &moved, &case.movement(rig)) {
            failures.push_str(&failure);
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

/// What is not as the case says; `None`: all is.
fn difference(
    case: &Case,
    outcome: &Outcome,
    moved: &Counters,
    wanted: &Counters,
) -> Option<String> {
    let mut text = String::new();
    if outcome.verdict != case.verdict {
        let _ = writeln!(
            text,
            "  verdict {}, expected {}",
            verdict(outcome.verdict),
            verdict(case.verdict)
        );
    }
    if moved != wanted {
        let _ = writeln!(
            text,
            "  counters moved by {moved:?}\n  expected          {wanted:?}"
        );
    }
    if outcome.frame != case.output {
        text.push_str(&hex_difference(&outcome.frame, &case.output));
    }
    (!text.is_empty()).then(|| format!("{} ({})\n{text}", case.name, case.reason.name()))
}

fn verdict(number: u32) -> String {
    match number {
        rig::DROP => "XDP_DROP".to_owned(),
        rig::PASS => "XDP_PASS".to_owned(),
        rig::TX => "XDP_TX".to_owned(),
        rig::REDIRECT => "XDP_REDIRECT".to_owned(),
        other => format!("{other}"),
    }
}

/// The lines of 16 bytes in which two frames differ.
pub fn hex_difference(got: &[u8], wanted: &[u8]) -> String {
    let mut text = String::new();
    if got.len() != wanted.len() {
        let _ = writeln!(text, "  {} bytes, expected {}", got.len(), wanted.len());
    }
    for at in (0..got.len().max(wanted.len())).step_by(16) {
        let [got, wanted] =
            [got, wanted].map(|bytes| bytes.get(at..bytes.len().min(at + 16)).unwrap_or_default());
        if got != wanted {
            let _ = writeln!(text, "  {at:04x}  {}\n  wanted{}", hex(got), hex(wanted));
        }
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!(" {byte:02x}")).collect()
}
