//! What a valid configuration asks of this host that is not there.
//!
//! Warnings, not errors: a configuration may be checked on another machine than the one it is for.

use crate::{
    config::{Config, Diagnostic, Places},
    mail,
    network::{HostAddresses, Links, Netlink, NetworkError},
};
use std::net::IpAddr;

/// Interfaces that do not exist or cannot carry the program, addresses that are not here, and secrets that cannot be read.
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
    let mail = config.mail.iter().filter_map(|mail| {
        let error = mail::check(mail, &config.router_id).err()?;
        let message = format!("mail could not be sent: {:#}", anyhow::Error::from(error));
        Some(places.warning("mail", message))
    });
    missing
        .chain(elected)
        .chain(absent)
        .chain(sources(config, places, addresses))
        .chain(mail)
        .collect()
}

/// Checks that are to come from an address which is not here: they would all fail.
fn sources(config: &Config, places: &Places, addresses: &HostAddresses) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let is_absent = |address: &IpAddr| {
        !config.vrrp.iter().any(|vrrp| vrrp.owns(*address)) && !addresses.is_local(*address)
    };
    for service in &config.services {
        let mut of_service = Vec::new();
        for real_server in &service.real_servers {
            let source = real_server.check.source_address.filter(is_absent);
            // What the service says for all of them is said once.
            if let Some(source) = source.filter(|source| !of_service.contains(source)) {
                of_service.push(source);
                let key = format!(
                    "service.{}.real_server.{}.check.source_address",
                    service.name,
                    real_server.endpoint()
                );
                let message = format!(
                    "{source}, which checks are to come from, is not an address of this host"
                );
                found.push(places.warning(&key, message));
            }
        }
    }
    found
}
