//! What the elections tell the fence: which virtual routers there are, and that an advert has been sent.

use super::plan::Instance;
use crate::{
    config::Fence,
    vrrp::packet::{Format, Version},
};
use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

/// A virtual router, as far as a fence must know it.
#[derive(Clone, Debug)]
pub struct Herald {
    /// Its number, see [`Numbers`](super::Numbers).
    pub number: u16,
    /// The kernel's index of the interface that adverts are heard on.
    pub interface: u32,
    /// Virtual router id.
    pub virtual_router_id: u8,
    /// Protocol version.
    pub version: Version,
    /// Where this host's adverts come from.
    pub source: IpAddr,
    /// Where others' come from; empty: multicast.
    pub peers: Vec<IpAddr>,
    /// What they must have, zeros behind it.
    pub password: Option<[u8; 8]>,
    /// All addresses that the master has.
    pub addresses: Vec<IpAddr>,
    /// How old this host's last advert may be.
    pub patience: Duration,
    /// When the addresses are to fall silent.
    pub fence: Fence,
}

impl Herald {
    pub(super) fn new(instance: &Instance) -> Self {
        let advert = &instance.advert;
        let destinations = instance.endpoints.iter().map(|to| to.destination());
        Self {
            number: instance.number,
            interface: instance.interface_index,
            virtual_router_id: advert.virtual_router_id,
            version: instance.filter.version,
            source: instance.filter.source,
            peers: destinations.filter(|to| !to.is_multicast()).collect(),
            password: match &advert.format {
                Format::V2 { password } => password.as_ref().map(|password| password.bytes()),
                Format::V3 => None,
            },
            addresses: instance
                .addresses
                .iter()
                .map(|own| own.net.addr())
                .collect(),
            patience: instance.patience,
            fence: instance.fence,
        }
    }
}

type Arm = dyn Fn(&[Herald]) + Send + Sync;
type Renew = dyn Fn(u16) + Send + Sync;

/// Where it is told.
#[derive(Clone)]
pub struct FenceSink {
    arm: Arc<Arm>,
    renew: Arc<Renew>,
}

impl FenceSink {
    /// Tells `arm` all virtual routers before the first advert is sent and whenever they change, and `renew` the number of
    /// one whose advert was sent. Neither may block.
    pub fn new(
        arm: impl Fn(&[Herald]) + Send + Sync + 'static,
        renew: impl Fn(u16) + Send + Sync + 'static,
    ) -> Self {
        Self {
            arm: Arc::new(arm),
            renew: Arc::new(renew),
        }
    }

    /// One that leads nowhere.
    pub fn none() -> Self {
        Self::new(|_| {}, |_| {})
    }

    pub(super) fn arm(&self, instances: &[Instance]) {
        let heralds: Vec<Herald> = instances.iter().map(Herald::new).collect();
        (self.arm)(&heralds);
    }

    pub(super) fn renew(&self, number: u16) {
        (self.renew)(number);
    }
}

impl fmt::Debug for FenceSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FenceSink")
    }
}
