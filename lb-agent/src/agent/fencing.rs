//! The fence as the agent runs it: told by the elections, standing at every interface that could answer for an address.

use crate::{
    config::{Config, Fence},
    datapath::{
        fence::{FenceError, Fenced, Fences, Renewal},
        xdp::Pins,
    },
    network::{Link, Links},
    vrrp::{
        packet::Version,
        shell::{FenceSink, Herald},
    },
};
use lb_common::fence::Router;
use std::{
    collections::BTreeMap,
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The fence of all virtual routers.
#[derive(Clone, Debug)]
pub struct Fencing {
    fences: Arc<Mutex<Option<Fences>>>,
    /// Where adverts are written down: apart, because who sends them waits for nobody.
    renewal: Arc<Mutex<Option<Renewal>>>,
    /// Why it is not in force, or not everywhere.
    trouble: Arc<Mutex<Vec<String>>>,
}

impl Fencing {
    /// Loads it, where an instance of `config` wants it and the kernel can.
    pub fn open(config: &Config, pins: &Pins) -> Self {
        let fencing = Self {
            fences: Arc::default(),
            renewal: Arc::default(),
            trouble: Arc::default(),
        };
        fencing.ensure(config, pins);
        fencing
    }

    /// The same for another configuration, if it was not loaded before.
    pub fn ensure(&self, config: &Config, pins: &Pins) {
        let is_wanted = config.vrrp.iter().any(|vrrp| vrrp.fence != Fence::Off);
        let mut fences = self.fences();
        if !is_wanted || fences.is_some() {
            return;
        }
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match Fences::open(pins.clone()) {
            Ok(opened) => {
                let mut renewal = self.renewal.lock().unwrap_or_else(PoisonError::into_inner);
                *renewal = Some(opened.renewal());
                *fences = Some(opened);
                trouble.clear();
            }
            Err(error) => {
                let words = in_words(&error);
                tracing::error!(error = words, "virtual addresses are not fenced");
                *trouble = vec![words];
            }
        }
    }

    /// Where the elections tell what they do.
    pub fn sink(&self) -> FenceSink {
        let renewal = Arc::clone(&self.renewal);
        let fencing = self.clone();
        FenceSink::new(
            move |heralds| fencing.arm(heralds),
            move |number| {
                let renewal = renewal.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(renewal) = renewal.as_ref() {
                    renewal.renew(number);
                }
            },
        )
    }

    /// Stands at every interface that could answer.
    pub fn follow(&self, links: &Links) {
        let mut fences = self.fences();
        let Some(fences) = fences.as_mut() else {
            return;
        };
        let could_answer = |link: &&Link| {
            let master = link.master.and_then(|master| links.get(master));
            // What comes in by a port of a bridge or a bond is answered there.
            let is_port = master.is_some_and(|master| master.kind.as_deref() != Some("vrf"));
            link.mac.is_some() && !is_port
        };
        let stand_at: BTreeMap<u32, String> = links
            .iter()
            .filter(could_answer)
            .map(|link| (link.index, link.name.clone()))
            .collect();
        let refused = fences.attach(&stand_at).into_iter();
        let now: Vec<String> = refused
            .map(|(interface, error)| format!("not at {interface}: {}", in_words(&error)))
            .collect();
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if *trouble != now {
            for words in &now {
                tracing::error!("the fence of virtual addresses stands {words}");
            }
            *trouble = now;
        }
    }

    /// How the fence of the instance with this number stands, in words.
    pub fn describe(&self, number: u16, fence: Fence) -> String {
        if fence == Fence::Off {
            return "off".to_owned();
        }
        let fences = self.fences();
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(fences) = fences.as_ref() else {
            return format!("not in force: {}", trouble.join("; "));
        };
        let Some(state) = fences.state(number) else {
            return "not in force: not told of the instance".to_owned();
        };
        let mut words = match (state.is_closed, fence) {
            (true, Fence::Strict) => "strict, closed: this host sends no adverts",
            (false, Fence::Strict) => "strict, open",
            (true, Fence::Witness | Fence::Off) => {
                "witness, closed: this host sends no adverts and another router is heard"
            }
            (false, Fence::Witness | Fence::Off) => "witness, open",
        }
        .to_owned();
        if state.questions + state.answers > 0 {
            let (questions, answers) = (state.questions, state.answers);
            words += &format!("; {questions} questions and {answers} answers held back");
        }
        for part in trouble.iter() {
            words += "; ";
            words += part;
        }
        words
    }

    /// Opens all for good: the addresses have been given up.
    pub fn open_all(&self) {
        if let Some(fences) = self.fences().as_mut()
            && let Err(error) = fences.open_all()
        {
            tracing::error!(error = in_words(&error), "open the fence");
        }
    }

    fn arm(&self, heralds: &[Herald]) {
        let fenced: Vec<Fenced> = heralds.iter().filter_map(fenced).collect();
        if let Some(fences) = self.fences().as_mut()
            && let Err(error) = fences.fence(&fenced)
        {
            tracing::error!(error = in_words(&error), "fence the virtual addresses");
        }
    }

    fn fences(&self) -> MutexGuard<'_, Option<Fences>> {
        self.fences.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fenced(herald: &Herald) -> Option<Fenced> {
    let is_strict = match herald.fence {
        Fence::Off => return None,
        Fence::Witness => false,
        Fence::Strict => true,
    };
    let is_ipv6 = herald.source.is_ipv6();
    Some(Fenced {
        number: herald.number,
        router: Router {
            ifindex: herald.interface,
            id: herald.virtual_router_id,
            family: if is_ipv6 { 6 } else { 4 },
            pad: [0; 2],
        },
        version: match herald.version {
            Version::V2 => 2,
            Version::V3 => 3,
        },
        source: herald.source,
        peers: herald.peers.clone(),
        password: herald.password,
        addresses: herald.addresses.clone(),
        patience: herald.patience,
        is_strict,
    })
}

/// An error with its causes, but without the verifier's pages.
fn in_words(error: &FenceError) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        let first = text.split(". Verifier output").next().unwrap_or_default();
        words += &format!(": {first}");
        cause = error.source();
    }
    words
}
