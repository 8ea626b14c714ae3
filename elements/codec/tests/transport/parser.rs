// SPDX-License-Identifier: Apache-2.0
use super::common::*;
use aivideo_codec::bitstream::Tile;
use aivideo_codec::bitstream::byte_stream::write_unit;
use aivideo_codec::bitstream::caps::{StreamFormat, caps_to_sequence_header};
use gst::prelude::*;
use gst_check::Harness;
use std::str::FromStr;

fn parser(input: &gst::Caps, output: &str) -> Harness {
    init();
    let mut harness = Harness::new("aicodecparse");
    harness.set_src_caps(input.clone());
    let output = gst::Caps::from_str(output).unwrap();
    harness.set_sink_caps(output);
    harness
}

const FRAMES: &str = "video/x-aicodec,stream-format=frame";
const BYTES: &str = "video/x-aicodec,stream-format=byte-stream";

fn data(buffer: &gst::Buffer) -> Vec<u8> {
    buffer.map_readable().unwrap().to_vec()
}

#[test]
fn a_byte_stream_is_cut_in_pieces_of_any_size() {
    let units = stream(25, 200);
    let file = file(&units);
    for chunk in [1, 7, 64, 1000, 65_536] {
        let mut harness = parser(&unparsed("byte-stream"), FRAMES);
        for piece in file.chunks(chunk) {
            harness
                .push(gst::Buffer::from_slice(piece.to_vec()))
                .unwrap();
        }
        harness.push_event(gst::event::Eos::new());
        assert_eq!(
            harness.buffers_in_queue() as usize,
            units.len(),
            "chunks of {chunk}"
        );
        for (i, unit) in units.iter().enumerate() {
            let buffer = harness.pull().unwrap();
            assert_eq!(data(&buffer), *unit);
            assert_eq!(
                buffer.pts(),
                Some(i as u64 * gst::ClockTime::from_nseconds(FRAME))
            );
            assert_eq!(
                buffer.duration(),
                Some(gst::ClockTime::from_nseconds(FRAME))
            );
            let delta = buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
            assert_eq!(delta, i % 10 != 0);
        }
        let caps = harness.sinkpad().unwrap().current_caps().unwrap();
        assert_eq!(caps_to_sequence_header(&caps).unwrap(), sequence());
        let fields = "video/x-aicodec,stream-format=frame,alignment=au,parsed=true,width=640,\
            height=360,framerate=25/1,profile=s";
        assert!(
            caps.is_subset(&gst::Caps::from_str(fields).unwrap()),
            "{caps}"
        );
    }
}

#[test]
fn frames_pass() {
    let units = stream(12, 300);
    let mut harness = parser(&caps(StreamFormat::Frame), FRAMES);
    for (i, unit) in units.iter().enumerate() {
        let mut buffer = gst::Buffer::from_slice(unit.clone());
        buffer
            .get_mut()
            .unwrap()
            .set_pts(gst::ClockTime::from_nseconds(i as u64 * FRAME));
        harness.push(buffer).unwrap();
        // At once: nothing waits for the next.
        let buffer = harness.pull().unwrap();
        assert_eq!(data(&buffer), *unit);
        assert_eq!(
            buffer.pts(),
            Some(gst::ClockTime::from_nseconds(i as u64 * FRAME))
        );
        assert_eq!(
            buffer.duration(),
            Some(gst::ClockTime::from_nseconds(FRAME))
        );
        assert_eq!(
            buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
            i % 10 != 0
        );
    }
}

#[test]
fn frames_become_a_file_and_frames_again() {
    let units = stream(12, 300);
    // ANY downstream gets what plays by itself.
    let mut harness = parser(&caps(StreamFormat::Frame), BYTES);
    let mut written = Vec::new();
    for (i, unit) in units.iter().enumerate() {
        let mut buffer = gst::Buffer::from_slice(unit.clone());
        buffer
            .get_mut()
            .unwrap()
            .set_pts(gst::ClockTime::from_nseconds(i as u64 * FRAME));
        harness.push(buffer).unwrap();
        written.extend(data(&harness.pull().unwrap()));
    }
    assert_eq!(written, file(&units));
}

#[test]
fn downstream_without_a_wish_gets_a_byte_stream() {
    init();
    let mut harness = Harness::new("aicodecparse");
    harness.set_src_caps(caps(StreamFormat::Frame));
    harness
        .push(gst::Buffer::from_slice(access_unit(0, true, 10)))
        .unwrap();
    let caps = harness.sinkpad().unwrap().current_caps().unwrap();
    assert_eq!(
        caps.structure(0).unwrap().get::<&str>("stream-format"),
        Ok("byte-stream")
    );
}

#[test]
fn a_new_description_gives_new_caps() {
    let mut harness = parser(&unparsed("byte-stream"), FRAMES);
    let units = stream(1, 50);
    harness.push(gst::Buffer::from_slice(file(&units))).unwrap();
    harness.pull().unwrap();
    // The same frame with another size in its header.
    let mut other = sequence();
    other.width = 320;
    let unit = aivideo_codec::bitstream::AccessUnit::parse(&units[0]).unwrap();
    let mut writer = aivideo_codec::bitstream::AccessUnitWriter::new(unit.header, Some(&other));
    writer.push_tile(&Tile::new(0, [b"motion", b"z", b"y", b""]));
    let unit = write_unit(&writer.finish(), true, Some(0), None);
    harness.push(gst::Buffer::from_slice(unit)).unwrap();
    harness.pull().unwrap();
    let caps = harness.sinkpad().unwrap().current_caps().unwrap();
    assert_eq!(caps.structure(0).unwrap().get::<i32>("width"), Ok(320));
}

/// The depth is in the caps, and a change of it gives new ones.
#[test]
fn caps_carry_the_depth() {
    for format in ["byte-stream", "frame"] {
        let mut harness = parser(&unparsed(format), FRAMES);
        for depth in [10u8, 8, 10, 12] {
            let mut described = sequence();
            described.bit_depth = depth;
            let unit = access_unit(0, true, 40);
            let unit = aivideo_codec::bitstream::AccessUnit::parse(&unit).unwrap();
            let mut writer =
                aivideo_codec::bitstream::AccessUnitWriter::new(unit.header, Some(&described));
            for tile in unit.tiles.iter().flatten() {
                writer.push_tile(tile);
            }
            let unit = match format {
                "frame" => writer.finish(),
                _ => write_unit(&writer.finish(), true, Some(0), None),
            };
            harness.push(gst::Buffer::from_slice(unit)).unwrap();
            harness.pull().unwrap();
            let caps = harness.sinkpad().unwrap().current_caps().unwrap();
            let fields = caps.structure(0).unwrap();
            assert_eq!(fields.get::<u32>("bit-depth-luma"), Ok(depth.into()));
            assert_eq!(fields.get::<u32>("bit-depth-chroma"), Ok(depth.into()));
            assert_eq!(caps_to_sequence_header(&caps), Ok(described));
        }
    }
}

#[test]
fn a_flush_forgets_what_was_begun() {
    let mut harness = parser(&unparsed("byte-stream"), FRAMES);
    let units = stream(3, 500);
    let file = file(&units);
    harness
        .push(gst::Buffer::from_slice(file[..2000].to_vec()))
        .unwrap();
    assert_eq!(harness.buffers_received(), 1);
    harness.push_event(gst::event::FlushStart::new());
    harness.push_event(gst::event::FlushStop::new(true));
    let segment = gst::FormattedSegment::<gst::format::Bytes>::new();
    harness.push_event(gst::event::Segment::new(&segment));
    harness.push(gst::Buffer::from_slice(file)).unwrap();
    assert_eq!(harness.buffers_received(), 1 + 3);
}

#[test]
fn bad_caps_are_refused() {
    init();
    let mut harness = Harness::new("aicodecparse");
    let bad = gst::Caps::builder("video/x-aicodec")
        .field("stream-format", "frame")
        .field("codec_data", gst::Buffer::from_slice([1, 2, 3]))
        .build();
    harness.set_src_caps(bad);
    let result = harness.push(gst::Buffer::from_slice(access_unit(0, true, 10)));
    assert_eq!(result, Err(gst::FlowError::NotNegotiated));
}
