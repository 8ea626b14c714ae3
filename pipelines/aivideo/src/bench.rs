// SPDX-License-Identifier: Apache-2.0
use anyhow::Result;
use clap::Args;

#[derive(Args)]
pub struct Options {
    /// Write the figures to this JSON file too
    #[arg(long)]
    json: Option<std::path::PathBuf>,
}

pub fn run(_options: &Options) -> Result<()> {
    anyhow::bail!("bench is not here yet")
}
