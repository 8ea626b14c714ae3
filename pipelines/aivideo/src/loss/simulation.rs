// SPDX-License-Identifier: Apache-2.0
//! One run: frames into an encoder, packets over the path, frames out of a decoder.

use super::Options;
use super::clip::{Clip, luma};
use super::codecs::{BETWEEN_REQUESTS, Codec};
use super::dropper::{Dropper, Kind, Random};
use super::judge::judge;
use super::lines::{Collector, Line, Receiver, lock, receiver_line};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context, Result};
use gst::prelude::*;
use serde::Serialize;

/// The figures of one run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Run {
    pub(super) clip: String,
    pub(super) codec: &'static str,
    pub(super) kind: Kind,
    /// Percent asked for, and lost in fact.
    pub(super) loss: f64,
    pub(super) lost: f64,
    pub(super) kbits: f64,
    pub(super) packets: u64,
    /// Mean of the frames' Y-PSNR, of what is shown.
    pub(super) psnr_y: f64,
    /// The same without any loss, at the same time.
    pub(super) psnr_y_sent: f64,
    /// Seconds in which no new picture was shown, in all and at a time.
    pub(super) frozen: f64,
    pub(super) longest_freeze: f64,
    /// Part of the time in which the picture was not as sent, in percent.
    pub(super) damaged: f64,
    /// Seconds from a loss in the picture until it is as sent.
    pub(super) recovery_mean: f64,
    pub(super) recovery_max: f64,
    pub(super) episodes: u64,
    pub(super) requests: u64,
    pub(super) key_frames: u64,
    pub(super) recovery_frames: u64,
    pub(super) recovery_frame_bytes: f64,
    pub(super) key_frame_bytes: f64,
    pub(super) seconds: f64,
}

pub(super) struct Channel {
    pub(super) kind: Kind,
    pub(super) loss: f64,
}

pub(super) fn index(buffer: &gst::Buffer, clip: &Clip) -> Option<usize> {
    let pts = buffer.pts()?.nseconds();
    let frame = clip.frame.nseconds();
    usize::try_from((pts + frame / 2) / frame).ok()
}

/// A request as RTCP would bring it.
pub(super) fn bare(event: &gst::Event) -> gst::Event {
    let request = gst_video::UpstreamForceKeyUnitEvent::parse(event);
    gst_video::UpstreamForceKeyUnitEvent::builder()
        .all_headers(request.is_ok_and(|r| r.all_headers))
        .build()
}

/// What passes an encoder's source pad: key and recovery frames, and their bytes.
#[derive(Default)]
pub(super) struct Counted {
    pub(super) keys: u64,
    pub(super) key_bytes: u64,
    pub(super) recoveries: u64,
    pub(super) recovery_bytes: u64,
}

pub(super) fn count_frames(sender: &Line) -> Result<Arc<Mutex<Counted>>> {
    let counted: Arc<Mutex<Counted>> = Arc::default();
    let encoder = sender.bin.by_name("encoder").context("no encoder")?;
    let ours = encoder.factory().is_some_and(|f| f.name() == "aicodecenc");
    let into = Arc::clone(&counted);
    let pad = encoder.static_pad("src").context("no pad")?;
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(buffer) = info.buffer() {
            let size = buffer.size() as u64;
            let mut counted = lock(&into);
            // The second byte of an access unit has its type (docs/bitstream.md).
            let mut head = [0; 2];
            let kind = (ours && buffer.copy_to_slice(0, &mut head).is_ok()).then_some(head[1] & 3);
            if !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT) {
                counted.keys += 1;
                counted.key_bytes += size;
            } else if kind == Some(3) {
                counted.recoveries += 1;
                counted.recovery_bytes += size;
            }
        }
        gst::PadProbeReturn::Ok
    });
    Ok(counted)
}

pub(super) fn simulate(
    codec: &Codec,
    knob: u32,
    clip: &Clip,
    path: &Channel,
    options: &Options,
) -> Result<Run> {
    let started = Instant::now();
    let sender = Line::new(&(codec.send)(knob))?;
    let counted = count_frames(&sender)?;
    let clean = Line::new(&receiver_line(codec))?;
    let lossy = match path.kind {
        Kind::None => None,
        _ => Some(Receiver::new(codec, options.latency)?),
    };
    let rate = path.loss / 100.0;
    let mut dropper = Dropper::new(options.seed, path.kind, rate, options.burst);
    let mut feedback = Random(options.seed ^ 0xfeed);
    let caps = gst::Caps::builder("application/x-rtp")
        .field("media", "video")
        .field("clock-rate", 90_000)
        .field("encoding-name", codec.encoding)
        .field("payload", 96)
        .build();
    sender.input.begin(&clip.info.to_caps()?);
    clean.input.begin(&caps);
    if let Some(lossy) = &lossy {
        lossy.input.begin(&caps);
    }
    let count = clip.buffers.len();
    let mut sent: Vec<Option<Vec<u8>>> = vec![None; count];
    let mut shown: Vec<Option<Vec<u8>>> = vec![None; count];
    let (mut bytes, mut packets, mut lost, mut requests) = (0u64, 0u64, 0u64, 0u64);
    // Requests on their way, and when they arrive.
    let mut under_way: Vec<(gst::ClockTime, gst::Event)> = Vec::new();
    let (mut waiting, mut asked): (bool, Option<gst::ClockTime>) = (false, None);
    let tail = (u64::from(options.latency) * 1_000_000).div_ceil(clip.frame.nseconds()) + 2;
    for i in 0..count + tail as usize {
        let now = clip.frame * i as u64;
        let (due, rest) = under_way.into_iter().partition(|(at, _)| *at <= now);
        under_way = rest;
        for (_, event) in due {
            sender.output.pad.push_event(event);
        }
        if let Some(buffer) = clip.buffers.get(i) {
            let mut buffer = buffer.clone();
            let inner = buffer.make_mut();
            inner.set_pts(now);
            inner.set_dts(gst::ClockTime::NONE);
            inner.set_duration(clip.frame);
            sender.push(buffer)?;
        } else if i == count {
            // What an encoder holds back.
            sender.input.pad.push_event(gst::event::Eos::new());
        }
        for mut packet in sender.output.take() {
            packets += 1;
            bytes += packet.size() as u64;
            let inner = packet.make_mut();
            inner.set_pts(now);
            inner.set_dts(now);
            clean.push(packet.clone())?;
            if dropper.drops() {
                lost += 1;
            } else if let Some(lossy) = &lossy {
                let _ = lossy.input.pad.push(packet);
            }
        }
        collect(&clean.output, clip, &mut sent)?;
        let Some(lossy) = &lossy else { continue };
        lossy.advance(now + clip.frame - gst::ClockTime::from_nseconds(1));
        collect(&lossy.line.output, clip, &mut shown)?;
        if !codec.asks {
            // The receiving application asks, as it would for any codec.
            waiting &= !lossy.key.swap(false, Ordering::SeqCst);
            waiting |= lossy.lost.swap(false, Ordering::SeqCst);
            if waiting && asked.is_none_or(|at| now >= at + BETWEEN_REQUESTS) {
                asked = Some(now);
                let event = gst_video::UpstreamForceKeyUnitEvent::builder()
                    .all_headers(true)
                    .build();
                lock(&lossy.line.input.requests).push(event);
            }
        }
        for event in lock(&lossy.line.input.requests).drain(..) {
            requests += 1;
            // What carries requests loses packets as well.
            if feedback.next() >= rate {
                let event = if options.full_reports {
                    event
                } else {
                    bare(&event)
                };
                let way = gst::ClockTime::from_mseconds(options.rtt);
                under_way.push((now + clip.frame + way, event));
            }
        }
    }
    clean.input.pad.push_event(gst::event::Eos::new());
    collect(&clean.output, clip, &mut sent)?;
    if let Some(lossy) = &lossy {
        lossy.input.pad.push_event(gst::event::Eos::new());
        lossy.settle();
        collect(&lossy.line.output, clip, &mut shown)?;
    }
    if path.kind == Kind::None {
        shown.clone_from(&sent);
    }
    let counted = lock(&counted);
    let second = clip.frame.seconds_f64();
    let judged = judge(clip, &sent, &shown);
    let mean = |sum: u64, count: u64| sum as f64 / count.max(1) as f64;
    Ok(Run {
        clip: clip.name.clone(),
        codec: codec.name,
        kind: path.kind,
        loss: path.loss,
        lost: 100.0 * mean(lost, packets),
        kbits: 8.0 * bytes as f64 / (count as f64 * second) / 1000.0,
        packets,
        psnr_y: judged.psnr,
        psnr_y_sent: judged.psnr_sent,
        frozen: judged.frozen as f64 * second,
        longest_freeze: judged.longest_freeze as f64 * second,
        damaged: 100.0 * judged.episodes.iter().sum::<usize>() as f64 / count as f64,
        recovery_mean: second
            * mean(
                judged.episodes.iter().map(|e| *e as u64).sum(),
                judged.episodes.len() as u64,
            ),
        recovery_max: second * judged.episodes.iter().copied().max().unwrap_or(0) as f64,
        episodes: judged.episodes.len() as u64,
        requests,
        key_frames: counted.keys,
        recovery_frames: counted.recoveries,
        recovery_frame_bytes: mean(counted.recovery_bytes, counted.recoveries),
        key_frame_bytes: mean(counted.key_bytes, counted.keys),
        seconds: started.elapsed().as_secs_f64(),
    })
}

pub(super) fn collect(from: &Collector, clip: &Clip, into: &mut [Option<Vec<u8>>]) -> Result<()> {
    for buffer in from.take() {
        if let Some(place) = index(&buffer, clip).and_then(|i| into.get_mut(i)) {
            *place = Some(luma(&buffer, &clip.info)?);
        }
    }
    Ok(())
}

/// The knob that gives about the wanted bit rate without loss.
pub(super) fn calibrate(codec: &Codec, clip: &Clip, options: &Options) -> Result<u32> {
    let measure = |knob: u32| -> Result<f64> {
        let sender = Line::new(&(codec.send)(knob))?;
        sender.input.begin(&clip.info.to_caps()?);
        let mut bytes = 0;
        for (i, buffer) in clip.buffers.iter().enumerate() {
            let mut buffer = buffer.clone();
            let inner = buffer.make_mut();
            inner.set_pts(clip.frame * i as u64);
            inner.set_duration(clip.frame);
            sender.push(buffer)?;
            bytes += sender.output.take().iter().map(|p| p.size()).sum::<usize>();
        }
        let seconds = clip.frame.seconds_f64() * clip.buffers.len() as f64;
        Ok(8.0 * bytes as f64 / seconds / 1000.0)
    };
    let target = f64::from(options.bitrate);
    let mut knob = target;
    for _ in 0..3 {
        let got = measure(knob as u32)?;
        if (got / target - 1.0).abs() < 0.02 {
            break;
        }
        knob = (knob * target / got).clamp(target / 4.0, target * 4.0);
    }
    Ok(knob as u32)
}
