// SPDX-License-Identifier: Apache-2.0
//! airestore on frames in CUDAMemory, with stand-ins for driver, NVRTC and provider (see
//! `elements/cuda/fake`) and GStreamer's own libgstcuda. Nothing that is started on the stand-in happens
//! before somebody waits for it, and host code that touches its memory crashes.

#![allow(unsafe_code)] // libgstcuda's functions

#[path = "../../core/tests/cudaframes/mod.rs"]
mod cudaframes;
#[path = "../../core/tests/testmodel/mod.rs"]
mod testmodel;

use std::sync::Once;

use aivideo_core::cuda::Place;
use aivideo_fakecuda::driver;
use cudaframes::*;
use gst::prelude::*;
use gst_check::Harness;
use testmodel::{Dim, Model, ty};

fn init() {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        gst::init().expect("GStreamer");
        aivideo_hybrid::register(None).expect("registers");
    });
}

#[test]
fn on_a_stand_in_for_a_gpu() {
    if library_is_here() {
        aivideo_fakecuda::run_ignored();
    }
}

const LUMA: [Dim; 4] = [Dim::Fixed(1), Dim::Fixed(1), Dim::Free("h"), Dim::Free("w")];
const CHROMA: [Dim; 4] = [
    Dim::Fixed(1),
    Dim::Fixed(2),
    Dim::Free("ch"),
    Dim::Free("cw"),
];

/// A net that gives for luma the mean of now and before, for chroma what was before, both so that a
/// wrong order of frames shows.
fn mixing() -> tempfile::NamedTempFile {
    let bytes = Model::new()
        .input("y", ty::U8, &LUMA)
        .input("uv", ty::U8, &CHROMA)
        .input("y_before", ty::U8, &LUMA)
        .input("uv_before", ty::U8, &CHROMA)
        .input("condition", ty::F32, &[Dim::Fixed(4)])
        .output("y_out", ty::U8, &LUMA)
        .output("uv_out", ty::U8, &CHROMA)
        .constant_f32("half", &[], &[0.5])
        .node("Cast", &["y"], &["now"], &[("to", &[ty::F32])])
        .node("Cast", &["y_before"], &["then"], &[("to", &[ty::F32])])
        .node("Add", &["now", "then"], &["sum"], &[])
        .node("Mul", &["sum", "half"], &["mean"], &[])
        .node("Cast", &["mean"], &["y_out"], &[("to", &[ty::U8])])
        .node("Identity", &["uv_before"], &["uv_out"], &[])
        .finish();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

fn element(properties: &str) -> gst::Element {
    init();
    let mut builder = gst::ElementFactory::make("airestore");
    for (name, value) in properties.split(' ').filter_map(|p| p.split_once('=')) {
        builder = builder.property_from_str(name, value);
    }
    builder.build().unwrap()
}

fn harness(properties: &str, caps: &gst::Caps) -> Harness {
    let mut harness = Harness::with_element(&element(properties), Some("sink"), Some("src"));
    harness.set_src_caps(caps.clone());
    harness
}

/// What airestore on the CPU makes of frames of these numbers; the stream jumps before those with true.
fn expected(properties: &str, host: &gst::Caps, frames: &[(u64, bool)]) -> Vec<Vec<u8>> {
    let mut harness = harness(&format!("device=cpu {properties}"), host);
    let info = gst_video::VideoInfo::from_caps(host).unwrap();
    frames
        .iter()
        .map(|(number, jump)| {
            let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
            fill(buffer.get_mut().unwrap(), host, *number);
            harness.push(flagged(buffer, *jump)).unwrap();
            content(harness.pull().unwrap(), host)
        })
        .collect()
}

const FRAMES: [(u64, bool); 5] = [(1, false), (2, false), (3, false), (4, true), (5, false)];

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn frames_of_the_gpu_come_out_as_those_of_the_host() {
    let net = mixing();
    for format in ["NV12", "I420", "P010_10LE", "I420_10LE"] {
        // GStreamer 1.22 itself does not bring planar frames of an odd height to the GPU: the third
        // plane lies half a row beside where it copies from.
        let odd = if format.starts_with("I420") { 18 } else { 17 };
        for (width, height) in [(33, odd), (64, 32)] {
            for strength in ["1.0", "0.3"] {
                let (host, device) = caps(format, width, height);
                let with = format!(
                    "model-location={} strength={strength}",
                    net.path().display()
                );
                let wanted = expected(&with, &host, &FRAMES);
                let pool = own_pool(&device);
                let mut harness = harness(&format!("device=cuda {with}"), &device);
                for ((number, jump), wanted) in FRAMES.iter().zip(wanted) {
                    let buffer = from_pool(&pool, &device, *number);
                    harness.push(flagged(buffer, *jump)).unwrap();
                    let got = content(harness.pull().unwrap(), &device);
                    let what = format!("{format} {width}x{height} at {strength}, frame {number}");
                    let differs = got.iter().zip(&wanted).position(|(a, b)| a != b);
                    assert_eq!(differs, None, "{what}");
                }
            }
        }
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn the_built_in_net_gives_the_same_on_both() {
    let (host, device) = caps("NV12", 64, 48);
    // Nothing is known of the stream, so that it works on the host, too.
    let with = "strength=1.0";
    let wanted = expected(with, &host, &FRAMES);
    let tenths = match aivideo_nets::isa::Isa::detect() {
        Some(isa) if isa.has_tiles() => 1,
        _ => 0,
    };
    let pool = own_pool(&device);
    let mut harness = harness(&format!("device=cuda {with}"), &device);
    for ((number, jump), wanted) in FRAMES.iter().zip(wanted) {
        let buffer = from_pool(&pool, &device, *number);
        harness.push(flagged(buffer, *jump)).unwrap();
        // A matrix unit of the host rounds some samples to the other side.
        let got = content(harness.pull().unwrap(), &device);
        let apart = || got.iter().zip(&wanted).map(|(a, b)| a.abs_diff(*b));
        let count = apart().filter(|d| *d > 0).count();
        assert!(
            apart().all(|d| d <= 1) && count <= got.len() * tenths / 10,
            "{number}: {count} of {}",
            got.len()
        );
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn a_frame_waits_once_and_nothing_of_it_crosses_the_bus() {
    let net = mixing();
    let (_, device) = caps("NV12", 320, 180);
    let pool = own_pool(&device);
    let with = format!("device=cuda model-location={}", net.path().display());
    let mut harness = harness(&with, &device);
    let counters = [
        "to-device",
        "to-host",
        "peer",
        "waits",
        "allocations",
        "launches",
    ];
    for number in 0..4 {
        let buffer = from_pool(&pool, &device, number);
        let before = counters.map(driver);
        harness.push(buffer).unwrap();
        let out = harness.pull().unwrap();
        let after = counters.map(driver);
        let [up, down, peer, waits, allocations, launches] =
            std::array::from_fn(|i| after[i] - before[i]);
        // What the net is told of the stream, once.
        assert_eq!(up, if number == 0 { 16 } else { 0 });
        assert_eq!((down, peer, launches), (0, 0, 6));
        assert_eq!(waits, 1, "frame {number}");
        assert!(number == 0 || allocations == 0);
        drop(out);
    }
    let stats = harness
        .element()
        .unwrap()
        .property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("host-bytes"), Ok(0));
    assert_eq!(stats.get::<u64>("frames-restored"), Ok(4));
    assert_eq!(stats.get::<&str>("device"), Ok("cuda:0"));
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn cuda_graphs_find_the_addresses_that_they_were_recorded_with() {
    let net = mixing();
    let (host, device) = caps("NV12", 48, 32);
    let with = format!("model-location={}", net.path().display());
    let wanted = expected(&with, &host, &FRAMES);
    let pool = own_pool(&device);
    let mut harness = harness(&format!("device=cuda cuda-graph=true {with}"), &device);
    let graphs = aivideo_fakecuda::onnx("graph-runs");
    for ((number, jump), wanted) in FRAMES.iter().zip(wanted) {
        let buffer = from_pool(&pool, &device, *number);
        harness.push(flagged(buffer, *jump)).unwrap();
        assert!(
            content(harness.pull().unwrap(), &device) == wanted,
            "{number}"
        );
    }
    assert_eq!(aivideo_fakecuda::onnx("graph-runs"), graphs + 5);
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn frames_of_another_context_are_copied_on_the_gpu_and_stay_theirs() {
    let net = mixing();
    let (host, device) = caps("NV12", 48, 32);
    let with = format!("model-location={}", net.path().display());
    let wanted = expected(&with, &host, &FRAMES);
    let pool = foreign_pool(&device);
    let mut harness = harness(&format!("device=cuda {with}"), &device);
    for ((number, jump), wanted) in FRAMES.iter().zip(wanted) {
        let buffer = from_pool(&pool, &device, *number);
        let size = buffer.size() as u64;
        let memory = buffer.peek_memory(0).as_ptr();
        let (peer, down) = (driver("peer"), driver("to-host"));
        harness.push(flagged(buffer, *jump)).unwrap();
        let out = harness.pull().unwrap();
        assert_eq!(driver("peer") - peer, 2 * size, "there and back");
        assert_eq!(driver("to-host"), down);
        assert_eq!(out.peek_memory(0).as_ptr(), memory);
        assert!(content(out, &device) == wanted, "{number}");
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn a_frame_that_others_hold_is_not_changed() {
    let net = mixing();
    let (_, device) = caps("NV12", 48, 32);
    let pool = own_pool(&device);
    let with = format!("device=cuda model-location={}", net.path().display());
    let mut harness = harness(&with, &device);
    let first = from_pool(&pool, &device, 1);
    harness.push(first).unwrap();
    harness.pull().unwrap();
    let shared = from_pool(&pool, &device, 2);
    let held = shared.clone();
    harness.push(shared).unwrap();
    let out = content(harness.pull().unwrap(), &device);
    let mut original = Vec::new();
    let mut next = noise(2);
    original.resize_with(out.len(), &mut next);
    assert!(content(held, &device) == original);
    assert!(out != original);
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn another_size_and_a_flush_begin_anew() {
    let net = mixing();
    let with = format!("model-location={}", net.path().display());
    let (host, device) = caps("I420", 48, 32);
    let (small_host, small) = caps("I420", 24, 40);
    let mut harness = harness(&format!("device=cuda {with}"), &device);
    let pool = own_pool(&device);
    for number in [1, 2] {
        harness.push(from_pool(&pool, &device, number)).unwrap();
        harness.pull().unwrap();
    }
    harness.push_event(gst::event::FlushStart::new());
    harness.push_event(gst::event::FlushStop::new(true));
    harness.set_src_caps(device.clone());
    harness.push_event(gst::event::Segment::new(&gst::FormattedSegment::<
        gst::ClockTime,
    >::new()));
    harness.push(from_pool(&pool, &device, 3)).unwrap();
    let got = content(harness.pull().unwrap(), &device);
    assert!(got == expected(&with, &host, &[(3, false)])[0]);
    harness.set_src_caps(small.clone());
    let pool = own_pool(&small);
    let wanted = expected(&with, &small_host, &FRAMES[..3]);
    for ((number, _), wanted) in FRAMES.iter().zip(wanted) {
        harness.push(from_pool(&pool, &small, *number)).unwrap();
        assert!(content(harness.pull().unwrap(), &small) == wanted);
    }
    // And the host's memory, on the same element.
    harness.set_src_caps(host.clone());
    let info = gst_video::VideoInfo::from_caps(&host).unwrap();
    let wanted = expected(&with, &host, &[(7, false)]);
    let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
    fill(buffer.get_mut().unwrap(), &host, 7);
    harness.push(buffer).unwrap();
    assert!(content(harness.pull().unwrap(), &host) == wanted[0]);
}

fn started(properties: &str) -> gst::Element {
    let element = element(properties);
    element.set_state(gst::State::Paused).unwrap();
    element
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn caps_are_offered_where_the_net_runs() {
    for device in ["cuda", "cuda:0", "auto"] {
        let element = started(&format!("device={device}"));
        assert_eq!(
            places(&element),
            [None, Some(Place::Cuda), Some(Place::Nvmm)],
            "{device}"
        );
        element.set_state(gst::State::Null).unwrap();
    }
    let element = started("device=cpu");
    assert_eq!(places(&element), [None]);
    element.set_state(gst::State::Null).unwrap();
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn others_get_the_primary_context_even_before_the_start() {
    let element = element("device=cuda");
    let pad = element.static_pad("sink").unwrap();
    let mut query = gst::query::Context::new(CONTEXT);
    assert!(pad.query(query.query_mut()));
    let given = query.context_owned().unwrap();
    let object = |context: &gst::Context| {
        let structure = context.structure();
        structure.get::<gst::Object>(CONTEXT).unwrap()
    };
    let mut again = gst::query::Context::new(CONTEXT);
    assert!(pad.query(again.query_mut()));
    assert_eq!(object(&given), object(&again.context_owned().unwrap()));
    let mut other = gst::query::Context::new("gst.gl.GLDisplay");
    assert!(!pad.query(other.query_mut()));
    // Nobody is told of a context by an element on the CPU.
    let cpu = self::element("device=cpu");
    let mut query = gst::query::Context::new(CONTEXT);
    assert!(!cpu.static_pad("sink").unwrap().query(query.query_mut()));
    // Bins learn of it when the element starts.
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    element.set_state(gst::State::Paused).unwrap();
    let message = bus.pop_filtered(&[gst::MessageType::HaveContext]).unwrap();
    let gst::MessageView::HaveContext(message) = message.view() else {
        unreachable!("only these were asked for");
    };
    assert_eq!(object(&message.context()), object(&given));
    element.set_state(gst::State::Null).unwrap();
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn the_element_before_gets_a_pool_of_the_primary_context() {
    let (host, device) = caps("NV12", 64, 32);
    let mut harness = harness("device=cuda quality=0.9 base=h265", &device);
    harness
        .push(from_pool(&own_pool(&device), &device, 1))
        .unwrap();
    let pad = harness.element().unwrap().static_pad("sink").unwrap();
    let mut query = gst::query::Allocation::new(Some(&device), true);
    assert!(pad.query(query.query_mut()));
    let pool = query.allocation_pools().next().unwrap().0.unwrap();
    assert!(
        query
            .find_allocation_meta::<gst_video::VideoMeta>()
            .is_some()
    );
    pool.set_active(true).unwrap();
    let buffer = from_pool(&pool, &device, 2);
    let peer = driver("peer");
    harness.push(buffer).unwrap();
    assert_eq!(driver("peer"), peer, "no border");
    drop(host);
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn memory_that_is_not_what_caps_say_is_refused_with_the_reason() {
    let (_, device) = caps("NV12", 64, 32);
    let mut harness = harness("device=cuda quality=0.9 base=h265", &device);
    let bus = gst::Bus::new();
    harness.element().unwrap().set_bus(Some(&bus));
    let buffer = gst::Buffer::with_size(64 * 32 * 3 / 2).unwrap();
    assert_eq!(harness.push(buffer), Err(gst::FlowError::Error));
    let message = bus.pop_filtered(&[gst::MessageType::Error]).unwrap();
    let gst::MessageView::Error(error) = message.view() else {
        unreachable!("only errors were asked for");
    };
    let text = error.error().to_string();
    assert!(
        text.contains("memory:CUDAMemory") && text.contains("SystemMemory"),
        "{text}"
    );
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn frames_of_deepstream_come_out_as_those_of_the_host() {
    let net = mixing();
    let with = format!("model-location={}", net.path().display());
    for format in ["NV12", "I420", "P010_10LE"] {
        let (host, _) = caps(format, 36, 20);
        let wanted = expected(&with, &host, &FRAMES);
        let mut harness = harness(&format!("device=cuda {with}"), &nvmm_caps(&host));
        for ((number, jump), wanted) in FRAMES.iter().zip(wanted) {
            let frame = Nvmm::new(&host, *number);
            let (up, down, waits) = (driver("to-device"), driver("to-host"), driver("waits"));
            harness.push(flagged(frame.buffer(), *jump)).unwrap();
            harness.pull().unwrap();
            assert_eq!(driver("waits") - waits, 1);
            assert!(driver("to-device") - up <= 16);
            assert_eq!(driver("to-host"), down);
            assert!(frame.content() == wanted, "{format}, frame {number}");
        }
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn frames_of_deepstream_that_cannot_be_used_are_refused_with_the_reason() {
    let (host, _) = caps("NV12", 64, 32);
    type Change = fn(&mut Nvmm);
    let cases: [(&str, Change); 5] = [
        ("batch of 4 pictures; put nvstreamdemux", |f| {
            f.surface.num_filled = 4
        }),
        ("memory is of type 4", |f| f.surface.mem_type = 4),
        ("layout is 1", |f| f.params.layout = 1),
        ("it is 128x32 where the caps say 64x32", |f| {
            f.params.width = 128
        }),
        ("it has 3 planes", |f| f.params.planes.num_planes = 3),
    ];
    let refusal = |harness: &mut Harness, buffer: gst::Buffer| {
        let bus = gst::Bus::new();
        harness.element().unwrap().set_bus(Some(&bus));
        assert_eq!(harness.push(buffer), Err(gst::FlowError::Error));
        let message = bus.pop_filtered(&[gst::MessageType::Error]).unwrap();
        let gst::MessageView::Error(error) = message.view() else {
            unreachable!("only errors were asked for");
        };
        error.error().to_string()
    };
    for (says, change) in cases {
        let mut harness = harness("device=cuda quality=0.9 base=h265", &nvmm_caps(&host));
        let mut frame = Nvmm::new(&host, 1);
        change(&mut frame);
        let text = refusal(&mut harness, frame.buffer());
        assert!(text.contains(says), "'{says}' is not in: {text}");
    }
    let mut harness = harness("device=cuda quality=0.9 base=h265", &nvmm_caps(&host));
    let text = refusal(&mut harness, gst::Buffer::with_size(8).unwrap());
    assert!(text.contains("8 bytes hold no NvBufSurface"), "{text}");
    // Copying the description would not copy the picture that others see.
    let frame = Nvmm::new(&host, 1);
    let before = frame.content();
    let shared = frame.buffer();
    let held = shared.clone();
    let text = refusal(&mut harness, shared);
    assert!(text.contains("others hold it"), "{text}");
    assert!(frame.content() == before);
    drop(held);
}

/// To the GPU; without caps, frames stay where they are.
const UP: &str = "cudaupload ! video/x-raw(memory:CUDAMemory)";

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn between_gstreamers_own_elements_frames_share_one_context() {
    init();
    if !elements_are_here() {
        return;
    }
    let net = mixing();
    let source = "videotestsrc num-buffers=5 pattern=ball ! \
                  video/x-raw,format=NV12,width=96,height=64,framerate=25/1";
    let restore = |device| {
        format!(
            "airestore device={device} model-location={}",
            net.path().display()
        )
    };
    let wanted = pictures(&format!("{source} ! {}", restore("cpu")));
    let counters = ["peer", "to-device", "to-host", "waits"];
    let before = counters.map(driver);
    let got = pictures(&format!(
        "{source} ! {UP} ! {} ! queue ! cudadownload",
        restore("cuda")
    ));
    let after = counters.map(driver);
    assert_eq!(wanted.len(), 5);
    assert!(got == wanted);
    // In one context there is no border, and each frame goes up and comes down once.
    let frame = 96 * 64 * 3 / 2;
    assert_eq!(after[0], before[0], "no copies between contexts");
    assert_eq!(after[1] - before[1], 5 * frame + 16);
    assert_eq!(after[2] - before[2], 5 * frame);
    // Two restorers in a row work on the same memory.
    let twice = |device, before, after| {
        pictures(&format!(
            "{source} ! {before} ! {} ! {} ! {after}",
            restore(device),
            restore(device)
        ))
    };
    let peer = driver("peer");
    assert!(twice("cuda", UP, "cudadownload") == twice("cpu", "identity", "identity"));
    assert_eq!(driver("peer"), peer);
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn pipelines_at_once_share_a_model_and_its_stream() {
    init();
    if !elements_are_here() {
        return;
    }
    let net = mixing();
    let line = |pattern: &str, device: &str, up: &str, down: &str| {
        format!(
            "videotestsrc num-buffers=20 pattern={pattern} ! \
             video/x-raw,format=NV12,width=96,height=64,framerate=25/1 ! {up} ! \
             airestore device={device} model-location={} ! {down}",
            net.path().display()
        )
    };
    let patterns = ["ball", "smpte", "snow"];
    let wanted = patterns.map(|pattern| pictures(&line(pattern, "cpu", "identity", "identity")));
    std::thread::scope(|scope| {
        let running = patterns.map(|pattern| {
            let line = line(pattern, "cuda", UP, "cudadownload");
            scope.spawn(move || pictures(&line))
        });
        for (running, wanted) in running.into_iter().zip(&wanted) {
            assert!(&running.join().unwrap() == wanted);
        }
    });
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn caps_choose_the_gpu_only_where_the_net_runs_there() {
    init();
    if !elements_are_here() {
        return;
    }
    // On the CPU the frames take the way through the host's memory by themselves.
    let net = mixing();
    let source = "videotestsrc num-buffers=2 ! video/x-raw,format=I420,width=32,height=32";
    let with = format!(
        "airestore device=cpu model-location={}",
        net.path().display()
    );
    let direct = pictures(&format!("{source} ! {with}"));
    let around = pictures(&format!("{source} ! {UP} ! cudadownload ! {with}"));
    assert!(direct == around && direct.len() == 2);
}

#[test]
fn without_a_gpu_frames_of_one_are_not_offered_and_not_taken() {
    let element = started("device=cpu");
    assert_eq!(places(&element), [None]);
    element.set_state(gst::State::Null).unwrap();
    let (_, device) = caps("NV12", 64, 32);
    let mut harness = harness("device=cpu", &device);
    let buffer = gst::Buffer::with_size(64 * 32 * 3 / 2).unwrap();
    assert_eq!(harness.push(buffer), Err(gst::FlowError::NotNegotiated));
    let mut query = gst::query::Context::new(CONTEXT);
    let pad = harness.element().unwrap().static_pad("sink").unwrap();
    assert!(!pad.query(query.query_mut()));
}
