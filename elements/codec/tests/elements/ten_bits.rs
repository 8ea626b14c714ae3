// SPDX-License-Identifier: Apache-2.0
//! Video of ten bits.

use crate::common::*;
use aivideo_codec::bitstream::{AccessUnit, AccessUnitWriter};
use aivideo_codec::coder::{DecodeNet, Decoder, ModelFiles};
use aivideo_core::deep::Yuv420Deep;
use aivideo_core::settings::InferenceSettings;
use gst::prelude::*;
use gst_video::VideoFormat::{self, I420, I42010le, Nv12, P01010le};
use proptest::prelude::*;

fn output_info(harness: &gst_check::Harness) -> gst_video::VideoInfo {
    let caps = harness.sinkpad().unwrap().current_caps().unwrap();
    gst_video::VideoInfo::from_caps(&caps).unwrap()
}

/// Pictures through encoder and decoder, to `wanted` or what the decoder likes best.
fn round_trip(
    properties: &str,
    format: VideoFormat,
    wanted: Option<VideoFormat>,
    pictures: &[Yuv420Deep],
) -> Vec<Yuv420Deep> {
    let input = info(format, pictures[0].width, pictures[0].height);
    let mut harness = parse(&format!("aicodecenc {properties} ! aicodecdec"));
    if let Some(wanted) = wanted {
        harness.set_sink_caps_str(&format!("video/x-raw, format={}", wanted.to_str()));
    }
    harness.set_src_caps(input.to_caps().unwrap());
    let each = pictures.iter().enumerate().map(|(i, picture)| {
        harness.push(buffer_deep(picture, &input, i)).unwrap();
        let out = harness.pull().unwrap();
        let output = output_info(&harness);
        assert_eq!(output.format(), wanted.unwrap_or(I42010le));
        assert_eq!(
            (output.width(), output.height()),
            (input.width(), input.height())
        );
        read_deep(&out, &output)
    });
    each.collect()
}

fn scenes(width: usize, height: usize, frames: usize) -> Vec<Yuv420Deep> {
    (0..frames).map(|i| scene_deep(width, height, i)).collect()
}

/// Rounded to eight bits.
fn round(picture: &Yuv420Deep) -> aivideo_core::pixels::Yuv420 {
    let mut out = aivideo_core::pixels::Yuv420::new(picture.width, picture.height);
    let planes = [
        (&mut out.y, &picture.y),
        (&mut out.u, &picture.u),
        (&mut out.v, &picture.v),
    ];
    for (to, from) in planes {
        for (to, from) in to.iter_mut().zip(from) {
            *to = ((from + 2) >> 2).min(255) as u8;
        }
    }
    out
}

#[test]
fn pictures_come_back_in_either_format() {
    let pictures = scenes(352, 288, 6);
    let plain = round_trip("quality=48", I42010le, None, &pictures);
    let values: Vec<f64> = (pictures.iter().zip(&plain))
        .map(|(a, b)| psnr_deep(a, b))
        .collect();
    println!("Y-PSNR {values:.1?}");
    assert!(values.iter().all(|v| *v > 28.0), "{values:.1?}");
    for (from, to) in [(P01010le, I42010le), (P01010le, P01010le)] {
        let other = round_trip("quality=48", from, Some(to), &pictures);
        assert!(other == plain, "{from} to {to} gives another picture");
    }
}

#[test]
fn any_size() {
    for (width, height) in [(16, 16), (17, 33), (65, 129), (130, 66)] {
        for format in [I42010le, P01010le] {
            let pictures = scenes(width, height, 3);
            let out = round_trip("quality=40", format, Some(format), &pictures);
            for (a, b) in pictures.iter().zip(&out) {
                let value = psnr_deep(a, b);
                assert!(value > 22.0, "{width}x{height} {format}: {value:.1} dB");
            }
        }
    }
}

fn units(
    properties: &str,
    info: &gst_video::VideoInfo,
    buffers: impl IntoIterator<Item = gst::Buffer>,
) -> Vec<Vec<u8>> {
    let mut harness = encoder(properties, info);
    let each = buffers.into_iter().map(|buffer| {
        harness.push(buffer).unwrap();
        harness.pull().unwrap().map_readable().unwrap().to_vec()
    });
    each.collect()
}

#[test]
fn formats_and_strides_change_nothing() {
    let (width, height) = (101, 67);
    let pictures = scenes(width, height, 3);
    let (planar, interleaved) = (info(I42010le, width, height), info(P01010le, width, height));
    let each = |info: &gst_video::VideoInfo| -> Vec<gst::Buffer> {
        let pictures = pictures.iter().enumerate();
        pictures.map(|(i, p)| buffer_deep(p, info, i)).collect()
    };
    let expected = units("quality=40", &planar, each(&planar));
    assert!(
        expected == units("quality=40", &interleaved, each(&interleaved)),
        "P010 gives other bytes"
    );
    // P010 with wide rows, gaps, and noise in the six bits that mean nothing.
    let padded = |picture: &Yuv420Deep, i: usize| {
        let (stride, offsets) = (256, [64, 64 + 256 * 70]);
        let mut data = vec![0xEE_u8; offsets[1] + stride * 40];
        let mut put = |at: usize, value: u16, noise: usize| {
            let value = value << 6 | (noise * 37 % 64) as u16;
            data[at..at + 2].copy_from_slice(&value.to_le_bytes());
        };
        for (i, &v) in picture.y.iter().enumerate() {
            put(offsets[0] + i / width * stride + i % width * 2, v, i);
        }
        let half = picture.chroma_width();
        for (i, (&u, &v)) in picture.u.iter().zip(&picture.v).enumerate() {
            let at = offsets[1] + i / half * stride + i % half * 4;
            put(at, u, i);
            put(at + 2, v, i);
        }
        let mut buffer = gst::Buffer::from_mut_slice(data);
        let inner = buffer.get_mut().unwrap();
        inner.set_pts(gst::ClockTime::from_mseconds(40) * i as u64);
        gst_video::VideoMeta::add_full(
            inner,
            gst_video::VideoFrameFlags::empty(),
            P01010le,
            width as u32,
            height as u32,
            &offsets,
            &[stride as i32; 2],
        )
        .unwrap();
        buffer
    };
    let buffers = pictures.iter().enumerate().map(|(i, p)| padded(p, i));
    assert!(
        expected == units("quality=40", &interleaved, buffers),
        "strides give other bytes"
    );
}

/// A ramp of a quarter of an eight-bit level a column and a sixteenth a row, at rest.
fn ramp() -> Yuv420Deep {
    let mut picture = Yuv420Deep::new(256, 192);
    for (i, v) in picture.y.iter_mut().enumerate() {
        *v = 380 + (i % 256) as u16 + (i / 256 / 4) as u16;
    }
    picture
}

#[test]
fn the_two_lower_bits_survive() {
    let picture = ramp();
    let pictures = vec![picture.clone(); 6];
    let out = round_trip("quality=63 skip-blocks=false", I42010le, None, &pictures);
    let ten: Vec<f64> = out.iter().map(|b| psnr_deep(&picture, b)).collect();
    // Eight bits: what they make of the ramp before any coding, and after it.
    let eight = round(&picture);
    let widen = |picture: &aivideo_core::pixels::Yuv420| {
        let mut out = Yuv420Deep::new(picture.width, picture.height);
        for (to, from) in out.y.iter_mut().zip(&picture.y) {
            *to = 4 * u16::from(*from);
        }
        out
    };
    let limit = psnr_deep(&picture, &widen(&eight));
    let input = info(I420, 256, 192);
    let mut harness = parse("aicodecenc quality=63 skip-blocks=false ! aicodecdec");
    harness.set_src_caps(input.to_caps().unwrap());
    let coded: Vec<f64> = (0..6)
        .map(|i| {
            harness.push(buffer(&eight, &input, i)).unwrap();
            let out = read(&harness.pull().unwrap(), &input);
            psnr_deep(&picture, &widen(&out))
        })
        .collect();
    println!("ten bits {ten:.1?} dB; eight bits {coded:.1?} dB, at most {limit:.1}");
    assert!(ten[0] > limit + 2.0, "{ten:.2?}, {limit:.2} in eight");
    for (ten, eight) in ten.iter().zip(&coded) {
        // The search sees eight bits: predicted frames are a little behind the first.
        assert!(
            *ten > limit - 2.0 && *ten > eight + 2.0,
            "{ten:.2} dB in ten bits; in eight {eight:.2}, {limit:.2} without any coding"
        );
    }
}

/// The same scene costs about the same at either depth: quality means the same.
#[test]
fn quality_means_the_same() {
    let (width, height) = (320, 192);
    for quality in [10, 30, 50] {
        let properties = format!("quality={quality}");
        let (eight, ten) = (info(I420, width, height), info(I42010le, width, height));
        let deep = scenes(width, height, 8);
        let rounded: Vec<_> = deep.iter().map(round).collect();
        let bytes = |units: Vec<Vec<u8>>| units.iter().map(Vec::len).sum::<usize>();
        let deep = deep
            .iter()
            .enumerate()
            .map(|(i, p)| buffer_deep(p, &ten, i));
        let ten = bytes(units(&properties, &ten, deep));
        let rounded = rounded
            .iter()
            .enumerate()
            .map(|(i, p)| buffer(p, &eight, i));
        let eight = bytes(units(&properties, &eight, rounded));
        println!("quality {quality}: {eight} bytes in eight bits, {ten} in ten");
        assert!(
            ten * 10 < eight * 11 && eight * 10 < ten * 11,
            "quality {quality}: {eight} bytes in eight bits, {ten} in ten"
        );
    }
}

#[test]
fn the_depth_may_change_mid_stream() {
    let (width, height) = (72, 50);
    let mut harness = parse("aicodecenc quality=40 ! aicodecdec");
    let steps = [I420, I42010le, Nv12, P01010le];
    for (i, format) in steps.into_iter().enumerate() {
        let input = info(format, width, height);
        harness.set_src_caps(input.to_caps().unwrap());
        let ten = input.comp_depth(0) == 10;
        for j in 0..3 {
            let picture = scene_deep(width, height, j);
            let frame = match ten {
                true => buffer_deep(&picture, &input, 3 * i + j),
                false => buffer(&round(&picture), &input, 3 * i + j),
            };
            harness.push(frame).unwrap();
            let out = harness.pull().unwrap();
            let output = output_info(&harness);
            assert_eq!(output.format(), if ten { I42010le } else { I420 });
            let value = match ten {
                true => psnr_deep(&picture, &read_deep(&out, &output)),
                false => psnr(&round(&picture), &read(&out, &output)),
            };
            assert!(value > 24.0, "{format}: {value:.1} dB");
        }
    }
    let mut stats = |name: &str| {
        let element = harness.find_element(name).unwrap();
        element.property::<gst::Structure>("stats")
    };
    // Each change begins a new sequence.
    assert_eq!(stats("aicodecenc").get::<u64>("key-frames"), Ok(4));
    assert_eq!(stats("aicodecenc").get::<u32>("bit-depth"), Ok(10));
    assert_eq!(stats("aicodecdec").get::<u32>("bit-depth"), Ok(10));
    assert_eq!(stats("aicodecdec").get::<u64>("decoded-frames"), Ok(12));
}

/// Coded in ten bits: their caps and the access units.
fn coded(
    properties: &str,
    width: usize,
    height: usize,
    frames: usize,
) -> (gst::Caps, Vec<Vec<u8>>) {
    let info = info(I42010le, width, height);
    let mut harness = encoder(properties, &info);
    let mut units = Vec::new();
    for i in 0..frames {
        harness
            .push(buffer_deep(&scene_deep(width, height, i), &info, i))
            .unwrap();
        units.push(harness.pull().unwrap().map_readable().unwrap().to_vec());
    }
    let caps = harness.sinkpad().unwrap().current_caps().unwrap();
    (caps, units)
}

#[test]
fn caps_tell_the_depth() {
    for format in ["frame", "byte-stream"] {
        let info = info(P01010le, 64, 64);
        let mut harness = parse("aicodecenc");
        harness.set_sink_caps_str(&format!("video/x-aicodec, stream-format={format}"));
        harness.set_src_caps(info.to_caps().unwrap());
        harness
            .push(buffer_deep(&scene_deep(64, 64, 0), &info, 0))
            .unwrap();
        harness.pull().unwrap();
        let caps = harness.sinkpad().unwrap().current_caps().unwrap();
        let s = caps.structure(0).unwrap();
        assert_eq!(s.get::<u32>("bit-depth-luma"), Ok(10));
        assert_eq!(s.get::<u32>("bit-depth-chroma"), Ok(10));
    }
}

#[test]
fn colours_of_high_dynamic_range_are_kept() {
    const LIGHT: [(&str, &str); 2] = [
        (
            "mastering-display-info",
            "35400:14600:8500:39850:6550:2300:15635:16450:10000000:50",
        ),
        ("content-light-level", "1000:400"),
    ];
    for colorimetry in ["bt2100-pq", "bt2100-hlg", "bt2020-10"] {
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", "P010_10LE")
            .field("width", 64)
            .field("height", 48)
            .field("framerate", gst::Fraction::new(25, 1))
            .field("colorimetry", colorimetry)
            .field(LIGHT[0].0, LIGHT[0].1)
            .field(LIGHT[1].0, LIGHT[1].1)
            .build();
        let input = gst_video::VideoInfo::from_caps(&caps).unwrap();
        // Through the parser, as from a file.
        init();
        let location = model();
        let location = location.display();
        let mut harness = gst_check::Harness::new_parse(&format!(
            "aicodecenc model-location={location} ! aicodecparse ! aicodecdec model-location={location}"
        ));
        harness.set_src_caps(caps);
        harness
            .push(buffer_deep(&scene_deep(64, 48, 0), &input, 0))
            .unwrap();
        harness.pull().unwrap();
        let caps = harness.sinkpad().unwrap().current_caps().unwrap();
        let output = gst_video::VideoInfo::from_caps(&caps).unwrap();
        assert_eq!(output.format(), I42010le);
        assert_eq!(output.colorimetry(), input.colorimetry(), "{colorimetry}");
        for (name, value) in LIGHT {
            assert_eq!(caps.structure(0).unwrap().get::<&str>(name), Ok(value));
        }
    }
}

#[test]
fn downstream_without_ten_bits_is_told_so() {
    let (caps, units) = coded("quality=40", 64, 64, 1);
    let mut harness = parse("aicodecdec");
    let bus = watch(&harness);
    harness.set_sink_caps_str("video/x-raw, format={ I420, NV12 }");
    harness.set_src_caps(caps);
    assert!(
        harness
            .push(gst::Buffer::from_slice(units[0].clone()))
            .is_err()
    );
    let (_, text) = error_on(&bus).expect("an error");
    assert!(
        text.contains("10 bits") && text.contains("I420_10LE") && text.contains("videoconvert"),
        "{text}"
    );
}

/// A stream whose samples have other depths is refused, by its caps and by its first frame.
#[test]
fn other_depths_are_refused() {
    let (mut caps, units) = coded("quality=40", 64, 64, 1);
    let files = ModelFiles::find(Some(&model())).unwrap();
    let net = DecodeNet::acquire(&files, &InferenceSettings::default()).unwrap();
    let mut decoder = Decoder::new(net, false);
    for depth in [9, 11, 12, 13, 14, 15, 16] {
        let parsed = AccessUnit::parse(&units[0]).unwrap();
        let mut sequence = parsed.sequence.clone().unwrap();
        sequence.bit_depth = depth;
        let mut writer = AccessUnitWriter::new(parsed.header, Some(&sequence));
        for tile in parsed.tiles.iter().flatten() {
            writer.push_tile(tile);
        }
        let error = decoder.decode(&writer.finish()).unwrap_err();
        assert!(
            error.to_string().contains(&format!("{depth} bits")),
            "{error}"
        );
        assert!(!error.cured_by_key());

        let data = gst::Buffer::from_mut_slice(sequence.write());
        caps.make_mut().set("codec_data", data);
        let mut harness = parse("aicodecdec");
        let bus = watch(&harness);
        harness.set_src_caps(caps.clone());
        let (error, text) = error_on(&bus).expect("an error");
        assert!(error.matches(gst::StreamError::NotImplemented), "{text}");
        assert!(text.contains(&format!("{depth} bits: 8 and 10")), "{text}");
    }
    // What was refused changes nothing.
    assert!(decoder.decode(&units[0]).unwrap().intact);
    let mut eight = aivideo_core::pixels::Yuv420::new(64, 64);
    let error = decoder.picture(&mut eight).unwrap_err();
    assert!(
        error.to_string().contains("8 bits for a stream of 10"),
        "{error}"
    );
}

/// The networks of ten bits are needed only where ONNX Runtime runs them on such pictures.
#[test]
fn a_missing_network_of_ten_bits_is_named_when_it_is_needed() {
    init();
    let (folder, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for file in std::fs::read_dir(model()).unwrap() {
        let (name, path) = file.map(|f| (f.file_name(), f.path())).unwrap();
        let name = name.to_str().unwrap();
        if name.ends_with(".onnx") || name.ends_with(".bin") {
            std::fs::copy(&path, whole.path().join(name)).unwrap();
            if !name.ends_with("10.onnx") {
                std::fs::copy(&path, folder.path().join(name)).unwrap();
            }
        }
    }
    let run = |side: &str, format: &str, settings: &str| {
        let [encoder, decoder] = ["aicodecenc", "aicodecdec"].map(|name| {
            let location = match name == side {
                true => format!("model-location={} {settings}", folder.path().display()),
                false => format!("model-location={}", whole.path().display()),
            };
            format!("{name} {location}")
        });
        let line = format!(
            "videotestsrc num-buffers=2 ! video/x-raw,format={format},width=64,height=64 ! {encoder} ! {decoder} ! fakesink"
        );
        let pipeline = gst::parse::launch(&line).unwrap();
        let bus = pipeline.bus().unwrap();
        let _ = pipeline.set_state(gst::State::Playing);
        let kinds = [gst::MessageType::Error, gst::MessageType::Eos];
        let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &kinds);
        let _ = pipeline.set_state(gst::State::Null);
        match message.expect("an answer").view() {
            gst::MessageView::Error(error) => Some(error.error().to_string()),
            _ => None,
        }
    };
    for (side, file) in [
        ("aicodecenc", "s-encode10.onnx"),
        ("aicodecdec", "s-decode10.onnx"),
    ] {
        assert_eq!(run(side, "I420", "graph-optimization=false"), None);
        let text = run(side, "I420_10LE", "graph-optimization=false").expect("an error");
        assert!(text.contains(file) && text.contains("10 bits"), "{text}");
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        assert_eq!(run("aicodecenc", "I420_10LE", ""), None);
        assert_eq!(run("aicodecdec", "I420_10LE", ""), None);
    }
}

/// Files of two models beside each other would show noise.
#[test]
fn a_network_of_ten_bits_with_other_weights_is_refused() {
    init();
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "s-encode.onnx",
        "s-decode.onnx",
        "s-decode10.onnx",
        "s-tables.bin",
    ] {
        std::fs::copy(model().join(name), folder.path().join(name)).unwrap();
    }
    let path = folder.path().join("s-decode10.onnx");
    let mut bytes = std::fs::read(&path).unwrap();
    let key = b"aicodec.weights-sha256";
    let at = bytes.windows(key.len()).position(|w| w == key).unwrap() + key.len() + 10;
    bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    std::fs::write(&path, bytes).unwrap();
    let files = ModelFiles::find(Some(folder.path())).unwrap();
    let settings = InferenceSettings {
        device: "cpu".to_owned(),
        graph_optimization: false,
        ..InferenceSettings::default()
    };
    let net = DecodeNet::acquire(&files, &settings).unwrap();
    net.prepare::<u8>().unwrap();
    let error = net.prepare::<u16>().unwrap_err().to_string();
    assert!(
        error.contains("weights-sha256") && error.contains("s-decode10.onnx"),
        "{error}"
    );
}

/// A sender under constant bitrate keeps to it whatever the depth.
#[test]
fn rate_control_holds() {
    let (width, height) = (320, 192);
    let properties = "rate-control=cbr bitrate=120 filler=false key-int-max=0";
    let deep = info(I42010le, width, height);
    let buffers = (0..75).map(|i| buffer_deep(&scene_deep(width, height, i), &deep, i));
    let sizes: Vec<usize> = units(properties, &deep, buffers)
        .iter()
        .map(Vec::len)
        .collect();
    let kilobits = sizes.iter().sum::<usize>() as f64 * 8.0 / 3.0 / 1000.0;
    println!("{kilobits:.0} kbit/s");
    assert!((110.0..126.0).contains(&kilobits), "{kilobits:.0} kbit/s");
}

/// One decoder for all cases, with streams of both depths.
fn with_decoder<T>(f: impl FnOnce(&mut Decoder, &[Vec<u8>], &[u8]) -> T) -> T {
    use std::sync::{LazyLock, Mutex};
    type Shared = (Decoder, Vec<Vec<u8>>, Vec<u8>);
    static SHARED: LazyLock<Mutex<Shared>> = LazyLock::new(|| {
        let (_, ten) = coded("tile-rows=1 quality=30", 72, 130, 3);
        let (_, eight) = access_units("tile-rows=1 quality=30", 72, 130, 1);
        let eight = eight[0].map_readable().unwrap().to_vec();
        let files = ModelFiles::find(Some(&model())).unwrap();
        let net = DecodeNet::acquire(&files, &InferenceSettings::default()).unwrap();
        Mutex::new((Decoder::new(net, true), ten, eight))
    });
    let mut shared = SHARED.lock().unwrap_or_else(|e| e.into_inner());
    let (decoder, ten, eight) = &mut *shared;
    f(decoder, ten, eight)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn hostile_input_never_panics(
        unit in 0usize..3,
        cut in 0usize..4000,
        at in 0usize..4000,
        value in any::<u8>(),
        depth in 0u8..=255,
        tail in prop::collection::vec(any::<u8>(), 0..300),
        other: bool,
    ) {
        with_decoder(|decoder, units, eight| {
            decoder.decode(&units[0]).unwrap();
            if other {
                // A stream of the other depth comes in between; its frames do not fit this one's.
                decoder.decode(eight).unwrap();
                let _ = decoder.decode(&units[1]);
                decoder.decode(&units[0]).unwrap();
            }
            let mut bytes = units[unit].clone();
            let at = at % bytes.len();
            bytes[at] = value;
            bytes.truncate(bytes.len() - cut % bytes.len());
            let _ = decoder.decode(&bytes);
            bytes.extend(tail);
            let _ = decoder.decode(&bytes);
            // Any depth in a header that is otherwise sound.
            let parsed = AccessUnit::parse(&units[0]).unwrap();
            let mut sequence = parsed.sequence.clone().unwrap();
            sequence.bit_depth = depth;
            let mut writer = AccessUnitWriter::new(parsed.header, Some(&sequence));
            for tile in parsed.tiles.iter().flatten() {
                writer.push_tile(tile);
            }
            let decoded = decoder.decode(&writer.finish());
            assert_eq!(decoded.is_ok(), depth == 8 || depth == 10);
            let clean = decoder.decode(&units[0]).unwrap();
            assert!(clean.damaged.is_empty());
        });
    }
}

/// A source that offers every format gets what it would have got before there were ten bits.
#[test]
fn a_source_without_a_wish_gives_eight_bits() {
    init();
    let location = model();
    let line = format!(
        "videotestsrc num-buffers=1 ! video/x-raw,width=64,height=64 ! aicodecenc name=enc model-location={} ! fakesink",
        location.display()
    );
    let pipeline = gst::parse::launch(&line).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let bus = pipeline.bus().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let kinds = [gst::MessageType::Error, gst::MessageType::Eos];
    let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &kinds);
    assert_eq!(message.unwrap().type_(), gst::MessageType::Eos);
    let pad = pipeline.by_name("enc").unwrap().static_pad("sink").unwrap();
    let caps = pad.current_caps().unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    let info = gst_video::VideoInfo::from_caps(&caps).unwrap();
    assert_eq!(info.comp_depth(0), 8, "{caps}");
}
