// SPDX-License-Identifier: Apache-2.0
//! A camera that can vanish.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::Options;

enum State {
    Up(Instant),
    /// Killed; starts again.
    Gone(Instant),
    /// Stopped with its connections open; goes on.
    Frozen(Instant),
}

pub struct Camera {
    child: Child,
    arguments: Vec<String>,
    url: String,
    state: State,
    drops: usize,
    freezes: usize,
}

/// Decodes the clip once for all cameras.
pub fn prepare(clip: &Path, folder: &Path, options: &Options) -> Result<PathBuf> {
    let folder = folder.join("pictures");
    let status = program()?
        .args([
            "serve",
            "--size",
            &options.size,
            "--fps",
            &options.fps.to_string(),
        ])
        .args(["--clip".as_ref(), clip.as_os_str()])
        .args(["--prepare".as_ref(), folder.as_os_str()])
        .stdout(Stdio::null())
        .status()
        .context("cannot start this program again")?;
    if !status.success() {
        bail!("the clip cannot be used");
    }
    Ok(folder)
}

fn program() -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("this program's own path")?);
    command.env_remove("GST_TRACERS").stdin(Stdio::null());
    Ok(command)
}

impl Camera {
    pub fn start(number: u32, pictures: Option<&Path>, options: &Options) -> Result<Self> {
        // A port that it can have again after each return.
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .context("no free port")?
            .port();
        let mut arguments: Vec<String> = ["serve", "--count", "1", "--size", &options.size]
            .map(String::from)
            .to_vec();
        for (name, value) in [
            ("--port", u32::from(port)),
            ("--first", number),
            ("--fps", options.fps),
        ] {
            arguments.extend([name.to_string(), value.to_string()]);
        }
        if let Some(pictures) = pictures {
            let place = pictures.to_str().context("an odd temporary directory")?;
            arguments.extend(["--clip".to_string(), place.to_string()]);
        }
        Ok(Self {
            child: launch(&arguments)?,
            arguments,
            url: format!("rtsp://127.0.0.1:{port}/camera{number}"),
            state: State::Up(Instant::now()),
            drops: 0,
            freezes: 0,
        })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn is_up(&self) -> bool {
        self.up_since().is_some()
    }

    pub fn up_since(&self) -> Option<Instant> {
        match self.state {
            State::Up(since) => Some(since),
            _ => None,
        }
    }

    pub fn drops(&self) -> usize {
        self.drops
    }

    pub fn freezes(&self) -> usize {
        self.freezes
    }

    pub fn drop_for(&mut self, time: Duration, freeze: bool) -> Result<()> {
        let back = Instant::now() + time;
        if freeze {
            self.signal(Signal::STOP)?;
            self.freezes += 1;
            self.state = State::Frozen(back);
        } else {
            self.child.kill().context("a camera cannot be killed")?;
            self.child.wait().context("a camera does not end")?;
            self.drops += 1;
            self.state = State::Gone(back);
        }
        Ok(())
    }

    pub fn return_when_due(&mut self) -> Result<()> {
        let now = Instant::now();
        match self.state {
            State::Gone(back) if now >= back => self.child = launch(&self.arguments)?,
            State::Frozen(back) if now >= back => self.signal(Signal::CONT)?,
            State::Up(_) => {
                if let Some(status) = self.child.try_wait().context("a camera is lost")? {
                    bail!("the camera {} ended by itself: {status}", self.url);
                }
                return Ok(());
            }
            _ => return Ok(()),
        }
        self.state = State::Up(Instant::now());
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.context("an odd process number")?;
        kill_process(pid, signal).context("a camera cannot be signalled")
    }
}

/// Starts the process and waits until it listens.
fn launch(arguments: &[String]) -> Result<Child> {
    let mut child = program()?
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start this program again")?;
    let output = child.stdout.take().context("no output of the camera")?;
    let mut line = String::new();
    BufReader::new(output)
        .read_line(&mut line)
        .context("no word of the camera")?;
    if !line.starts_with("rtsp://") {
        let _ = child.kill();
        let _ = child.wait();
        bail!("a camera does not start: {}", line.trim());
    }
    Ok(child)
}

impl Drop for Camera {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
