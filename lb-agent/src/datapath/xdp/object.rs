//! The program's object: embedded, sized, loaded.

use super::{
    capacity::Capacity,
    maps::{Maps, MapsError},
};
use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{Map, MapData},
    programs::{ProgramError, Xdp},
};
use lb_common::layout::{PROGRAM, constant, map};
use nix::{
    errno::Errno,
    sys::signal::{SigSet, SigmaskHow},
};
use std::{collections::HashMap, path::Path};

/// The XDP program as this agent was built with it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lb"));

/// Why the program is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The kernel refuses a map, or the object is damaged.
    #[error("load the XDP program's maps")]
    Object(#[source] Box<EbpfError>),
    /// Signals cannot be put off.
    #[error("put signals off while the XDP program is loaded")]
    Signals(#[source] Errno),
    /// The verifier refuses the program.
    #[error("load the XDP program {program}")]
    Program {
        /// Its name.
        program: String,
        /// The verifier's words.
        #[source]
        source: Box<ProgramError>,
    },
    /// The object lacks the program.
    #[error("the object has no XDP program named {program}")]
    Missing {
        /// Its name.
        program: String,
    },
    /// The maps cannot be used.
    #[error(transparent)]
    Maps(#[from] MapsError),
}

/// Makes the maps with the sizes of `capacity` and loads the program. With `pins`, maps that are pinned there are used
/// as they are, and the others are pinned there.
///
/// # Errors
/// Where the kernel refuses.
pub fn load(capacity: Capacity, pins: Option<&Path>) -> Result<(Ebpf, Maps), LoadError> {
    let mut loader = EbpfLoader::new();
    loader
        .override_global(constant::SERVICE_CAPACITY, &capacity.services, true)
        .override_global(constant::FLOW_BUCKETS, &capacity.flow_buckets, true)
        .map_max_entries(map::SERVICES, capacity.services * 2)
        .map_max_entries(map::SLOTS, capacity.slots)
        .map_max_entries(map::BACKENDS, capacity.backends * 2)
        .map_max_entries(map::BACKEND_COUNTERS, capacity.backends)
        .map_max_entries(map::REASON_COUNTERS, capacity.reason_counters())
        .map_max_entries(map::FLOWS, capacity.flow_buckets)
        .map_max_entries(map::LOADS, capacity.backends)
        .map_max_entries(map::TURNS, capacity.services);
    if let Some(directory) = pins {
        for name in map::ALL {
            loader.map_pin_path(name, directory.join(name));
        }
    }
    let mut ebpf = loader
        .load(OBJECT)
        .map_err(|source| LoadError::Object(Box::new(source)))?;
    load_program(&mut ebpf, PROGRAM)?;
    let mut maps = HashMap::new();
    for name in map::ALL {
        if let Some(data) = ebpf.take_map(name).and_then(data) {
            maps.insert(name, data);
        }
    }
    Ok((ebpf, Maps::new(maps, capacity)?))
}

/// Loads one program of the object into the kernel.
///
/// # Errors
/// Where it is missing or the verifier refuses it.
pub fn load_program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, LoadError> {
    let missing = || LoadError::Missing {
        program: name.to_owned(),
    };
    let program: &mut Xdp = ebpf
        .program_mut(name)
        .ok_or_else(missing)?
        .try_into()
        .map_err(|_| missing())?;
    // A verifier that meets a pending signal gives up (EAGAIN, kernel/bpf/verifier.c: do_check), whereupon aya lets it
    // work again with its log, for many seconds. It waits here for less than one; the signal is dealt with after.
    let mask = SigSet::all()
        .thread_swap_mask(SigmaskHow::SIG_SETMASK)
        .map_err(LoadError::Signals)?;
    let loaded = program.load();
    mask.thread_set_mask().map_err(LoadError::Signals)?;
    loaded.map_err(|source| LoadError::Program {
        program: name.to_owned(),
        source: Box::new(source),
    })?;
    Ok(program)
}

fn data(map: Map) -> Option<MapData> {
    match map {
        Map::Array(data) | Map::PerCpuArray(data) => Some(data),
        _ => None,
    }
}

/// Opens maps that are pinned, without loading a program.
///
/// # Errors
/// Where one cannot be opened.
pub fn open_pinned(directory: &Path, capacity: Capacity) -> Result<Maps, MapsError> {
    let mut maps = HashMap::new();
    for name in map::ALL {
        let data = MapData::from_pin(directory.join(name))
            .map_err(|source| MapsError::Read { name, source })?;
        maps.insert(name, data);
    }
    Maps::new(maps, capacity)
}
