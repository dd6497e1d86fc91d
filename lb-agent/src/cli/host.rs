//! What a valid configuration asks of this host that is not there.
//!
//! Warnings, not errors: a configuration may be checked on another machine than the one it is for.

use crate::{
    config::{Config, Diagnostic, Places},
    network::{HostAddresses, Links, Netlink, NetworkError},
};

/// Interfaces that do not exist or cannot carry the program, and listen addresses that are not here.
pub fn warnings(config: &Config, places: &Places) -> Vec<Diagnostic> {
    match look() {
        Ok((links, addresses)) => compare(config, places, &links, &addresses),
        // Without netlink nothing can be compared, and nothing is wrong with the file.
        Err(_) => Vec::new(),
    }
}

fn look() -> Result<(Links, HostAddresses), NetworkError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|source| NetworkError::Thread { source })?;
    runtime.block_on(async {
        let netlink = Netlink::open()?;
        Ok((netlink.links().await?, netlink.addresses().await?))
    })
}

fn compare(
    config: &Config,
    places: &Places,
    links: &Links,
    addresses: &HostAddresses,
) -> Vec<Diagnostic> {
    let interfaces = config.interfaces.iter().enumerate();
    let missing = interfaces.filter_map(|(index, name)| {
        let message = match links.by_name(name) {
            None => format!("there is no interface {name} on this host"),
            Some(link) if link.mac.is_none() => {
                format!("interface {name} carries no Ethernet frames on this host")
            }
            Some(_) => return None,
        };
        Some(places.warning(&format!("interfaces[{index}]"), message))
    });
    let elected = config
        .vrrp
        .iter()
        .filter(|vrrp| links.by_name(&vrrp.interface).is_none());
    let elected = elected.map(|vrrp| {
        places.warning(
            &format!("vrrp.{}.interface", vrrp.name),
            format!("there is no interface {} on this host", vrrp.interface),
        )
    });
    let listens = config.services.iter().flat_map(|service| {
        let listen = service.listen.addresses().iter().enumerate();
        listen.map(move |(index, address)| {
            (
                format!("service.{}.listen[{index}]", service.name),
                address.ip(),
            )
        })
    });
    let absent = listens
        // Where a virtual router governs it, it comes and goes.
        .filter(|(_, address)| !config.vrrp.iter().any(|vrrp| vrrp.owns(*address)))
        .filter(|(_, address)| !addresses.is_local(*address))
        .map(|(key, address)| {
            places.warning(
                &key,
                format!(
                    "{address} is not an address of this host: nobody answers ARP or ND for it here"
                ),
            )
        });
    missing.chain(elected).chain(absent).collect()
}
