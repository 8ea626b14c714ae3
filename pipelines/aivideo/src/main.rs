// SPDX-License-Identifier: Apache-2.0
//! `aivideo`: the demo, the shipped models and the speed of the elements, for people.

mod anchors;
mod autoedit;
mod bench;
mod codecs;
mod compare;
mod demo;
mod doctor;
mod enhance;
mod environment;
mod ffmpeg;
mod fx;
mod gstrun;
mod html;
mod hybrid;
mod interrupt;
mod loss;
mod models;
mod ours;
mod progress;
mod psnr;
mod rawclip;
mod rd;
mod search;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    version,
    about = "Command line of the gst-aivideo suite",
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sends a clip through the whole suite over UDP, and measures it against x265
    Demo(demo::Options),
    /// Rate and distortion of our codec and of others over folders of clips
    Rd(rd::Options),
    /// Two or more encodes of one clip side by side
    Compare(compare::Options),
    /// Lists the shipped models, or compares them with their manifests
    Models(models::Options),
    /// What of this machine the elements can use, what is missing, and what helps
    Doctor(doctor::Options),
    /// Speed of each element, and its overhead over the bare model call
    Bench(bench::Options),
    /// Sends clips over a lossy RTP path, and measures what is shown, beside H.264 and H.265
    Loss(loss::Options),
    /// Finds the scenes of a clip, and cuts it to those that are chosen
    Autoedit(autoedit::Options),
    /// Video effects: lists them, draws a gallery of them, switches them for hours
    Fx(fx::Options),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Rd(options) => rd::run(&options),
        Command::Compare(options) => compare::run(&options),
        Command::Models(options) => models::run(&options),
        Command::Doctor(options) => doctor::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Loss(options) => loss::run(&options),
        Command::Autoedit(options) => autoedit::run(&options),
        Command::Fx(options) => fx::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("aivideo: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
