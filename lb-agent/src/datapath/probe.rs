//! Checks by way of the virtual address: the TC programs of `lb-ebpf/src/probe`, loaded, attached and told of conversations.
//!
//! They live as long as the agent does: without it there are no checks. What an agent that was killed has left on a kernel
//! without TCX links (before 6.6) is taken away by the next one.

use super::xdp::LoadError;
use crate::health::detour::{Conversation, Steering};
use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap, MapData},
    programs::{
        SchedClassifier,
        tc::{TcAttachType, qdisc_add_clsact, qdisc_detach_program},
    },
};
use lb_common::probe::{self, Address, Detour, mapped, program};
use nix::{
    sys::signal::{SigSet, SigmaskHow},
    time::{ClockId, clock_gettime},
};
use std::{
    collections::BTreeSet,
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

/// The programs as this agent was built with them.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/probe"));

const WAYS: [(&str, TcAttachType); 2] = [
    (program::OUT, TcAttachType::Egress),
    (program::IN, TcAttachType::Ingress),
];

/// The loaded programs. Dropped, they are gone.
pub struct Probes {
    ebpf: Ebpf,
    table: Arc<Table>,
    attached: BTreeSet<String>,
}

/// What they are told.
pub struct Table(Mutex<Maps>);

struct Maps {
    out: HashMap<MapData, probe::Conversation, Detour>,
    back: HashMap<MapData, probe::Conversation, Detour>,
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probes")
            .field("attached", &self.attached)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Table")
    }
}

impl Probes {
    /// Loads them; they are attached nowhere.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn load() -> Result<Self, LoadError> {
        let mut ebpf = EbpfLoader::new()
            .load(OBJECT)
            .map_err(|source| LoadError::Object(Box::new(source)))?;
        for (name, _) in WAYS {
            // As for the XDP program: the verifier gives up where a signal waits.
            let mask = SigSet::all()
                .thread_swap_mask(SigmaskHow::SIG_SETMASK)
                .map_err(LoadError::Signals)?;
            let loaded = classifier(&mut ebpf, name).map(SchedClassifier::load);
            mask.thread_set_mask().map_err(LoadError::Signals)?;
            loaded?.map_err(|source| LoadError::Program {
                program: name.to_owned(),
                source: Box::new(source),
            })?;
        }
        let mut map = |name: &str| {
            let missing = || LoadError::Missing {
                program: name.to_owned(),
            };
            let map = ebpf.take_map(name).ok_or_else(missing)?;
            HashMap::try_from(map).map_err(|_| missing())
        };
        let maps = Maps {
            out: map(probe::map::OUT)?,
            back: map(probe::map::IN)?,
        };
        Ok(Self {
            ebpf,
            table: Arc::new(Table(Mutex::new(maps))),
            attached: BTreeSet::new(),
        })
    }

    /// Where conversations are announced.
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table)
    }

    /// Attaches them to the interfaces among these that do not have them yet. One that cannot have them is named in the log.
    pub fn follow<'a>(&mut self, interfaces: impl IntoIterator<Item = &'a str>) {
        for interface in interfaces {
            if self.attached.contains(interface) {
                continue;
            }
            // Fails where there is one, which is as good.
            let _ = qdisc_add_clsact(interface);
            let mut is_attached = true;
            for (name, way) in WAYS {
                // Fails where an earlier life has left none.
                let _ = qdisc_detach_program(interface, way, name);
                let program = classifier(&mut self.ebpf, name);
                let attached = program.map(|program| program.attach(interface, way));
                if let Ok(Err(error)) = attached {
                    tracing::error!(interface, %error, "checks by way of virtual addresses cannot be made here");
                    is_attached = false;
                }
            }
            if is_attached {
                self.attached.insert(interface.to_owned());
            }
        }
    }
}

fn classifier<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier, LoadError> {
    let missing = || LoadError::Missing {
        program: name.to_owned(),
    };
    ebpf.program_mut(name)
        .ok_or_else(missing)?
        .try_into()
        .map_err(|_| missing())
}

impl Steering for Table {
    fn steer(&self, conversation: &Conversation) -> io::Result<()> {
        let boot = clock_gettime(ClockId::CLOCK_BOOTTIME)?;
        let now_ns = boot.tv_sec().unsigned_abs() * 1_000_000_000 + boot.tv_nsec().unsigned_abs();
        let within_ns = u64::try_from(conversation.within.as_nanos()).unwrap_or(u64::MAX);
        let ((out, forth), (back, home)) = entries(conversation, now_ns.saturating_add(within_ns));
        let mut maps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        maps.out.insert(out, forth, 0).map_err(io::Error::other)?;
        maps.back.insert(back, home, 0).map_err(io::Error::other)
    }
}

type Entry = (probe::Conversation, Detour);

/// What is written for a conversation: for packets that go out, and for those that come in.
fn entries(conversation: &Conversation, until_ns: u64) -> (Entry, Entry) {
    let Conversation {
        local,
        peer,
        protocol,
        address,
        tunnel,
        ..
    } = *conversation;
    let between = |from: SocketAddr, to: SocketAddr| probe::Conversation {
        source: words(from.ip()),
        destination: words(to.ip()),
        source_port_be: from.port().to_be(),
        destination_port_be: to.port().to_be(),
        protocol,
        pad: [0; 3],
    };
    let (outer_source, outer_destination) = match tunnel {
        Some(source) => (words(source), words(peer.ip())),
        None => ([0; 4], [0; 4]),
    };
    let forth = Detour {
        address: words(address),
        outer_source,
        outer_destination,
        until_ns,
    };
    let home = Detour {
        address: words(peer.ip()),
        until_ns,
        ..Detour::default()
    };
    let as_vip = SocketAddr::new(address, peer.port());
    (
        (between(local, peer), forth),
        (between(as_vip, local), home),
    )
}

fn words(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => mapped(u32::from_ne_bytes(address.octets())),
        IpAddr::V6(address) => {
            let mut words = [0; 4];
            for (word, octets) in words.iter_mut().zip(address.octets().chunks_exact(4)) {
                *word = octets.try_into().map_or(0, u32::from_ne_bytes);
            }
            words
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_conversation_goes_out_to_the_virtual_address_and_comes_back_from_it() {
        let conversation = Conversation {
            local: "192.0.2.1:40000".parse().expect("an address"),
            peer: "192.0.2.21:80".parse().expect("an address"),
            protocol: 6,
            address: IpAddr::from([192, 0, 2, 10]),
            tunnel: Some(IpAddr::from([192, 0, 2, 3])),
            within: Duration::ZERO,
        };
        let ((out, forth), (back, home)) = entries(&conversation, 7);
        let word = |last: u8| words(IpAddr::from([192, 0, 2, last]));
        assert_eq!((out.source, out.destination), (word(1), word(21)));
        assert_eq!(
            (forth.address, forth.outer_source, forth.outer_destination),
            (word(10), word(3), word(21))
        );
        assert_eq!((back.source, back.destination), (word(10), word(1)));
        assert_eq!(
            (back.source_port_be, back.destination_port_be),
            (80_u16.to_be(), 40000_u16.to_be())
        );
        assert_eq!((home.address, home.outer_destination), (word(21), [0; 4]));
        assert_eq!((forth.until_ns, home.until_ns), (7, 7));
    }
}
