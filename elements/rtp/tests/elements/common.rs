// SPDX-License-Identifier: Apache-2.0
use aivideo_codec::bitstream::caps::{StreamFormat, sequence_header_to_caps};
use aivideo_codec::bitstream::{AccessUnitWriter, FrameHeader, FrameType, SequenceHeader, Tile};
use gst_check::Harness;

pub const FRAME: gst::ClockTime = gst::ClockTime::from_mseconds(40);

pub fn init() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        gst::init().unwrap();
        aivideo_codec::register_transport(None).unwrap();
        aivideo_rtp::register(None).unwrap();
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
pub fn access_unit(number: u16, key: bool, size: usize) -> Vec<u8> {
    let header = FrameHeader {
        frame_type: if key {
            FrameType::Key
        } else {
            FrameType::Inter
        },
        frame_number: number,
        reference_number: if key { number } else { number.wrapping_sub(1) },
        long_term: None,
        state_reset: key,
        context_reset: false,
        quality: 30,
        filter: 0,
        tile_count: 3,
    };
    let mut writer = AccessUnitWriter::new(header, key.then_some(&sequence()));
    for tile in 0..3u16 {
        let bytes: Vec<u8> = (0..size)
            .map(|i| (i * 7 + usize::from(number + tile)) as u8)
            .collect();
        let (motion, rest) = bytes.split_at(size / 4);
        let (z, y) = rest.split_at(size / 4);
        writer.push_tile(&Tile::new(tile, [motion, z, y, b""]));
    }
    writer.finish()
}

/// A stream with a key frame every ten frames.
pub fn stream(frames: u16, size: usize) -> Vec<Vec<u8>> {
    (0..frames)
        .map(|i| access_unit(i, i % 10 == 0, size))
        .collect()
}

pub fn caps() -> gst::Caps {
    sequence_header_to_caps(&sequence(), StreamFormat::Frame)
}

pub fn buffer(unit: &[u8], number: u16) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_slice(unit.to_vec());
    let out = buffer.get_mut().unwrap();
    out.set_pts(FRAME * u64::from(number));
    out.set_duration(FRAME);
    buffer
}

pub fn data(buffer: &gst::Buffer) -> Vec<u8> {
    buffer.map_readable().unwrap().to_vec()
}

/// A payloader with a given MTU.
pub fn payloader(mtu: u32) -> Harness {
    init();
    let mut harness = Harness::new_parse(&format!("rtpaicodecpay mtu={mtu} seqnum-offset=0"));
    harness.set_src_caps(caps());
    harness
}

pub fn depayloader() -> Harness {
    init();
    let mut harness = Harness::new("rtpaicodecdepay");
    let caps = "application/x-rtp,media=video,clock-rate=90000,encoding-name=X-AICODEC,payload=96";
    harness.set_src_caps_str(caps);
    harness
}

/// The packets of each frame.
pub fn packets(units: &[Vec<u8>], mtu: u32) -> Vec<Vec<gst::Buffer>> {
    let mut harness = payloader(mtu);
    let mut all = Vec::new();
    for (i, unit) in units.iter().enumerate() {
        harness.push(buffer(unit, i as u16)).unwrap();
        let count = harness.buffers_in_queue();
        all.push((0..count).map(|_| harness.pull().unwrap()).collect());
    }
    all
}
