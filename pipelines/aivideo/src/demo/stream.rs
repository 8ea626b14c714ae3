// SPDX-License-Identifier: Apache-2.0
//! The main job over UDP: two real gst-launch-1.0 processes, a receiver and a sender.
//!
//! UDP has no end of stream. The receiver's `udpsrc timeout=` posts a message when no packet came
//! for two seconds; once the sender has ended and that message follows, the receiver is sent an
//! interrupt, which `-e` turns into an end of stream: everything queued is still processed, in
//! order, and the MP4 is completed.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use aivideo_core::meta::ClassificationResult;
use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;

use super::lines::{self, Link};

/// Loading the models must not take longer.
const START_LIMIT: Duration = Duration::from_secs(120);
/// Neither the sender nor the receiver may be without progress for so long.
const STALL_LIMIT: Duration = Duration::from_secs(120);

pub struct Streamed {
    /// One result a clip of frames, in order.
    pub classifications: Vec<ClassificationResult>,
    /// Datagrams the kernel threw away because the receiver's socket buffer was full.
    pub kernel_drops: u64,
    /// Warnings that the two processes printed.
    pub warnings: Vec<String>,
    pub seconds: f64,
}

/// A line that one of the processes printed.
type Event = (Side, String);

#[derive(Clone, Copy, PartialEq, Debug)]
enum Side {
    Sender,
    Receiver,
}

/// A gst-launch-1.0 that is killed when it is forgotten, so that no error leaves one behind.
struct Launched {
    side: Side,
    child: Child,
    log: Vec<String>,
}

impl Drop for Launched {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // It may have ended in between; there is nothing else to do about a failure here.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Launched {
    fn start(side: Side, args: &[String], events: &Sender<Event>) -> Result<Self> {
        let mut child = Command::new("gst-launch-1.0")
            .args(args)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start gst-launch-1.0 (package gstreamer1.0-tools; `make bootstrap` installs it)")?;
        let out = child.stdout.take().context("no standard output")?;
        let err = child.stderr.take().context("no standard error")?;
        forward(side, out, events.clone());
        forward(side, err, events.clone());
        Ok(Self {
            side,
            child,
            log: Vec::new(),
        })
    }

    fn interrupt(&self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT)
            .context("cannot interrupt the receiver")
    }

    /// What went wrong, from the process's own words.
    fn failure(&self, status: ExitStatus) -> anyhow::Error {
        let told: Vec<&str> = self
            .log
            .iter()
            .enumerate()
            .filter(|(_, line)| {
                line.starts_with("ERROR:") || line.starts_with("WARNING: erroneous")
            })
            .flat_map(|(i, line)| {
                // "Additional debug info:", the place in the source, then what it means.
                let detail = self
                    .log
                    .get(i + 3)
                    .map(String::as_str)
                    .filter(|d| !d.ends_with(':'));
                [Some(line.as_str()), detail]
            })
            .flatten()
            .collect();
        let told = if told.is_empty() {
            self.log
                .iter()
                .rev()
                .take(5)
                .rev()
                .map(String::as_str)
                .collect()
        } else {
            told
        };
        anyhow::anyhow!(
            "the {:?} ended with {status}:\n  {}",
            self.side,
            told.join("\n  ")
        )
    }
}

fn forward(side: Side, stream: impl Read + Send + 'static, events: Sender<Event>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if events.send((side, line)).is_err() {
                return; // nobody listens any more
            }
        }
    });
}

struct Running {
    receiver: Launched,
    sender: Option<Launched>,
    events: Receiver<Event>,
    silent: bool,
    playing: bool,
    classifications: Vec<ClassificationResult>,
    warnings: Vec<String>,
}

impl Running {
    /// Takes in what the processes print during up to 100 ms.
    fn listen(&mut self) {
        let (side, line) = match self.events.recv_timeout(Duration::from_millis(100)) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => return,
            // Every reader has ended: the caller sees the processes' exit.
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(Duration::from_millis(100));
                return;
            }
        };
        if line.starts_with("WARNING:") {
            self.warnings.push(format!("{side:?}: {line}"));
        }
        match side {
            Side::Sender => {
                if let Some(sender) = &mut self.sender {
                    sender.log.push(line);
                }
            }
            Side::Receiver => {
                if line.contains("GstUDPSrcTimeout") {
                    self.silent = true;
                } else if line.starts_with("Setting pipeline to PLAYING") {
                    self.playing = true;
                } else if let Some(result) = parse_classification(&line) {
                    self.classifications.push(result);
                }
                self.receiver.log.push(line);
            }
        }
    }

    /// The receiver must not end before it is told to.
    fn receiver_lives(&mut self) -> Result<()> {
        if let Some(status) = self.receiver.child.try_wait()? {
            self.drain();
            return Err(self.receiver.failure(status));
        }
        Ok(())
    }

    fn drain(&mut self) {
        let until = Instant::now() + Duration::from_millis(500);
        while Instant::now() < until {
            self.listen();
        }
    }
}

/// The classification in a line of `gst-launch-1.0 -m`, if it holds one: a structure follows the
/// word (element) and a colon.
fn parse_classification(line: &str) -> Option<ClassificationResult> {
    let (_, text) = line.split_once("(element): ")?;
    if !text.contains("scores=") {
        return None;
    }
    let structure = gst::Structure::from_str(text.trim()).ok()?;
    ClassificationResult::from_structure(&structure)
}

/// Runs receiver and sender to the end; `link.output` is then a complete MP4.
pub fn run(link: &Link, bar: &ProgressBar) -> Result<Streamed> {
    let (events_in, events) = channel();
    let started = Instant::now();

    bar.set_message("the receiver loads its models");
    let receiver = Launched::start(Side::Receiver, &lines::receiver(link), &events_in)?;
    let mut state = Running {
        receiver,
        sender: None,
        events,
        silent: false,
        playing: false,
        classifications: Vec::new(),
        warnings: Vec::new(),
    };
    while !(state.playing && port_is_bound(link.port)) {
        state.listen();
        state.receiver_lives()?;
        if started.elapsed() > START_LIMIT {
            bail!(
                "the receiver was not ready after {} s",
                START_LIMIT.as_secs()
            );
        }
    }

    bar.set_message("sending");
    state.sender = Some(Launched::start(
        Side::Sender,
        &lines::sender(link),
        &events_in,
    )?);
    let mut stall = Stall::new(link.output);
    let mut drops = 0;
    loop {
        state.listen();
        state.receiver_lives()?;
        drops = kernel_drops(link.port).unwrap_or(drops);
        let Some(sender) = &mut state.sender else {
            break;
        };
        if let Some(status) = sender.child.try_wait()? {
            state.drain();
            if let Some(sender) = state.sender.take()
                && !status.success()
            {
                return Err(sender.failure(status));
            }
            break;
        }
        bar.set_message(format!("sending, MP4 {} kB", stall.grown()? / 1000));
    }

    // A silence before this moment was the sender thinking; from here on it is the end.
    state.silent = false;
    let sent = Instant::now();
    while !state.silent {
        state.listen();
        state.receiver_lives()?;
        drops = kernel_drops(link.port).unwrap_or(drops);
        if sent.elapsed() > Duration::from_secs(30) {
            bail!(
                "packets still come to port {} although the sender has ended: is another one running?",
                link.port
            );
        }
    }
    state.receiver.interrupt()?;
    let status = loop {
        state.listen();
        bar.set_message(format!(
            "the receiver finishes, MP4 {} kB",
            stall.grown()? / 1000
        ));
        if let Some(status) = state.receiver.child.try_wait()? {
            break status;
        }
    };
    state.drain();
    if !status.success() {
        return Err(state.receiver.failure(status));
    }
    Ok(Streamed {
        classifications: state.classifications,
        kernel_drops: drops,
        warnings: state.warnings,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Watches that the output keeps growing.
struct Stall<'a> {
    path: &'a Path,
    size: u64,
    since: Instant,
}

impl<'a> Stall<'a> {
    fn new(path: &'a Path) -> Self {
        Self {
            path,
            size: 0,
            since: Instant::now(),
        }
    }

    fn grown(&mut self) -> Result<u64> {
        let size = std::fs::metadata(self.path).map(|m| m.len()).unwrap_or(0);
        if size != self.size {
            self.size = size;
            self.since = Instant::now();
        } else if self.since.elapsed() > STALL_LIMIT {
            bail!(
                "nothing was written to {} for {} s",
                self.path.display(),
                STALL_LIMIT.as_secs()
            );
        }
        Ok(size)
    }
}

/// The last column of the port's line in /proc/net/udp: datagrams dropped at the socket.
fn kernel_drops(port: u16) -> Option<u64> {
    ["/proc/net/udp", "/proc/net/udp6"]
        .iter()
        .filter_map(|table| drops_in(&std::fs::read_to_string(table).ok()?, port))
        .reduce(|a, b| a + b)
}

fn drops_in(table: &str, port: u16) -> Option<u64> {
    let suffix = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .filter(|line| {
            line.split_whitespace()
                .nth(1)
                .is_some_and(|local| local.ends_with(&suffix))
        })
        .filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok())
        .reduce(|a, b| a + b)
}

fn port_is_bound(port: u16) -> bool {
    kernel_drops(port).is_some()
}

/// The wanted port, or any free one when something else has it.
pub fn free_port(wanted: u16) -> Result<u16> {
    use std::net::UdpSocket;
    let socket = UdpSocket::bind(("0.0.0.0", wanted))
        .or_else(|_| UdpSocket::bind(("0.0.0.0", 0)))
        .context("no UDP port can be opened")?;
    Ok(socket.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_drops_of_one_port() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
             11: 0100007F:138C 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 123 2 0000000000000000 42\n\
             12: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 124 2 0000000000000000 7\n";
        assert_eq!(drops_in(table, 5004), Some(42));
        assert_eq!(drops_in(table, 5005), None);
    }

    #[test]
    fn reads_the_classifier_in_the_words_of_gst_launch() {
        gst::init().unwrap();
        let said = ClassificationResult {
            model: "m".into(),
            clip_start: 0,
            clip_end: 640_000_000,
            labels: vec!["pan left".into(), "static".into()],
            scores: vec![0.75, 0.25],
        };
        let line = format!(
            "Got message #52 from element \"vjepa2classify0\" (element): {}",
            said.to_message_structure()
        );
        assert_eq!(parse_classification(&line).unwrap(), said);
    }

    #[test]
    fn a_bound_port_is_seen_and_not_chosen() {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(port_is_bound(port));
        assert_ne!(free_port(port).unwrap(), port);
    }
}
