// SPDX-License-Identifier: Apache-2.0
//! aicodecenc with its pictures on the stand-in, from frames of the host's memory and of the GPU's.

use super::*;
use cudaframes::own_pool;
use gst_video::VideoFormat;

/// An encoder that is given such caps and sends frames.
fn encoder_from(properties: &str, caps: &gst::Caps) -> Harness {
    let mut harness = parse(&format!("aicodecenc {properties}"));
    harness.set_sink_caps_str("video/x-aicodec, stream-format=frame");
    harness.set_src_caps(caps.clone());
    harness
}

/// The scene in a format of the host's memory.
fn host_frame(format: &str, (width, height): (usize, usize), frame: usize) -> gst::Buffer {
    let info = info(VideoFormat::from_string(format), width, height);
    match format.contains("10") {
        true => buffer_deep(&scene_deep(width, height, frame), &info, frame),
        false => buffer(&scene(width, height, frame), &info, frame),
    }
}

/// The same in a frame of a pool on the GPU.
fn device_frame(
    pool: &gst::BufferPool,
    format: &str,
    (width, height): (usize, usize),
    frame: usize,
) -> gst::Buffer {
    let info = info(VideoFormat::from_string(format), width, height);
    let mut buffer = pool.acquire_buffer(None).unwrap();
    let writable = buffer.get_mut().unwrap();
    writable.set_pts(gst::ClockTime::from_mseconds(40) * frame as u64);
    {
        let mut mapped =
            gst_video::VideoFrameRef::from_buffer_ref_writable(writable, &info).unwrap();
        match format.contains("10") {
            true => scene_deep(width, height, frame).write_frame(&mut mapped),
            false => scene(width, height, frame).write_frame(&mut mapped),
        }
        .unwrap();
    }
    cudaframes::settle(writable);
    buffer
}

/// All units that a harness has been given, once it was told that no more frames come.
fn all_units(harness: &mut Harness, frames: usize) -> Vec<Vec<u8>> {
    harness.push_event(gst::event::Eos::new());
    let units: Vec<Vec<u8>> = (0..frames)
        .map(|_| bytes(&harness.pull().unwrap()))
        .collect();
    assert!(harness.try_pull().is_none());
    units
}

fn bytes(unit: &gst::Buffer) -> Vec<u8> {
    unit.map_readable().unwrap().to_vec()
}

/// What a decoder of the host's makes of units; none may be damaged.
fn shown<S: Depth>(units: &[Vec<u8>]) -> Vec<aivideo_codec::coder::Picture<S>> {
    let mut decoder = Decoder::new(decode_net(&model(), "cpu"), true);
    let shown = units.iter().map(|unit| {
        assert!(decoder.decode(unit).unwrap().intact);
        decoder.reconstruction::<S>().unwrap().clone()
    });
    shown.collect()
}

const ON_GPU: &str = "device=cuda graph-optimization=false quality=36 key-int-max=4";

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn frames_of_the_gpu_are_coded_as_those_of_the_host() {
    init();
    for (format, deep) in [
        ("I420", false),
        ("NV12", false),
        ("I420_10LE", true),
        ("P010_10LE", true),
    ] {
        // GStreamer 1.22 itself does not bring planar frames of an odd height to the GPU.
        let odd = if format.starts_with("I420") { 50 } else { 51 };
        for size in [(73, odd), (128, 96)] {
            let (host, device) = frame_caps(format, size.0 as i32, size.1 as i32);
            let pool = own_pool(&device);
            let mut from_host = encoder_from(ON_GPU, &host);
            let mut from_device = encoder_from(ON_GPU, &device);
            for frame in 0..6 {
                from_host.push(host_frame(format, size, frame)).unwrap();
                from_device
                    .push(device_frame(&pool, format, size, frame))
                    .unwrap();
            }
            let [wanted, got] = [&mut from_host, &mut from_device].map(|h| all_units(h, 6));
            assert!(wanted == got, "{format} {size:?}");
            let types: Vec<_> = got.iter().map(|unit| kind(unit)).collect();
            use FrameType::{Inter, Key};
            assert_eq!(
                types,
                [Key, Inter, Inter, Inter, Key, Inter],
                "{format} {size:?}"
            );
            match deep {
                true => drop(shown::<u16>(&got)),
                false => drop(shown::<u8>(&got)),
            }
        }
    }
}

/// Frames leave without another one coming, in order, with what was asked of each.
#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn no_frame_waits_for_the_next() {
    init();
    let size = (72, 50);
    let (_, device) = frame_caps("NV12", 72, 50);
    let pool = own_pool(&device);
    let mut harness = encoder_from("device=cuda quality=30 key-int-max=0", &device);
    for frame in 0..6 {
        if frame == 3 {
            let request = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true);
            assert!(harness.push_upstream_event(request.build()));
        }
        harness
            .push(device_frame(&pool, "NV12", size, frame))
            .unwrap();
        // The test's own time-out ends it where nothing comes.
        let unit = harness.pull().unwrap();
        assert_eq!(
            unit.pts(),
            Some(gst::ClockTime::from_mseconds(40) * frame as u64)
        );
        assert_eq!(is_key(&unit), frame % 3 == 0, "frame {frame}");
    }
    let element = harness.find_element("aicodecenc").unwrap();
    let stats = element.property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("coded-frames"), Ok(6));
    assert_eq!(stats.get::<u64>("key-frames"), Ok(2));
    assert_eq!(stats.get::<&str>("device"), Ok("cuda:0"));
    // No latency is added.
    let mut query = gst::query::Latency::new();
    if element.static_pad("src").unwrap().query(query.query_mut()) {
        assert_eq!(query.result().1, gst::ClockTime::ZERO);
    }
}

/// The stream does not depend on how fast frames come.
#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn slow_and_fast_sources_give_one_stream() {
    init();
    let size = (128, 96);
    let (_, device) = frame_caps("NV12", 128, 96);
    let pool = own_pool(&device);
    let code = |slowly: bool| {
        let mut harness = encoder_from("device=cuda quality=24", &device);
        let mut units = Vec::new();
        for frame in 0..8 {
            harness
                .push(device_frame(&pool, "NV12", size, frame))
                .unwrap();
            if slowly {
                units.push(bytes(&harness.pull().unwrap()));
            }
        }
        let left = 8 - units.len();
        units.extend(all_units(&mut harness, left));
        units
    };
    assert!(code(true) == code(false));
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn losses_and_rates_are_answered_as_on_the_host() {
    init();
    let size = (72, 50);
    let (host, device) = frame_caps("NV12", 72, 50);
    let pool = own_pool(&device);
    let properties = "device=cuda graph-optimization=false long-term-delay=40";
    for rate in [
        "quality=40",
        "rate-control=cbr bitrate=150",
        "rate-control=vbr bitrate=150",
        "quality=40 max-bitrate=200",
    ] {
        let properties = format!("{properties} {rate}");
        let mut from_host = encoder_from(&properties, &host);
        let mut from_device = encoder_from(&properties, &device);
        for frame in 0..12 {
            for harness in [&mut from_host, &mut from_device] {
                if frame == 8 {
                    let loss = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(false);
                    assert!(harness.push_upstream_event(loss.build()));
                }
            }
            from_host.push(host_frame("NV12", size, frame)).unwrap();
            from_device
                .push(device_frame(&pool, "NV12", size, frame))
                .unwrap();
        }
        let [wanted, got] = [&mut from_host, &mut from_device].map(|h| all_units(h, 12));
        assert!(wanted == got, "{rate}");
        assert_eq!(kind(&got[8]), FrameType::Recovery, "{rate}");
        shown::<u8>(&got);
    }
}

/// Constant quality is left for a constant bitrate and taken up again while frames are on their way.
#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn the_rate_control_may_change_on_the_way() {
    init();
    let (_, device) = frame_caps("NV12", 72, 50);
    let pool = own_pool(&device);
    let mut harness = encoder_from("device=cuda bitrate=200", &device);
    let element = harness.find_element("aicodecenc").unwrap();
    for frame in 0..12 {
        match frame {
            4 => element.set_property_from_str("rate-control", "cbr"),
            8 => element.set_property_from_str("rate-control", "cq"),
            _ => {}
        }
        harness
            .push(device_frame(&pool, "NV12", (72, 50), frame))
            .unwrap();
    }
    shown::<u8>(&all_units(&mut harness, 12));
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn a_new_size_and_a_flush_begin_a_stream_anew() {
    init();
    let mut harness = parse("aicodecenc device=cuda quality=30");
    harness.set_sink_caps_str("video/x-aicodec, stream-format=frame");
    let mut units = Vec::new();
    for (i, (format, size)) in [
        ("NV12", (72, 50)),
        ("NV12", (130, 70)),
        ("P010_10LE", (130, 70)),
    ]
    .into_iter()
    .enumerate()
    {
        let (_, device) = frame_caps(format, size.0 as i32, size.1 as i32);
        let pool = own_pool(&device);
        harness.set_src_caps(device);
        for frame in 0..3 {
            harness
                .push(device_frame(&pool, format, size, frame))
                .unwrap();
        }
        if i == 0 {
            continue;
        }
        // What is under way when a flush comes is lost, or has gone.
        harness.push_event(gst::event::FlushStart::new());
        harness.push_event(gst::event::FlushStop::new(true));
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        harness.push_event(gst::event::Segment::new(&segment));
        while let Some(unit) = harness.try_pull() {
            units.push(bytes(&unit));
        }
        harness.push(device_frame(&pool, format, size, 3)).unwrap();
        let unit = harness.pull().unwrap();
        assert!(is_key(&unit), "{format} {size:?}");
        units.push(bytes(&unit));
    }
    // Whatever was lost, each stream begins with a key frame, and all of it can be read.
    assert_eq!(kind(&units[0]), FrameType::Key);
    let mut decoder = Decoder::new(decode_net(&model(), "cpu"), true);
    let decoded = units.iter().filter(|unit| decoder.decode(unit).is_ok());
    assert!(decoded.count() >= 3);
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn only_vectors_errors_and_symbols_cross_the_bus() {
    init();
    let (width, height) = (320usize, 192usize);
    let (_, device) = frame_caps("NV12", 320, 192);
    let pool = own_pool(&device);
    let mut harness = encoder_from("device=cuda quality=32 key-int-max=4", &device);
    let net = decode_net(&model(), "cpu");
    let counters = ["to-device", "to-host", "peer", "waits", "allocations"];
    for frame in 0..8 {
        let input = device_frame(&pool, "NV12", (width, height), frame);
        let before = counters.map(driver);
        harness.push(input).unwrap();
        let unit = harness.pull().unwrap();
        let after = counters.map(driver);
        let [up, down, peer, waits, allocations] = std::array::from_fn(|k| after[k] - before[k]);
        let key = is_key(&unit);
        let layout = net.of(key).layout((width, height), 6);
        let (blocks, picture) = (layout.blocks() as u64, (width * height * 3 / 2) as u64);
        println!("frame {frame}, key: {key}: {up} bytes up, {down} down of a picture's {picture}");
        // Flags, quality and the numbers of the blocks that the filter is judged by.
        let judged = up.checked_sub(blocks + 8).unwrap();
        assert!(
            judged.is_multiple_of(4) && judged <= 4 * blocks,
            "frame {frame}: {up} up"
        );
        // Errors of blocks, of inter frames before and after, and their vectors; z, counts, the filter's number.
        let runs = 2 * (layout.y_len() as u64).div_ceil(256);
        let fixed = blocks * if key { 4 } else { 8 + 16 } + layout.z_len() as u64 + runs + 4;
        let symbols = down.checked_sub(fixed).unwrap();
        assert!(
            symbols.is_multiple_of(4),
            "frame {frame}: {symbols} bytes of symbols"
        );
        assert!(symbols <= 2 * layout.y_len() as u64);
        assert!(
            down < picture / if key { 2 } else { 4 },
            "frame {frame}: {down} bytes"
        );
        assert_eq!((peer, waits), (0, 1), "frame {frame}");
        assert!(
            frame < 5 || allocations == 0,
            "frame {frame}: {allocations}"
        );
    }
    let element = harness.find_element("aicodecenc").unwrap();
    let stats = element.property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("host-bytes"), Ok(0));
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn frames_of_another_context_are_copied_on_the_gpu_to_be_coded() {
    init();
    let (host, device) = frame_caps("NV12", 64, 48);
    let pool = cudaframes::foreign_pool(&device);
    let mut from_host = encoder_from(ON_GPU, &host);
    let mut from_device = encoder_from(ON_GPU, &device);
    let peer = driver("peer");
    for frame in 0..3 {
        from_host.push(host_frame("NV12", (64, 48), frame)).unwrap();
        from_device
            .push(device_frame(&pool, "NV12", (64, 48), frame))
            .unwrap();
    }
    let [wanted, got] = [&mut from_host, &mut from_device].map(|h| all_units(h, 3));
    assert!(wanted == got && driver("peer") > peer);
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn an_encoder_gives_all_its_memory_back() {
    init();
    let (_, device) = frame_caps("P010_10LE", 72, 50);
    let code = || {
        let pool = own_pool(&device);
        let mut harness = encoder_from("device=cuda key-int-max=3", &device);
        for frame in 0..5 {
            harness
                .push(device_frame(&pool, "P010_10LE", (72, 50), frame))
                .unwrap();
        }
        all_units(&mut harness, 5);
        drop(harness);
        pool.set_active(false).unwrap();
        drop(pool);
        driver("blocks")
    };
    let first = code();
    assert_eq!(code(), first);
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn the_encoder_offers_caps_where_its_network_runs() {
    init();
    let element = gst::ElementFactory::make("aicodecenc").property("device", "cuda");
    let element = element.build().unwrap();
    let mut query = gst::query::Context::new(CONTEXT);
    assert!(element.static_pad("sink").unwrap().query(query.query_mut()));
    element.set_state(gst::State::Paused).unwrap();
    assert_eq!(
        sink_places(&element),
        [None, Some(Place::Cuda), Some(Place::Nvmm)]
    );
    element.set_state(gst::State::Null).unwrap();
}

/// Places of the caps that a sink takes, each once.
fn sink_places(element: &gst::Element) -> Vec<Option<Place>> {
    let caps = element.static_pad("sink").unwrap().query_caps(None);
    let mut places = Vec::new();
    for i in 0..caps.size() {
        let mut one = gst::Caps::builder("video/x-raw").build();
        let features = caps.features(i).unwrap().to_owned();
        one.make_mut().set_features_simple(Some(features));
        let place = Place::of(&one);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// Without a compiler for kernels frames are coded as before, by ONNX Runtime on the GPU and the host's search.
#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn without_a_compiler_for_kernels_pictures_stay_on_the_host() {
    init();
    let name = "encoding_element::without_a_compiler_for_kernels_pictures_stay_on_the_host";
    let said = ["Frames in the GPU's memory are not taken", "NVRTC"];
    if !is_without("libnvrtc.so.13", name, "aivideocuda:2", &said) {
        return;
    }
    let (host, _) = frame_caps("I420", 72, 50);
    let mut harness = encoder_from(ON_GPU, &host);
    let element = harness.find_element("aicodecenc").unwrap();
    assert_eq!(sink_places(&element), [None]);
    for frame in 0..4 {
        harness.push(host_frame("I420", (72, 50), frame)).unwrap();
    }
    shown::<u8>(&all_units(&mut harness, 4));
}

#[test]
fn without_a_gpu_the_encoder_takes_frames_of_the_host_alone() {
    init();
    let element = gst::ElementFactory::make("aicodecenc").property("device", "cpu");
    let element = element.build().unwrap();
    element.set_state(gst::State::Paused).unwrap();
    assert_eq!(sink_places(&element), [None]);
    let mut query = gst::query::Context::new(CONTEXT);
    assert!(!element.static_pad("sink").unwrap().query(query.query_mut()));
    element.set_state(gst::State::Null).unwrap();
}
