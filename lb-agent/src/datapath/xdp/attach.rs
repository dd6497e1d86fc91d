//! Attaching to interfaces: in the driver where it can be, in the stack where it must be, and never in silence.

use super::pins::{Pins, PinsError};
use aya::programs::{
    ProgramError, Xdp, XdpMode,
    links::{FdLink, LinkError, PinnedLink},
    xdp::XdpLink,
};
use std::{io, path::Path};

/// Which modes are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ladder {
    /// Native, else generic.
    NativeThenGeneric,
    /// Native or nothing.
    NativeOnly,
}

/// [`Holder::keyword`] of generic mode.
pub const GENERIC: &str = "xdpgeneric";

/// How the program came to be attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attached {
    /// An earlier life's attachment, which now runs this program.
    Adopted,
    /// Attached in the driver.
    Native,
    /// Attached in the stack, because the driver refused.
    Generic {
        /// What the driver said.
        refusal: String,
    },
}

/// Why the program is not attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Another program is there.
    #[error(
        "{interface} already has an XDP program, {holder}: an interface takes one only; remove it \
         (`ip link set dev {interface} {keyword} off`, or its owner's own command) or leave {interface} out of `interfaces`"
    )]
    Foreign {
        /// The interface's name.
        interface: String,
        /// The other program's id and name.
        holder: String,
        /// [`Holder::keyword`].
        keyword: &'static str,
    },
    /// The driver refuses, and no other mode is allowed.
    #[error(
        "attach XDP to {interface} in the driver: {refusal}; `datapath = \"auto\"` would fall back to generic mode"
    )]
    NativeRefused {
        /// The interface's name.
        interface: String,
        /// The driver's words.
        refusal: String,
    },
    /// An earlier life's attachment is not in the driver, and no other mode is allowed.
    #[error(
        "{interface} forwards in generic mode since an earlier run, and `datapath = \"xdp_native\"` demands the driver's: \
         take that away by `lb-agent unload`, or allow it by `datapath = \"auto\"`"
    )]
    GenericBefore {
        /// The interface's name.
        interface: String,
    },
    /// Generic mode is refused as well.
    #[error(
        "attach XDP to {interface} in generic mode, after the driver refused native mode ({refusal})"
    )]
    GenericRefused {
        /// The interface's name.
        interface: String,
        /// The driver's words.
        refusal: String,
        /// The kernel's answer.
        #[source]
        source: Box<ProgramError>,
    },
    /// The attachment cannot be pinned.
    #[error("pin the attachment to {interface}, so that it outlives this process")]
    Pin {
        /// The interface's name.
        interface: String,
        /// The reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The pin directory cannot be used.
    #[error(transparent)]
    Pins(#[from] PinsError),
}

/// An interface to attach to.
#[derive(Clone, Debug)]
pub struct Target {
    /// The kernel's index.
    pub ifindex: u32,
    /// Its name, for messages.
    pub name: String,
    /// The program that is there now.
    pub holder: Option<Holder>,
}

/// A program on an interface.
#[derive(Clone, Copy, Debug)]
pub struct Holder {
    /// The kernel's id of it.
    pub program_id: u32,
    /// What ip-link(8) calls the mode it is attached in: `off` takes away that mode's program alone.
    pub keyword: &'static str,
}

/// Makes `program` the one that runs on `target`: a pinned attachment is switched over in place, so that no packet
/// passes unbalanced; else one is made and pinned.
///
/// # Errors
/// Where it cannot be; the interface is as it was.
pub fn attach(
    program: &mut Xdp,
    pins: &Pins,
    target: &Target,
    ladder: Ladder,
) -> Result<Attached, AttachError> {
    let earlier = pins.find_link(target.ifindex);
    let is_generic = target
        .holder
        .is_some_and(|holder| holder.keyword == GENERIC);
    if earlier.is_some() && is_generic && ladder == Ladder::NativeOnly {
        return Err(AttachError::GenericBefore {
            interface: target.name.clone(),
        });
    }
    if let Some(path) = earlier
        && adopt(program, &path)
    {
        pins.take_over_link(target.ifindex, &path)?;
        return Ok(Attached::Adopted);
    }
    if let Some(Holder {
        program_id,
        keyword,
    }) = target.holder
    {
        return Err(AttachError::Foreign {
            interface: target.name.clone(),
            holder: describe(program_id),
            keyword,
        });
    }
    let refusal = match program.attach_to_if_index(target.ifindex, XdpMode::Driver) {
        Ok(id) => {
            pin(program.take_link(id), pins, target)?;
            return Ok(Attached::Native);
        }
        Err(error) => refusal(&error),
    };
    if ladder == Ladder::NativeOnly {
        return Err(AttachError::NativeRefused {
            interface: target.name.clone(),
            refusal,
        });
    }
    match program.attach_to_if_index(target.ifindex, XdpMode::Skb) {
        Ok(id) => {
            pin(program.take_link(id), pins, target)?;
            Ok(Attached::Generic { refusal })
        }
        Err(source) => Err(AttachError::GenericRefused {
            interface: target.name.clone(),
            refusal,
            source: Box::new(source),
        }),
    }
}

/// Takes the attachment to an interface away.
///
/// # Errors
/// Where the kernel refuses to unpin.
pub fn detach(pins: &Pins, ifindex: u32) -> Result<(), PinsError> {
    let Some(path) = pins.find_link(ifindex) else {
        return Ok(());
    };
    std::fs::remove_file(&path).map_err(|source| PinsError::Io {
        action: "remove",
        path,
        source,
    })
}

/// Switches the pinned link at `path` to `program`. False where the link is dead (its interface is gone): then the pin
/// is removed.
fn adopt(program: &mut Xdp, path: &Path) -> bool {
    let switch = || -> Result<(), Box<dyn std::error::Error>> {
        let link = FdLink::from(PinnedLink::from_pin(path)?);
        let id = program.attach_to_link(XdpLink::try_from(link)?)?;
        // Dropping our handle leaves the pinned one.
        drop(program.take_link(id)?);
        Ok(())
    };
    let mut switch = switch;
    match switch() {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "pinned attachment is of no use any more");
            // Fails only where somebody else was quicker.
            let _ = std::fs::remove_file(path);
            false
        }
    }
}

fn pin(
    link: Result<XdpLink, ProgramError>,
    pins: &Pins,
    target: &Target,
) -> Result<(), AttachError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| AttachError::Pin {
        interface: target.name.clone(),
        source,
    };
    let link = link.map_err(|source| failed(Box::new(source)))?;
    // A kernel older than 5.9 knows no XDP links; aya then attaches by netlink, which cannot be pinned.
    let link = FdLink::try_from(link).map_err(|source: LinkError| failed(Box::new(source)))?;
    link.pin(pins.link(target.ifindex))
        .map_err(|source| failed(Box::new(source)))?;
    Ok(())
}

/// Why the driver said no, in words.
fn refusal(error: &ProgramError) -> String {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return match io.raw_os_error() {
                Some(libc::EOPNOTSUPP) => "the driver has no XDP".to_owned(),
                Some(libc::ERANGE) => {
                    "the interface's MTU is too large for the driver's XDP".to_owned()
                }
                Some(libc::ENOMEM) => {
                    "the driver has no queues left for XDP (reduce them with `ethtool -L`)"
                        .to_owned()
                }
                _ => io.to_string(),
            };
        }
        cause = error.source();
    }
    error.to_string()
}

/// Id and name of a loaded program.
fn describe(id: u32) -> String {
    let name = aya::programs::loaded_programs()
        .filter_map(Result::ok)
        .find(|info| info.id() == id)
        .and_then(|info| info.name_as_str().map(str::to_owned));
    match name {
        Some(name) if !name.is_empty() => format!("id {id}, named {name}"),
        _ => format!("id {id}"),
    }
}
