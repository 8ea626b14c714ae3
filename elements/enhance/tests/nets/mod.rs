// SPDX-License-Identifier: Apache-2.0
//! Nets of other people's: every shape that is promised.

use std::path::PathBuf;

use gst::prelude::*;
use gst_video::VideoFormat;

use crate::support::*;

/// A file of the data folder, if that is here.
fn model(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data/models")
        .join(name);
    if path.exists() {
        return Some(path);
    }
    aivideo_skip::skip!("no {}", path.display());
    None
}

/// Luma channel, floats, any size, three times the size.
#[test]
fn espcn_enlarges_three_times() {
    let Some(path) = model("espcn_x3_y.onnx") else {
        return;
    };
    let picture = leaves(90, 62, 4);
    let operations = format!("upscale:model=\"{}\"", path.display());
    for format in [VideoFormat::I420, VideoFormat::Nv12] {
        let out = run_one(&operations, format, &picture, 0);
        assert_eq!((out.width, out.height), (270, 186));
        // It is the same picture: shrunk by means of three it comes near.
        let mut error = 0.0;
        for y in 4..58 {
            for x in 4..86 {
                let sum: u32 = (0..9)
                    .map(|k| u32::from(out.y[(3 * y + k / 3) * 270 + 3 * x + k % 3]))
                    .sum();
                error += (f64::from(sum) / 9.0 - f64::from(picture.y[y * 90 + x])).abs();
            }
        }
        let error = error / (54.0 * 82.0);
        assert!(error < 6.0, "{error}");
        let chroma = out.u.iter().map(|v| f64::from(*v)).sum::<f64>() / out.u.len() as f64;
        let before = picture.u.iter().map(|v| f64::from(*v)).sum::<f64>() / picture.u.len() as f64;
        assert!((chroma - before).abs() < 2.0, "{chroma} {before}");
    }
}

/// Three channels, channels last, any size.
#[test]
fn an_upsampler_with_channels_last_runs() {
    let Some(path) = model("upsample.onnx") else {
        return;
    };
    let picture = leaves(50, 34, 6);
    let operations = format!("upscale:model=\"{}\"", path.display());
    let out = run_one(&operations, VideoFormat::I420, &picture, 0);
    assert_eq!(out.width % 50, 0);
    assert_eq!(out.width / 50, out.height / 34);
    assert!(out.width > 50);
}

/// Three channels, channels first, 640x360 only: smaller and larger pictures, in tiles.
#[test]
fn a_net_of_fixed_size_takes_pictures_of_any() {
    let Some(path) = model("sci_360x640.onnx") else {
        return;
    };
    let operations = format!("net:model=\"{}\"", path.display());
    for (w, h) in [(640, 360), (101, 77), (900, 500)] {
        let mut dark = leaves(w, h, 8);
        dark.y.iter_mut().for_each(|v| *v = 16 + *v / 6);
        let out = run_one(&operations, VideoFormat::I420, &dark, 0);
        assert_eq!((out.width, out.height), (w, h));
        let mean = |p: &Picture| p.y.iter().map(|v| f64::from(*v)).sum::<f64>() / p.y.len() as f64;
        assert!(
            mean(&out) > mean(&dark) + 8.0,
            "{} {}",
            mean(&dark),
            mean(&out)
        );
        // No seams: the step between neighbours is nowhere much larger at tile borders.
        if w == 900 {
            for x in [608usize, 624, 640] {
                let jump = |p: &Picture, x: usize| {
                    (0..h)
                        .map(|y| f64::from(p.y[y * w + x].abs_diff(p.y[y * w + x - 1])))
                        .sum::<f64>()
                        / h as f64
                };
                assert!(jump(&out, x) < 6.0 * jump(&dark, x) + 4.0, "{x}");
            }
        }
    }
    refused(
        &format!("upscale:model=\"{}\"", path.display()),
        "net:model=<path>",
    );
}

fn refused(operations: &str, says: &str) {
    init();
    let element = gst::ElementFactory::make("aienhance")
        .property("operations", operations)
        .build()
        .expect("the element");
    let bus = bus_of(&element);
    assert!(
        element.set_state(gst::State::Paused).is_err(),
        "{operations}"
    );
    let errors = messages(&bus, gst::MessageType::Error);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains(says), "{errors:?}");
    element.set_state(gst::State::Null).expect("back to NULL");
}

#[test]
fn nets_for_other_things_are_refused_with_what_they_are() {
    refused("net", "net:model=<path");
    for (name, says) in [
        ("yolox_nano.onnx", "does not fit \"net\""),
        ("ultraface_rfb_320.onnx", "its output"),
        ("silero_vad_16k_op15.onnx", "does not fit \"net\""),
    ] {
        if let Some(path) = model(name) {
            refused(&format!("net:model=\"{}\"", path.display()), says);
        }
    }
    let Some(path) = model("espcn_x3_y.onnx") else {
        return;
    };
    refused(
        &format!("upscale:factor=2:model=\"{}\"", path.display()),
        "it enlarges 3 times",
    );
}

/// Our own upscaler through the loader for others': bytes, one channel, any size.
#[test]
fn the_loader_gives_what_the_operation_gives() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../models/enhance/upscale-x2.onnx"
    );
    let picture = leaves(64, 48, 3);
    let own = run_one("upscale", VideoFormat::I420, &picture, 0);
    let loaded = run_one(
        &format!("net:model=\"{path}\""),
        VideoFormat::I420,
        &picture,
        0,
    );
    // Nearer to the edges the operation's margin shows.
    const SEEN: usize = 28;
    let (w, h) = (2 * 64, 2 * 48);
    let inside = (SEEN..h - SEEN).flat_map(|y| (SEEN..w - SEEN).map(move |x| y * w + x));
    for at in inside {
        assert!(own.y[at].abs_diff(loaded.y[at]) <= 1, "{at}");
    }
}

/// Convolutions that take what is outside for black draw lines along the edges.
#[test]
fn the_upscaler_draws_no_lines_along_the_edges() {
    let mut picture = leaves(64, 48, 3);
    picture.y.fill(140);
    let large = run_one("upscale", VideoFormat::I420, &picture, 0);
    let most = large.y.iter().map(|v| v.abs_diff(140)).max();
    assert!(most <= Some(2), "{most:?}");
}
