// SPDX-License-Identifier: Apache-2.0
//! Formats, sizes and strides.

use gst::prelude::*;

use crate::common::{Bench, caps, element, grey, probe, probed, stamped};

/// A frame of the format in which every pixel is the grey `level`, rows padded by `pad` bytes.
fn flat(format: gst_video::VideoFormat, w: usize, h: usize, level: u8, pad: usize) -> gst::Buffer {
    let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
    // width in bytes, rows and value of each plane
    let planes: Vec<(usize, usize, u8)> = match format {
        gst_video::VideoFormat::I420 => vec![(w, h, level), (cw, ch, 128), (cw, ch, 128)],
        gst_video::VideoFormat::Nv12 => vec![(w, h, level), (cw * 2, ch, 128)],
        _ => vec![(w * 3, h, level)],
    };
    // GStreamer's own strides are multiples of 4.
    let (mut data, mut offsets, mut strides) = (Vec::new(), Vec::new(), Vec::new());
    for (index, (width, rows, value)) in planes.into_iter().enumerate() {
        let stride = width.next_multiple_of(4) + pad;
        offsets.push(data.len());
        strides.push(stride as i32);
        for _ in 0..rows {
            data.extend(std::iter::repeat_n(value, width));
            data.extend(std::iter::repeat_n(0xee, stride - width));
        }
        if pad == 0 && index == 0 && width == w && h % 2 == 1 {
            // By default the luma of 4:2:0 has an even number of rows.
            data.extend(std::iter::repeat_n(0xee, stride));
        }
    }
    let mut buffer = gst::Buffer::from_mut_slice(data);
    if pad > 0 {
        gst_video::VideoMeta::add_full(
            buffer.get_mut().unwrap(),
            gst_video::VideoFrameFlags::empty(),
            format,
            w as u32,
            h as u32,
            &offsets,
            &strides,
        )
        .unwrap();
    }
    buffer
}

#[test]
fn every_format_size_and_stride_reads_the_same_grey() {
    let model = probe();
    let mut bench = Bench::with_probe(&model, &[("sync", "true")]);
    let mut index = 0;
    for (name, format) in [
        ("I420", gst_video::VideoFormat::I420),
        ("NV12", gst_video::VideoFormat::Nv12),
        ("RGB", gst_video::VideoFormat::Rgb),
        ("BGR", gst_video::VideoFormat::Bgr),
    ] {
        for (w, h) in [(16, 16), (321, 181), (35, 90), (1, 1), (2, 7), (640, 360)] {
            for pad in [0, 20] {
                bench.caps(name, w, h);
                let mut results = Vec::new();
                for _ in 0..16 {
                    results.extend(bench.pass(stamped(flat(format, w, h, 130, pad), index)));
                    index += 1;
                }
                assert_eq!(results.len(), 1, "{name} {w}x{h}");
                let (first, last) = probed(&results[0]);
                for level in [first, last] {
                    assert!(
                        (level - 130.0).abs() < 0.2,
                        "{name} {w}x{h} padding {pad}: {level}"
                    );
                }
            }
        }
    }
}

#[test]
fn limited_range_is_expanded() {
    let model = probe();
    let mut bench = Bench::with_probe(&model, &[("sync", "true")]);
    let mut caps = caps("NV12", 32, 32);
    caps.get_mut().unwrap().set("colorimetry", "bt709");
    bench.harness.set_src_caps(caps);
    let mut results = Vec::new();
    for i in 0..16 {
        let frame = flat(gst_video::VideoFormat::Nv12, 32, 32, 126, 0);
        results.extend(bench.pass(stamped(frame, i)));
    }
    let want = (126.0 - 16.0) / 219.0 * 255.0;
    assert!((probed(&results[0]).0 - want).abs() < 0.2);
}

#[test]
fn other_formats_are_not_negotiated() {
    let mut bench = Bench::new(&[]);
    bench.caps("GRAY8", 16, 16);
    assert!(
        bench
            .harness
            .push(stamped(gst::Buffer::from_slice(vec![0u8; 256]), 0))
            .is_err()
    );
}

#[test]
fn a_frame_too_small_for_its_caps_is_one_error() {
    let model = probe();
    let mut bench = Bench::with_probe(&model, &[]);
    bench.caps("RGB", 16, 16);
    let short = stamped(gst::Buffer::from_slice(vec![0u8; 100]), 0);
    assert_eq!(bench.harness.push(short), Err(gst::FlowError::Error));
    let error = bench.bus.pop_filtered(&[gst::MessageType::Error]).unwrap();
    let gst::MessageView::Error(error) = error.view() else {
        unreachable!();
    };
    assert!(error.error().message().contains("100 bytes"), "{error:?}");
    assert!(bench.bus.pop_filtered(&[gst::MessageType::Error]).is_none());
}

#[test]
fn pixels_are_neither_copied_nor_changed() {
    let model = probe();
    let mut bench = Bench::with_probe(&model, &[("sync", "true"), ("clip-stride", "1")]);
    bench.caps("RGB", 16, 16);
    for i in 0..18 {
        let frame = grey(i as u8, i);
        // Somebody else holds the buffer too, as behind a tee.
        let held = frame.clone();
        let out = bench.harness.push_and_pull(frame).unwrap();
        let (a, b) = (held.map_readable().unwrap(), out.map_readable().unwrap());
        assert_eq!(a.as_ptr(), b.as_ptr(), "the memory is shared");
        let metas = held.iter_meta::<gst::Meta>().count();
        assert_eq!(metas, 0, "the other holder's buffer is left alone");
        // One, and with the feature `analytics` a second.
        assert_eq!(out.iter_meta::<gst::Meta>().count() > 0, i >= 15);
    }
}

#[test]
fn downstreams_allocation_reaches_upstream() {
    let model = probe();
    let mut bench = Bench::with_probe(&model, &[]);
    let api = gst_video::VideoMeta::meta_api();
    bench.harness.add_propose_allocation_meta(api, None);
    bench.caps("NV12", 32, 32);
    let caps = caps("NV12", 32, 32);
    let mut query = gst::query::Allocation::new(Some(&caps), true);
    let pad = bench.element.static_pad("sink").unwrap();
    assert!(pad.query(query.query_mut()));
    assert!(
        query
            .find_allocation_meta::<gst_video::VideoMeta>()
            .is_some(),
        "buffers pass through, so what downstream takes is what upstream may send"
    );
}

#[test]
fn no_latency_is_added() {
    let model = probe();
    let mut bench = Bench::with_probe(&model, &[]);
    bench.caps("RGB", 16, 16);
    bench
        .harness
        .set_upstream_latency(gst::ClockTime::from_mseconds(7));
    assert_eq!(
        bench.harness.query_latency(),
        Some(gst::ClockTime::from_mseconds(7))
    );
}

#[test]
fn properties_have_the_documented_defaults() {
    let element = element(&[]);
    assert_eq!(element.property::<u32>("top-k"), 5);
    assert_eq!(element.property::<f64>("threshold"), 0.0);
    assert_eq!(element.property::<u32>("frame-stride"), 0);
    assert_eq!(element.property::<u32>("clip-stride"), 0);
    assert!(!element.property::<bool>("sync"));
    assert!(!element.property::<bool>("qos"));
    assert_eq!(element.property::<Option<String>>("labels-file"), None);
    assert_eq!(element.property::<String>("device"), "auto");
    let stats: gst::Structure = element.property("stats");
    assert_eq!(stats.get::<u64>("clips"), Ok(0));
}
