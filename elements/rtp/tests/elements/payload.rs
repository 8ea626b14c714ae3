// SPDX-License-Identifier: Apache-2.0
use super::common::*;
use aivideo_codec::bitstream::caps::{
    StreamFormat, caps_to_sequence_header, sequence_header_to_caps,
};
use aivideo_codec::bitstream::{AccessUnit, AccessUnitWriter, SequenceHeader};
use gst::prelude::*;
use gst_check::Harness;
use gst_rtp::RTPBuffer;

#[test]
fn frames_return_at_every_mtu() {
    for mtu in [128, 300, 1400, 9000, 65_000] {
        let units = stream(25, 2500);
        let mut depay = depayloader();
        for (i, frame) in packets(&units, mtu).into_iter().enumerate() {
            let count = frame.len();
            for (j, packet) in frame.into_iter().enumerate() {
                assert!(packet.size() <= mtu as usize);
                {
                    let rtp = RTPBuffer::from_buffer_readable(&packet).unwrap();
                    assert_eq!(rtp.is_marker(), j + 1 == count);
                    assert_eq!(rtp.payload_type(), 96);
                }
                depay.push(packet).unwrap();
            }
            // At once: nothing waits for the next frame.
            let buffer = depay.pull().unwrap();
            assert_eq!(data(&buffer), units[i], "frame {i} at {mtu}");
            assert_eq!(buffer.pts(), Some(FRAME * i as u64));
            let flags = buffer.flags();
            assert_eq!(flags.contains(gst::BufferFlags::DELTA_UNIT), i % 10 != 0);
            assert!(!flags.contains(gst::BufferFlags::CORRUPTED));
        }
        let caps = depay.sinkpad().unwrap().current_caps().unwrap();
        assert_eq!(caps_to_sequence_header(&caps), Ok(sequence()));
    }
}

#[test]
fn caps_announce_the_stream() {
    let mut pay = payloader(1400);
    pay.push(buffer(&access_unit(0, true, 10), 0)).unwrap();
    let caps = pay.sinkpad().unwrap().current_caps().unwrap();
    let structure = caps.structure(0).unwrap();
    assert_eq!(structure.get::<&str>("encoding-name"), Ok("X-AICODEC"));
    assert_eq!(structure.get::<i32>("clock-rate"), Ok(90_000));
    assert_eq!(structure.get::<&str>("model"), Ok("6d6f64656c6f6e65"));
    let config = glib::base64_decode(structure.get::<&str>("config").unwrap());
    assert_eq!(SequenceHeader::parse(&config).unwrap().0, sequence());

    // A depayloader that is told so knows the stream before the first packet.
    init();
    let mut depay = Harness::new("rtpaicodecdepay");
    depay.set_src_caps(caps);
    depay
        .push(packets(&stream(1, 10), 1400).remove(0).remove(0))
        .unwrap();
    let caps = depay.sinkpad().unwrap().current_caps().unwrap();
    assert_eq!(caps_to_sequence_header(&caps), Ok(sequence()));
}

/// The depth travels in every key frame and in the description; a change of it is a new stream.
#[test]
fn the_depth_is_kept() {
    init();
    let mut depay = depayloader();
    for (number, depth) in [10u8, 8, 10].into_iter().enumerate() {
        let mut described = sequence();
        described.bit_depth = depth;
        described.light.content = (depth == 10).then_some([1000, 400]);
        let unit = access_unit(number as u16, true, 400);
        let unit = AccessUnit::parse(&unit).unwrap();
        let mut writer = AccessUnitWriter::new(unit.header, Some(&described));
        for tile in unit.tiles.iter().flatten() {
            writer.push_tile(tile);
        }
        let unit = writer.finish();
        let mut pay = Harness::new_parse(&format!(
            "rtpaicodecpay mtu=300 seqnum-offset={}",
            100 * number
        ));
        pay.set_src_caps(sequence_header_to_caps(&described, StreamFormat::Frame));
        pay.push(buffer(&unit, number as u16)).unwrap();
        let caps = pay.sinkpad().unwrap().current_caps().unwrap();
        let config = caps.structure(0).unwrap().get::<&str>("config").unwrap();
        let config = glib::base64_decode(config);
        assert_eq!(SequenceHeader::parse(&config).unwrap().0, described);
        for _ in 0..pay.buffers_in_queue() {
            depay.push(pay.pull().unwrap()).unwrap();
        }
        assert_eq!(data(&depay.pull().unwrap()), unit);
        let caps = depay.sinkpad().unwrap().current_caps().unwrap();
        let fields = caps.structure(0).unwrap();
        assert_eq!(fields.get::<u32>("bit-depth-luma"), Ok(depth.into()));
        assert_eq!(fields.has_field("content-light-level"), depth == 10);
        assert_eq!(caps_to_sequence_header(&caps), Ok(described));
    }
}

#[test]
fn streams_without_codec_data_are_announced_by_their_key_frame() {
    init();
    let mut pay = Harness::new("rtpaicodecpay");
    pay.set_src_caps_str("video/x-aicodec,stream-format=frame,alignment=au");
    pay.push(buffer(&access_unit(4, false, 10), 4)).unwrap();
    assert_eq!(pay.buffers_received(), 0);
    pay.push(buffer(&access_unit(5, true, 10), 5)).unwrap();
    assert_eq!(pay.buffers_received(), 1);
    let caps = pay.sinkpad().unwrap().current_caps().unwrap();
    assert!(caps.structure(0).unwrap().has_field("config"));
}

#[test]
fn aggregation_is_a_choice() {
    for (mode, count) in [("none", 3), ("frame", 1), ("tiles", 1)] {
        init();
        let line = format!("rtpaicodecpay aggregate-mode={mode}");
        let mut pay = Harness::new_parse(&line);
        pay.set_src_caps(caps());
        pay.push(buffer(&access_unit(0, true, 100), 0)).unwrap();
        assert_eq!(pay.buffers_received(), count, "{mode}");
    }
}

#[test]
fn a_tiny_mtu_is_an_error() {
    let mut pay = payloader(60);
    let bus = gst::Bus::new();
    pay.element().unwrap().set_bus(Some(&bus));
    assert_eq!(
        pay.push(buffer(&access_unit(0, true, 100), 0)),
        Err(gst::FlowError::Error)
    );
    let message = bus.pop_filtered(&[gst::MessageType::Error]).unwrap();
    let gst::MessageView::Error(error) = message.view() else {
        unreachable!()
    };
    assert!(
        error.error().to_string().contains("set at least"),
        "{}",
        error.error()
    );
}

#[test]
fn malformed_units_are_not_sent() {
    let mut pay = payloader(1400);
    for junk in [&b""[..], b"\xa1", b"junk that is no access unit at all"] {
        pay.push(buffer(junk, 0)).unwrap();
    }
    assert_eq!(pay.buffers_received(), 0);
    pay.push(buffer(&access_unit(0, true, 100), 1)).unwrap();
    assert_eq!(pay.buffers_received(), 1);
}

#[test]
fn a_bad_announcement_is_refused() {
    init();
    let mut depay = Harness::new("rtpaicodecdepay");
    let bus = gst::Bus::new();
    depay.element().unwrap().set_bus(Some(&bus));
    let caps = gst::Caps::builder("application/x-rtp")
        .field("media", "video")
        .field("clock-rate", 90_000)
        .field("encoding-name", "X-AICODEC")
        .field("payload", 96)
        .field("config", "bm90aGluZw==")
        .build();
    depay.push_event(gst::event::StreamStart::new("test"));
    depay.push_event(gst::event::Caps::new(&caps));
    let message = bus.pop_filtered(&[gst::MessageType::Error]).unwrap();
    let gst::MessageView::Error(error) = message.view() else {
        unreachable!()
    };
    assert!(
        error.error().to_string().contains("`config`"),
        "{}",
        error.error()
    );
}

#[test]
fn a_flush_forgets_the_frame_that_was_begun() {
    let units = stream(2, 3000);
    let mut frames = packets(&units, 500).into_iter();
    let mut depay = depayloader();
    depay.push(frames.next().unwrap().remove(0)).unwrap();
    depay.push_event(gst::event::FlushStart::new());
    depay.push_event(gst::event::FlushStop::new(true));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    depay.push_event(gst::event::Segment::new(&segment));
    for packet in packets(&units, 500).remove(0) {
        depay.push(packet).unwrap();
    }
    assert_eq!(depay.buffers_received(), 1);
    assert_eq!(data(&depay.pull().unwrap()), units[0]);
}

/// A packet whose memory tells whether it is still in use.
struct Tracked {
    data: Vec<u8>,
    _alive: std::sync::Arc<()>,
}

impl AsRef<[u8]> for Tracked {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

#[test]
fn packets_are_let_go() {
    let alive = std::sync::Arc::new(());
    let mut depay = depayloader();
    for packet in packets(&stream(3, 3000), 500).into_iter().flatten() {
        // In two pieces, as the payloader makes them: then mapping the payload is another mapping.
        let bytes = data(&packet);
        let mut packet = gst::Buffer::new();
        for part in [&bytes[..12], &bytes[12..]] {
            let tracked = Tracked {
                data: part.to_vec(),
                _alive: alive.clone(),
            };
            packet
                .make_mut()
                .append_memory(gst::Memory::from_slice(tracked));
        }
        depay.push(packet).unwrap();
    }
    assert_eq!(depay.buffers_received(), 3);
    drop(depay);
    assert_eq!(
        std::sync::Arc::strong_count(&alive),
        1,
        "the depayloader keeps packets"
    );
}
