// SPDX-License-Identifier: Apache-2.0
//! aicodecdec and aicodecenc with their pictures on a GPU, with stand-ins for driver, NVRTC and provider (see
//! `elements/cuda/fake`) and GStreamer's own libgstcuda. Nothing that is started on the stand-in happens
//! before somebody waits for it, and host code that touches its memory crashes. Its provider is ONNX
//! Runtime's CPU, so pictures must be those of the host to the bit where the host runs that, too
//! (`graph-optimization=false`; else this project's kernels run there).

#![allow(unsafe_code)] // libgstcuda's functions

#[allow(dead_code)] // each test uses its part
#[path = "elements/common.rs"]
mod common;
#[path = "../../core/tests/cudaframes/mod.rs"]
mod cudaframes;
#[path = "gpu/encoder.rs"]
mod encoder;
#[path = "gpu/encoding_element.rs"]
mod encoding_element;
#[path = "gpu/overlap.rs"]
mod overlap;

use aivideo_codec::bitstream::{AccessUnit, AccessUnitWriter, FrameType};
use aivideo_codec::coder::{
    DecodeNet, Decoder, Depth, EncodeNet, Encoder, EncoderSettings, LossReport, ModelFiles,
    PlanesMut,
};
use aivideo_core::cuda::Place;
use aivideo_core::deep::Yuv420Deep;
use aivideo_core::pixels::Yuv420;
use aivideo_core::settings::InferenceSettings;
use aivideo_cuda::codec;
use aivideo_fakecuda::driver;
use common::*;
use cudaframes::{CONTEXT, caps as frame_caps, content, is_without, library_is_here, nvmm_content};
use gst::prelude::*;
use gst_check::Harness;
use std::path::Path;

#[test]
fn on_a_stand_in_for_a_gpu() {
    if library_is_here() {
        aivideo_fakecuda::run_ignored();
    }
}

/// Pictures of a depth.
trait Scene: Depth {
    type Picture: PartialEq;

    fn blank(width: usize, height: usize) -> Self::Picture;

    fn encode(encoder: &mut Encoder<Self>, frame: usize, key: bool) -> Vec<u8>;

    fn repeat(encoder: &mut Encoder<Self>, frame: usize) -> Vec<u8>;

    fn planes(picture: &mut Self::Picture) -> PlanesMut<'_, Self>;
}

macro_rules! scene {
    ($sample:ty, $picture:ident, $scene:ident) => {
        impl Scene for $sample {
            type Picture = $picture;

            fn blank(width: usize, height: usize) -> $picture {
                $picture::new(width, height)
            }

            fn encode(encoder: &mut Encoder<Self>, frame: usize, key: bool) -> Vec<u8> {
                let (width, height) = size(encoder);
                let picture = $scene(width, height, frame);
                encoder.encode(&picture, 34, key).unwrap().data
            }

            fn repeat(encoder: &mut Encoder<Self>, frame: usize) -> Vec<u8> {
                let (width, height) = size(encoder);
                let picture = $scene(width, height, frame);
                let prepared = encoder.prepare(&picture, 34, false).unwrap();
                let attempt = encoder.repeat_picture(&prepared).unwrap();
                encoder.commit(prepared, attempt, 0).unwrap().data
            }

            fn planes(picture: &mut $picture) -> PlanesMut<'_, Self> {
                picture.into()
            }
        }
    };
}

scene!(u8, Yuv420, scene);
scene!(u16, Yuv420Deep, scene_deep);

fn size<S: Depth>(encoder: &Encoder<S>) -> (usize, usize) {
    let sequence = encoder.sequence();
    (sequence.width.into(), sequence.height.into())
}

fn settings(device: &str) -> InferenceSettings {
    InferenceSettings {
        device: device.to_owned(),
        graph_optimization: false,
        ..InferenceSettings::default()
    }
}

fn decode_net(location: &Path, device: &str) -> DecodeNet {
    let files = ModelFiles::find(Some(location)).unwrap();
    DecodeNet::acquire(&files, &settings(device)).unwrap()
}

/// What every kind of frame there is is made of: 0 key, 1 and 2 inter, 3 skip, 4 inter, 5 recovery from 0,
/// 6 inter, 7 key, 8 inter.
fn stream<S: Scene>(
    location: &Path,
    (width, height): (usize, usize),
    inter_network: bool,
) -> Vec<Vec<u8>> {
    let files = ModelFiles::find(Some(location)).unwrap();
    let net = EncodeNet::acquire(
        &files,
        &InferenceSettings {
            device: "cpu".to_owned(),
            ..InferenceSettings::default()
        },
    )
    .unwrap();
    let choices = EncoderSettings {
        inter_network,
        ..EncoderSettings::default()
    };
    let mut encoder = Encoder::<S>::new(net, sequence(width, height), choices).unwrap();
    let units: Vec<Vec<u8>> = (0..9)
        .map(|frame| match frame {
            3 => S::repeat(&mut encoder, frame),
            5 => {
                encoder.report_loss(LossReport {
                    last: Some(4),
                    held: Some(Some(0)),
                });
                S::encode(&mut encoder, frame, false)
            }
            _ => S::encode(&mut encoder, frame, frame % 7 == 0),
        })
        .collect();
    use FrameType::{Inter, Key, Recovery, Skip};
    let types = units.iter().map(|unit| kind(unit));
    let wanted = [Key, Inter, Inter, Skip, Inter, Recovery, Inter, Key, Inter];
    assert!(types.eq(wanted));
    units
}

fn kind(unit: &[u8]) -> FrameType {
    AccessUnit::parse(unit).unwrap().header.frame_type
}

/// What arrives of an access unit without one of its tiles.
fn without_tile(unit: &[u8], index: u16) -> Vec<u8> {
    let parsed = AccessUnit::parse(unit).unwrap();
    let mut writer = AccessUnitWriter::new(parsed.header, parsed.sequence.as_ref());
    for tile in parsed.tiles.iter().flatten().filter(|t| t.index != index) {
        writer.push_tile(tile);
    }
    writer.finish()
}

/// Gives the units to both decoders; whatever comes must be the same.
fn compare<S: Scene>(
    [host, device]: &mut [Decoder; 2],
    (width, height): (usize, usize),
    units: &[Vec<u8>],
    what: &str,
) {
    for (i, unit) in units.iter().enumerate() {
        let what = format!("{what}, {} bits, {width}x{height}, unit {i}", S::BITS);
        match (host.decode(unit), device.decode(unit)) {
            (Ok(wanted), Ok(got)) => {
                assert_eq!(
                    (got.frame_type, &got.damaged, got.concealed, got.missing),
                    (
                        wanted.frame_type,
                        &wanted.damaged,
                        wanted.concealed,
                        wanted.missing
                    ),
                    "{what}"
                );
                assert_eq!(
                    (got.intact, got.recoverable, got.symbols),
                    (wanted.intact, wanted.recoverable, wanted.symbols),
                    "{what}"
                );
            }
            (Err(wanted), Err(got)) => assert_eq!(got.to_string(), wanted.to_string(), "{what}"),
            (wanted, got) => panic!("{what}: {got:?}, not {wanted:?}"),
        }
        if !host.is_ready() {
            continue;
        }
        let mut wanted = S::blank(width, height);
        let mut got = S::blank(width, height);
        host.picture(S::planes(&mut wanted)).unwrap();
        device.picture(S::planes(&mut got)).unwrap();
        assert!(got == wanted, "{what}");
    }
}

fn pair(location: &Path) -> [Decoder; 2] {
    [
        Decoder::new(decode_net(location, "cpu"), true),
        Decoder::on_gpu(decode_net(location, "cuda"), true),
    ]
}

fn every_frame<S: Scene>(location: &Path, sizes: &[(usize, usize)]) {
    let mut both = pair(location);
    for size in sizes {
        for (inter_network, what) in [(false, "the network in key frames"), (true, "in all")] {
            let units = stream::<S>(location, *size, inter_network);
            compare::<S>(&mut both, *size, &units, what);
            both.iter_mut().for_each(Decoder::restart);
        }
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn every_kind_of_frame_is_that_of_the_host() {
    init();
    // One after the other in the same decoders: sizes and depths change.
    let sizes = [(72, 50), (129, 67), (64, 64)];
    every_frame::<u8>(&model(), &sizes);
    every_frame::<u16>(&model(), &sizes);
}

/// The model without what is for key frames.
fn without_key_networks() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(model()).unwrap() {
        let (name, path) = file.map(|f| (f.file_name(), f.path())).unwrap();
        let name = name.to_str().unwrap();
        let part = name.ends_with(".onnx") || name.ends_with(".bin");
        if part && !name.contains("-key-") {
            std::fs::copy(&path, folder.path().join(name)).unwrap();
        }
    }
    assert!(
        ModelFiles::find(Some(folder.path()))
            .unwrap()
            .key()
            .is_none()
    );
    folder
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn a_model_without_a_network_for_key_frames_works_as_well() {
    init();
    let folder = without_key_networks();
    every_frame::<u8>(folder.path(), &[(72, 50)]);
    every_frame::<u16>(folder.path(), &[(72, 50)]);
}

fn every_loss<S: Scene>() {
    let size = (128, 180);
    // Where the network codes all frames, more depends on what is lost.
    let whole = stream::<S>(&model(), size, true);
    let mut both = pair(&model());
    let mut lose = |what: &str, change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut units = whole.clone();
        change(&mut units);
        both.iter_mut().for_each(Decoder::restart);
        compare::<S>(&mut both, size, &units, what);
    };
    lose("a frame", &|units| drop(units.remove(2)));
    lose("the first", &|units| drop(units.remove(0)));
    lose("the long-term reference", &|units| drop(units.drain(..5)));
    for (unit, tile) in [(1, 1), (2, 0), (5, 2), (6, 1), (7, 0), (7, 2)] {
        lose(&format!("tile {tile} of {unit}"), &|units| {
            units[unit] = without_tile(&units[unit], tile);
        });
    }
    lose("tiles of three in a row", &|units| {
        for (unit, tile) in [(4, 0), (5, 1), (6, 2)] {
            units[unit] = without_tile(&units[unit], tile);
        }
    });
    lose("a frame's end", &|units| {
        let len = units[4].len();
        units[4].truncate(len - 5);
    });
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn what_is_lost_is_concealed_as_on_the_host() {
    init();
    every_loss::<u8>();
    every_loss::<u16>();
}

/// A decoder behind a pad that takes these caps.
fn decoder_to(properties: &str, taken: &gst::Caps, coded: &gst::Caps) -> Harness {
    let mut harness = parse(&format!("aicodecdec {properties}"));
    harness.set_sink_caps(taken.clone());
    harness.set_src_caps(coded.clone());
    harness
}

/// Caps of a format alone, on the host or on the GPU.
fn of_format(format: &str, place: Option<Place>) -> gst::Caps {
    let mut caps = gst::Caps::builder("video/x-raw")
        .field("format", format)
        .build();
    if let Some(place) = place {
        let features = gst::CapsFeatures::new([place.feature()]);
        caps.make_mut().set_features_simple(Some(features));
    }
    caps
}

/// Units of either depth and their caps.
fn coded(deep: bool, width: usize, height: usize, frames: usize) -> (gst::Caps, Vec<gst::Buffer>) {
    let properties = "device=cpu quality=36 key-int-max=3";
    if !deep {
        return access_units(properties, width, height, frames);
    }
    let info = info(gst_video::VideoFormat::I42010le, width, height);
    let mut harness = encoder(properties, &info);
    let units = (0..frames)
        .map(|i| {
            let picture = scene_deep(width, height, i);
            harness.push(buffer_deep(&picture, &info, i)).unwrap();
            harness.pull().unwrap()
        })
        .collect();
    let caps = harness.sinkpad().and_then(|pad| pad.current_caps());
    (caps.unwrap(), units)
}

const HOST: &str = "device=cpu graph-optimization=false";
const GPU: &str = "device=cuda graph-optimization=false";

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn frames_in_the_gpus_memory_are_those_of_the_host() {
    init();
    for (format, deep) in [
        ("I420", false),
        ("NV12", false),
        ("I420_10LE", true),
        ("P010_10LE", true),
    ] {
        // GStreamer 1.22 itself does not bring planar frames of an odd height from the GPU.
        let odd = if format.starts_with("I420") { 50 } else { 51 };
        for (width, height) in [(73, odd), (128, 96)] {
            let (coded, units) = coded(deep, width, height, 4);
            let mut host = decoder_to(HOST, &of_format(format, None), &coded);
            let mut device = decoder_to(GPU, &of_format(format, Some(Place::Cuda)), &coded);
            // The picture comes down where the host's memory is asked for.
            let mut down = decoder_to(GPU, &of_format(format, None), &coded);
            for (i, unit) in units.into_iter().enumerate() {
                let what = format!("{format} {width}x{height}, frame {i}");
                let frames = [&mut host, &mut device, &mut down].map(|harness| {
                    harness.push(unit.clone()).unwrap();
                    let caps = harness.sinkpad().unwrap().current_caps().unwrap();
                    (harness.pull().unwrap(), caps)
                });
                assert_eq!(Place::of(&frames[1].1), Some(Place::Cuda));
                assert_eq!(Place::of(&frames[2].1), None);
                let [wanted, device, down] =
                    std::array::from_fn(|i| content(frames[i].0.copy(), &frames[i].1));
                assert!(device == wanted, "{what}");
                assert!(down == wanted, "{what}, brought down");
            }
        }
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn frames_in_deepstreams_memory_are_those_in_gstreamers() {
    init();
    for (format, deep) in [("NV12", false), ("I420", false), ("P010_10LE", true)] {
        let height = if format == "I420" { 50 } else { 51 };
        // A new size takes a new pool.
        for (width, height) in [(73, height), (128, 96)] {
            let (coded, units) = coded(deep, width, height, 5);
            let mut device = decoder_to(GPU, &of_format(format, Some(Place::Cuda)), &coded);
            let mut deepstream = decoder_to(GPU, &of_format(format, Some(Place::Nvmm)), &coded);
            let mut held = Vec::new();
            for (i, unit) in units.into_iter().enumerate() {
                let [(wanted, cuda), (got, nvmm)] = [&mut device, &mut deepstream].map(|harness| {
                    harness.push(unit.clone()).unwrap();
                    let frame = harness.pull().unwrap();
                    (frame, harness.sinkpad().unwrap().current_caps().unwrap())
                });
                assert_eq!(Place::of(&nvmm), Some(Place::Nvmm));
                assert_eq!(got.size(), 64, "a description alone");
                let what = format!("{format} {width}x{height}, frame {i}");
                let wanted = content(wanted, &cuda);
                assert!(nvmm_content(&got, &nvmm) == wanted, "{what}");
                // Some stay with others, some come back to the pool and are filled again.
                if i % 2 == 0 {
                    held.push((got, nvmm, wanted));
                }
            }
            for (frame, caps, wanted) in held {
                assert!(nvmm_content(&frame, &caps) == wanted, "held");
            }
        }
    }
    // Nothing is left of them.
    let (coded, units) = coded(false, 64, 48, 2);
    let blocks = driver("blocks");
    let mut harness = decoder_to(GPU, &of_format("NV12", Some(Place::Nvmm)), &coded);
    for unit in units {
        harness.push(unit).unwrap();
        drop(harness.pull().unwrap());
    }
    drop(harness);
    assert_eq!(driver("blocks"), blocks);
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn without_deepstreams_pools_its_memory_is_not_offered() {
    let name = "without_deepstreams_pools_its_memory_is_not_offered";
    let said = ["No new frames in NVMM", "libnvdsbufferpool.so"];
    if !is_without("libnvdsbufferpool.so", name, "aivideocuda:4", &said) {
        return;
    }
    init();
    let (coded, units) = coded(false, 64, 48, 1);
    let mut harness = decoder_to(GPU, &of_format("NV12", Some(Place::Nvmm)), &coded);
    let element = harness.find_element("aicodecdec").unwrap();
    assert_eq!(source_places(&element), [None, Some(Place::Cuda)]);
    assert!(harness.push(units[0].clone()).is_err());
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn a_new_size_and_a_flush_begin_anew() {
    init();
    let taken = of_format("NV12", Some(Place::Cuda));
    let (first, first_units) = coded(false, 64, 48, 3);
    let (second, second_units) = coded(false, 130, 70, 3);
    let mut host = decoder_to(HOST, &of_format("NV12", None), &first);
    let mut device = decoder_to(GPU, &taken, &first);
    let mut both = |unit: &gst::Buffer, caps: Option<&gst::Caps>, flush: bool| {
        let mut comes = None;
        let contents = [&mut host, &mut device].map(|harness| {
            if let Some(caps) = caps {
                harness.set_src_caps(caps.clone());
            }
            if flush {
                harness.push_event(gst::event::FlushStart::new());
                harness.push_event(gst::event::FlushStop::new(true));
                let segment = gst::FormattedSegment::<gst::ClockTime>::new();
                harness.push_event(gst::event::Segment::new(&segment));
            }
            harness.push(unit.clone()).unwrap();
            // What the host's path gives is there already; the other's may be on its way.
            let frame = match comes {
                Some(true) => Some(harness.pull().unwrap()),
                _ => harness.try_pull(),
            };
            comes = Some(frame.is_some());
            let frame = frame?;
            let caps = harness.sinkpad().unwrap().current_caps().unwrap();
            Some(content(frame, &caps))
        });
        assert!(contents[0] == contents[1]);
        contents[0].is_some()
    };
    assert!(first_units.iter().all(|unit| both(unit, None, false)));
    for (i, unit) in second_units.iter().enumerate() {
        assert!(both(unit, (i == 0).then_some(&second), false));
    }
    // After a flush a key frame is waited for.
    assert!(!both(&second_units[1], None, true));
    assert!(both(&second_units[0], None, false));
    assert!(both(&second_units[1], None, false));
}

fn residual_bytes(unit: &gst::Buffer) -> u64 {
    let data = unit.map_readable().unwrap();
    let unit = AccessUnit::parse(&data).unwrap();
    let tiles = unit.tiles.iter().flatten();
    tiles.map(|tile| tile.residual.len() as u64).sum()
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn only_symbols_vectors_and_flags_cross_the_bus() {
    init();
    let (width, height) = (320, 192);
    let (coded, units) = coded(false, width, height, 6);
    let taken = of_format("NV12", Some(Place::Cuda));
    let mut harness = decoder_to("device=cuda", &taken, &coded);
    let net = decode_net(&model(), "cpu");
    let counters = ["to-device", "to-host", "peer", "waits", "allocations"];
    let mut held = Vec::new();
    for (i, unit) in units.iter().enumerate() {
        let key = is_key(unit);
        let layout = net.of(key).layout((width, height), 6);
        let before = counters.map(driver);
        harness.push(unit.clone()).unwrap();
        held.push(harness.pull().unwrap());
        let after = counters.map(driver);
        let [up, down, peer, waits, allocations] = std::array::from_fn(|k| after[k] - before[k]);
        // All that depends on the size alone; flags are sent where they are needed.
        let fixed = (layout.z_len() + 8 + if key { 0 } else { 4 * layout.parts() }) as u64;
        let symbols = up.checked_sub(fixed).unwrap();
        let picture = (width * height * 3 / 2) as u64;
        println!("frame {i}, key: {key}: {up} bytes of a picture's {picture}");
        if i > 0 {
            let flags = layout.blocks() as u64;
            let list = |bytes: u64| bytes.is_multiple_of(8) && bytes <= 2 * layout.y_len() as u64;
            // The residual's squares and levels come as words, and take two bits and more each in the stream.
            let most = 4 * residual_bytes(unit) * (codec::SQUARE_BYTES + codec::LEVEL_BYTES);
            let residual = (0..=most).step_by(codec::LEVEL_BYTES as usize);
            let listed = residual
                .filter_map(|bytes| symbols.checked_sub(bytes))
                .any(|rest| list(rest) || rest.checked_sub(flags).is_some_and(list));
            assert!(listed, "frame {i}: {symbols} bytes of symbols");
            assert!(
                10 * up < picture * if key { 6 } else { 2 },
                "frame {i}: {up} bytes"
            );
            assert_eq!((down, peer, waits), (0, 0, 1), "frame {i}");
        }
        // The second frame that is kept has its place made.
        assert!(i < 4 || allocations <= 1, "frame {i}: {allocations}");
    }
    let element = harness.find_element("aicodecdec").unwrap();
    let stats = element.property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("host-bytes"), Ok(0));
    assert_eq!(stats.get::<u64>("decoded-frames"), Ok(6));
    assert_eq!(stats.get::<&str>("device"), Ok("cuda:0"));
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn frames_of_another_context_are_filled_by_a_copy_on_the_gpu() {
    init();
    let (coded, units) = coded(false, 64, 48, 2);
    let (_, device) = frame_caps("NV12", 64, 48);
    let mut host = decoder_to(HOST, &of_format("NV12", None), &coded);
    let mut harness = decoder_to(GPU, &of_format("NV12", Some(Place::Cuda)), &coded);
    let pool = cudaframes::foreign_pool(&device);
    pool.set_active(false).unwrap();
    let info = gst_video::VideoInfo::from_caps(&device).unwrap();
    let pad = harness.sinkpad().unwrap();
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, move |_, probe| {
        let Some(gst::QueryViewMut::Allocation(query)) =
            probe.query_mut().map(gst::QueryRef::view_mut)
        else {
            return gst::PadProbeReturn::Ok;
        };
        query.add_allocation_pool(Some(&pool), info.size() as u32, 0, 0);
        gst::PadProbeReturn::Handled
    });
    for unit in units {
        let (peer, down) = (driver("peer"), driver("to-host"));
        let frames = [&mut host, &mut harness].map(|harness| {
            harness.push(unit.clone()).unwrap();
            let caps = harness.sinkpad().unwrap().current_caps().unwrap();
            (harness.pull().unwrap(), caps)
        });
        assert!(driver("peer") > peer, "there and back");
        assert_eq!(driver("to-host"), down);
        let [wanted, got] = frames.map(|(frame, caps)| content(frame, &caps));
        assert!(got == wanted);
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn cuda_graphs_find_the_addresses_that_they_were_recorded_with() {
    init();
    let properties = "device=cpu quality=36 key-int-max=3 inter-network=true";
    let (coded, units) = access_units(properties, 64, 48, 6);
    let mut host = decoder_to(HOST, &of_format("NV12", None), &coded);
    let with = format!("{GPU} cuda-graph=true");
    let mut device = decoder_to(&with, &of_format("NV12", Some(Place::Cuda)), &coded);
    let graphs = aivideo_fakecuda::onnx("graph-runs");
    for unit in units {
        let [wanted, got] = [&mut host, &mut device].map(|harness| {
            harness.push(unit.clone()).unwrap();
            let caps = harness.sinkpad().unwrap().current_caps().unwrap();
            content(harness.pull().unwrap(), &caps)
        });
        assert!(got == wanted);
    }
    assert_eq!(aivideo_fakecuda::onnx("graph-runs"), graphs + 6);
}

fn source_places(element: &gst::Element) -> Vec<Option<Place>> {
    let caps = element.static_pad("src").unwrap().query_caps(None);
    let mut places: Vec<_> = (0..caps.size())
        .map(|i| {
            let mut one = gst::Caps::builder("video/x-raw").build();
            let features = caps.features(i).unwrap().to_owned();
            one.make_mut().set_features_simple(Some(features));
            Place::of(&one)
        })
        .collect();
    places.dedup();
    places
}

fn started(device: &str) -> gst::Element {
    init();
    let element = gst::ElementFactory::make("aicodecdec")
        .property("device", device)
        .build()
        .unwrap();
    element.set_state(gst::State::Paused).unwrap();
    element
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn caps_are_offered_where_the_network_runs_and_others_get_the_context() {
    for device in ["cuda", "auto"] {
        let element = started(device);
        assert_eq!(
            source_places(&element),
            [None, Some(Place::Cuda), Some(Place::Nvmm)],
            "{device}"
        );
        for pad in ["sink", "src"] {
            let pad = element.static_pad(pad).unwrap();
            let mut query = gst::query::Context::new(CONTEXT);
            assert!(pad.query(query.query_mut()));
            let mut other = gst::query::Context::new("gst.gl.GLDisplay");
            assert!(!pad.query(other.query_mut()));
        }
        element.set_state(gst::State::Null).unwrap();
    }
    // Also before the start, where the device is named.
    let element = gst::ElementFactory::make("aicodecdec")
        .property("device", "cuda")
        .build()
        .unwrap();
    let mut query = gst::query::Context::new(CONTEXT);
    assert!(element.static_pad("src").unwrap().query(query.query_mut()));
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn a_decoder_gives_all_its_memory_back() {
    init();
    let (coded, units) = coded(true, 72, 50, 5);
    let taken = of_format("P010_10LE", Some(Place::Cuda));
    let decode = || {
        let mut harness = decoder_to("device=cuda", &taken, &coded);
        for unit in &units {
            harness.push(unit.clone()).unwrap();
            harness.pull().unwrap();
        }
        drop(harness);
        driver("blocks")
    };
    let first = decode();
    assert_eq!(decode(), first);
}

#[test]
fn without_a_gpu_its_frames_are_not_offered_and_refused_with_the_reason() {
    let element = started("cpu");
    assert_eq!(source_places(&element), [None]);
    let mut query = gst::query::Context::new(CONTEXT);
    assert!(!element.static_pad("src").unwrap().query(query.query_mut()));
    element.set_state(gst::State::Null).unwrap();

    let (coded, units) = coded(false, 64, 48, 1);
    let taken = of_format("NV12", Some(Place::Cuda));
    let mut harness = decoder_to("device=cpu", &taken, &coded);
    let bus = watch(&harness);
    assert_eq!(
        harness.push(units[0].clone()),
        Err(gst::FlowError::NotNegotiated)
    );
    let (_, text) = error_on(&bus).expect("an error");
    assert!(
        text.contains("device=cuda") && text.contains("cudaupload"),
        "{text}"
    );
}
