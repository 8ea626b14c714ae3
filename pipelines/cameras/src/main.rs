// SPDX-License-Identifier: Apache-2.0
//! `aivideo-cameras`: H.264 cameras over RTSP without hardware, any pipeline as an RTSP stream, and
//! the soak of the classifier with cameras that come and go.

mod serve;
mod soak;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    version,
    about = "RTSP cameras for tests, and the classifier's soak",
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves cameras at rtsp://…/camera0, /camera1 …, or pipelines of your own
    Serve(serve::Options),
    /// Classifies streams whose cameras drop and return, and looks for what hangs or leaks
    Soak(soak::Options),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(options) => serve::run(&options),
        Command::Soak(options) => soak::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("aivideo-cameras: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
