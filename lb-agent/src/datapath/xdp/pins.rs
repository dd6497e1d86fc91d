//! What outlives the agent: maps, links and the program, pinned below `/sys/fs/bpf/lb/v<layout>/`.
//!
//! ```text
//! lb/v1/maps/CONTROL …        the maps of the running program
//! lb/v1/links/2               the attachment to the interface with index 2
//! lb/v1/program               the program, for tools to look at
//! lb/v1/fence/FENCES          the fences
//! lb/v1/fence-links/2-fence_in …   where they stand
//! ```
//!
//! aya opens a pinned map without looking at its shape, so it is looked at here first.

use super::capacity::Capacity;
use aya::maps::{MapError, MapInfo, MapType};
use lb_common::{
    Backend, Control, Counter, LAYOUT_VERSION, Load, Service, Slot, flow::Bucket, layout::map,
};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

/// Where bpffs is mounted on every distribution.
pub const BPFFS: &str = "/sys/fs/bpf";
/// `BPF_F_MMAPABLE` (include/uapi/linux/bpf.h).
const MMAPABLE: u32 = 1 << 10;

/// The pin directory of one layout version.
#[derive(Clone, Debug)]
pub struct Pins {
    /// `/sys/fs/bpf/lb`.
    root: PathBuf,
}

/// Why the pin directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinsError {
    /// No bpffs there.
    #[error("{path} is no BPF file system: mount it with `mount -t bpf bpf {path}`")]
    NoBpffs {
        /// The mount point.
        path: PathBuf,
    },
    /// The kernel refuses a file operation.
    #[error("{action} {path}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

/// What was found of an earlier life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// No maps.
    Nothing,
    /// Maps of the right shape, and how large they are.
    Maps(Capacity),
    /// Maps that cannot be trusted, and why.
    Misshapen(String),
}

/// The shape of a map but for its size.
struct Shape {
    name: &'static str,
    map_type: MapType,
    value_size: u32,
    flags: u32,
}

const fn shape<T>(name: &'static str, map_type: MapType, flags: u32) -> Shape {
    Shape {
        name,
        map_type,
        value_size: size_of::<T>() as u32,
        flags,
    }
}

const SHAPES: [Shape; map::ALL.len()] = [
    shape::<Control>(map::CONTROL, MapType::Array, MMAPABLE),
    shape::<Service>(map::SERVICES, MapType::Array, MMAPABLE),
    shape::<Slot>(map::SLOTS, MapType::Array, MMAPABLE),
    shape::<Backend>(map::BACKENDS, MapType::Array, MMAPABLE),
    shape::<Counter>(map::BACKEND_COUNTERS, MapType::PerCpuArray, 0),
    shape::<u64>(map::REASON_COUNTERS, MapType::PerCpuArray, 0),
    shape::<Bucket>(map::FLOWS, MapType::Array, MMAPABLE),
    shape::<Load>(map::LOADS, MapType::Array, MMAPABLE),
];

impl Pins {
    /// The pin directory below `bpffs`, made where it is missing.
    ///
    /// # Errors
    /// Where `bpffs` is none, or may not be written.
    pub fn open(bpffs: &Path) -> Result<Self, PinsError> {
        let pins = Self::look(bpffs)?;
        create_dir(&pins.directory())?;
        create_dir(&pins.links())?;
        Ok(pins)
    }

    /// The pin directory below `bpffs`, whether or not there is one.
    ///
    /// # Errors
    /// Where `bpffs` is none.
    pub fn look(bpffs: &Path) -> Result<Self, PinsError> {
        match statfs(bpffs) {
            Ok(stat) if stat.filesystem_type() == BPF_FS_MAGIC => Ok(Self {
                root: bpffs.join("lb"),
            }),
            _ => Err(PinsError::NoBpffs {
                path: bpffs.to_owned(),
            }),
        }
    }

    fn directory(&self) -> PathBuf {
        self.root.join(format!("v{LAYOUT_VERSION}"))
    }

    fn links(&self) -> PathBuf {
        self.directory().join("links")
    }

    /// Where the maps are, or are to be, pinned.
    pub fn maps(&self) -> PathBuf {
        self.directory().join("maps")
    }

    /// Where maps lie that are to replace the pinned ones. Without a dot: bpffs keeps names that have one to itself
    /// (Linux `kernel/bpf/inode.c`, `bpf_lookup`: EPERM).
    pub fn new_maps(&self) -> PathBuf {
        self.directory().join("maps-new")
    }

    /// Where the program is pinned.
    pub fn program(&self) -> PathBuf {
        self.directory().join("program")
    }

    /// Where the link to an interface is pinned.
    pub fn link(&self, ifindex: u32) -> PathBuf {
        self.links().join(ifindex.to_string())
    }

    /// The pinned link to an interface, of this layout version or of another.
    pub fn find_link(&self, ifindex: u32) -> Option<PathBuf> {
        let own = self.link(ifindex);
        if own.exists() {
            return Some(own);
        }
        self.versions()
            .into_iter()
            .map(|version| version.join("links").join(ifindex.to_string()))
            .find(|path| path.exists())
    }

    /// Interfaces that have a pinned link, of any layout version.
    pub fn linked_interfaces(&self) -> Vec<u32> {
        let links = self
            .versions()
            .into_iter()
            .flat_map(|version| entries(&version.join("links")));
        links
            .filter_map(|path| path.file_name()?.to_str()?.parse().ok())
            .collect()
    }

    /// Where a map of the fence is, or is to be, pinned.
    ///
    /// # Errors
    /// Where the directory cannot be made.
    pub fn fence_map(&self, name: &str) -> Result<PathBuf, PinsError> {
        let directory = self.directory().join("fence");
        create_dir(&directory)?;
        Ok(directory.join(name))
    }

    /// Removes such a map.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn remove_fence_map(&self, path: &Path) -> Result<(), PinsError> {
        fs::remove_file(path).map_err(|source| PinsError::Io {
            action: "remove",
            path: path.to_owned(),
            source,
        })
    }

    /// Where the link of the fence's `program` to an interface is, or is to be, pinned.
    ///
    /// # Errors
    /// Where the directory cannot be made.
    pub fn fence_link(&self, ifindex: u32, program: &str) -> Result<PathBuf, PinsError> {
        create_dir(&self.fence_links())?;
        Ok(self.fence_links().join(format!("{ifindex}-{program}")))
    }

    /// Removes the fence's links to all interfaces but these.
    pub fn keep_fence_links(&self, kept: &BTreeSet<u32>) {
        for path in entries(&self.fence_links()) {
            let name = path.file_name().and_then(|name| name.to_str());
            let index = name.and_then(|name| name.split('-').next()?.parse().ok());
            if index.is_some_and(|index| kept.contains(&index)) {
                continue;
            }
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "remove the fence from an interface");
            }
        }
    }

    fn fence_links(&self) -> PathBuf {
        self.directory().join("fence-links")
    }

    /// Looks at what is pinned, and compares its shapes with this program's.
    pub fn find(&self) -> Found {
        let directory = self.maps();
        if entries(&directory).is_empty() {
            return Found::Nothing;
        }
        match capacity_of(&directory) {
            Ok(capacity) => Found::Maps(capacity),
            Err(reason) => Found::Misshapen(reason),
        }
    }

    /// An empty directory for new maps, at `directory`.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn empty(&self, directory: &Path) -> Result<(), PinsError> {
        remove_tree(directory)?;
        create_dir(directory)
    }

    /// Puts the maps of [`Self::new_maps`] in the place of the pinned ones.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn replace_maps(&self) -> Result<(), PinsError> {
        remove_tree(&self.maps())?;
        fs::rename(self.new_maps(), self.maps()).map_err(|source| PinsError::Io {
            action: "rename",
            path: self.new_maps(),
            source,
        })
    }

    /// Removes what a start left that was killed while it was replacing the maps.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn remove_new_maps(&self) -> Result<(), PinsError> {
        remove_tree(&self.new_maps())
    }

    /// Moves a link that another layout version pinned to this version's place.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn take_over_link(&self, ifindex: u32, path: &Path) -> Result<(), PinsError> {
        let own = self.link(ifindex);
        if path == own {
            return Ok(());
        }
        fs::rename(path, &own).map_err(|source| PinsError::Io {
            action: "rename",
            path: path.to_owned(),
            source,
        })
    }

    /// Removes the directories of other layout versions, whose links have been taken over.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn remove_other_versions(&self) -> Result<(), PinsError> {
        let own = self.directory();
        self.versions()
            .iter()
            .filter(|&version| *version != own)
            .try_for_each(|version| remove_tree(version))
    }

    /// Removes everything: links are detached, maps and program go when their last user goes. Returns what was there.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn remove_all(&self) -> Result<Vec<PathBuf>, PinsError> {
        let mut removed = Vec::new();
        for version in self.versions() {
            removed.extend(entries(&version.join("links")));
            removed.extend(entries(&version.join("maps")));
            removed.extend(entries(&version.join("fence-links")));
        }
        remove_tree(&self.root)?;
        Ok(removed)
    }

    /// Removes the directory where nothing is attached: after a start that failed.
    pub fn remove_if_unused(&self) {
        if self.linked_interfaces().is_empty()
            && let Err(error) = remove_tree(&self.root)
        {
            tracing::warn!(%error, "clean up after the failed start");
        }
    }

    fn versions(&self) -> Vec<PathBuf> {
        entries(&self.root)
    }
}

/// Compares every map below `directory` with its shape; the sizes must agree with each other.
fn capacity_of(directory: &Path) -> Result<Capacity, String> {
    let mut sizes = Vec::new();
    for shape in &SHAPES {
        let info = MapInfo::from_pin(directory.join(shape.name))
            .map_err(|error| unreadable(shape.name, &error))?;
        let found = (
            info.map_type().ok(),
            info.key_size(),
            info.value_size(),
            info.map_flags() & MMAPABLE,
        );
        let wanted = (Some(shape.map_type), 4, shape.value_size, shape.flags);
        if found != wanted {
            return Err(format!(
                "map {}: type, key size, value size and flags are {found:?} and not {wanted:?}",
                shape.name
            ));
        }
        sizes.push(info.max_entries());
    }
    let [
        control,
        services,
        slots,
        backends,
        backend_counters,
        reason_counters,
        flow_buckets,
        loads,
    ] = sizes[..]
    else {
        return Err("not every map is there".to_owned());
    };
    let capacity = Capacity {
        services: services / 2,
        backends: backends / 2,
        slots,
        flow_buckets,
    };
    let consistent = control == 1
        && capacity.services.is_power_of_two()
        && services == capacity.services * 2
        && backends == capacity.backends * 2
        && backend_counters == capacity.backends
        && reason_counters == capacity.reason_counters()
        && loads == capacity.backends
        && flow_buckets.is_power_of_two();
    if consistent {
        Ok(capacity)
    } else {
        Err(format!("the maps' sizes contradict each other: {sizes:?}"))
    }
}

fn unreadable(name: &str, error: &MapError) -> String {
    format!("map {name} cannot be opened: {error}")
}

fn create_dir(path: &Path) -> Result<(), PinsError> {
    fs::create_dir_all(path).map_err(|source| PinsError::Io {
        action: "create directory",
        path: path.to_owned(),
        source,
    })
}

fn remove_tree(path: &Path) -> Result<(), PinsError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(PinsError::Io {
            action: "remove",
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}
