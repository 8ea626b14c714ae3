// SPDX-License-Identifier: Apache-2.0
use aivideo_codec::bitstream::byte_stream::write_unit;
use aivideo_codec::bitstream::caps::{StreamFormat, sequence_header_to_caps};
use aivideo_codec::bitstream::{AccessUnitWriter, FrameHeader, FrameType, SequenceHeader, Tile};
use gst::prelude::*;
use std::sync::{Arc, Mutex};

pub const FRAME: u64 = 40_000_000;

pub fn init() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        gst::init().unwrap();
        aivideo_codec::register_transport(None).unwrap();
    });
}

pub fn sequence() -> SequenceHeader {
    SequenceHeader {
        model_id: *b"modelone",
        tables_id: *b"tableone",
        ..SequenceHeader::new(640, 360, (25, 1))
    }
}

/// One access unit with `size` bytes in each of three tiles.
pub fn access_unit(number: u64, key: bool, size: usize) -> Vec<u8> {
    let header = FrameHeader {
        frame_type: if key {
            FrameType::Key
        } else {
            FrameType::Inter
        },
        frame_number: number as u16,
        reference_number: (number as u16).wrapping_sub(u16::from(!key)),
        long_term: None,
        state_reset: key,
        context_reset: false,
        quality: 30,
        filter: 0,
        tile_count: 3,
    };
    let mut writer = AccessUnitWriter::new(header, key.then_some(&sequence()));
    for tile in 0..3u64 {
        // Not all the same, and never by chance the mark of a unit.
        let bytes: Vec<u8> = (0..size as u64)
            .map(|i| ((i * 7 + number + tile) % 100) as u8)
            .collect();
        let (motion, rest) = bytes.split_at(size / 4);
        let (z, y) = rest.split_at(size / 4);
        writer.push_tile(&Tile::new(tile as u16, [motion, z, y, b""]));
    }
    writer.finish()
}

/// A stream with a key frame every ten frames.
pub fn stream(frames: u64, size: usize) -> Vec<Vec<u8>> {
    (0..frames)
        .map(|i| access_unit(i, i % 10 == 0, size))
        .collect()
}

/// The same as a file.
pub fn file(units: &[Vec<u8>]) -> Vec<u8> {
    let unit = |(i, unit): (usize, &Vec<u8>)| {
        write_unit(unit, i % 10 == 0, Some(i as u64 * FRAME), Some(FRAME))
    };
    units.iter().enumerate().flat_map(unit).collect()
}

pub fn caps(format: StreamFormat) -> gst::Caps {
    sequence_header_to_caps(&sequence(), format)
}

pub fn unparsed(format: &str) -> gst::Caps {
    gst::Caps::builder("video/x-aicodec")
        .field("stream-format", format)
        .build()
}

/// Runs a pipeline with an appsink named `sink` to its end.
pub fn run(line: &str) -> Result<Vec<gst::Sample>, glib::Error> {
    let pipeline = gst::parse::launch(line)?
        .downcast::<gst::Pipeline>()
        .unwrap();
    let result = collect(&pipeline);
    pipeline.set_state(gst::State::Null).unwrap();
    result
}

/// Plays to the end and gives what reached the sink.
pub fn collect(pipeline: &gst::Pipeline) -> Result<Vec<gst::Sample>, glib::Error> {
    let samples = watch(pipeline);
    play(pipeline)?;
    Ok(std::mem::take(&mut samples.lock().unwrap()))
}

/// Everything that reaches the sink from now on.
pub fn watch(pipeline: &gst::Pipeline) -> Arc<Mutex<Vec<gst::Sample>>> {
    let sink = pipeline.by_name("sink").unwrap();
    let samples = Arc::new(Mutex::new(Vec::new()));
    let filled = samples.clone();
    sink.static_pad("sink")
        .unwrap()
        .add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if let Some(gst::PadProbeData::Buffer(buffer)) = &info.data {
                let caps = pad.current_caps().unwrap();
                let sample = gst::Sample::builder().buffer(buffer).caps(&caps).build();
                filled.lock().unwrap().push(sample);
            }
            gst::PadProbeReturn::Ok
        });
    samples
}

/// Plays to the end.
pub fn play(pipeline: &gst::Pipeline) -> Result<(), glib::Error> {
    // A failed change is explained by a message.
    let _ = pipeline.set_state(gst::State::Playing);
    let bus = pipeline.bus().unwrap();
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = bus
        .timed_pop_filtered(gst::ClockTime::from_seconds(20), &kinds)
        .expect("the pipeline hangs");
    match message.view() {
        gst::MessageView::Error(error) => Err(error.error()),
        _ => Ok(()),
    }
}

pub fn bytes(sample: &gst::Sample) -> Vec<u8> {
    sample.buffer().unwrap().map_readable().unwrap().to_vec()
}
