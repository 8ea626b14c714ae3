// SPDX-License-Identifier: Apache-2.0
//! `aivideo fx`: the effects of `fxfilter`, for people.

pub mod bench;
mod font;
mod gallery;
mod list;
mod soak;

use anyhow::Result;
use clap::{Args, Subcommand};

#[derive(Args)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists effects with their parameters, ranges and defaults
    List(list::Options),
    /// Draws a contact sheet of all effects on a clip
    Gallery(gallery::Options),
    /// Switches effects, parameters and formats at random while frames flow, and watches memory
    Soak(soak::Options),
}

pub fn run(options: &Options) -> Result<()> {
    match &options.command {
        Command::List(options) => list::run(options),
        Command::Gallery(options) => gallery::run(options),
        Command::Soak(options) => soak::run(options),
    }
}
