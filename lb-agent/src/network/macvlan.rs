//! Devices with a MAC address of their own on top of another interface.

use std::io;

use rtnetlink::packet_route::link::MacVlanMode;
use rtnetlink::{LinkMacVlan, LinkUnspec};

use super::error::io_error;
use super::netlink::Netlink;

impl Netlink {
    /// Makes one on top of the interface `parent`. It is down at first.
    ///
    /// # Errors
    /// The kernel's answer.
    pub async fn make_macvlan(&self, name: &str, parent: u32, mac: [u8; 6]) -> io::Result<()> {
        // Private: what others on the same interface send is not for it.
        let message = LinkMacVlan::new(name, parent, MacVlanMode::Private)
            .address(mac.to_vec())
            .build();
        let made = self.handle().link().add(message).execute().await;
        made.map_err(|error| io_error(&error))
    }

    /// Sets an interface up.
    ///
    /// # Errors
    /// The kernel's answer.
    pub async fn set_up(&self, index: u32) -> io::Result<()> {
        let message = LinkUnspec::new_with_index(index).up().build();
        let set = self.handle().link().set(message).execute().await;
        set.map_err(|error| io_error(&error))
    }

    /// Removes an interface; one that is gone is no error.
    ///
    /// # Errors
    /// The kernel's answer.
    pub async fn remove_link(&self, index: u32) -> io::Result<()> {
        let removed = self.handle().link().del(index).execute().await;
        match removed.map_err(|error| io_error(&error)) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            result => result,
        }
    }
}
