//! `lb-agent check-now`: the checks of one real server, made once, step by step before the operator's eyes.
//!
//! Made by this process, from the configuration: it needs no running agent, and changes nothing about one.

use super::output;
use crate::{
    agent::Pool,
    config::Config,
    health::{
        Outcome,
        deadline::{Deadline, Step, Steps},
    },
    script::Runner,
};
use anyhow::{Context as _, bail};
use std::{process::ExitCode, sync::PoisonError, time::Instant};

/// Makes them. Fails where one does not pass.
pub fn run(config: &Config, service: &str, real_server: &str) -> anyhow::Result<ExitCode> {
    let runner = Runner::default();
    let pool = Pool::new(config, &runner)?;
    let known: Vec<&str> = pool
        .services()
        .iter()
        .map(|known| known.name.as_str())
        .collect();
    let found = pool.services().iter().find(|known| known.name == service);
    let found = found.with_context(|| {
        format!(
            "there is no service `{service}`; there are: {}",
            known.join(", ")
        )
    })?;
    let known: Vec<String> = found
        .real_servers
        .iter()
        .map(|known| known.display_address())
        .collect();
    let found = found
        .real_servers
        .iter()
        .find(|known| known.display_address() == real_server);
    let found = found.with_context(|| {
        format!(
            "service `{service}` has no real server {real_server}; it has: {}",
            known.join(", ")
        )
    })?;
    let Some(target) = &found.target else {
        bail!("{real_server} of service `{service}` has no check: it is always up");
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let steps = Steps::default();
    let (outcome, took) = runtime.block_on(async {
        let start = Instant::now();
        let deadline = Deadline::watched(target.spec.timing.timeout, &steps);
        let outcome = target.spec.probe.run_until(&deadline).await;
        let took = start.elapsed();
        runner.finish().await;
        (outcome, took)
    });
    let mut lines = steps.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (what, status) = match outcome {
        Outcome::Passed => ("passed".to_owned(), ExitCode::SUCCESS),
        Outcome::Weighed(weight) => {
            let what = format!("passed, the weight found is {weight}");
            (what, ExitCode::SUCCESS)
        }
        Outcome::Failed(reason) => (format!("failed: {reason}"), ExitCode::FAILURE),
        Outcome::Inconclusive(reason) => {
            let what = format!("could not be made: {reason}");
            (what, ExitCode::FAILURE)
        }
    };
    lines.push(Step { after: took, what });
    for Step { after, what } in lines {
        let ms = after.as_secs_f64() * 1000.0;
        output::say(&format_args!("{ms:9.1} ms  {what}\n"))?;
    }
    Ok(status)
}
