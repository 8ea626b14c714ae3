// SPDX-License-Identifier: Apache-2.0
//! Chains of aienhance on frames in a GPU's memory against the same chains on frames of the host, with
//! the stand-ins.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex},
};

use aivideo_core::cuda::Place;
use aivideo_fakecuda::driver;
use gst::prelude::*;
use gst_check::Harness;

use super::{
    cudaframes::*,
    enhancer, model, on,
    testmodel::{Dim, Model, ty},
};

/// A scene that moves a little, with noise; another one where `scene` is. What lies between rows and in
/// unused bits is noise.
fn draw(buffer: &mut gst::BufferRef, info: &gst_video::VideoInfo, number: u64, scene: u64) {
    let deep = info.format_info().depth()[0] > 8;
    let mut next = noise(number + 100 * scene);
    let mut frame = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, info).unwrap();
    let mut y = 0u64;
    rows(&mut frame, |row| {
        y += 1;
        for (x, byte) in row.iter_mut().enumerate() {
            let x = x as u64;
            let base = match scene % 2 {
                0 => 40 + (3 * x + 2 * y) % 150,
                _ => 220 - (5 * x + y) % 170,
            };
            let block = (x / 12 + y / 9) % 5 * 6;
            *byte = match deep {
                true => next(),
                false => (base + block + u64::from(next() % 13)) as u8,
            };
        }
    });
}

/// What happens to a stream besides frames.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Event {
    Frame,
    /// The scene changes.
    Cut,
    Jump,
    Flush,
}

const STREAM: [Event; 9] = [
    Event::Frame,
    Event::Frame,
    Event::Frame,
    Event::Cut,
    Event::Frame,
    Event::Jump,
    Event::Frame,
    Event::Flush,
    Event::Frame,
];

/// What comes of a stream: pictures, the caps behind the element, and what was measured.
#[derive(Debug, PartialEq)]
struct Result {
    pictures: Vec<Vec<u8>>,
    caps: String,
    measured: Vec<(String, String)>,
    objects: Vec<usize>,
}

fn measured(element: &gst::Element) -> Vec<(String, String)> {
    let stats = element.property::<gst::Structure>("stats");
    stats
        .iter()
        .filter(|(_, value)| value.get::<f64>().is_ok())
        .map(|(name, value)| (name.to_string(), format!("{value:?}")))
        .collect()
}

/// The caps of the frames that come out, in their order.
fn caps_of_frames(harness: &Harness) -> Arc<Mutex<VecDeque<gst::Caps>>> {
    let all: Arc<Mutex<VecDeque<gst::Caps>>> = Arc::default();
    let own = all.clone();
    let pad = harness.sinkpad().unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, _| {
        own.lock().unwrap().push_back(pad.current_caps().unwrap());
        gst::PadProbeReturn::Ok
    });
    all
}

fn collect(harness: &mut Harness, result: &mut Result) {
    while let Some(out) = harness.try_pull() {
        let caps = harness.sinkpad().unwrap().current_caps().unwrap();
        result
            .objects
            .push(aivideo_meta::Detection::read_all(&out).len());
        result.pictures.push(content(out, &caps));
    }
}

fn stream(device: &str, operations: &str, caps: &gst::Caps, events: &[Event]) -> Result {
    let mut harness = enhancer(device, operations, caps);
    let pool = Place::of(caps).map(|_| own_pool(caps));
    let info = gst_video::VideoInfo::from_caps(caps).unwrap();
    let mut result = Result {
        pictures: Vec::new(),
        caps: String::new(),
        measured: Vec::new(),
        objects: Vec::new(),
    };
    let mut scene = 0;
    for (number, event) in events.iter().enumerate() {
        match event {
            Event::Cut => scene += 1,
            Event::Flush => {
                harness.push_event(gst::event::FlushStart::new());
                harness.push_event(gst::event::FlushStop::new(true));
                let segment = gst::FormattedSegment::<gst::ClockTime>::new();
                harness.push_event(gst::event::Segment::new(&segment));
            }
            Event::Frame | Event::Jump => {}
        }
        let mut buffer = match &pool {
            Some(pool) => pool.acquire_buffer(None).unwrap(),
            None => gst::Buffer::with_size(info.size()).unwrap(),
        };
        let writable = buffer.get_mut().unwrap();
        draw(writable, &info, number as u64, scene);
        writable.set_pts(gst::ClockTime::from_mseconds(40 * number as u64));
        if pool.is_some() {
            settle(writable);
        }
        let jump = *event == Event::Jump;
        harness.push(flagged(buffer, jump)).unwrap();
        collect(&mut harness, &mut result);
    }
    result.measured = measured(&harness.element().unwrap());
    harness.push_event(gst::event::Eos::new());
    collect(&mut harness, &mut result);
    let mut out = harness.sinkpad().unwrap().current_caps().unwrap();
    // Where frames lie is what differs.
    let place = Place::of(&out);
    assert_eq!(place, Place::of(caps));
    out.make_mut().set_features_simple(None);
    result.caps = out.to_string();
    result
}

#[track_caller]
fn compare(operations: &str, format: &str, (width, height): (i32, i32), colorimetry: Option<&str>) {
    let (mut host, mut device) = caps(format, width, height);
    for caps in [&mut host, &mut device] {
        if let Some(colorimetry) = colorimetry {
            caps.make_mut().set("colorimetry", colorimetry);
        }
    }
    let wanted = stream("cpu", operations, &host, &STREAM);
    let got = stream("cuda", operations, &device, &STREAM);
    let what = format!("{operations} {format} {width}x{height}");
    assert_eq!(wanted.pictures.len(), got.pictures.len(), "{what}");
    for (number, (wanted, got)) in wanted.pictures.iter().zip(&got.pictures).enumerate() {
        let differ = wanted.iter().zip(got).filter(|(a, b)| a != b).count();
        assert!(
            wanted == got,
            "{what}: {differ} bytes of frame {number} differ"
        );
    }
    assert_eq!(wanted, got, "{what}");
}

fn cube(folder: &Path) -> String {
    let path = folder.join("twist.cube");
    let mut text = String::from("LUT_3D_SIZE 3\n");
    for i in 0..27 {
        let [r, g, b] = [i % 3, i / 3 % 3, i / 9].map(|v| v as f32 / 2.0);
        text += &format!("{} {} {}\n", 0.9 * g + 0.05, r * 0.8 + 0.1, 1.0 - b);
    }
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// A net of these channels that darkens a little, and enlarges by repeating samples.
fn net(
    folder: &Path,
    element: i64,
    channels: i64,
    last: bool,
    size: Option<(i64, i64)>,
    scale: i64,
) -> String {
    let side = |name, side: Option<i64>| side.map_or(Dim::Free(name), Dim::Fixed);
    let shape = |scale: i64| {
        let (w, h) = (
            side("w", size.map(|s| s.0 * scale)),
            side("h", size.map(|s| s.1 * scale)),
        );
        let (one, c) = (Dim::Fixed(1), Dim::Fixed(channels));
        if last { [one, h, w, c] } else { [one, c, h, w] }
    };
    let free = [
        Dim::Fixed(1),
        Dim::Fixed(channels),
        Dim::Free("oh"),
        Dim::Free("ow"),
    ];
    let mut model = Model::new()
        .input("x", element, &shape(1))
        .output(
            "y",
            element,
            if scale == 1 { shape(1) } else { free }.as_slice(),
        )
        .constant_f32("share", &[], &[0.9])
        .node("Cast", &["x"], &["floats"], &[("to", &[ty::F32])])
        .node("Mul", &["floats", "share"], &["less"], &[]);
    let made = match scale {
        1 => "less",
        _ => {
            let copies = vec!["less"; (scale * scale) as usize];
            model = model
                .node("Concat", &copies, &["many"], &[("axis", &[1])])
                .node(
                    "DepthToSpace",
                    &["many"],
                    &["large"],
                    &[("blocksize", &[scale])],
                );
            "large"
        }
    };
    let model = model.node("Cast", &[made], &["y"], &[("to", &[element])]);
    let path = folder.join(format!(
        "net-{element}-{channels}-{last}-{size:?}-{scale}.onnx"
    ));
    std::fs::write(&path, model.finish()).unwrap();
    path.display().to_string()
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn noise_is_removed_on_the_card_as_on_the_host() {
    for operations in [
        "denoise",
        "denoise:temporal=0",
        "denoise:strength=12",
        "denoise:strength=9:chroma=auto:temporal=0.9",
        "denoise:strength=0.1",
    ] {
        compare(operations, "NV12", (193, 131), None);
    }
    compare("denoise", "I420", (130, 66), None);
    // Too small to be measured.
    compare("denoise:strength=5", "NV12", (3, 1), None);
    compare("denoise", "NV12", (17, 9), None);
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn colour_is_changed_on_the_card_as_on_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let lut = cube(folder.path());
    for operations in [
        "color",
        "color:stretch=0:contrast=0.2",
        "color:white-balance=0.8:contrast=1",
        "color:look=1:contrast=0",
        "color:white-balance=0:contrast=0.5",
        &format!("color:lut=\"{lut}\":lut-amount=0.7"),
    ] {
        compare(operations, "NV12", (97, 61), None);
    }
    compare("color", "I420", (66, 34), Some("bt601"));
    compare("color", "NV12", (40, 24), Some("1:4:0:0"));
    // Too small for local contrast.
    compare("color:contrast=0.2", "NV12", (7, 5), None);
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn range_is_changed_on_the_card_as_on_the_host() {
    // Even heights, as what comes out is I420: see docs/gpu.md.
    for operations in [
        "hdr",
        "hdr:window=0",
        "hdr:to=hlg",
        "hdr:max-cll=900:max-fall=300",
    ] {
        compare(operations, "NV12", (37, 22), None);
    }
    compare("hdr:window=3:method=c", "I420", (34, 18), None);
    compare("hdr:to=sdr", "P010_10LE", (37, 22), Some("bt2100-pq"));
    compare("hdr:to=hlg", "I420_10LE", (34, 18), Some("bt2100-pq"));
    compare(
        "hdr:to=pq:window=2",
        "P010_10LE",
        (36, 20),
        Some("bt2100-hlg"),
    );
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn pictures_are_steadied_on_the_card_as_on_the_host() {
    for operations in [
        "stabilize",
        "stabilize:look-ahead=0",
        "stabilize:look-ahead=1:border=edge",
        "stabilize:look-ahead=3:smoothing=2:crop=0.2",
        "denoise,stabilize:look-ahead=2",
        "stabilize:look-ahead=2,upscale",
        "stabilize:look-ahead=2,color",
        "denoise,color,stabilize:look-ahead=1,upscale",
        "stabilize:look-ahead=2,hdr:window=2",
    ] {
        compare(operations, "NV12", (194, 130), None);
    }
    compare("stabilize:look-ahead=2", "I420", (130, 66), None);
    // Motion is found in half the size.
    compare("stabilize:look-ahead=2", "NV12", (801, 61), None);
    compare("stabilize:look-ahead=2", "NV12", (3, 1), None);
    let detector = model(ty::F32, false);
    let path = detector.path().join("all.onnx");
    let detect = format!("detect:model=\"{}\"", path.display());
    let operations = format!("stabilize:look-ahead=2,{detect}");
    compare(&operations, "NV12", (98, 50), None);
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn frames_that_come_out_later_have_their_own_time_and_frames_of_others_are_not_held() {
    let (_, device) = caps("NV12", 98, 50);
    let mut harness = enhancer("cuda", "stabilize:look-ahead=3", &device);
    let pool = own_pool(&device);
    let mut times = Vec::new();
    for number in 0..6u64 {
        let mut buffer = from_pool(&pool, &device, number);
        let writable = buffer.get_mut().unwrap();
        writable.set_pts(gst::ClockTime::from_mseconds(40 * number));
        let held = buffer.peek_memory(0).as_ptr();
        harness.push(buffer).unwrap();
        // It is the pool's again.
        let next = pool.acquire_buffer(None).unwrap();
        assert_eq!(next.peek_memory(0).as_ptr(), held, "{number}");
        times.extend(harness.try_pull().map(|out| out.pts().unwrap().mseconds()));
        assert_eq!(times.len() as u64, (number + 1).saturating_sub(3));
    }
    harness.push_event(gst::event::Eos::new());
    let rest = std::iter::from_fn(|| harness.try_pull());
    times.extend(rest.map(|out| out.pts().unwrap().mseconds()));
    assert_eq!(times, [0, 40, 80, 120, 160, 200]);
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn nets_of_others_run_on_the_card_as_on_the_host() {
    let folder = tempfile::tempdir().unwrap();
    for element in [ty::F32, ty::U8] {
        for (channels, last) in [(1, false), (3, false), (3, true), (1, true)] {
            for size in [None, Some((40, 24))] {
                let path = net(folder.path(), element, channels, last, size, 1);
                let range = if element == ty::F32 { "255" } else { "1" };
                let operations = format!("net:model=\"{path}\":range={range}");
                compare(&operations, "NV12", (97, 61), None);
            }
        }
    }
    for (channels, scale) in [(1, 2), (1, 3), (3, 3)] {
        let path = net(folder.path(), ty::F32, channels, false, None, scale);
        compare(&format!("upscale:model=\"{path}\""), "NV12", (25, 17), None);
        compare(&format!("upscale:model=\"{path}\""), "I420", (26, 18), None);
    }
    let path = net(folder.path(), ty::F32, 3, false, None, 2);
    compare(
        &format!("upscale:model=\"{path}\":factor=4"),
        "NV12",
        (25, 17),
        None,
    );
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn several_operations_work_in_one_order_on_the_card() {
    let folder = tempfile::tempdir().unwrap();
    let path = net(folder.path(), ty::U8, 3, false, None, 1);
    let detector = model(ty::F32, false);
    let detect = format!(
        "detect:model=\"{}\"",
        detector.path().join("all.onnx").display()
    );
    for operations in [
        "denoise,color",
        "denoise,color,upscale",
        "denoise,upscale:factor=4",
        "denoise,color,hdr:window=2",
        &format!("net:model=\"{path}\",color,upscale"),
        &detect,
        &format!("denoise,{detect}"),
        &format!("{detect},color,upscale"),
        &format!("denoise,color,{detect},hdr:window=3"),
    ] {
        compare(operations, "NV12", (65, 52), None);
    }
    compare(
        "hdr:to=sdr,denoise,upscale",
        "P010_10LE",
        (65, 52),
        Some("bt2100-pq"),
    );
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn what_crosses_the_bus_is_what_is_told() {
    const THUMBNAIL: u64 = 2 * 32 * 32;
    const FIELDS: u64 = 3 * 2 * 64 * 64;
    const STILL: u64 = 4 * 256;
    // 8 bytes a block of 16 x 16, luma and both of chroma.
    let noise = 8 * (20 * 12 + 2 * 10 * 6);
    let cases = [
        ("denoise", 8, THUMBNAIL + noise + STILL),
        ("denoise:strength=7", 8, THUMBNAIL + STILL),
        ("color:stretch=0:white-balance=0:contrast=1", 0, THUMBNAIL),
        // Its table goes up when it was made anew, which it is not here once it has come to rest.
        ("color:contrast=0", 8 * 33 * 33 * 33, THUMBNAIL + FIELDS),
        ("hdr:window=0", 0, 4096),
        ("hdr:to=hlg", 0, 0),
        ("denoise:strength=7,upscale", 8, THUMBNAIL + STILL),
    ];
    for (operations, most_up, wanted_down) in cases {
        let (_, device) = caps("NV12", 320, 192);
        let mut harness = enhancer("cuda", operations, &device);
        let info = gst_video::VideoInfo::from_caps(&device).unwrap();
        let pool = own_pool(&device);
        let counters = ["to-device", "to-host", "peer", "waits", "allocations"];
        for number in 0..6u64 {
            let mut buffer = pool.acquire_buffer(None).unwrap();
            draw(buffer.get_mut().unwrap(), &info, number, 0);
            settle(buffer.get_mut().unwrap());
            let before = counters.map(driver);
            drop(harness.push_and_pull(buffer).unwrap());
            let after = counters.map(driver);
            let moved: [u64; 5] = std::array::from_fn(|i| after[i] - before[i]);
            // Frames of the pool behind, and what is the chain's own, are made with the first.
            if number > 2 {
                let [up, down, peer, waits, allocations] = moved;
                let what = format!("{operations}, frame {number}: {moved:?}");
                assert!(up <= most_up, "{what}");
                assert_eq!((down, peer), (wanted_down, 0), "{what}");
                // What comes down is waited for by its copy.
                assert_eq!(waits, 1, "{what}");
                // Light levels in caps are new ones, which bring a new pool.
                assert!(allocations == 0 || operations == "hdr:window=0", "{what}");
            }
        }
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn a_chain_takes_the_place_of_another_while_frames_lie_on_the_card() {
    let pictures = |device: &str, caps: &gst::Caps| {
        let mut harness = enhancer(device, "denoise", caps);
        let info = gst_video::VideoInfo::from_caps(caps).unwrap();
        let pool = Place::of(caps).map(|_| own_pool(caps));
        let behind = caps_of_frames(&harness);
        let mut all = Vec::new();
        let chains = [
            "denoise",
            "color,upscale",
            "hdr:window=2",
            "denoise:strength=9",
            "upscale",
        ];
        for (number, operations) in chains.iter().flat_map(|c| [c; 3]).enumerate() {
            let element = harness.element().unwrap();
            let operations = on(device, operations);
            if element.property::<String>("operations") != operations {
                element.set_property("operations", operations);
            }
            let mut buffer = match &pool {
                Some(pool) => pool.acquire_buffer(None).unwrap(),
                None => gst::Buffer::with_size(info.size()).unwrap(),
            };
            draw(buffer.get_mut().unwrap(), &info, number as u64, 0);
            if pool.is_some() {
                settle(buffer.get_mut().unwrap());
            }
            harness.push(buffer).unwrap();
            while let Some(out) = harness.try_pull() {
                let caps = behind.lock().unwrap().pop_front().unwrap();
                all.push(content(out, &caps));
            }
        }
        all
    };
    let (host, device) = caps("NV12", 98, 50);
    let wanted = pictures("cpu", &host);
    assert_eq!(wanted.len(), 15);
    assert!(pictures("cuda", &device) == wanted);
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn sizes_change_on_the_card() {
    let sizes = [(98, 50), (64, 64), (33, 19), (98, 50)];
    let pictures = |device: &str, on_card: bool| {
        let pick = |size: (i32, i32)| {
            let (host, device) = caps("NV12", size.0, size.1);
            if on_card { device } else { host }
        };
        let mut harness = enhancer(device, "denoise,color,upscale", &pick(sizes[0]));
        let mut all = Vec::new();
        for (number, size) in sizes.iter().flat_map(|s| [s; 2]).enumerate() {
            let caps = pick(*size);
            if number % 2 == 0 && number > 0 {
                harness.set_src_caps(caps.clone());
            }
            let info = gst_video::VideoInfo::from_caps(&caps).unwrap();
            let mut buffer = match on_card {
                true => own_pool(&caps).acquire_buffer(None).unwrap(),
                false => gst::Buffer::with_size(info.size()).unwrap(),
            };
            draw(buffer.get_mut().unwrap(), &info, number as u64, 0);
            if on_card {
                settle(buffer.get_mut().unwrap());
            }
            let out = harness.push_and_pull(buffer).unwrap();
            let caps = harness.sinkpad().unwrap().current_caps().unwrap();
            all.push(content(out, &caps));
        }
        all
    };
    assert!(pictures("cuda", true) == pictures("cpu", false));
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn frames_of_deepstream_are_changed_where_they_are() {
    let detector = model(ty::F32, false);
    let detect = format!(
        "detect:model=\"{}\"",
        detector.path().join("all.onnx").display()
    );
    for operations in ["denoise", "denoise,color", &detect] {
        for format in ["NV12", "I420"] {
            let (host, _) = caps(format, 98, 50);
            let mut wanted = enhancer("cpu", operations, &host);
            let mut harness = enhancer("cuda", operations, &nvmm_caps(&host));
            for number in 0..3 {
                let frame = Nvmm::new(&host, number);
                let info = gst_video::VideoInfo::from_caps(&host).unwrap();
                let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
                fill(buffer.get_mut().unwrap(), &host, number);
                let wanted = content(wanted.push_and_pull(buffer).unwrap(), &host);
                let out = harness.push_and_pull(frame.buffer()).unwrap();
                assert!(frame.content() == wanted, "{operations} {format} {number}");
                drop(out);
            }
        }
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn frames_of_deepstream_become_others_of_another_size_or_depth() {
    for operations in [
        "upscale",
        "denoise,upscale",
        "hdr:window=0",
        "hdr:window=2",
        "upscale,color",
        "stabilize:look-ahead=2,upscale",
        // Frames that wait would be the decoder's.
        "stabilize:look-ahead=2",
    ] {
        for format in ["NV12", "I420"] {
            let (host, device) = caps(format, 98, 50);
            // Frames that wait for others come at the end.
            let run = |caps: &gst::Caps, frame: &dyn Fn(u64) -> gst::Buffer| {
                let mut harness = enhancer("cuda", operations, caps);
                let mut all = Vec::new();
                for number in 0..4u64 {
                    harness.push(frame(number)).unwrap();
                    all.extend(harness.try_pull());
                }
                harness.push_event(gst::event::Eos::new());
                all.extend(std::iter::from_fn(|| harness.try_pull()));
                (all, harness.sinkpad().unwrap().current_caps().unwrap())
            };
            let pool = own_pool(&device);
            let (wanted, cuda) = run(&device, &|number| from_pool(&pool, &device, number));
            let frames: Vec<Nvmm> = (0..4).map(|number| Nvmm::new(&host, number)).collect();
            let before: Vec<Vec<u8>> = frames.iter().map(Nvmm::content).collect();
            let (got, nvmm) = run(&nvmm_caps(&host), &|number| {
                frames[number as usize].buffer()
            });
            assert_eq!(Place::of(&nvmm), Some(Place::Nvmm));
            assert_eq!((wanted.len(), got.len()), (4, 4));
            for (number, (wanted, got)) in wanted.into_iter().zip(got).enumerate() {
                let got = nvmm_content(&got, &nvmm);
                assert!(
                    got == content(wanted, &cuda),
                    "{operations} {format} {number}"
                );
            }
            // What came is only read.
            let after: Vec<Vec<u8>> = frames.iter().map(Nvmm::content).collect();
            assert!(before == after);
        }
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn frames_of_deepstream_are_steadied_where_they_are() {
    for operations in ["stabilize:look-ahead=0", "color,stabilize:look-ahead=0"] {
        let (host, _) = caps("NV12", 98, 50);
        let mut reference = enhancer("cpu", operations, &host);
        let mut harness = enhancer("cuda", operations, &nvmm_caps(&host));
        let info = gst_video::VideoInfo::from_caps(&host).unwrap();
        let mut wanted = Vec::new();
        let frames: Vec<Nvmm> = (0..5).map(|number| Nvmm::new(&host, number)).collect();
        let mut out = 0;
        for (number, frame) in frames.iter().enumerate() {
            let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
            fill(buffer.get_mut().unwrap(), &host, number as u64);
            reference.push(buffer).unwrap();
            wanted.extend(reference.try_pull());
            harness.push(frame.buffer()).unwrap();
            out += std::iter::from_fn(|| harness.try_pull()).count();
            assert_eq!(out, wanted.len(), "{operations} {number}");
        }
        reference.push_event(gst::event::Eos::new());
        wanted.extend(std::iter::from_fn(|| reference.try_pull()));
        harness.push_event(gst::event::Eos::new());
        out += std::iter::from_fn(|| harness.try_pull()).count();
        assert_eq!((wanted.len(), out), (5, 5), "{operations}");
        for (number, (frame, wanted)) in frames.iter().zip(wanted).enumerate() {
            assert!(
                frame.content() == content(wanted, &host),
                "{operations} {number}"
            );
        }
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn without_deepstreams_pools_its_frames_stay_what_they_are() {
    let name = "chains::without_deepstreams_pools_its_frames_stay_what_they_are";
    let said = ["No new frames in NVMM", "libnvdsbufferpool.so"];
    if !is_without("libnvdsbufferpool.so", name, "aivideocuda:4", &said) {
        return;
    }
    let (host, _) = caps("NV12", 98, 50);
    let frame = Nvmm::new(&host, 1);
    for operations in ["upscale", "hdr:window=0"] {
        let mut harness = enhancer("cuda", operations, &nvmm_caps(&host));
        let places = places(&harness.element().unwrap());
        assert!(
            !places.contains(&Some(Place::Nvmm)),
            "{operations}: {places:?}"
        );
        assert_eq!(
            harness.push(frame.buffer()),
            Err(gst::FlowError::NotNegotiated)
        );
    }
    // What changes them where they are needs no pool.
    let mut harness = enhancer("cuda", "color", &nvmm_caps(&host));
    harness.push_and_pull(frame.buffer()).unwrap();
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn frames_of_deepstream_that_others_hold_are_refused() {
    let (host, _) = caps("NV12", 64, 48);
    let mut harness = enhancer("cuda", "color", &nvmm_caps(&host));
    let bus = gst::Bus::new();
    harness.element().unwrap().set_bus(Some(&bus));
    let frame = Nvmm::new(&host, 1);
    let before = frame.content();
    let shared = frame.buffer();
    let held = shared.clone();
    assert_eq!(harness.push(shared), Err(gst::FlowError::Error));
    let message = bus.pop_filtered(&[gst::MessageType::Error]).unwrap();
    let gst::MessageView::Error(error) = message.view() else {
        unreachable!("only errors were asked for");
    };
    let text = error.error().to_string();
    assert!(text.contains("others hold it"), "{text}");
    assert!(frame.content() == before);
    drop(held);
}
