// SPDX-License-Identifier: Apache-2.0
use aivideo_codec::bitstream::SequenceHeader;
use aivideo_core::deep::Yuv420Deep;
use aivideo_core::pixels::Yuv420;
use gst::prelude::*;
use gst_check::Harness;
use std::path::PathBuf;
use std::sync::Once;

/// The shipped model; `AICODEC_TEST_MODEL` names another one.
pub fn model() -> PathBuf {
    match std::env::var_os("AICODEC_TEST_MODEL") {
        Some(path) => path.into(),
        None => concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/codec").into(),
    }
}

pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().expect("GStreamer");
        aivideo_codec::register_transport(None).expect("parser and typefinder");
        aivideo_codec::register_inference(None).expect("encoder and decoder");
    });
}

pub fn info(format: gst_video::VideoFormat, width: usize, height: usize) -> gst_video::VideoInfo {
    init();
    gst_video::VideoInfo::builder(format, width as u32, height as u32)
        .fps(gst::Fraction::new(25, 1))
        .build()
        .expect("a valid picture")
}

/// Of a stream of this size; an encoder sets the model and the depth.
pub fn sequence(width: usize, height: usize) -> SequenceHeader {
    SequenceHeader {
        tile_rows_64: 1,
        ..SequenceHeader::new(width as u16, height as u16, (30, 1))
    }
}

/// A scene with texture, a pan, a moving object and a little noise, in levels of eight bits: luma by
/// index, then both chroma samples by index.
fn paint(
    (width, height): (usize, usize),
    frame: usize,
    mut luma: impl FnMut(usize, f64),
    mut chroma: impl FnMut(usize, f64, f64),
) {
    let mut state = 12345u32.wrapping_add(frame as u32 * 7919);
    let mut noise = move || {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        f64::from(state >> 29) - 3.5
    };
    let t = frame as f64;
    let (cx, cy) = (width as f64 * (0.3 + 0.01 * t), height as f64 * 0.5);
    let radius = height as f64 * 0.2;
    let object = |x: f64, y: f64| (x - cx).powi(2) + (y - cy).powi(2) < radius * radius;
    for y in 0..height {
        for x in 0..width {
            let (fx, fy) = (x as f64, y as f64);
            let (bx, by) = (fx + 1.75 * t, fy + 0.5 * t);
            let back = 110.0
                + 40.0 * (bx * 0.09 + (by * 0.04).sin() * 2.0).sin()
                + 25.0 * (by * 0.15).cos();
            let v = if object(fx, fy) {
                200.0 - 0.2 * (fy - cy)
            } else {
                back
            };
            luma(y * width + x, v + 0.4 * noise());
        }
    }
    let cw = width.div_ceil(2);
    for i in 0..cw * height.div_ceil(2) {
        let (x, y) = ((2 * (i % cw)) as f64, (2 * (i / cw)) as f64);
        match object(x, y) {
            true => chroma(i, 90.0, 170.0),
            false => chroma(
                i,
                128.0 + 12.0 * (x * 0.02 + 0.035 * t).sin(),
                124.0 + 8.0 * (y * 0.03).cos(),
            ),
        }
    }
}

/// The scene in eight bits.
pub fn scene(width: usize, height: usize, frame: usize) -> Yuv420 {
    let mut picture = Yuv420::new(width, height);
    let Yuv420 { y, u, v, .. } = &mut picture;
    paint(
        (width, height),
        frame,
        |i, value| y[i] = value.clamp(0.0, 255.0) as u8,
        |i, blue, red| (u[i], v[i]) = (blue as u8, red as u8),
    );
    picture
}

/// The same scene in ten bits, with a precision that eight do not have.
pub fn scene_deep(width: usize, height: usize, frame: usize) -> Yuv420Deep {
    let mut picture = Yuv420Deep::new(width, height);
    let Yuv420Deep { y, u, v, .. } = &mut picture;
    paint(
        (width, height),
        frame,
        |i, value| y[i] = (4.0 * value).clamp(0.0, 1023.0) as u16,
        |i, blue, red| (u[i], v[i]) = ((4.0 * blue) as u16, (4.0 * red) as u16),
    );
    picture
}

/// A buffer of a picture, with the strides of `info`.
pub fn buffer(picture: &Yuv420, info: &gst_video::VideoInfo, frame: usize) -> gst::Buffer {
    let mut buffer = gst::Buffer::with_size(info.size()).expect("memory");
    {
        let buffer = buffer.get_mut().expect("sole owner");
        let time = gst::ClockTime::from_mseconds(40);
        buffer.set_pts(time * frame as u64);
        buffer.set_duration(time);
        let mut mapped =
            gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, info).expect("mapped");
        picture
            .write_frame(&mut mapped)
            .expect("a picture of this size");
    }
    buffer
}

pub fn read(buffer: &gst::Buffer, info: &gst_video::VideoInfo) -> Yuv420 {
    let mapped = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, info).expect("mapped");
    let mut picture = Yuv420::new(info.width() as usize, info.height() as usize);
    picture.read_frame(&mapped).expect("a picture of this size");
    picture
}

pub fn psnr(a: &Yuv420, b: &Yuv420) -> f64 {
    assert_eq!((a.width, a.height), (b.width, b.height));
    let sum: u64 =
        a.y.iter()
            .zip(&b.y)
            .map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2))
            .sum();
    10.0 * (255.0 * 255.0 * a.y.len() as f64 / (sum as f64).max(1e-9)).log10()
}

/// A buffer of a picture of ten bits.
pub fn buffer_deep(picture: &Yuv420Deep, info: &gst_video::VideoInfo, frame: usize) -> gst::Buffer {
    let mut buffer = gst::Buffer::with_size(info.size()).expect("memory");
    {
        let buffer = buffer.get_mut().expect("sole owner");
        buffer.set_pts(gst::ClockTime::from_mseconds(40) * frame as u64);
        let mut mapped =
            gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, info).expect("mapped");
        picture
            .write_frame(&mut mapped)
            .expect("a picture of this size");
    }
    buffer
}

pub fn read_deep(buffer: &gst::Buffer, info: &gst_video::VideoInfo) -> Yuv420Deep {
    let mapped = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, info).expect("mapped");
    let mut picture = Yuv420Deep::new(info.width() as usize, info.height() as usize);
    picture.read_frame(&mapped).expect("a picture of this size");
    picture
}

/// Of luma, in ten bits.
pub fn psnr_deep(a: &Yuv420Deep, b: &Yuv420Deep) -> f64 {
    assert_eq!((a.width, a.height), (b.width, b.height));
    let squares = a.y.iter().zip(&b.y);
    let sum: u64 = squares.map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
    10.0 * (1023.0 * 1023.0 * a.y.len() as f64 / (sum as f64).max(1e-9)).log10()
}

/// A harness around an encoder with these properties, its input caps set.
pub fn encoder(properties: &str, info: &gst_video::VideoInfo) -> Harness {
    let mut harness = parse(&format!("aicodecenc {properties}"));
    harness.set_sink_caps_str("video/x-aicodec, stream-format=frame");
    harness.set_src_caps(info.to_caps().expect("caps"));
    harness
}

/// A harness around a line of elements, each with the model under test.
pub fn parse(line: &str) -> Harness {
    init();
    let location = model();
    let line = line
        .split('!')
        .map(|element| format!("{element} model-location=\"{}\"", location.display()))
        .collect::<Vec<_>>()
        .join(" ! ");
    Harness::new_parse(&line)
}

/// Encodes a scene to access units; gives their caps too.
pub fn access_units(
    properties: &str,
    width: usize,
    height: usize,
    frames: usize,
) -> (gst::Caps, Vec<gst::Buffer>) {
    let info = info(gst_video::VideoFormat::I420, width, height);
    let mut harness = encoder(properties, &info);
    let units = (0..frames)
        .map(|i| {
            harness
                .push(buffer(&scene(width, height, i), &info, i))
                .expect("accepted");
            harness.pull().expect("an access unit")
        })
        .collect();
    let caps = harness
        .sinkpad()
        .and_then(|p| p.current_caps())
        .expect("caps");
    (caps, units)
}

/// A harness around a decoder, its input caps set.
pub fn decoder(caps: &gst::Caps) -> Harness {
    let mut harness = parse("aicodecdec");
    harness.set_src_caps(caps.clone());
    harness
}

pub fn is_key(unit: &gst::Buffer) -> bool {
    !unit.flags().contains(gst::BufferFlags::DELTA_UNIT)
}

/// Collects the messages of an element that is in no pipeline.
pub fn watch(harness: &Harness) -> gst::Bus {
    let bus = gst::Bus::new();
    let element = harness.element().expect("an element");
    element.set_bus(Some(&bus));
    bus
}

/// The first error on the bus, with its text.
pub fn error_on(bus: &gst::Bus) -> Option<(glib::Error, String)> {
    while let Some(message) = bus.pop() {
        if let gst::MessageView::Error(error) = message.view() {
            let text = format!("{} {}", error.error(), error.debug().unwrap_or_default());
            return Some((error.error(), text));
        }
    }
    None
}
