//! The maps of a loaded program, as the agent holds them.

use super::capacity::Capacity;
use crate::sys::mapped::MappedArray;
use aya::maps::{MapData, MapError, PerCpuArray, PerCpuValues};
use lb_common::{
    Backend, Control, Counter, Load, Reason, Service, Slot, flow::Bucket, layout::map,
    reason::REASONS,
};
use std::{
    collections::HashMap,
    io,
    os::fd::AsFd,
    sync::{Mutex, PoisonError},
};

/// All maps of the program. Reads need no lock; writing is the [`super::Writer`]'s alone.
pub struct Maps {
    /// The control block.
    pub control: MappedArray<Control>,
    /// Service table, two banks.
    pub services: MappedArray<Service>,
    /// Slots.
    pub slots: MappedArray<Slot>,
    /// Backend table, two banks.
    pub backends: MappedArray<Backend>,
    /// Remembered flows.
    pub flows: MappedArray<Bucket>,
    /// Connections and limits by backend id.
    pub loads: MappedArray<Load>,
    backend_counters: Mutex<PerCpuArray<MapData, Counter>>,
    reason_counters: Mutex<PerCpuArray<MapData, u64>>,
    capacity: Capacity,
    /// Keeps the descriptors open that programs of the object still to be loaded refer to.
    _open: Vec<MapData>,
}

/// Why the maps cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MapsError {
    /// The object lacks a map.
    #[error("the program has no map named {name}")]
    Missing {
        /// The map's name.
        name: &'static str,
    },
    /// A map cannot be mapped into memory.
    #[error("map {name} into memory")]
    Mmap {
        /// The map's name.
        name: &'static str,
        /// What mmap(2) answered.
        #[source]
        source: io::Error,
    },
    /// A map cannot be opened or read.
    #[error("read map {name}")]
    Read {
        /// The map's name.
        name: &'static str,
        /// What aya says.
        #[source]
        source: MapError,
    },
}

impl Maps {
    /// Takes the maps by name.
    ///
    /// # Errors
    /// Where one is missing or cannot be used.
    pub fn new(
        mut maps: HashMap<&'static str, MapData>,
        capacity: Capacity,
    ) -> Result<Self, MapsError> {
        let mut take = |name| maps.remove(name).ok_or(MapsError::Missing { name });
        let read = |name| move |source| MapsError::Read { name, source };
        let (control, services) = (take(map::CONTROL)?, take(map::SERVICES)?);
        let (slots, backends) = (take(map::SLOTS)?, take(map::BACKENDS)?);
        let (flows, loads) = (take(map::FLOWS)?, take(map::LOADS)?);
        Ok(Self {
            control: mapped(&control, map::CONTROL, 1)?,
            services: mapped(&services, map::SERVICES, capacity.services * 2)?,
            slots: mapped(&slots, map::SLOTS, capacity.slots)?,
            backends: mapped(&backends, map::BACKENDS, capacity.backends * 2)?,
            flows: mapped(&flows, map::FLOWS, capacity.flow_buckets)?,
            loads: mapped(&loads, map::LOADS, capacity.backends)?,
            backend_counters: Mutex::new(
                PerCpuArray::try_from(per_cpu(take(map::BACKEND_COUNTERS)?))
                    .map_err(read(map::BACKEND_COUNTERS))?,
            ),
            reason_counters: Mutex::new(
                PerCpuArray::try_from(per_cpu(take(map::REASON_COUNTERS)?))
                    .map_err(read(map::REASON_COUNTERS))?,
            ),
            capacity,
            _open: vec![control, services, slots, backends, flows, loads],
        })
    }

    /// How much the maps hold.
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// What a backend was sent, over all CPUs.
    ///
    /// # Errors
    /// Where the kernel refuses the read.
    pub fn backend_counter(&self, id: u32) -> Result<Counter, MapsError> {
        let counters = self
            .backend_counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let values = counters.get(&id, 0).map_err(|source| MapsError::Read {
            name: map::BACKEND_COUNTERS,
            source,
        })?;
        Ok(values
            .iter()
            .fold(Counter::default(), |sum, counter| Counter {
                packets: sum.packets + counter.packets,
                bytes: sum.bytes + counter.bytes,
            }))
    }

    /// Sets a backend's counter to `counter` on the first CPU and to zero on the others: its next life begins there.
    ///
    /// # Errors
    /// Where the kernel refuses the write.
    pub fn set_backend_counter(&self, id: u32, counter: Counter) -> Result<(), MapsError> {
        let error = |source| MapsError::Read {
            name: map::BACKEND_COUNTERS,
            source,
        };
        let mut counters = self
            .backend_counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let cpus = counters.get(&id, 0).map_err(error)?.len();
        let values: Vec<Counter> = std::iter::once(counter)
            .chain(std::iter::repeat(Counter::default()))
            .take(cpus)
            .collect();
        let values =
            PerCpuValues::try_from(values).map_err(|source: io::Error| error(source.into()))?;
        counters.set(id, values, 0).map_err(error)
    }

    /// Packets of a service that met `reason`, over all CPUs.
    ///
    /// # Errors
    /// Where the kernel refuses the read.
    pub fn reason_counter(&self, service: u16, reason: Reason) -> Result<u64, MapsError> {
        let counters = self
            .reason_counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let values = counters
            .get(&column(service, reason), 0)
            .map_err(reasons_error)?;
        Ok(values.iter().sum())
    }

    /// Sets a service's counters of reasons to zero: the next life of its id begins.
    ///
    /// # Errors
    /// Where the kernel refuses the write.
    pub fn clear_reasons(&self, service: u16) -> Result<(), MapsError> {
        let mut counters = self
            .reason_counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for reason in Reason::ALL
            .iter()
            .copied()
            .filter(|reason| reason.counted())
        {
            let column = column(service, reason);
            let cpus = counters.get(&column, 0).map_err(reasons_error)?.len();
            let zeros = PerCpuValues::try_from(vec![0; cpus])
                .map_err(|source: io::Error| reasons_error(source.into()))?;
            counters.set(column, zeros, 0).map_err(reasons_error)?;
        }
        Ok(())
    }
}

/// Index of a service's counter of `reason`.
fn column(service: u16, reason: Reason) -> u32 {
    u32::from(service) * REASONS + reason as u32
}

fn reasons_error(source: MapError) -> MapsError {
    MapsError::Read {
        name: map::REASON_COUNTERS,
        source,
    }
}

impl std::fmt::Debug for Maps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Maps")
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

fn mapped<T: bytemuck::Pod>(
    map: &MapData,
    name: &'static str,
    len: u32,
) -> Result<MappedArray<T>, MapsError> {
    MappedArray::new(map.fd().as_fd(), len).map_err(|source| MapsError::Mmap { name, source })
}

fn per_cpu(map: MapData) -> aya::maps::Map {
    aya::maps::Map::PerCpuArray(map)
}
