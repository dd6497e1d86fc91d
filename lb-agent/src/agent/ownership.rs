//! Which virtual router governs an address, and what the data plane is told of it.

use crate::{
    config::{self, Config, Service},
    control::protocol::Response,
    datapath::xdp::Owners,
    vrrp::shell::{Holder, Numbers, Order, OwnershipSink, Vrrp},
};
use lb_common::{
    Owner,
    backend::mac_word,
    control::{ALWAYS_OWNED, OWNERS},
};
use std::{collections::BTreeSet, net::IpAddr};
use tokio::sync::watch;

/// The number of the ownership word of the instance with this place in the configuration.
pub fn owner_number(place: usize) -> u16 {
    // The first word is that of addresses which no virtual router governs.
    u16::try_from(place + 1).unwrap_or(ALWAYS_OWNED) % OWNERS as u16
}

/// The ownership words of a configuration's instances, `before` being those of the configuration before.
pub fn numbers(config: &Config, before: &Numbers) -> Numbers {
    before.after(config.vrrp.iter().map(|vrrp| vrrp.name.as_str()))
}

/// The ownership word that governs `address` of a service: that of the instance it names, else of the one that has the
/// address, else of none.
pub fn owner_of(address: IpAddr, service: &Service, instances: &[config::Vrrp]) -> u16 {
    let place = match &service.vrrp {
        Some(name) => instances.iter().position(|instance| instance.name == *name),
        None => instances.iter().position(|instance| instance.owns(address)),
    };
    place.map_or(ALWAYS_OWNED, owner_number)
}

/// The ownership words of instances that are master here.
pub type Held = BTreeSet<u16>;

/// Tells the data plane, and whoever wants to know what is served here.
pub fn sink(owners: Owners, held: watch::Sender<Held>) -> OwnershipSink {
    OwnershipSink::new(move |number, holder, mac| {
        let number = number % OWNERS as u16;
        held.send_if_modified(|held| match holder {
            Holder::Us => held.insert(number),
            Holder::Other | Holder::OtherButStillHere => held.remove(&number),
        });
        let word = match holder {
            Holder::Us => Owner::FORWARDS | mac.map_or(0, mac_word),
            Holder::Other => 0,
            Holder::OtherButStillHere => Owner::STILL_LOCAL,
        };
        owners.store(number, Owner(word));
    })
}

/// Has an operator's order carried out.
pub async fn hand_over(vrrp: Option<&Vrrp>, order: Order, instance: String) -> Response {
    let done = match vrrp {
        Some(vrrp) => vrrp.order(order, instance).await,
        None => Err("the configuration has no [[vrrp]]".to_owned()),
    };
    match done {
        Ok(words) => Response::Done(vec![words]),
        Err(words) => Response::Error(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_instance_has_the_word_of_what_is_always_owned() {
        let numbers: std::collections::BTreeSet<u16> = (0..OWNERS - 1).map(owner_number).collect();
        assert_eq!(numbers.len(), OWNERS - 1);
        assert!(!numbers.contains(&ALWAYS_OWNED));
    }
}
