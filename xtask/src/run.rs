//! stub
/// Arguments.
#[derive(clap::Args)]
pub struct Args {}
/// Runs the verb.
pub fn run(_args: Args) -> anyhow::Result<()> {
    Ok(())
}
