//! Remembered flows: a table without limits, so that what it says depends on the rules alone.

use lb_common::{FlowState, Segment, Tag};
use std::collections::HashMap;

/// How long a flow may be silent, seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idle {
    /// A TCP connection.
    pub tcp_s: u32,
    /// A TCP connection whose client has ended it.
    pub tcp_fin_s: u32,
    /// A UDP flow.
    pub udp_s: u32,
}

impl Idle {
    /// A TCP connection that never came to be: what Linux's IPVS gives SYN_RECV (net/netfilter/ipvs/ip_vs_proto_tcp.c).
    pub const OPENING_S: u32 = 60;

    /// How long a flow of this state may be silent.
    pub fn of(&self, state: FlowState) -> u32 {
        match state {
            FlowState::Opening => Self::OPENING_S.min(self.tcp_s),
            FlowState::Glimpsed | FlowState::Established => self.tcp_s,
            FlowState::Closing | FlowState::Reset => self.tcp_fin_s,
            FlowState::Datagram | FlowState::Stream => self.udp_s,
            // Clients have a time of their own: `persistence.timeout`.
            FlowState::Visitor | FlowState::Regular => 0,
        }
    }
}

/// A remembered flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Its backend.
    pub backend: u32,
    /// How far it has come.
    pub state: FlowState,
    /// When it was last used, ticks.
    pub seen: u32,
}

/// The flows that are remembered.
#[derive(Clone, Debug, Default)]
pub struct Flows(HashMap<Tag, Flow>);

impl Flows {
    /// The entry of a flow.
    pub fn get(&self, tag: Tag) -> Option<Flow> {
        self.0.get(&tag).copied()
    }

    /// Remembers a flow, in place of what was known of it.
    pub fn remember(&mut self, tag: Tag, backend: u32, segment: Segment, seen: u32) {
        let state = FlowState::first(segment);
        self.0.insert(
            tag,
            Flow {
                backend,
                state,
                seen,
            },
        );
    }

    /// One more packet of a remembered flow.
    pub fn touch(&mut self, tag: Tag, segment: Segment, seen: u32) {
        if let Some(flow) = self.0.get_mut(&tag) {
            flow.state = flow.state.after(segment);
            flow.seen = seen;
        }
    }

    /// All flows.
    pub fn iter(&self) -> impl Iterator<Item = &Flow> {
        self.0.values()
    }

    /// Keeps the flows that `is_wanted`.
    pub fn retain(&mut self, mut is_wanted: impl FnMut(Tag, Flow) -> bool) {
        self.0.retain(|&tag, flow| is_wanted(tag, *flow));
    }

    /// The tags of all flows.
    pub fn tags(&self) -> impl Iterator<Item = Tag> {
        self.0.keys().copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True where there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
