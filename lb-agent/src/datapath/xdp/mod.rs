//! The XDP data plane, from the agent's side: load or adopt the program and its maps, attach it, commit desired states,
//! read back what is.
//!
//! Order at every start: maps and program, then a commit, then the interfaces. A program that runs on an interface never
//! meets an empty configuration.

mod attach;
mod bank;
mod capacity;
mod maps;
mod object;
mod owners;
mod pins;
mod snapshot;
mod sweep;
mod windows;
mod writer;

pub use attach::{AttachError, Attached, GENERIC, Holder, Ladder, Target};
pub use capacity::{Capacity, Demand, NoRoom};
pub use maps::{Maps, MapsError};
pub use object::{LoadError, load_program};
pub use owners::Owners;
pub use pins::{BPFFS, Found, Pins, PinsError};
pub use snapshot::{BackendSnapshot, ServiceSnapshot, Snapshot};
pub use sweep::{Assignment, Swept, SweptBackend, SweptService, sweep};
pub use windows::{View, Windows};
pub use writer::{CommitError, Writer};

use aya::{Ebpf, programs::Xdp};
use lb_common::{ServiceKey, layout::PROGRAM};
use std::{net::IpAddr, path::Path, sync::Arc};

/// A loaded program with its maps.
#[derive(Debug)]
pub struct Datapath {
    ebpf: Ebpf,
    writer: Writer,
    pins: Option<Pins>,
    /// The maps lie in [`Pins::new_maps`] until every interface runs the program that uses them.
    replaces_maps: bool,
    inheritance: Inheritance,
}

/// What an earlier life of the agent left in the maps.
#[derive(Clone, Debug, Default)]
pub struct Inheritance {
    /// What those maps held; `None`: there were none to trust.
    pub snapshot: Option<Snapshot>,
    /// What to tell the operator about it.
    pub story: String,
}

/// Why there is no data plane.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// The pin directory cannot be used.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// The program cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A commit failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The maps cannot be read.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// The kernel offers no way to wait for packets.
    #[error("wait until no packet reads the old configuration")]
    Grace(#[source] std::io::Error),
}

impl Datapath {
    /// Loads the program. Maps pinned by an earlier life are adopted where they have the right shape and room for
    /// `demand`; otherwise new ones are made, which take their place once [`Self::settle`] is called.
    ///
    /// # Errors
    /// Nothing has changed for packets then.
    pub fn open(pins: Pins, demand: Demand) -> Result<Self, DatapathError> {
        let (capacity, replaces_maps, inheritance) = match pins.find() {
            Found::Nothing => (
                Capacity::for_demand(demand),
                false,
                Inheritance::new(None, "no earlier data plane"),
            ),
            Found::Maps(capacity) if capacity.suffices(demand) => {
                let story = "adopted the data plane of an earlier run";
                (
                    capacity,
                    false,
                    Inheritance::new(Some(read_pinned(&pins, capacity)?), story),
                )
            }
            Found::Maps(capacity) => {
                let story = "the maps of an earlier run are too small and are being replaced";
                (
                    Capacity::for_demand(demand),
                    true,
                    Inheritance::new(Some(read_pinned(&pins, capacity)?), story),
                )
            }
            Found::Misshapen(reason) => {
                let story = format!(
                    "the maps of an earlier run cannot be trusted and are being replaced: {reason}"
                );
                (
                    Capacity::for_demand(demand),
                    true,
                    Inheritance::new(None, story),
                )
            }
        };
        let directory = if replaces_maps {
            pins.new_maps()
        } else {
            pins.maps()
        };
        if replaces_maps || inheritance.snapshot.is_none() {
            pins.empty(&directory)?;
        }
        let (ebpf, maps) = object::load(capacity, Some(&directory))?;
        Ok(Self {
            ebpf,
            writer: Writer::new(Arc::new(maps)),
            pins: Some(pins),
            replaces_maps,
            inheritance,
        })
    }

    /// Loads the program with maps of its own that nobody else sees and that end with this value.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn unpinned(capacity: Capacity) -> Result<Self, DatapathError> {
        let (ebpf, maps) = object::load(capacity, None)?;
        let inheritance = Inheritance::new(None, "not pinned");
        Ok(Self {
            ebpf,
            writer: Writer::new(Arc::new(maps)),
            pins: None,
            replaces_maps: false,
            inheritance,
        })
    }

    /// What an earlier life left.
    pub fn inheritance(&self) -> &Inheritance {
        &self.inheritance
    }

    /// The writer of the maps.
    pub fn writer(&mut self) -> &mut Writer {
        &mut self.writer
    }

    /// The ownership words.
    pub fn owners(&self) -> Owners {
        Owners::new(Arc::clone(self.maps()))
    }

    /// The maps, for reading.
    pub fn maps(&self) -> &Arc<Maps> {
        self.writer.maps()
    }

    /// The loaded object, to run or load its programs.
    pub fn object(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Goes on counting where an earlier life's maps stood, if these replace them. Before the first packet, after the
    /// first commit.
    ///
    /// # Errors
    /// Where a counter cannot be written.
    pub fn carry_counters(&self) -> Result<(), MapsError> {
        let Some(old) = self
            .inheritance
            .snapshot
            .as_ref()
            .filter(|_| self.replaces_maps)
        else {
            return Ok(());
        };
        let new = Snapshot::read(self.maps())?;
        for (key, id) in &new.services {
            let Some(before) = old.services.get(key).and_then(|id| old.by_id.get(id)) else {
                continue;
            };
            for backend in new
                .by_id
                .get(id)
                .into_iter()
                .flat_map(|service| &service.backends)
            {
                let same = |old: &&BackendSnapshot| {
                    (old.address, old.port) == (backend.address, backend.port)
                };
                if let Some(old) = before.backends.iter().find(same) {
                    self.maps().set_backend_counter(backend.id, old.counter)?;
                }
            }
        }
        Ok(())
    }

    /// Attaches the program to an interface, or switches an earlier life's attachment over to it.
    ///
    /// # Errors
    /// The interface is then as it was.
    pub fn attach(&mut self, target: &Target, ladder: Ladder) -> Result<Attached, AttachError> {
        let pins = self
            .pins
            .as_ref()
            .ok_or_else(|| PinsError::NoBpffs { path: BPFFS.into() })?;
        let program: &mut Xdp = self
            .ebpf
            .program_mut(PROGRAM)
            .and_then(|program| program.try_into().ok())
            .expect("the object was loaded with this program");
        attach::attach(program, pins, target, ladder)
    }

    /// Takes the attachment to an interface away.
    ///
    /// # Errors
    /// Where the kernel refuses to unpin.
    pub fn detach(&mut self, ifindex: u32) -> Result<(), PinsError> {
        self.pins
            .as_ref()
            .map_or(Ok(()), |pins| attach::detach(pins, ifindex))
    }

    /// Indices of the interfaces that have a pinned attachment.
    pub fn attached_interfaces(&self) -> Vec<u32> {
        self.pins
            .as_ref()
            .map(Pins::linked_interfaces)
            .unwrap_or_default()
    }

    /// The kernel's id of the program.
    pub fn program_id(&self) -> Option<u32> {
        let program: &Xdp = self.ebpf.program(PROGRAM)?.try_into().ok()?;
        program.info().ok().map(|info| info.id())
    }

    /// Every interface runs this program now: its maps take the place of those they replace, and what other versions
    /// left is removed.
    ///
    /// # Errors
    /// Where the kernel refuses; forwarding goes on, but the next start will not find these maps.
    pub fn settle(&mut self) -> Result<(), PinsError> {
        let Some(pins) = &self.pins else {
            return Ok(());
        };
        if self.replaces_maps {
            pins.replace_maps()?;
            self.replaces_maps = false;
        }
        pins.remove_new_maps()?;
        pins.remove_other_versions()?;
        pin_program(&mut self.ebpf, pins)
    }
}

impl Inheritance {
    fn new(snapshot: Option<Snapshot>, story: impl Into<String>) -> Self {
        Self {
            snapshot,
            story: story.into(),
        }
    }

    /// What the maps said of a real server of the service with these keys.
    pub fn backend(
        &self,
        keys: &[ServiceKey],
        address: IpAddr,
        port: u16,
    ) -> Option<&BackendSnapshot> {
        self.backends(keys)
            .find(|backend| backend.address == address && backend.port == port)
    }

    /// What the maps said of all real servers of the service with these keys.
    pub fn backends(&self, keys: &[ServiceKey]) -> impl Iterator<Item = &BackendSnapshot> {
        let service = self.snapshot.as_ref().and_then(|snapshot| {
            let id = keys.iter().find_map(|key| snapshot.services.get(key))?;
            snapshot.by_id.get(id)
        });
        service.into_iter().flat_map(|service| &service.backends)
    }
}

/// Reads what pinned maps hold, without taking them over.
fn read_pinned(pins: &Pins, capacity: Capacity) -> Result<Snapshot, DatapathError> {
    Ok(Snapshot::read(&object::open_pinned(
        &pins.maps(),
        capacity,
    )?)?)
}

fn pin_program(ebpf: &mut Ebpf, pins: &Pins) -> Result<(), PinsError> {
    let path = pins.program();
    let failed = |source| PinsError::Io {
        action: "pin the program at",
        path: path.clone(),
        source,
    };
    match std::fs::remove_file(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => return Err(failed(source)),
        _ => {}
    }
    match ebpf.program_mut(PROGRAM) {
        Some(program) => program
            .pin(&path)
            .map_err(|error| failed(std::io::Error::other(error))),
        None => Ok(()),
    }
}

/// The pinned data plane below `bpffs`, taken away. Returns what was removed.
///
/// # Errors
/// Where there is no bpffs, or the kernel refuses.
pub fn unload(bpffs: &Path) -> Result<Vec<std::path::PathBuf>, PinsError> {
    Pins::look(bpffs)?.remove_all()
}
