//! The fence, from the agent's side: load its programs, tell them the virtual routers, attach them, renew.
//!
//! Programs and maps outlive the agent: that is what they are for. The pinned map of fences is adopted by the next start,
//! so that what was silent stays silent until an advert is sent.

mod attach;

pub use attach::{Attachment, unload};

use crate::{
    datapath::xdp::{LoadError, Pins, PinsError},
    sys::mapped::MappedArray,
};
use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap, Map, MapData, MapError, MapInfo, MapType, PerCpuArray},
};
use lb_common::fence::{
    self, ANSWERS, Address, FENCE_COUNTERS, FENCES, Fence, Herald, QUESTIONS, Router, map, program,
};
use nix::time::{ClockId, clock_gettime};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    mem::offset_of,
    net::IpAddr,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The programs as this agent was built with them.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/fence"));
/// `BPF_F_MMAPABLE` (include/uapi/linux/bpf.h).
const MMAPABLE: u32 = 1 << 10;

/// Why there is no fence.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// The pin directory cannot be used.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// The programs cannot be loaded.
    #[error("load the fence")]
    Load(#[from] LoadError),
    /// A map cannot be used.
    #[error("use the fence's map {name}")]
    Map {
        /// Its name.
        name: &'static str,
        /// What aya says.
        #[source]
        source: MapError,
    },
    /// The object lacks a map.
    #[error("the fence has no map named {name}")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// An attachment cannot be pinned.
    #[error("pin the fence's attachment at {path}")]
    Pin {
        /// Where.
        path: PathBuf,
        /// The reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The map of fences cannot be mapped into memory.
    #[error("map the fences into memory")]
    Mmap(#[source] io::Error),
}

/// A virtual router as its fence is told of it.
#[derive(Clone, Debug)]
pub struct Fenced {
    /// The number of its ownership word.
    pub number: u16,
    /// What its adverts are known by.
    pub router: Router,
    /// Protocol version.
    pub version: u8,
    /// Where this host's adverts come from.
    pub source: IpAddr,
    /// Where others' come from; empty: multicast.
    pub peers: Vec<IpAddr>,
    /// What they must have.
    pub password: Option<[u8; 8]>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// How old this host's last advert may be.
    pub patience: Duration,
    /// Whether silence does not wait for another router.
    pub is_strict: bool,
}

/// How a fence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FenceState {
    /// Whether this host is silent about the addresses.
    pub is_closed: bool,
    /// Questions that were not let in.
    pub questions: u64,
    /// Answers and announcements that were not let out.
    pub answers: u64,
}

/// The loaded programs.
pub struct Fences {
    ebpf: Ebpf,
    table: Renewal,
    addresses: HashMap<MapData, Address, u32>,
    heralds: HashMap<MapData, Herald, u32>,
    held_back: PerCpuArray<MapData, u64>,
    pins: Option<Pins>,
    attached: BTreeMap<u32, Attachment>,
}

/// Where a sent advert is written down, by whoever sends.
#[derive(Clone)]
pub struct Renewal(Arc<MappedArray<Fence>>);

impl Renewal {
    /// An advert of the virtual router with this number has just been sent.
    pub fn renew(&self, number: u16) {
        let number = u32::from(number);
        if number < self.0.len() {
            let offset = offset_of!(Fence, renewed_ns);
            self.0.store_word(number, offset, boot_ns());
        }
    }
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewal")
    }
}

impl fmt::Debug for Fences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fences")
            .field("attached", &self.attached)
            .finish_non_exhaustive()
    }
}

impl Fences {
    /// Loads the programs. Nothing is attached yet.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn open(pins: Pins) -> Result<Self, FenceError> {
        let pinned = pins.fence_map(map::FENCES)?;
        if !is_trusted(&pinned) {
            pins.remove_fence_map(&pinned)?;
        }
        let mut loader = EbpfLoader::new();
        loader.map_pin_path(map::FENCES, pinned);
        Self::load(loader, Some(pins))
    }

    /// Loads the programs with maps of their own, which end with this value. It stands nowhere.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn unpinned() -> Result<Self, FenceError> {
        Self::load(EbpfLoader::new(), None)
    }

    /// The loaded object, to run its programs.
    pub fn object(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    fn load(mut loader: EbpfLoader<'_>, pins: Option<Pins>) -> Result<Self, FenceError> {
        let mut ebpf = loader
            .load(OBJECT)
            .map_err(|source| LoadError::Object(Box::new(source)))?;
        for name in [program::INGRESS, program::EGRESS] {
            attach::load(&mut ebpf, name)?;
        }
        let mut take = |name| ebpf.take_map(name).ok_or(FenceError::Missing { name });
        let wrong = |name| move |source| FenceError::Map { name, source };
        let Map::Array(fences) = take(map::FENCES)? else {
            return Err(FenceError::Missing { name: map::FENCES });
        };
        let mapped = MappedArray::new(fences.fd().as_fd(), FENCES as u32);
        let addresses = HashMap::try_from(take(map::ADDRESSES)?).map_err(wrong(map::ADDRESSES))?;
        let heralds = HashMap::try_from(take(map::HERALDS)?).map_err(wrong(map::HERALDS))?;
        let held_back = PerCpuArray::try_from(take(map::HELD_BACK)?);
        Ok(Self {
            table: Renewal(Arc::new(mapped.map_err(FenceError::Mmap)?)),
            addresses,
            heralds,
            held_back: held_back.map_err(wrong(map::HELD_BACK))?,
            ebpf,
            pins,
            attached: BTreeMap::new(),
        })
    }

    /// Where adverts are written down.
    pub fn renewal(&self) -> Renewal {
        self.table.clone()
    }

    /// Fences these virtual routers and no others. One that was fenced before goes on as it stood.
    ///
    /// # Errors
    /// Where the kernel refuses; some fences are open then.
    pub fn fence(&mut self, routers: &[Fenced]) -> Result<(), FenceError> {
        let table = &self.table.0;
        let before: Vec<Fence> = (0..table.len()).filter_map(|at| table.read(at)).collect();
        let mut after = vec![Fence::default(); before.len()];
        for fenced in routers {
            let known = before
                .iter()
                .find(|fence| fence.router == fenced.router && fence.patience_ns != 0);
            if let Some(place) = after.get_mut(usize::from(fenced.number)) {
                *place = fenced.as_fence(known.copied().unwrap_or_default());
            }
        }
        let numbered = |fenced: &Fenced| u32::from(fenced.number);
        let addresses = routers.iter().flat_map(|fenced| {
            let addresses = fenced.addresses.iter().map(|address| wire(*address));
            addresses.map(move |address| (address, numbered(fenced)))
        });
        let heralds = routers.iter().flat_map(|fenced| {
            fenced
                .heralds()
                .map(move |herald| (herald, numbered(fenced)))
        });
        let wrong = |name| move |source| FenceError::Map { name, source };
        // Without addresses nothing is held back, whatever the fences say meanwhile.
        replace(&mut self.addresses, std::iter::empty()).map_err(wrong(map::ADDRESSES))?;
        replace(&mut self.heralds, heralds).map_err(wrong(map::HERALDS))?;
        for (at, fence) in (0..).zip(after) {
            table.write(at, fence);
        }
        replace(&mut self.addresses, addresses).map_err(wrong(map::ADDRESSES))
    }

    /// Opens all fences for good: the addresses have been given up, and whoever has them next on this host may speak.
    pub fn open_all(&mut self) -> Result<(), FenceError> {
        self.fence(&[])
    }

    /// How the fence with this number stands.
    pub fn state(&self, number: u16) -> Option<FenceState> {
        let number = u32::from(number);
        let fence = self.table.0.read(number)?;
        if fence.patience_ns == 0 {
            return None;
        }
        let row = |row: u32| {
            let values = self
                .held_back
                .get(&(number * FENCE_COUNTERS as u32 + row), 0);
            values.map_or(0, |values| values.iter().sum())
        };
        Some(FenceState {
            is_closed: fence.is_closed(boot_ns()),
            questions: row(QUESTIONS),
            answers: row(ANSWERS),
        })
    }

    /// Attaches to these interfaces, and forgets those that are gone; says what could not be, and why.
    pub fn attach(&mut self, interfaces: &BTreeMap<u32, String>) -> Vec<(String, FenceError)> {
        let wanted: BTreeSet<u32> = interfaces.keys().copied().collect();
        self.attached.retain(|index, _| wanted.contains(index));
        let Some(pins) = &self.pins else {
            return Vec::new();
        };
        pins.keep_fence_links(&wanted);
        let mut refused = Vec::new();
        for (index, name) in interfaces {
            if self.attached.contains_key(index) {
                continue;
            }
            match attach::attach(&mut self.ebpf, pins, *index, name) {
                Ok(attachment) => drop(self.attached.insert(*index, attachment)),
                Err(error) => refused.push((name.clone(), error)),
            }
        }
        refused
    }

    /// Indices of the interfaces that it stands at.
    pub fn attached(&self) -> BTreeSet<u32> {
        self.attached.keys().copied().collect()
    }
}

impl Fenced {
    fn as_fence(&self, before: Fence) -> Fence {
        let strict = if self.is_strict {
            Fence::FLAG_STRICT
        } else {
            0
        };
        let password = match self.password {
            Some(_) => Fence::FLAG_PASSWORD,
            None => 0,
        };
        Fence {
            renewed_ns: before.renewed_ns,
            witnessed_ns: before.witnessed_ns,
            patience_ns: u64::try_from(self.patience.as_nanos()).unwrap_or(u64::MAX),
            password: u64::from_ne_bytes(self.password.unwrap_or_default()),
            source: wire(self.source),
            router: self.router,
            flags: strict | password,
            version: u32::from(self.version),
        }
    }

    fn heralds(&self) -> impl Iterator<Item = Herald> {
        let peers: Vec<Address> = match self.peers.is_empty() {
            true => vec![Address::default()],
            false => self.peers.iter().map(|peer| wire(*peer)).collect(),
        };
        let router = self.router;
        peers.into_iter().map(move |peer| Herald { router, peer })
    }
}

fn replace<K: aya::Pod>(
    map: &mut HashMap<MapData, K, u32>,
    entries: impl Iterator<Item = (K, u32)>,
) -> Result<(), MapError> {
    let stale = map.keys().collect::<Result<Vec<K>, _>>()?;
    for key in stale {
        map.remove(&key)?;
    }
    for (key, number) in entries {
        map.insert(key, number, 0)?;
    }
    Ok(())
}

/// Whether the map pinned there, if there is one, is as this version's.
fn is_trusted(path: &Path) -> bool {
    if !path.exists() {
        return true;
    }
    MapInfo::from_pin(path).is_ok_and(|info| {
        info.map_type().ok() == Some(MapType::Array)
            && info.value_size() == size_of::<Fence>() as u32
            && info.max_entries() == FENCES as u32
            && info.map_flags() & MMAPABLE != 0
    })
}

fn wire(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => fence::mapped(u32::from_ne_bytes(address.octets())),
        IpAddr::V6(address) => bytemuck::cast(address.octets()),
    }
}

/// CLOCK_BOOTTIME, which the programs read too.
fn boot_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from);
    now.map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}
