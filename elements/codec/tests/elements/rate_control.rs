// SPDX-License-Identifier: Apache-2.0
//! The rate control's properties, at the element. That rates are kept on real clips is shown by the
//! example `ratecontrol`.

use crate::common::*;
use gst::prelude::*;

const SIZE: (usize, usize) = (320, 192);

/// Bytes of `frames` frames from the one numbered `first`.
fn code(
    harness: &mut gst_check::Harness,
    info: &gst_video::VideoInfo,
    frames: std::ops::Range<usize>,
) -> Vec<usize> {
    frames
        .map(|i| {
            let picture = scene(SIZE.0, SIZE.1, i);
            harness.push(buffer(&picture, info, i)).expect("pushed");
            harness.pull().expect("a frame").size()
        })
        .collect()
}

fn worst(bytes: &[usize], frames: usize, kilobits: f64) -> f64 {
    aivideo_codec::coder::rate::worst_deviation(bytes, frames, 25.0, 1000.0 * kilobits)
        .expect("long enough")
}

#[test]
fn constant_bitrate_is_kept_and_changes_while_playing() {
    let info = info(gst_video::VideoFormat::I420, SIZE.0, SIZE.1);
    let mut harness = encoder("rate-control=cbr bitrate=300", &info);
    let element = harness.find_element("aicodecenc").expect("an element");
    let first = code(&mut harness, &info, 0..60);
    assert!(
        worst(&first, 25, 300.0).abs() <= 0.15,
        "{}",
        worst(&first, 25, 300.0)
    );
    element.set_property("bitrate", 200u32);
    let second = code(&mut harness, &info, 60..130);
    // The second in which it changed belongs to both.
    let later = &second[25..];
    assert!(
        worst(later, 25, 200.0).abs() <= 0.15,
        "{}",
        worst(later, 25, 200.0)
    );
    let stats = element.property::<gst::Structure>("stats");
    assert!(stats.get::<u64>("recoded-frames").expect("a number") < 15);
}

#[test]
fn quality_changes_while_playing() {
    let info = info(gst_video::VideoFormat::I420, SIZE.0, SIZE.1);
    let mut harness = encoder("quality=10", &info);
    let element = harness.find_element("aicodecenc").expect("an element");
    let low: usize = code(&mut harness, &info, 0..5).iter().sum();
    element.set_property("quality", 55u32);
    let high: usize = code(&mut harness, &info, 5..10).iter().sum();
    let stats = element.property::<gst::Structure>("stats");
    let quality = stats.get::<u32>("quality").expect("a number");
    assert!((45..=63).contains(&quality), "{quality}");
    element.set_property_from_str("rate-control", "cbr");
    element.set_property("bitrate", 100u32);
    let limited: usize = code(&mut harness, &info, 10..40).iter().sum();
    assert!(high * 6 > limited, "{low} {high} {limited}");
}

#[test]
fn a_still_picture_is_filled_up_only_where_wanted() {
    let info = info(gst_video::VideoFormat::I420, SIZE.0, SIZE.1);
    let rate = |filler: bool| {
        let mut harness = encoder(
            &format!("rate-control=cbr bitrate=1500 filler={filler}"),
            &info,
        );
        let mut decoding = None;
        let still = scene(SIZE.0, SIZE.1, 0);
        let bytes: Vec<usize> = (0..50)
            .map(|i| {
                harness.push(buffer(&still, &info, i)).expect("pushed");
                let unit = harness.pull().expect("a frame");
                let size = unit.size();
                let pad = harness.sinkpad().expect("a pad");
                let decoder =
                    decoding.get_or_insert_with(|| decoder(&pad.current_caps().expect("caps")));
                decoder.push(unit).expect("decodable");
                decoder.pull().expect("a picture");
                size
            })
            .collect();
        worst(&bytes, 25, 1500.0)
    };
    assert!(rate(true).abs() <= 0.15);
    assert!(rate(false) < -0.15);
}

#[test]
fn contradictions_are_said() {
    let info = info(gst_video::VideoFormat::I420, SIZE.0, SIZE.1);
    for (properties, word) in [
        (
            "rate-control=vbr bitrate=500 max-bitrate=100",
            "max-bitrate",
        ),
        ("rate-control=cbr bitrate=500 max-bitrate=600", "no effect"),
        ("rate-control=cbr vbv-buffer=10", "vbv-buffer"),
        ("drop-frames=true", "drop-frames"),
    ] {
        let mut harness = parse(&format!("aicodecenc {properties}"));
        let bus = watch(&harness);
        harness.set_sink_caps_str("video/x-aicodec, stream-format=frame");
        harness.set_src_caps(info.to_caps().expect("caps"));
        code(&mut harness, &info, 0..1);
        let message = bus
            .pop_filtered(&[gst::MessageType::Warning])
            .unwrap_or_else(|| panic!("{properties}: no warning"));
        let gst::MessageView::Warning(warning) = message.view() else {
            unreachable!("filtered")
        };
        let text = warning.error().to_string();
        assert!(text.contains(word), "{properties}: {text}");
    }
}

#[test]
fn key_frames_have_their_least_distance() {
    let info = info(gst_video::VideoFormat::I420, SIZE.0, SIZE.1);
    // 200 ms are five frames.
    let mut harness = encoder("key-int-max=0 min-force-key-unit-interval=200000000", &info);
    let mut keys = Vec::new();
    for i in 0..14 {
        harness.push_upstream_event(
            gst_video::UpstreamForceKeyUnitEvent::builder()
                .all_headers(true)
                .build(),
        );
        let picture = scene(SIZE.0, SIZE.1, i);
        harness.push(buffer(&picture, &info, i)).expect("pushed");
        let unit = harness.pull().expect("a frame");
        if is_key(&unit) {
            keys.push(i);
        }
    }
    assert!(
        keys.windows(2).all(|w| w[1] - w[0] >= 5) && keys.len() >= 2,
        "{keys:?}"
    );
}

#[test]
fn a_scene_cut_begins_with_a_key_frame() {
    let info = info(gst_video::VideoFormat::I420, SIZE.0, SIZE.1);
    for (wanted, properties) in [(true, "scene-cut=true"), (false, "scene-cut=false")] {
        let mut harness = encoder(properties, &info);
        let mut key = false;
        for i in 0..14 {
            let mut picture = scene(SIZE.0, SIZE.1, i);
            if i >= 12 {
                picture.y.reverse();
                picture
                    .y
                    .iter_mut()
                    .enumerate()
                    .for_each(|(i, v)| *v = v.wrapping_mul(3) ^ ((i / 7) as u8 & 31));
            }
            harness.push(buffer(&picture, &info, i)).expect("pushed");
            let unit = harness.pull().expect("a frame");
            key |= i == 12 && is_key(&unit);
        }
        assert_eq!(key, wanted, "{properties}");
    }
}
