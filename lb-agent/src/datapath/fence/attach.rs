//! Where the fence's programs run: on both ways of an interface, pinned where the kernel can (TCX, Linux 6.6), else as
//! filters of the interface's own, which stay as well.

use super::FenceError;
use crate::datapath::xdp::{LoadError, Pins};
use aya::{
    Ebpf,
    programs::{
        ProgramError, SchedClassifier,
        links::{FdLink, LinkError, PinnedLink},
        tc::{
            NlOptions, SchedClassifierLink, TcAttachOptions, TcAttachType, TcHandle,
            qdisc_add_clsact, qdisc_detach_program,
        },
    },
};
use lb_common::fence::program;
use nix::sys::signal::{SigSet, SigmaskHow};
use std::path::Path;

/// Where a filter is put: before others', for what it drops must not be answered by them.
const PRIORITY: u16 = 1;
/// Which filter there it is: a number that others are not likely to choose.
const HANDLE: TcHandle = TcHandle::new(0, 0x1b);

/// How the fence stands at an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// By pinned links.
    Links,
    /// By filters of the interface.
    Filters,
}

const WAYS: [(&str, TcAttachType); 2] = [
    (program::INGRESS, TcAttachType::Ingress),
    (program::EGRESS, TcAttachType::Egress),
];

/// Loads one of the programs.
pub(super) fn load(ebpf: &mut Ebpf, name: &str) -> Result<(), LoadError> {
    let program = classifier(ebpf, name)?;
    // As for the XDP program: the verifier gives up where a signal waits.
    let mask = SigSet::all()
        .thread_swap_mask(SigmaskHow::SIG_SETMASK)
        .map_err(LoadError::Signals)?;
    let loaded = program.load();
    mask.thread_set_mask().map_err(LoadError::Signals)?;
    loaded.map_err(|source| refused(name, source))
}

/// Attaches both to an interface, or switches an earlier life's attachments over to them.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    pins: &Pins,
    index: u32,
    interface: &str,
) -> Result<Attachment, FenceError> {
    let mut attachment = Attachment::Links;
    for (name, way) in WAYS {
        let program = classifier(ebpf, name)?;
        let pin = pins.fence_link(index, name)?;
        if adopt(program, &pin) {
            continue;
        }
        let order = TcAttachOptions::TcxOrder(aya::programs::LinkOrder::first());
        match program.attach_with_options(interface, way, order) {
            Ok(id) => {
                let link = program
                    .take_link(id)
                    .map_err(|source| refused(name, source))?;
                let pinned = FdLink::try_from(link)
                    .map_err(|source: LinkError| unpinned(&pin, source))?
                    .pin(&pin);
                pinned.map_err(|source| unpinned(&pin, source))?;
            }
            // A kernel before 6.6.
            Err(_) => {
                filter(program, interface, way).map_err(|source| refused(name, source))?;
                attachment = Attachment::Filters;
            }
        }
    }
    Ok(attachment)
}

/// Takes away the filters that the fence has anywhere on this host. Links go with their pins.
pub fn unload() {
    let interfaces = nix::net::if_::if_nameindex();
    for interface in interfaces.iter().flatten() {
        let Ok(name) = interface.name().to_str() else {
            continue;
        };
        for (program, way) in WAYS {
            // Fails where there is none, or the interface is gone.
            let _ = qdisc_detach_program(name, way, program);
        }
    }
}

/// Switches the link pinned at `pin` to `program`. False where there is none, or it is dead.
fn adopt(program: &mut SchedClassifier, pin: &Path) -> bool {
    if !pin.exists() {
        return false;
    }
    let switch = |program: &mut SchedClassifier| -> Result<(), Box<dyn std::error::Error>> {
        let link = FdLink::from(PinnedLink::from_pin(pin)?);
        let id = program.attach_to_link(SchedClassifierLink::try_from(link)?)?;
        // Dropping our handle leaves the pinned one.
        drop(program.take_link(id)?);
        Ok(())
    };
    match switch(program) {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(path = %pin.display(), %error, "the fence's pinned attachment is of no use any more");
            // Fails only where somebody else was quicker.
            let _ = std::fs::remove_file(pin);
            false
        }
    }
}

/// Puts the program among an interface's filters, in the place of an earlier life's.
fn filter(
    program: &mut SchedClassifier,
    interface: &str,
    way: TcAttachType,
) -> Result<(), ProgramError> {
    // Fails where there is one, which is as good.
    let _ = qdisc_add_clsact(interface);
    let options = || NlOptions {
        priority: PRIORITY,
        handle: HANDLE,
        classid: None,
    };
    let earlier = SchedClassifierLink::attached(interface, way, PRIORITY, HANDLE, None)
        .map_err(aya::programs::tc::TcError::IoError)?;
    let id = match program.attach_with_options(interface, way, TcAttachOptions::Netlink(options()))
    {
        Ok(id) => {
            std::mem::forget(earlier);
            id
        }
        Err(_) => program.attach_to_link(earlier)?,
    };
    // It is to outlive this process: dropping the link would take the filter away.
    std::mem::forget(program.take_link(id)?);
    Ok(())
}

fn classifier<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier, LoadError> {
    let missing = || LoadError::Missing {
        program: name.to_owned(),
    };
    ebpf.program_mut(name)
        .ok_or_else(missing)?
        .try_into()
        .map_err(|_| missing())
}

fn unpinned(path: &Path, source: impl std::error::Error + Send + Sync + 'static) -> FenceError {
    FenceError::Pin {
        path: path.to_owned(),
        source: Box::new(source),
    }
}

fn refused(name: &str, source: ProgramError) -> LoadError {
    LoadError::Program {
        program: name.to_owned(),
        source: Box::new(source),
    }
}
