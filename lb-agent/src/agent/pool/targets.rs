//! What is to be checked: from the configuration of each real server, each probe once.

use super::PoolError;
use crate::{
    config::{Mode, RealServer, Service, Via},
    health::{
        Maker, Origin, Probe, Spec, State, Target, TargetId, Timing, Whose,
        detour::{Detour, Steerer, Tunnel},
    },
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
};

/// Hands out targets: real servers of several services that are checked in the same way share one.
#[derive(Debug)]
pub(super) struct Targets {
    maker: Maker,
    steerer: Steerer,
    known: BTreeMap<SocketAddr, Vec<Target>>,
    next: u32,
}

impl Targets {
    /// None yet; `maker` makes their checks ready, `steerer` sees to those by way of the virtual address.
    pub(super) fn new(maker: Maker, steerer: Steerer) -> Self {
        Self {
            maker,
            steerer,
            known: BTreeMap::new(),
            next: 0,
        }
    }

    /// The target of a real server; `None` where it has no check.
    pub(super) fn target(
        &mut self,
        service: &Service,
        real_server: &RealServer,
    ) -> Result<Option<Target>, PoolError> {
        let check = &real_server.check;
        if check.kinds.is_empty() {
            return Ok(None);
        }
        let whose = Whose {
            service: &service.name,
            weight: real_server.weight,
            check,
        };
        let kinds = check
            .kinds
            .iter()
            .map(|kind| self.maker.kind(kind, whose))
            .collect::<Result<_, _>>()
            .map_err(|source| PoolError::Check {
                service: service.name.clone(),
                real_server: real_server.endpoint().to_string(),
                source,
            })?;
        let probe = Probe {
            address: check.address,
            port: check.port,
            origin: Origin {
                address: check.source_address,
                detour: self.detour(service, real_server),
            },
            kinds,
        };
        let timing = Timing {
            interval: check.interval,
            timeout: check.timeout,
            fall: NonZeroU32::new(check.fall).unwrap_or(NonZeroU32::MIN),
            rise: NonZeroU32::new(check.rise).unwrap_or(NonZeroU32::MIN),
            retry_interval: check.retry_interval,
        };
        let initial = match service.start_down {
            true => State::Unknown,
            false => State::Up,
        };
        Ok(Some(self.shared(
            check.address,
            Spec { probe, timing },
            initial,
        )))
    }

    /// The way by the virtual address, where that is wished.
    fn detour(&self, service: &Service, real_server: &RealServer) -> Option<Detour> {
        let Via::Vip = real_server.check.via else {
            return None;
        };
        let tunnel = match service.mode {
            Mode::Tun => Tunnel::From(service.tun_source.map(|source| source.network())),
            Mode::Dr | Mode::Nat | Mode::Local => Tunnel::None,
        };
        Some(Detour {
            address: service.address_like(real_server.address)?,
            tunnel,
            steerer: self.steerer.clone(),
        })
    }

    fn shared(&mut self, address: IpAddr, spec: Spec, initial: State) -> Target {
        let same_place = self
            .known
            .entry(SocketAddr::new(address, spec.probe.port))
            .or_default();
        if let Some(target) = same_place
            .iter()
            .find(|target| target.spec == spec && target.initial == initial)
        {
            return target.clone();
        }
        let target = Target {
            id: TargetId(self.next),
            spec,
            initial,
        };
        self.next += 1;
        same_place.push(target.clone());
        target
    }
}
