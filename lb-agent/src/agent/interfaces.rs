//! The interfaces the program is attached to, over their coming and going.

use crate::{
    config,
    datapath::xdp::{AttachError, Attached, Datapath, GENERIC, Holder, Ladder, Target},
    network::{Link, Links, Netlink, XdpMode},
};
use std::{borrow::Cow, collections::BTreeSet};

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
    /// The other name that it goes by: an attachment is to the interface and not to its name.
    renamed: Option<String>,
}

/// How an interface stands, for status.
#[derive(Debug)]
pub struct InterfaceView<'a> {
    /// Its name in the configuration.
    pub name: &'a str,
    /// How the program runs there; `None`: it does not.
    pub mode: Option<XdpMode>,
    /// Why.
    pub reason: Cow<'a, str>,
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
        self.tell(datapath, netlink).await;
        Ok(())
    }

    /// Attaches to an interface that has been made anew, and forgets one that is gone.
    pub async fn follow(&mut self, links: &Links, datapath: &mut Datapath, netlink: &Netlink) {
        let mut changed = false;
        for wanted in &mut self.wanted {
            changed |= wanted.follow(links, self.ladder, datapath);
        }
        if changed {
            self.tell(datapath, netlink).await;
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

    /// How each stands, by what the kernel says in `links` of the program with the id `own`.
    pub fn view(&self, links: &Links, own: Option<u32>) -> Vec<InterfaceView<'_>> {
        let view = |wanted| Wanted::view(wanted, links, own);
        self.wanted.iter().map(view).collect()
    }

    /// Asks the kernel how the program really runs on each, and logs it.
    async fn tell(&self, datapath: &Datapath, netlink: &Netlink) {
        let links = match netlink.links().await {
            Ok(links) => links,
            Err(error) => {
                tracing::error!(error = error.with_cause(), "read back how XDP is attached");
                return;
            }
        };
        for view in self.view(&links, datapath.program_id()) {
            tracing::info!(
                interface = view.name,
                mode = mode_name(view.mode),
                reason = %view.reason,
                "XDP attached"
            );
        }
    }
}

impl Wanted {
    /// What the kernel says of it in `links`.
    fn view(&self, links: &Links, own: Option<u32>) -> InterfaceView<'_> {
        let (mode, reason) = match &self.attached {
            None => (None, Cow::from(&self.reason)),
            Some(attachment) => match links.get(attachment.ifindex).and_then(|link| link.xdp) {
                None => (
                    None,
                    "the kernel says that no program is there any more: start the agent again to attach it".into(),
                ),
                Some(xdp) if Some(xdp.program_id) != own => (
                    None,
                    format!(
                        "the kernel says that another program, id {}, is there",
                        xdp.program_id
                    )
                    .into(),
                ),
                Some(xdp) => (Some(xdp.mode), self.attached_reason(attachment)),
            },
        };
        InterfaceView {
            name: &self.name,
            mode,
            reason,
        }
    }

    fn attached_reason(&self, attachment: &Attachment) -> Cow<'_, str> {
        match &attachment.renamed {
            Some(other) => format!(
                "{}; now named {other}: the next start wants that name in `interfaces`",
                self.reason
            )
            .into(),
            None => Cow::from(&self.reason),
        }
    }

    /// Goes with the interface. Says whether anything has changed.
    fn follow(&mut self, links: &Links, ladder: Ladder, datapath: &mut Datapath) -> bool {
        let named_so = links.by_name(&self.name);
        if let Some(attachment) = &mut self.attached {
            let attached_to = links.get(attachment.ifindex);
            let renamed = match (attached_to, named_so) {
                (Some(link), Some(named_so)) if link.index == named_so.index => None,
                (Some(link), None) => Some(link.name.clone()),
                _ => return self.find_anew(named_so, ladder, datapath),
            };
            let changed = attachment.renamed != renamed;
            attachment.renamed = renamed;
            return changed;
        }
        named_so.is_some() && self.find_anew(named_so, ladder, datapath)
    }

    /// The interface that was attached to is gone; there may be another of its name.
    fn find_anew(&mut self, link: Option<&Link>, ladder: Ladder, datapath: &mut Datapath) -> bool {
        self.attached = None;
        match link {
            None => {
                tracing::warn!(interface = self.name, "interface is gone");
                "there is no such interface any more".clone_into(&mut self.reason);
            }
            Some(link) => {
                if let Err(error) = self.attach(link, ladder, datapath) {
                    tracing::error!(interface = self.name, %error, "interface is back, but not attached to");
                    self.reason = error.to_string();
                }
            }
        }
        true
    }

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
            Attached::Adopted if holder.is_some_and(|holder| holder.keyword == GENERIC) => {
                "attached by an earlier run in generic mode, several times slower; `lb-agent unload` before the next start \
                 has the driver asked again"
                    .to_owned()
            }
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
            renamed: None,
        });
        Ok(())
    }
}

/// The mode's name in ip-link(8).
fn keyword(mode: XdpMode) -> &'static str {
    match mode {
        XdpMode::Native => "xdpdrv",
        XdpMode::Generic => GENERIC,
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
