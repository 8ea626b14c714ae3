// SPDX-License-Identifier: Apache-2.0
use super::common::*;
use aivideo_codec::bitstream::{AccessUnit, AccessUnitWriter, FrameType};
use gst_check::Harness;
use proptest::prelude::*;

/// Key frame requests that went upstream since the last call.
fn requests(harness: &mut Harness) -> usize {
    let mut count = 0;
    while let Some(event) = harness.try_pull_upstream_event() {
        if gst_video::ForceKeyUnitEvent::is(&event) {
            count += 1;
        }
    }
    count
}

fn bad_tiles(buffer: &gst::Buffer) -> Vec<usize> {
    let data = data(buffer);
    let unit = AccessUnit::parse(&data).unwrap();
    unit.tiles
        .iter()
        .enumerate()
        .filter(|(_, t)| t.is_err())
        .map(|(i, _)| i)
        .collect()
}

#[test]
fn a_lost_packet_costs_one_tile() {
    let units = stream(5, 3000);
    let frames = packets(&units, 1400);
    // Three packets a tile.
    let lost = 4;
    let mut depay = depayloader();
    for (i, frame) in frames.into_iter().enumerate() {
        for (j, packet) in frame.into_iter().enumerate() {
            if (i, j) != (2, lost) {
                depay.push(packet).unwrap();
            }
        }
        let buffer = depay.pull().unwrap();
        let corrupted = buffer.flags().contains(gst::BufferFlags::CORRUPTED);
        assert_eq!(corrupted, i == 2);
        let expected: &[usize] = if i == 2 { &[1] } else { &[] };
        assert_eq!(bad_tiles(&buffer), expected, "frame {i}");
    }
    // Help is asked for, once.
    assert_eq!(requests(&mut depay), 1);
}

#[test]
fn who_asks_for_help_is_told_apart() {
    let all_headers = |harness: &mut Harness| {
        std::iter::from_fn(|| harness.try_pull_upstream_event())
            .filter_map(|e| gst_video::UpstreamForceKeyUnitEvent::parse(&e).ok())
            .map(|e| e.all_headers)
            .collect::<Vec<_>>()
    };
    let mut frames = packets(&stream(5, 3000), 1400);
    let late = frames[2].clone();
    frames[1].remove(0);
    let feed = |depay: &mut Harness, frames: &[Vec<gst::Buffer>]| {
        for packet in frames.iter().flatten() {
            depay.push(packet.clone()).unwrap();
        }
    };
    // A loss is told as one; where there is nothing to begin with, only a key frame helps.
    let mut depay = depayloader();
    feed(&mut depay, &frames);
    assert_eq!(all_headers(&mut depay), [false]);
    let mut depay = depayloader();
    feed(&mut depay, &[late]);
    assert_eq!(all_headers(&mut depay), [true]);
    // A decoder that asks does so for both.
    let mut depay = depayloader();
    let event = gst_video::UpstreamForceKeyUnitEvent::builder().build();
    assert!(depay.push_upstream_event(event));
    all_headers(&mut depay);
    feed(&mut depay, &frames);
    assert_eq!(all_headers(&mut depay), [] as [bool; 0]);
    // And nobody may ask.
    let mut depay = depayloader();
    let element = depay.find_element("rtpaicodecdepay").unwrap();
    gst::prelude::ObjectExt::set_property(&element, "request-keyframe", false);
    feed(&mut depay, &frames);
    assert_eq!(all_headers(&mut depay), [] as [bool; 0]);
}

#[test]
fn a_recovery_frame_needs_no_frame_before_it() {
    let units = stream(4, 500);
    let mut recovery = AccessUnit::parse(&units[3]).unwrap().header;
    recovery.frame_type = FrameType::Recovery;
    recovery.reference_number = 0;
    let mut writer = AccessUnitWriter::new(recovery, None);
    for tile in AccessUnit::parse(&units[3]).unwrap().tiles.iter().flatten() {
        writer.push_tile(tile);
    }
    let units = [units[0].clone(), units[1].clone(), writer.finish()];
    let mut depay = depayloader();
    for (i, unit) in units.iter().enumerate() {
        // Frame 2 is lost.
        let number = if i == 2 { 3 } else { i as u16 };
        let mut pay = payloader(1400);
        pay.push(buffer(&units[0], 0)).unwrap();
        if i > 0 {
            while pay.try_pull().is_some() {}
            pay.push(buffer(unit, number)).unwrap();
        }
        for packet in std::iter::from_fn(|| pay.try_pull()) {
            depay.push(packet).unwrap();
        }
    }
    assert_eq!((depay.buffers_received(), requests(&mut depay)), (3, 0));
    let last = (0..3).map(|_| depay.pull().unwrap()).last().unwrap();
    assert_eq!(data(&last), units[2]);
}

#[test]
fn a_frame_whose_last_packet_is_lost_comes_with_the_next() {
    let units = stream(4, 3000);
    let mut depay = depayloader();
    for (i, mut frame) in packets(&units, 1400).into_iter().enumerate() {
        if i == 1 {
            frame.pop();
        }
        for packet in frame {
            depay.push(packet).unwrap();
        }
        // What is late is not lost.
        assert_eq!(depay.buffers_received(), [1, 1, 3, 4][i]);
    }
    for (i, unit) in units.iter().enumerate() {
        let buffer = depay.pull().unwrap();
        assert_eq!(buffer.pts(), Some(FRAME * i as u64));
        assert_eq!(data(&buffer) == *unit, i != 1);
    }
    // The same at the end of the stream.
    let mut depay = depayloader();
    let mut frame = packets(&units, 1400).remove(0);
    frame.pop();
    for packet in frame {
        depay.push(packet).unwrap();
    }
    depay.push_event(gst::event::Eos::new());
    assert_eq!(depay.buffers_received(), 1);
}

#[test]
fn the_loss_of_a_key_frame_asks_for_another() {
    let units = stream(12, 3000);
    let mut frames = packets(&units, 1400);

    // Joining late: nothing can be decoded yet.
    let mut depay = depayloader();
    for packet in frames[5].clone() {
        depay.push(packet).unwrap();
    }
    assert_eq!((depay.buffers_received(), requests(&mut depay)), (0, 1));

    // A part of a key frame.
    let mut depay = depayloader();
    let mut key = frames[0].clone();
    key.remove(1);
    for packet in key {
        depay.push(packet).unwrap();
    }
    assert_eq!((depay.buffers_received(), requests(&mut depay)), (1, 1));

    // All of a key frame: the next frame refers to nothing.
    let mut depay = depayloader();
    frames.remove(10);
    for packet in frames.into_iter().flatten() {
        depay.push(packet).unwrap();
    }
    assert_eq!((depay.buffers_received(), requests(&mut depay)), (11, 1));
    let last = (0..11).map(|_| depay.pull().unwrap()).last().unwrap();
    assert!(last.flags().contains(gst::BufferFlags::DISCONT));
}

#[test]
fn another_model_is_refused_with_a_message() {
    init();
    let mut other = sequence();
    other.model_id = *b"anothers";
    let mut depay = Harness::new("rtpaicodecdepay");
    let caps = gst::Caps::builder("application/x-rtp")
        .field("media", "video")
        .field("clock-rate", 90_000)
        .field("encoding-name", "X-AICODEC")
        .field("payload", 96)
        .field("config", glib::base64_encode(&other.write()))
        .build();
    depay.set_src_caps(caps);
    let bus = gst::Bus::new();
    {
        use gst::prelude::*;
        depay.element().unwrap().set_bus(Some(&bus));
    }
    let frames = packets(&stream(2, 100), 1400);
    for packet in frames[1].clone() {
        depay.push(packet).unwrap();
    }
    assert_eq!(depay.buffers_received(), 0);
    let message = bus.pop_filtered(&[gst::MessageType::Warning]).unwrap();
    let gst::MessageView::Warning(warning) = message.view() else {
        unreachable!()
    };
    assert!(
        warning.error().to_string().contains("same model"),
        "{}",
        warning.error()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn hostile_packets_do_no_harm(
        edits in proptest::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 0u8..4),
            1..60,
        ),
    ) {
        let sound: Vec<_> = packets(&stream(4, 500), 300).into_iter().flatten().collect();
        let mut depay = depayloader();
        for (sequence, (packet, at, byte, kind)) in edits.into_iter().enumerate() {
            let mut bytes = data(packet.get(&sound));
            match kind {
                0 => (),
                1 => bytes.truncate(at.index(bytes.len()).max(12)),
                // The RTP header, too.
                2 => { let at = at.index(bytes.len()); bytes[at] = byte; }
                _ => { let at = 12 + at.index(20.min(bytes.len() - 12)); bytes[at] ^= byte; }
            }
            bytes[2..4].copy_from_slice(&(sequence as u16).to_be_bytes());
            let _ = depay.push(gst::Buffer::from_slice(bytes));
        }
        depay.push_event(gst::event::Eos::new());
        for _ in 0..depay.buffers_in_queue() {
            let buffer = depay.pull().unwrap();
            let data = data(&buffer);
            let whole = AccessUnit::parse(&data).unwrap().is_whole();
            prop_assert_eq!(whole, !buffer.flags().contains(gst::BufferFlags::CORRUPTED));
        }
    }
}
