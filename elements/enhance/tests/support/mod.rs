// SPDX-License-Identifier: Apache-2.0
//! Pictures, buffers and harnesses for the tests of `aienhance`.

use std::sync::Once;

pub use aivideo_core::pixels::Yuv420 as Picture;
use gst::prelude::*;
use gst_check::Harness;
use gst_video::{VideoFormat, VideoFrameExt};

pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().expect("GStreamer");
        let presets = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/aivideo/presets");
        gst::Preset::set_app_dir(presets).expect("a folder for presets");
        aivideo_enhance::register(None).expect("registered once");
        // Said here, because a harness aborts the process when its element does not start.
        if let Err(error) = aivideo_core::runtime::get() {
            panic!("these tests need ONNX Runtime: {error}");
        }
    });
}

/// A harness around `aienhance` with the given operations.
pub fn harness(operations: &str) -> Harness {
    init();
    let element = gst::ElementFactory::make("aienhance")
        .property("operations", operations)
        .build()
        .expect("the element");
    let mut h = Harness::with_element(&element, Some("sink"), Some("src"));
    h.play();
    h
}

pub fn sink_pad(h: &Harness) -> gst::Pad {
    let element = h.element().expect("an element");
    element.static_pad("sink").expect("a sink pad")
}

/// Caps of what comes out.
pub fn out_caps(h: &mut Harness) -> gst::Caps {
    let pad = h.sinkpad().expect("a pad behind the element");
    pad.current_caps().expect("negotiated")
}

pub fn caps_of(format: VideoFormat, width: usize, height: usize) -> gst::Caps {
    let info = gst_video::VideoInfo::builder(format, width as u32, height as u32)
        .fps(gst::Fraction::new(25, 1))
        .build()
        .expect("a video format");
    info.to_caps().expect("caps")
}

/// The element's messages go here from now on.
pub fn bus_of(element: &gst::Element) -> gst::Bus {
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    bus
}

/// Texts of all waiting messages of one kind.
pub fn messages(bus: &gst::Bus, kind: gst::MessageType) -> Vec<String> {
    std::iter::from_fn(|| bus.pop_filtered(&[kind]))
        .map(|message| match message.view() {
            gst::MessageView::Error(e) => text(e.error(), e.debug()),
            gst::MessageView::Warning(w) => text(w.error(), w.debug()),
            other => format!("{other:?}"),
        })
        .collect()
}

/// What gst-launch-1.0 shows.
fn text(error: glib::Error, debug: Option<glib::GString>) -> String {
    format!("{error} {}", debug.unwrap_or_default())
}

/// A buffer of the picture whose rows are `padding` bytes longer than they need be, filled with
/// rubbish; 0 is GStreamer's own layout.
pub fn buffer_of(picture: &Picture, format: VideoFormat, padding: usize) -> gst::Buffer {
    init();
    let (w, h) = (picture.width as u32, picture.height as u32);
    let info = gst_video::VideoInfo::builder(format, w, h)
        .build()
        .expect("a video format");
    let mut buffer;
    if padding == 0 {
        buffer = gst::Buffer::with_size(info.size()).expect("memory");
    } else {
        let (mut offsets, mut strides, mut size) = (Vec::new(), Vec::new(), 64);
        for plane in 0..info.n_planes() as usize {
            let rows = if plane == 0 { h } else { h.div_ceil(2) } as usize;
            let bytes = match (plane, format) {
                (0, _) => picture.width,
                (_, VideoFormat::Nv12) => picture.chroma_width() * 2,
                _ => picture.chroma_width(),
            };
            let stride = bytes + padding;
            offsets.push(size);
            strides.push(stride as i32);
            size += stride * rows + 16;
        }
        buffer = gst::Buffer::from_mut_slice(vec![0xA5u8; size]);
        gst_video::VideoMeta::add_full(
            buffer.make_mut(),
            gst_video::VideoFrameFlags::empty(),
            format,
            w,
            h,
            &offsets,
            &strides,
        )
        .expect("a meta");
    }
    {
        let buffer = buffer.make_mut();
        let mut frame = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, &info)
            .expect("a mapped frame");
        picture.write_frame(&mut frame).expect("written");
    }
    buffer
}

pub fn picture_of(buffer: &gst::Buffer, caps: &gst::Caps) -> Picture {
    let info = gst_video::VideoInfo::from_caps(caps).expect("raw video");
    let frame =
        gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info).expect("a mapped frame");
    let mut picture = Picture::new(frame.width() as usize, frame.height() as usize);
    picture.read_frame(&frame).expect("read");
    picture
}

/// One picture through a fresh element.
pub fn run_one(
    operations: &str,
    format: VideoFormat,
    picture: &Picture,
    padding: usize,
) -> Picture {
    let mut h = harness(operations);
    h.set_src_caps(caps_of(format, picture.width, picture.height));
    let out = h
        .push_and_pull(buffer_of(picture, format, padding))
        .expect("a frame");
    picture_of(&out, &out_caps(&mut h))
}

/// A small generator (xorshift).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn uniform(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 40) as f32 + 0.5) / (1u64 << 24) as f32
    }

    fn gaussian(&mut self) -> f32 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f32::consts::TAU * self.uniform()).cos()
    }
}

/// "Dead leaves": discs that cover each other, drawn at four times the size and averaged down.
/// Edges, occlusion and scales as in photographs.
pub fn leaves(width: usize, height: usize, seed: u64) -> Picture {
    let mut random = Random::new(seed);
    let (w, h) = (width * 4, height * 4);
    let mut large = vec![[110.0f32, 128.0, 128.0]; w * h];
    for _ in 0..(width * height / 150).max(6) {
        let radius = 12.0 * (1.0 - 0.97 * random.uniform()).powf(-0.7).min(14.0);
        let (x, y) = (random.uniform() * w as f32, random.uniform() * h as f32);
        let colour = [
            30.0 + 195.0 * random.uniform(),
            90.0 + 76.0 * random.uniform(),
            90.0 + 76.0 * random.uniform(),
        ];
        let slope = (random.uniform() - 0.5) * 1.5;
        let rows = (y - radius).max(0.0) as usize..((y + radius) as usize + 1).min(h);
        for j in rows {
            for i in (x - radius).max(0.0) as usize..((x + radius) as usize + 1).min(w) {
                let (dx, dy) = (i as f32 - x, j as f32 - y);
                if dx * dx + dy * dy < radius * radius {
                    large[j * w + i] = [colour[0] + slope * dx, colour[1], colour[2]];
                }
            }
        }
    }
    let mean = |x0: usize, y0: usize, side: usize, channel: usize| {
        let mut sum = 0.0;
        for j in y0..y0 + side {
            for i in x0..x0 + side {
                sum += large[j.min(h - 1) * w + i.min(w - 1)][channel];
            }
        }
        (sum / (side * side) as f32).round().clamp(2.0, 253.0) as u8
    };
    let mut picture = Picture::new(width, height);
    for y in 0..height {
        for x in 0..width {
            picture.y[y * width + x] = mean(x * 4, y * 4, 4, 0);
        }
    }
    let (cw, ch) = (picture.chroma_width(), picture.chroma_height());
    for y in 0..ch {
        for x in 0..cw {
            picture.u[y * cw + x] = mean(x * 8, y * 8, 8, 1);
            picture.v[y * cw + x] = mean(x * 8, y * 8, 8, 2);
        }
    }
    picture
}

/// A made picture, and a frame of real footage where the data folder is there.
pub fn pictures() -> Vec<(Picture, &'static str)> {
    let mut all = vec![(leaves(320, 240, 21), "leaves")];
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/data/test/video/libvpl__cars_320x240.nv12"
    );
    match std::fs::read(path) {
        Ok(bytes) if bytes.len() >= 320 * 240 * 3 / 2 => {
            let mut cars = Picture::new(320, 240);
            let (y, uv) = bytes[..320 * 240 * 3 / 2].split_at(320 * 240);
            cars.y.copy_from_slice(y);
            for (i, pair) in uv.chunks_exact(2).enumerate() {
                cars.u[i] = pair[0];
                cars.v[i] = pair[1];
            }
            all.push((cars, "cars"));
        }
        _ => aivideo_skip::skip!("no real footage at {path}: only the made picture is tested"),
    }
    all
}

/// The picture with noise: `sigma` on luma, half of it on chroma.
pub fn add_noise(clean: &Picture, sigma: f32, seed: u64) -> Picture {
    let mut random = Random::new(seed);
    let mut noisy = clean.clone();
    for (plane, sigma) in [
        (&mut noisy.y, sigma),
        (&mut noisy.u, sigma / 2.0),
        (&mut noisy.v, sigma / 2.0),
    ] {
        for v in plane {
            *v = (f32::from(*v) + sigma * random.gaussian())
                .round()
                .clamp(0.0, 255.0) as u8;
        }
    }
    noisy
}

pub fn psnr(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let sum: f64 = a
        .iter()
        .zip(b)
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
        .sum();
    10.0 * (255.0f64.powi(2) * a.len() as f64 / sum.max(1e-9)).log10()
}

/// PSNR without a border.
pub fn psnr_inside(a: &[u8], b: &[u8], width: usize, border: usize) -> f64 {
    let inside = |plane: &[u8]| -> Vec<u8> {
        let height = plane.len() / width;
        (border..height - border)
            .flat_map(|y| plane[y * width + border..(y + 1) * width - border].to_vec())
            .collect()
    };
    psnr(&inside(a), &inside(b))
}

fn cubic(d: f32) -> f32 {
    let d = d.abs();
    if d < 1.0 {
        1.5 * d.powi(3) - 2.5 * d.powi(2) + 1.0
    } else if d < 2.0 {
        -0.5 * d.powi(3) + 2.5 * d.powi(2) - 4.0 * d + 2.0
    } else {
        0.0
    }
}

/// Resamples along one axis: `taps` gives for a target place the weighted source places.
fn resample(
    plane: &[f32],
    (width, height): (usize, usize),
    (to_width, to_height): (usize, usize),
    taps: impl Fn(usize) -> Vec<(isize, f32)>,
) -> Vec<f32> {
    let across = to_height == height;
    let mut out = vec![0.0; to_width * to_height];
    for y in 0..to_height {
        for x in 0..to_width {
            let mut sum = 0.0;
            for (at, weight) in taps(if across { x } else { y }) {
                let (sx, sy) = if across {
                    (at, y as isize)
                } else {
                    (x as isize, at)
                };
                let sx = sx.clamp(0, width as isize - 1) as usize;
                let sy = sy.clamp(0, height as isize - 1) as usize;
                sum += weight * plane[sy * width + sx];
            }
            out[y * to_width + x] = sum;
        }
    }
    out
}

fn bytes(plane: &[f32]) -> Vec<u8> {
    plane
        .iter()
        .map(|v| v.round().clamp(0.0, 255.0) as u8)
        .collect()
}

fn floats(plane: &[u8]) -> Vec<f32> {
    plane.iter().map(|&v| f32::from(v)).collect()
}

/// Antialiased bicubic x1/2. `offset` is the place of the first target sample.
fn half(plane: &[u8], width: usize, height: usize, offset: (f32, f32)) -> Vec<u8> {
    let taps = |offset: f32| {
        move |i: usize| {
            let centre = 2.0 * i as f32 + offset;
            (-4..=4)
                .map(|k| {
                    let at = centre.floor() as isize + k;
                    (at, cubic((at as f32 - centre) / 2.0) / 2.0)
                })
                .collect()
        }
    };
    let wide = resample(
        &floats(plane),
        (width, height),
        (width / 2, height),
        taps(offset.0),
    );
    bytes(&resample(
        &wide,
        (width / 2, height),
        (width / 2, height / 2),
        taps(offset.1),
    ))
}

/// The picture at half size; chroma stays on left luma columns.
pub fn shrink(large: &Picture) -> Picture {
    let (w, h) = (large.width, large.height);
    let (cw, ch) = (large.chroma_width(), large.chroma_height());
    // Of a left-sited sample j of the small picture: luma column 2j there is 4j + 0.5 here.
    Picture {
        width: w / 2,
        height: h / 2,
        y: half(&large.y, w, h, (0.5, 0.5)),
        u: half(&large.u, cw, ch, (0.25, 0.5)),
        v: half(&large.v, cw, ch, (0.25, 0.5)),
    }
}

/// Bicubic x2, the peer.
pub fn bicubic(plane: &[u8], width: usize, height: usize) -> Vec<u8> {
    let taps = |i: usize| {
        let centre = i as f32 / 2.0 - 0.25;
        (-1..=2)
            .map(|k| {
                let at = centre.floor() as isize + k;
                (at, cubic(at as f32 - centre))
            })
            .collect()
    };
    let wide = resample(&floats(plane), (width, height), (width * 2, height), taps);
    bytes(&resample(
        &wide,
        (width * 2, height),
        (width * 2, height * 2),
        taps,
    ))
}
