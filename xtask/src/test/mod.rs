//! `cargo xtask test [unit|packet|lab|vm]`: the tests, layer by layer, and one closing line that counts them.
//!
//! `layer` says what each layer is, `runner` runs it, `tally` reads libtest's results, `skips` knows which tests may be skipped.

mod layer;
mod runner;
mod skips;
mod tally;

use std::time::Instant;

use anyhow::bail;

use crate::say::say;
use crate::setup;
use layer::{Build, Layer};
use skips::Allowed;
use tally::Tally;

/// Run the tests.
#[derive(clap::Args)]
pub struct Args {
    /// The layers to run; all of them by default.
    #[arg(value_enum)]
    layers: Vec<Layer>,
}

/// Runs the verb.
pub fn run(args: Args) -> anyhow::Result<()> {
    let layers = if args.layers.is_empty() {
        Layer::ALL.to_vec()
    } else {
        args.layers
    };
    for layer in &layers {
        if let Some(why) = layer.why_root() {
            setup::need_root(why)?;
        }
    }
    let needs: Vec<_> = layers
        .iter()
        .flat_map(|layer| layer.needs())
        .copied()
        .collect();
    setup::ensure(&needs)?;

    let allowed = Allowed::read()?;
    let build = Build::survey()?;
    let mut total = Tally::default();
    let mut summary = Vec::new();
    for layer in layers {
        say!("== {layer}: {}", layer.about());
        let started = Instant::now();
        let tally = layer.run(&build, &allowed)?;
        summary.push(format!(
            "{layer}, {:.0} s: {tally}",
            started.elapsed().as_secs_f64()
        ));
        total.add(tally);
    }
    say!("");
    for line in summary {
        say!("{line}");
    }
    say!("{total}");
    if total.failed > 0 {
        bail!(
            "{} failed: the lines above say which",
            if total.failed == 1 {
                "a test".into()
            } else {
                format!("{} tests", total.failed)
            }
        );
    }
    Ok(())
}
