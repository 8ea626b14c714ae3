// SPDX-License-Identifier: Apache-2.0
use crate::common::*;
use aivideo_codec::bitstream::AccessUnit;
use gst::prelude::*;
use gst_video::VideoFormat::{self, I420, Nv12};

fn round_trip(
    format: VideoFormat,
    width: usize,
    height: usize,
    frames: usize,
    quality: u32,
) -> Vec<f64> {
    let choices = format!("quality={quality}");
    round_trip_with(&choices, format, width, height, frames)
}

fn round_trip_with(
    choices: &str,
    format: VideoFormat,
    width: usize,
    height: usize,
    frames: usize,
) -> Vec<f64> {
    let info = info(format, width, height);
    let mut harness = parse(&format!("aicodecenc {choices} ! aicodecdec"));
    harness.set_src_caps(info.to_caps().unwrap());
    (0..frames)
        .map(|i| {
            let picture = scene(width, height, i);
            harness.push(buffer(&picture, &info, i)).unwrap();
            let out = harness.pull().unwrap();
            assert_eq!(
                out.pts(),
                Some(gst::ClockTime::from_mseconds(40) * i as u64)
            );
            let caps = harness.sinkpad().unwrap().current_caps().unwrap();
            let out_info = gst_video::VideoInfo::from_caps(&caps).unwrap();
            assert_eq!(
                (out_info.width(), out_info.height()),
                (width as u32, height as u32)
            );
            assert_eq!(out_info.fps(), gst::Fraction::new(25, 1));
            psnr(&picture, &read(&out, &out_info))
        })
        .collect()
}

#[test]
fn pictures_come_back() {
    let values = round_trip(I420, 352, 288, 12, 48);
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    println!("Y-PSNR {mean:.2} dB: {values:.1?}");
    assert!(
        mean > 30.0 && values.iter().all(|v| *v > 28.0),
        "{values:.1?}"
    );
}

/// What the networks cannot say comes back with it.
#[test]
fn the_residual_brings_detail_back() {
    let mean = |choices: &str| -> f64 {
        let values = round_trip_with(choices, I420, 320, 192, 6);
        values.iter().sum::<f64>() / values.len() as f64
    };
    let (with, without) = (mean("quality=55"), mean("quality=55 residual=false"));
    assert!(with > without + 0.5, "{with:.2} dB, without {without:.2}");
}

/// Key frames alone have symbols, unless the network is asked for or nothing else could say what changes.
#[test]
fn predicted_frames_have_no_network_unless_they_must() {
    let sizes = |choices: &str| {
        let (_, units) = access_units(choices, 128, 128, 3);
        [0, 2].map(|number: usize| {
            let data = units[number].map_readable().unwrap();
            let unit = AccessUnit::parse(&data).unwrap();
            let tiles = unit.tiles.iter().flatten();
            tiles.fold([0, 0], |[symbols, levels], tile| {
                [symbols + tile.y.len(), levels + tile.residual.len()]
            })
        })
    };
    for (choices, in_predicted) in [
        ("quality=40", [false, true]),
        ("quality=40 inter-network=true", [true, true]),
        ("quality=40 skip-blocks=false", [true, true]),
        ("quality=40 residual=false", [true, false]),
    ] {
        let [key, predicted] = sizes(choices);
        assert!(key[0] > 0, "{choices}: {key:?}");
        assert_eq!(predicted.map(|size| size > 0), in_predicted, "{choices}");
    }
}

/// Nothing moves, and what the frames before left is still sent where a better picture is asked for.
#[test]
fn a_picture_at_rest_gets_better() {
    let info = info(I420, 128, 128);
    let picture = scene(128, 128, 0);
    let mut harness = encoder("quality=2", &info);
    let element = harness.find_element("aicodecenc").unwrap();
    let units: Vec<_> = (0..6)
        .map(|number| {
            if number == 2 {
                element.set_property("quality", 60u32);
            }
            harness.push(buffer(&picture, &info, number)).unwrap();
            harness.pull().unwrap()
        })
        .collect();
    let caps = harness.sinkpad().unwrap().current_caps().unwrap();
    let mut decoder = decoder(&caps);
    let shown: Vec<f64> = units
        .iter()
        .map(|unit| {
            decoder.push(unit.clone()).unwrap();
            psnr(&picture, &read(&decoder.pull().unwrap(), &info))
        })
        .collect();
    assert!(shown[5] > shown[1] + 1.0, "{shown:.2?}");
}

#[test]
fn any_size() {
    for (width, height) in [(16, 16), (17, 33), (64, 64), (65, 129), (130, 66), (1, 1)] {
        if width < 16 {
            continue;
        }
        for format in [I420, Nv12] {
            let values = round_trip(format, width, height, 3, 40);
            assert!(
                values.iter().all(|v| *v > 22.0),
                "{width}x{height} {format}: {values:.1?}"
            );
        }
    }
}

/// Long, flat and narrow pictures, with one tile or many.
#[test]
fn extreme_shapes() {
    for (width, height, tiles) in [(16, 2161, 1), (4099, 16, 1), (16, 16, 255), (33, 700, 255)] {
        let info = info(I420, width, height);
        let mut harness = parse(&format!(
            "aicodecenc quality=40 tile-rows={tiles} ! aicodecdec"
        ));
        harness.set_src_caps(info.to_caps().unwrap());
        for i in 0..2 {
            let picture = scene(width, height, i);
            harness.push(buffer(&picture, &info, i)).unwrap();
            let out = harness.pull().unwrap();
            let caps = harness.sinkpad().unwrap().current_caps().unwrap();
            let out_info = gst_video::VideoInfo::from_caps(&caps).unwrap();
            let value = psnr(&picture, &read(&out, &out_info));
            assert!(value > 20.0, "{width}x{height}: {value:.1} dB");
        }
    }
}

/// Seconds and gigabytes: cargo test --release -p aivideo-codec --test elements -- --ignored largest
#[test]
#[ignore = "takes gigabytes of memory"]
fn the_largest_picture() {
    let values = round_trip(Nv12, 8192, 4320, 3, 32);
    println!("8192x4320: {values:.1?} dB");
    assert!(values.iter().all(|v| *v > 22.0), "{values:.1?}");
}

#[test]
fn better_quality_costs_more_and_looks_better() {
    let measure = |quality: u32| {
        let (_, units) = access_units(&format!("quality={quality}"), 256, 192, 5);
        let bytes: usize = units.iter().map(|u| u.size()).sum();
        let values = round_trip(I420, 256, 192, 5, quality);
        (bytes, values.iter().sum::<f64>() / values.len() as f64)
    };
    let points = [0, 20, 40, 63].map(measure);
    println!("{points:.2?}");
    for pair in points.windows(2) {
        assert!(pair[0].0 < pair[1].0, "rate: {points:?}");
        assert!(pair[0].1 < pair[1].1, "PSNR: {points:?}");
    }
}

#[test]
fn formats_and_strides_change_nothing() {
    let (width, height) = (101, 67);
    let plain = info(I420, width, height);
    let nv12 = info(Nv12, width, height);
    let encode = |info: &gst_video::VideoInfo, buffers: Vec<gst::Buffer>| {
        let mut harness = encoder("quality=40", info);
        buffers
            .into_iter()
            .map(|b| {
                harness.push(b).unwrap();
                harness.pull().unwrap().map_readable().unwrap().to_vec()
            })
            .collect::<Vec<_>>()
    };
    let pictures: Vec<_> = (0..3).map(|i| scene(width, height, i)).collect();
    let each = |info: &gst_video::VideoInfo| {
        pictures
            .iter()
            .enumerate()
            .map(|(i, p)| buffer(p, info, i))
            .collect::<Vec<_>>()
    };
    let expected = encode(&plain, each(&plain));
    assert!(
        expected == encode(&nv12, each(&nv12)),
        "NV12 gives other bytes"
    );
    // The same pictures with wide rows and gaps between the planes.
    let padded = |picture: &aivideo_core::pixels::Yuv420, i: usize| {
        let strides = [160, 96, 112];
        let offsets = [64, 64 + 160 * 70, 64 + 160 * 70 + 96 * 40];
        let mut data = vec![0xEE_u8; offsets[2] + 112 * 40];
        for (plane, samples, w) in [
            (0, &picture.y, 101),
            (1, &picture.u, 51),
            (2, &picture.v, 51),
        ] {
            for (y, row) in samples.chunks_exact(w).enumerate() {
                data[offsets[plane] + y * strides[plane]..][..w].copy_from_slice(row);
            }
        }
        let mut buffer = gst::Buffer::from_mut_slice(data);
        let inner = buffer.get_mut().unwrap();
        inner.set_pts(gst::ClockTime::from_mseconds(40) * i as u64);
        gst_video::VideoMeta::add_full(
            inner,
            gst_video::VideoFrameFlags::empty(),
            I420,
            width as u32,
            height as u32,
            &offsets,
            &strides.map(|s| s as i32),
        )
        .unwrap();
        buffer
    };
    let buffers = pictures
        .iter()
        .enumerate()
        .map(|(i, p)| padded(p, i))
        .collect();
    assert!(
        expected == encode(&plain, buffers),
        "strides give other bytes"
    );
}

#[test]
fn output_formats_hold_the_same_picture() {
    let (caps, units) = access_units("quality=40", 90, 50, 2);
    let decode = |format: &str| {
        let mut harness = parse("aicodecdec");
        harness.set_sink_caps_str(&format!("video/x-raw, format={format}"));
        harness.set_src_caps(caps.clone());
        units
            .iter()
            .map(|unit| {
                harness.push(unit.clone()).unwrap();
                let out = harness.pull().unwrap();
                let caps = harness.sinkpad().unwrap().current_caps().unwrap();
                assert_eq!(caps.structure(0).unwrap().get::<&str>("format"), Ok(format));
                read(&out, &gst_video::VideoInfo::from_caps(&caps).unwrap())
            })
            .collect::<Vec<_>>()
    };
    assert!(decode("I420") == decode("NV12"));
}

#[test]
fn a_still_scene_costs_next_to_nothing() {
    let info = info(I420, 320, 192);
    let mut harness = encoder("quality=30", &info);
    let picture = scene(320, 192, 0);
    let sizes: Vec<usize> = (0..12)
        .map(|i| {
            harness.push(buffer(&picture, &info, i)).unwrap();
            harness.pull().unwrap().size()
        })
        .collect();
    println!("{sizes:?}");
    assert!(sizes[11] * 4 < sizes[0], "{sizes:?}");
}

#[test]
fn motion_search_pays() {
    let bytes = |motion: &str| {
        let (_, units) = access_units(&format!("quality=40 motion={motion}"), 320, 256, 6);
        units[1..].iter().map(|u| u.size()).sum::<usize>()
    };
    let [full, whole, zero, none] = ["full", "blocks16", "zero", "none"].map(bytes);
    println!("full {full}, blocks16 {whole}, zero {zero}, none {none} bytes");
    assert!(full < zero && whole < zero && zero < none);
}
