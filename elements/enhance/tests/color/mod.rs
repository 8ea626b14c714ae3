// SPDX-License-Identifier: Apache-2.0
//! The colour operation through the element.

use gst::prelude::*;
use gst_video::VideoFormat;

use crate::support::*;

fn frame_through(h: &mut gst_check::Harness, picture: &Picture) -> Picture {
    let out = h
        .push_and_pull(buffer_of(picture, VideoFormat::I420, 0))
        .expect("a frame");
    picture_of(&out, &out_caps(h))
}

fn mean(plane: &[u8]) -> f64 {
    plane.iter().map(|v| f64::from(*v)).sum::<f64>() / plane.len() as f64
}

#[test]
fn nothing_of_everything_changes_nothing() {
    let picture = leaves(96, 64, 7);
    let out = run_one(
        "color:look=0:stretch=0:white-balance=0:contrast=0",
        VideoFormat::I420,
        &picture,
        0,
    );
    assert!(out == picture);
}

#[test]
fn a_veil_is_taken_away_by_default_and_starts_anew_at_a_cut() {
    // Leaves from black to white, under a veil of grey and without it.
    let mut good = leaves(128, 96, 3);
    good.u.fill(128);
    good.v.fill(128);
    for (i, v) in good.y.iter_mut().enumerate() {
        *v = match i / 128 % 24 {
            0..8 => 20,
            8..12 => 230,
            _ => (*v).clamp(16, 235),
        };
    }
    let mut veiled = good.clone();
    for v in &mut veiled.y {
        *v = (16.0 + 0.6 * (f32::from(*v) - 16.0) + 0.4 * 0.7 * 219.0) as u8;
    }
    let mut h = harness("color:white-balance=0");
    h.set_src_caps(caps_of(VideoFormat::I420, 128, 96));
    let error = |a: &Picture, b: &Picture| {
        let pairs = a.y.iter().zip(&b.y);
        pairs.map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.y.len() as f64
    };
    let out = frame_through(&mut h, &veiled);
    assert!(error(&veiled, &good) > 25.0 && error(&out, &good) < 4.0);
    let stats = h
        .element()
        .expect("an element")
        .property::<gst::Structure>("stats");
    let black = stats.get::<f64>("color-black").expect("measured");
    assert!((black - 0.3).abs() < 0.04, "{black}");
    // What has none stays as it is, from its first frame on.
    let clear = leaves(128, 96, 11);
    let alone = run_one("color:white-balance=0", VideoFormat::I420, &clear, 0);
    assert!(frame_through(&mut h, &clear) == alone);
    let mut h = harness("color:white-balance=0");
    h.set_src_caps(caps_of(VideoFormat::I420, 128, 96));
    assert!(frame_through(&mut h, &good) == good);
}

#[test]
fn a_blue_cast_is_taken_out_and_starts_anew_at_a_cut() {
    // Grey leaves under blue light, then under red light.
    let cast = |u: i32, v: i32, seed: u64| {
        let mut picture = leaves(128, 96, seed);
        for (plane, offset) in [(&mut picture.u, u), (&mut picture.v, v)] {
            plane
                .iter_mut()
                .for_each(|c| *c = (128 + offset + (i32::from(*c) - 128) / 6) as u8);
        }
        picture
    };
    let (blue, red) = (cast(14, -8, 3), cast(-8, 14, 11));
    let mut h = harness("color:look=0:white-balance=1:contrast=0");
    h.set_src_caps(caps_of(VideoFormat::I420, 128, 96));
    let out = frame_through(&mut h, &blue);
    assert!(
        (mean(&out.u) - 128.0).abs() < 0.6 * (mean(&blue.u) - 128.0).abs(),
        "{} of {}",
        mean(&out.u),
        mean(&blue.u)
    );
    for _ in 0..5 {
        frame_through(&mut h, &blue);
    }
    // The first frame of the next scene is as if there had been no other.
    let after = frame_through(&mut h, &red);
    let alone = run_one(
        "color:look=0:white-balance=1:contrast=0",
        VideoFormat::I420,
        &red,
        0,
    );
    assert!(after == alone);
    let stats = h
        .element()
        .expect("an element")
        .property::<gst::Structure>("stats");
    let light = |name: &str| stats.get::<f64>(name).expect("measured");
    assert!(light("color-light-red") > light("color-light-blue"));
}

#[test]
fn a_cube_file_grades_and_a_bad_one_is_one_error_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    // Everything to its negative.
    let mut text = String::from("LUT_3D_SIZE 2\n");
    for i in 0..8 {
        text.push_str(&format!(
            "{} {} {}\n",
            1 - (i & 1),
            1 - (i >> 1 & 1),
            1 - (i >> 2)
        ));
    }
    let negative = write("negative.cube", &text);
    let base = "color:look=0:stretch=0:white-balance=0:contrast=0";
    let mut picture = leaves(64, 48, 2);
    picture.u.fill(128);
    picture.v.fill(128);
    let out = run_one(
        &format!("{base}:lut=\"{negative}\""),
        VideoFormat::I420,
        &picture,
        0,
    );
    for (a, b) in picture.y.iter().zip(&out.y) {
        // Narrow range: black and white change places, 16 to 235.
        let wanted = 251 - i32::from((*a).clamp(16, 235));
        if (20..=230).contains(a) {
            assert!((i32::from(*b) - wanted).abs() <= 2, "{a}: {b}");
        }
    }
    init();
    let bad = write("bad.cube", "LUT_3D_SIZE 2\n0 0 x\n");
    for (path, says) in [
        (bad.as_str(), "line 2: \"x\" is not a number"),
        ("/nonexistent/a.cube", "No such file"),
    ] {
        let element = gst::ElementFactory::make("aienhance")
            .property("operations", format!("color:lut=\"{path}\""))
            .build()
            .expect("the element");
        let bus = bus_of(&element);
        assert!(element.set_state(gst::State::Paused).is_err());
        let errors = messages(&bus, gst::MessageType::Error);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].contains(says) && errors[0].contains(path),
            "{errors:?}"
        );
        element.set_state(gst::State::Null).expect("back to NULL");
    }
}

#[test]
fn the_predicted_table_moves_slowly_within_a_scene() {
    let picture = leaves(128, 96, 4);
    let mut dim = picture.clone();
    dim.y.iter_mut().for_each(|v| *v = 16 + (*v - 2) / 3);
    let mut h = harness("color:look=1:white-balance=0:contrast=0");
    h.set_src_caps(caps_of(VideoFormat::I420, 128, 96));
    let first = mean(&frame_through(&mut h, &dim).y);
    let mut last = first;
    for _ in 0..8 {
        let now = mean(&frame_through(&mut h, &dim).y);
        assert!((now - last).abs() < 3.0, "{last} to {now}");
        last = now;
    }
    let change = h
        .element()
        .expect("an element")
        .property::<gst::Structure>("stats")
        .get::<f64>("color-look-change")
        .expect("measured");
    assert!(change > 0.0 && change < 0.5, "{change}");
}
