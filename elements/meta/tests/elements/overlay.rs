// SPDX-License-Identifier: Apache-2.0
//! `aioverlay` in every format: what is drawn, where, and for how long.

use gst::prelude::*;

use crate::support::{car, clip, run, tagged};

/// Frames as RGB of 320x240 after the overlay.
fn pictures(
    format: &str,
    overlay: &str,
    attach: impl Fn(u64, &mut gst::BufferRef) + Send + Sync + 'static,
) -> Vec<Vec<u8>> {
    let line = format!(
        "videotestsrc num-buffers=8 pattern=solid-color foreground-color=0xff405060 ! \
         video/x-raw,format={format},width=320,height=240,framerate=10/1 ! identity name=tag ! \
         aioverlay {overlay} ! videoconvert dither=none ! video/x-raw,format=RGB ! appsink name=sink"
    );
    let pipeline = tagged(&line, attach);
    let sink = pipeline
        .by_name("sink")
        .unwrap()
        .downcast::<gst_app::AppSink>()
        .unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut all = Vec::new();
    while let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_seconds(30)) {
        all.push(sample.buffer().unwrap().map_readable().unwrap().to_vec());
    }
    pipeline.set_state(gst::State::Null).unwrap();
    assert_eq!(all.len(), 8, "{format}");
    all
}

/// Pixels that differ from the upper right corner, which nothing reaches.
fn drawn(picture: &[u8], (x0, y0, x1, y1): (usize, usize, usize, usize)) -> usize {
    let ground = &picture[319 * 3..320 * 3];
    let mut count = 0;
    for y in y0..y1 {
        for x in x0..x1 {
            let at = (y * 320 + x) * 3;
            let far = |c: usize| picture[at + c].abs_diff(ground[c]) > 24;
            count += usize::from(far(0) || far(1) || far(2));
        }
    }
    count
}

fn mean(picture: &[u8], (x0, y0, x1, y1): (usize, usize, usize, usize)) -> [u32; 3] {
    let mut sum = [0; 3];
    for y in y0..y1 {
        for x in x0..x1 {
            for (c, sum) in sum.iter_mut().enumerate() {
                *sum += u32::from(picture[(y * 320 + x) * 3 + c]);
            }
        }
    }
    sum.map(|sum| sum / ((x1 - x0) * (y1 - y0)) as u32)
}

fn formats() -> Vec<String> {
    crate::support::init();
    let factory = gst::ElementFactory::find("aioverlay").unwrap();
    let template = factory.static_pad_templates().into_iter().next().unwrap();
    let caps = template.caps();
    let list = caps
        .structure(0)
        .unwrap()
        .get::<gst::List>("format")
        .unwrap();
    list.iter()
        .map(|format| format.get::<String>().unwrap())
        .collect()
}

#[test]
fn every_format_shows_the_same_picture() {
    let mut formats = formats();
    assert!(formats.len() > 30);
    formats.sort_by_key(|format| format != "RGB");
    let mut reference = None;
    for format in formats {
        let all = pictures(&format, "hold-time=0", |number, buffer| {
            if number == 2 {
                let mut object = car();
                (object.x, object.y, object.width, object.height) = (160, 120, 120, 80);
                object.attach(buffer, (320, 240)).unwrap();
                clip(buffer.pts().unwrap()).attach(buffer).unwrap();
            }
        });
        assert_eq!(drawn(&all[1], (0, 0, 320, 240)), 0, "{format}");
        assert_eq!(drawn(&all[3], (0, 0, 320, 240)), 0, "{format}");
        let picture = &all[2];
        let edge = drawn(picture, (162, 119, 278, 122));
        assert!(
            edge >= 116,
            "{format}: {edge} pixels of the box's upper edge"
        );
        assert_eq!(
            drawn(picture, (170, 130, 270, 190)),
            0,
            "{format}: within the box"
        );
        let tag = drawn(picture, (160, 104, 190, 118));
        assert!(tag > 200, "{format}: {tag} pixels of the label");
        let panel = drawn(picture, (4, 4, 110, 34));
        assert!(panel > 2000, "{format}: {panel} pixels of the panel");
        assert_eq!(
            drawn(picture, (0, 60, 150, 240)),
            0,
            "{format}: beside everything"
        );
        // The label's ground between its left edge and the first letter; RGB is the first.
        let colour = mean(picture, (161, 107, 163, 117));
        if !format.starts_with("GRAY") {
            let expected = *reference.get_or_insert(colour);
            for c in 0..3 {
                let off = colour[c].abs_diff(expected[c]);
                assert!(off < 14, "{format}: {colour:?} instead of {expected:?}");
            }
        }
    }
}

#[test]
fn classes_stay_for_a_while_and_boxes_do_not() {
    let all = pictures("I420", "hold-time=250", |number, buffer| {
        if number == 2 {
            clip(buffer.pts().unwrap()).attach(buffer).unwrap();
            car().attach(buffer, (320, 240)).unwrap();
        }
    });
    let panels: Vec<bool> = all.iter().map(|p| drawn(p, (4, 4, 110, 34)) > 0).collect();
    // 10 frames a second: the result's own frame and those up to 0.25 s after it.
    assert_eq!(
        panels,
        [false, false, true, true, true, false, false, false]
    );
    let boxes: Vec<bool> = all.iter().map(|p| drawn(p, (32, 60, 96, 73)) > 0).collect();
    assert_eq!(
        boxes,
        [false, false, true, false, false, false, false, false]
    );
}

#[test]
fn what_is_switched_off_is_not_drawn() {
    let off = "show-boxes=false show-labels=false max-classes=0";
    for picture in pictures("NV12", off, |_, buffer| {
        car().attach(buffer, (320, 240)).unwrap();
        clip(buffer.pts().unwrap()).attach(buffer).unwrap();
    }) {
        assert_eq!(drawn(&picture, (0, 0, 320, 240)), 0);
    }
    let corner = "position=bottom-right show-boxes=false show-labels=false";
    let all = pictures("NV12", corner, |_, buffer| {
        clip(buffer.pts().unwrap()).attach(buffer).unwrap();
    });
    assert_eq!(drawn(&all[0], (0, 0, 150, 240)), 0);
    assert!(drawn(&all[0], (200, 200, 320, 240)) > 1000);
}

#[test]
fn frames_with_nothing_to_draw_are_not_copied() {
    let line = "videotestsrc num-buffers=4 ! video/x-raw,width=64,height=48 ! identity name=tag ! \
                tee name=t ! queue ! aioverlay ! fakesink name=sink t. ! queue ! fakesink";
    let pipeline = tagged(line, |number, buffer| {
        if number == 2 {
            car().attach(buffer, (64, 48)).unwrap();
        }
    });
    let pointers = std::sync::Arc::new(std::sync::Mutex::new((Vec::new(), Vec::new())));
    for (element, pad) in [("tag", "src"), ("sink", "sink")] {
        let pointers = pointers.clone();
        let pad = pipeline.by_name(element).unwrap().static_pad(pad).unwrap();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let buffer = info.buffer().unwrap();
            let memory = buffer.map_readable().unwrap().as_ptr() as usize;
            let mut pointers = pointers.lock().unwrap();
            let list = if element == "tag" {
                &mut pointers.0
            } else {
                &mut pointers.1
            };
            list.push((memory, buffer.clone()));
            gst::PadProbeReturn::Ok
        });
    }
    run(&pipeline).unwrap();
    let pointers = pointers.lock().unwrap();
    let same: Vec<bool> = pointers
        .0
        .iter()
        .zip(&pointers.1)
        .map(|(a, b)| a.0 == b.0)
        .collect();
    assert_eq!(same, [true, true, false, true]);
}

#[test]
fn a_font_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.ttf");
    std::fs::write(&file, "no font").unwrap();
    for (path, said) in [
        (file.to_str().unwrap(), "not a TrueType"),
        ("/nowhere.ttf", "cannot be read"),
    ] {
        let line = format!(
            "videotestsrc num-buffers=1 ! identity name=tag ! aioverlay font-file={path} ! fakesink"
        );
        let error = run(&tagged(&line, |_, _| {})).unwrap_err();
        assert!(error.contains(said) && error.contains(path), "{error}");
    }
}

/// Rows that are longer than the picture is wide, as hardware has them.
#[test]
fn strides_are_respected() {
    crate::support::init();
    let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, 100, 60)
        .build()
        .unwrap();
    let (strides, offsets) = ([128i32, 64, 64], [0usize, 128 * 60, 128 * 60 + 64 * 30]);
    let mut buffer = gst::Buffer::from_mut_slice(vec![7u8; 128 * 60 + 2 * 64 * 30]);
    {
        let buffer = buffer.get_mut().unwrap();
        let flags = gst_video::VideoFrameFlags::empty();
        let format = gst_video::VideoFormat::I420;
        gst_video::VideoMeta::add_full(buffer, flags, format, 100, 60, &offsets, &strides).unwrap();
        let mut object = car();
        (object.x, object.y, object.width, object.height) = (0, 0, 100, 60);
        object.attach(buffer, (100, 60)).unwrap();
    }
    let mut harness = gst_check::Harness::new("aioverlay");
    harness.set_src_caps(info.to_caps().unwrap());
    let out = harness.push_and_pull(buffer).unwrap();
    let data = out.map_readable().unwrap();
    assert!(
        data[128 * 59..128 * 59 + 100].iter().all(|s| *s != 7),
        "the lower edge"
    );
    for y in 0..60 {
        assert!(
            data[128 * y + 100..128 * (y + 1)].iter().all(|s| *s == 7),
            "beyond row {y}"
        );
    }
}
