//! The interfaces the program is attached to, over their coming and going.

use crate::{
    config,
    datapath::xdp::{AttachError, Attached, Datapath, Holder, Ladder, Target},
    network::{Link, Links, Netlink, XdpMode},
};
use std::collections::BTreeSet;

/// The interfaces that are to carry the program.
#[derive(Debug)]
pub struct Interfaces {
    ladder: Ladder,
    wanted: Vec<Wanted>,
}

/// An interface by its name: after it was removed and made again it has another index.
#[derive(Debug)]
struct Wanted {
    name: String,
    attached: Option<Attachment>,
    /// Why it is attached as it is, or is not.
    reason: String,
}

#[derive(Debug)]
struct Attachment {
    ifindex: u32,
    mode: Option<XdpMode>,
}

/// How an interface stands, for status.
#[derive(Debug)]
pub struct InterfaceView<'a> {
    /// Its name.
    pub name: &'a str,
    /// How the program runs there; `None`: it does not.
    pub mode: Option<XdpMode>,
    /// Why.
    pub reason: &'a str,
}

impl Interfaces {
    /// These, not yet attached to.
    pub fn new(links: &[Link], datapath: config::Datapath) -> Self {
        let ladder = match datapath {
            config::Datapath::XdpNative => Ladder::NativeOnly,
            config::Datapath::Auto | config::Datapath::Xdp | config::Datapath::Ipvs => {
                Ladder::NativeThenGeneric
            }
        };
        let wanted = links
            .iter()
            .map(|link| Wanted {
                name: link.name.clone(),
                attached: None,
                reason: "not attached yet".to_owned(),
            })
            .collect();
        Self { ladder, wanted }
    }

    /// Attaches to all of them, and detaches from those that an earlier run had and this one has not.
    ///
    /// # Errors
    /// At the first that cannot be attached to.
    pub async fn attach(
        &mut self,
        links: &Links,
        datapath: &mut Datapath,
        netlink: &Netlink,
    ) -> Result<(), AttachError> {
        for wanted in &mut self.wanted {
            if let Some(link) = links.by_name(&wanted.name) {
                wanted.attach(link, self.ladder, datapath)?;
            }
        }
        let keep = self.attached();
        for ifindex in datapath.attached_interfaces() {
            if !keep.contains(&ifindex) {
                tracing::info!(
                    interface = links.label(ifindex),
                    "detached: not configured any more"
                );
                datapath.detach(ifindex)?;
            }
        }
        self.read_modes(datapath, netlink).await;
        Ok(())
    }

    /// Attaches to an interface that has been made anew, and forgets one that is gone.
    pub async fn follow(&mut self, links: &Links, datapath: &mut Datapath, netlink: &Netlink) {
        let mut changed = false;
        for wanted in &mut self.wanted {
            let now = links.by_name(&wanted.name);
            if wanted
                .attached
                .as_ref()
                .map(|attachment| attachment.ifindex)
                == now.map(|link| link.index)
            {
                continue;
            }
            changed = true;
            let Some(link) = now else {
                tracing::warn!(interface = wanted.name, "interface is gone");
                wanted.attached = None;
                wanted.reason = "there is no such interface any more".to_owned();
                continue;
            };
            if let Err(error) = wanted.attach(link, self.ladder, datapath) {
                tracing::error!(interface = wanted.name, %error, "interface is back, but not attached to");
                wanted.attached = None;
                wanted.reason = error.to_string();
            }
        }
        if changed {
            self.read_modes(datapath, netlink).await;
        }
    }

    /// Indices of those that carry the program.
    pub fn attached(&self) -> BTreeSet<u32> {
        self.wanted
            .iter()
            .filter_map(|wanted| wanted.attached.as_ref())
            .map(|attachment| attachment.ifindex)
            .collect()
    }

    /// How each stands.
    pub fn view(&self) -> impl Iterator<Item = InterfaceView<'_>> {
        self.wanted.iter().map(|wanted| InterfaceView {
            name: &wanted.name,
            mode: wanted
                .attached
                .as_ref()
                .and_then(|attachment| attachment.mode),
            reason: &wanted.reason,
        })
    }

    /// Asks the kernel how the program really runs on each.
    async fn read_modes(&mut self, datapath: &Datapath, netlink: &Netlink) {
        let links = match netlink.links().await {
            Ok(links) => links,
            Err(error) => {
                tracing::error!(error = error.with_cause(), "read back how XDP is attached");
                return;
            }
        };
        let own = datapath.program_id();
        for wanted in &mut self.wanted {
            let Some(attachment) = &mut wanted.attached else {
                continue;
            };
            let found = links.get(attachment.ifindex).and_then(|link| link.xdp);
            attachment.mode = found
                .filter(|xdp| Some(xdp.program_id) == own)
                .map(|xdp| xdp.mode);
            match found {
                Some(xdp) if attachment.mode.is_none() => {
                    wanted.reason = format!(
                        "the kernel says that another program, id {}, is there",
                        xdp.program_id
                    );
                }
                None => "the kernel says that no program is there".clone_into(&mut wanted.reason),
                Some(_) => {}
            }
            let mode = mode_name(attachment.mode);
            tracing::info!(
                interface = wanted.name,
                mode,
                reason = wanted.reason,
                "XDP attached"
            );
        }
    }
}

impl Wanted {
    fn attach(
        &mut self,
        link: &Link,
        ladder: Ladder,
        datapath: &mut Datapath,
    ) -> Result<(), AttachError> {
        let holder = link.xdp.map(|xdp| Holder {
            program_id: xdp.program_id,
            keyword: keyword(xdp.mode),
        });
        let target = Target {
            ifindex: link.index,
            name: link.name.clone(),
            holder,
        };
        let attached = datapath.attach(&target, ladder)?;
        self.reason = match &attached {
            Attached::Adopted => {
                "attached by an earlier run, its program replaced in place".to_owned()
            }
            Attached::Native => "the driver takes XDP".to_owned(),
            Attached::Generic { refusal } => {
                format!("generic mode, several times slower: {refusal}")
            }
        };
        self.attached = Some(Attachment {
            ifindex: link.index,
            mode: None,
        });
        Ok(())
    }
}

/// The mode's name in ip-link(8).
fn keyword(mode: XdpMode) -> &'static str {
    match mode {
        XdpMode::Native => "xdpdrv",
        XdpMode::Generic => "xdpgeneric",
        XdpMode::Offload => "xdpoffload",
        XdpMode::Multi => "xdp",
    }
}

/// The mode's name in status and logs.
pub fn mode_name(mode: Option<XdpMode>) -> &'static str {
    match mode {
        Some(XdpMode::Native) => "native",
        Some(XdpMode::Generic) => "generic",
        Some(XdpMode::Offload) => "offload",
        Some(XdpMode::Multi) => "multi",
        None => "none",
    }
}
