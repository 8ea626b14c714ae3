// SPDX-License-Identifier: Apache-2.0
//! Stabilisation beside vid.stab (in ffmpeg) on clips that are shaken by a known amount.
//!
//! Two figures, both on the middle 80 % of each picture, so that borders do not count: the mean
//! PSNR between one picture and the next (ITF, the field's usual figure), and the jitter that is
//! left: the mean length, in pixels, of the change of the camera's motion from one picture to the
//! next.

use std::path::{Path, PathBuf};

use aivideo_core::pixels::PlaneRef;
use aivideo_enhance::stabilize::MotionFinder;
use anyhow::{Context, Result};

use super::{Bench, Figures, Gate, Table, name_of};
use crate::ffmpeg::words;
use crate::gstrun;
use crate::rawclip::RawClip;

const CLIPS: &[&str] = &[
    "val/video/sam2__01_dog.mp4",
    "val/video/pexels-cottonbro-studio-6649832-960x506-25fps.mp4",
    "val/video/flutter__videos__bee.mp4",
];
const SIZE: (u32, u32) = (640, 360);
const FRAMES: u64 = 120;
/// What is cut off at each side.
const MARGIN: f64 = 0.1;

struct Quality {
    itf: f64,
    jitter: f64,
}

pub fn run(bench: &Bench) -> Result<Figures> {
    let mut rows = Vec::new();
    let mut sums = [[0.0_f64; 2]; 4];
    let (mut ours_fps, mut peer_fps) = (Vec::new(), Vec::new());
    for path in CLIPS {
        let source = bench.media(path)?;
        let shaken = shake(bench, &source)?;
        let steady = bench.folder.join("stabilized.i420");
        let timing = gstrun::run_to_file(
            &format!(
                "{} ! aienhance name=measured operations=\"stabilize:look-ahead=15\" ! fakesink name=frames",
                shaken.gst_source()
            ),
            "measured",
            &steady,
            |_| (),
        )?;
        ours_fps.push(timing.fps());
        let live = bench.folder.join("stabilized-live.i420");
        gstrun::run_to_file(
            &format!(
                "{} ! aienhance name=measured operations=\"stabilize:look-ahead=0\" ! fakesink name=frames",
                shaken.gst_source()
            ),
            "measured",
            &live,
            |_| (),
        )?;
        let (peer, fps) = vidstab(bench, &shaken)?;
        peer_fps.push(fps);
        let mut row = vec![name_of(&source)];
        for (n, raw) in [&shaken.path, &peer, &steady, &live]
            .into_iter()
            .enumerate()
        {
            let quality = measure(&RawClip {
                path: raw.clone(),
                ..shaken.clone()
            })?;
            sums[n][0] += quality.itf / CLIPS.len() as f64;
            sums[n][1] += quality.jitter / CLIPS.len() as f64;
            row.push(format!("{:.2} / {:.2}", quality.itf, quality.jitter));
        }
        rows.push(row);
    }
    let mut row = vec!["mean".to_owned()];
    row.extend(
        sums.iter()
            .map(|[itf, jitter]| format!("**{itf:.2} / {jitter:.2}**")),
    );
    rows.push(row);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    rows.push(vec![
        "frames a second".into(),
        String::new(),
        format!("{:.0}", mean(&peer_fps)),
        format!("{:.0}", mean(&ours_fps)),
        String::new(),
    ]);
    Ok(Figures {
        tables: vec![Table {
            title: "Stabilisation: ITF in dB / jitter in pixels".into(),
            conditions: format!(
                "clips of val/ at {}x{}, first {FRAMES} frames, shifted and turned at random (deviation 4 pixels, 0.4 degrees; the same each run); vid.stab: shakiness=8, smoothing=15, two passes over the whole file; speeds: ours in a pipeline, vid.stab both passes of ffmpeg",
                SIZE.0, SIZE.1
            ),
            columns: [
                "clip",
                "shaken",
                "vid.stab",
                "stabilize, 15 ahead",
                "stabilize, none ahead",
            ]
            .map(String::from)
            .to_vec(),
            rows,
        }],
        gates: vec![Gate {
            what: "stabilisation: residual jitter".into(),
            value: format!(
                "{:.2} px, vid.stab {:.2} px, shaken {:.2} px",
                sums[2][1], sums[1][1], sums[0][1]
            ),
            wanted: "at most vid.stab's".into(),
            met: sums[2][1] <= sums[1][1],
        }],
    })
}

/// The clip as a shaky hand would have filmed it: a window of a larger picture that moves about.
fn shake(bench: &Bench, source: &Path) -> Result<RawClip> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = || {
        // The sum of twelve uniform numbers is near enough to a Gaussian.
        (0..12)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 11) as f64 / (1_u64 << 53) as f64
            })
            .sum::<f64>()
            - 6.0
    };
    let (w, h) = SIZE;
    let path = bench.folder.join("shaken.i420");
    let clip = RawClip {
        path: path.clone(),
        width: w,
        height: h,
        fps: (25, 1),
        frames: FRAMES,
    };
    // Each frame has its own place and angle, so each has its own line of commands.
    let (big_w, big_h) = (w + w / 8, h + h / 8);
    let commands = bench.folder.join("shake.txt");
    let mut text = String::new();
    for n in 0..FRAMES {
        let (x, y, angle) = (
            random() * 4.0,
            random() * 4.0,
            random() * 0.4_f64.to_radians(),
        );
        let time = n as f64 / 25.0;
        text.push_str(&format!(
            "{time:.4} rotate angle {angle:.6}, crop x {:.2}, crop y {:.2};\n",
            f64::from(big_w - w) / 2.0 + x,
            f64::from(big_h - h) / 2.0 + y
        ));
    }
    std::fs::write(&commands, text)?;
    let mut args = vec!["-i".into(), source.display().to_string()];
    args.extend([
        "-vf".into(),
        format!(
            "setpts=N/25/TB,scale={big_w}:{big_h}:flags=lanczos,sendcmd=f={},rotate=0:bilinear=1,crop={w}:{h},format=yuv420p",
            commands.display()
        ),
    ]);
    args.extend(words(&format!("-an -r 25 -frames:v {FRAMES} -f rawvideo")));
    args.push(path.display().to_string());
    bench.ffmpeg.run(&args)?;
    let frames = clip.count()?;
    Ok(RawClip { frames, ..clip })
}

fn vidstab(bench: &Bench, clip: &RawClip) -> Result<(PathBuf, f64)> {
    let transforms = bench.folder.join("vidstab.trf");
    let out = bench.folder.join("vidstab.i420");
    let mut seconds = 0.0;
    for (filter, target) in [
        (
            format!(
                "vidstabdetect=shakiness=8:accuracy=15:result={}",
                transforms.display()
            ),
            None,
        ),
        (
            format!(
                "vidstabtransform=input={}:smoothing=15:interpol=bicubic",
                transforms.display()
            ),
            Some(&out),
        ),
    ] {
        let mut args = clip.ffmpeg_input();
        args.extend(["-vf".into(), filter]);
        match target {
            Some(path) => {
                args.extend(words("-pix_fmt yuv420p -f rawvideo"));
                args.push(path.display().to_string());
            }
            None => args.extend(words("-f null -")),
        }
        seconds += bench.ffmpeg.timed(&args)?.seconds;
    }
    Ok((out, clip.frames as f64 / seconds))
}

fn measure(clip: &RawClip) -> Result<Quality> {
    let bytes = std::fs::read(&clip.path)
        .with_context(|| format!("cannot read {}", clip.path.display()))?;
    let (w, h) = (clip.width as usize, clip.height as usize);
    let (left, top) = ((w as f64 * MARGIN) as usize, (h as f64 * MARGIN) as usize);
    let (inner_w, inner_h) = (w - 2 * left, h - 2 * top);
    let mut finder = MotionFinder::default();
    let (mut before, mut last): (Option<Vec<u8>>, Option<(f64, f64)>) = (None, None);
    let (mut psnr, mut pairs, mut change, mut changes) = (0.0, 0, 0.0, 0);
    for frame in bytes.chunks_exact(clip.frame_bytes() as usize) {
        let inner: Vec<u8> = (top..top + inner_h)
            .flat_map(|y| &frame[y * w + left..][..inner_w])
            .copied()
            .collect();
        let motion = finder
            .next(PlaneRef::packed(&inner, inner_w, inner_h))
            .movement;
        if let Some(before) = &before {
            let square: f64 = inner
                .iter()
                .zip(before)
                .map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2))
                .sum();
            let mse = (square / inner.len() as f64).max(1e-6);
            psnr += 10.0 * (255.0_f64.powi(2) / mse).log10();
            pairs += 1;
            let now = (f64::from(motion.x), f64::from(motion.y));
            if let Some(last) = last {
                change += (now.0 - last.0).hypot(now.1 - last.1);
                changes += 1;
            }
            last = Some(now);
        }
        before = Some(inner);
    }
    Ok(Quality {
        itf: psnr / f64::from(pairs.max(1)),
        jitter: change / f64::from(changes.max(1)),
    })
}
