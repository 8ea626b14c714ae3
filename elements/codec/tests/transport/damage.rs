// SPDX-License-Identifier: Apache-2.0
use super::common::*;
use gst_check::Harness;
use proptest::prelude::*;
use std::str::FromStr;

/// All that comes out of the parser, whatever goes in.
fn parse(data: &[u8], chunk: usize) -> Vec<gst::Buffer> {
    init();
    let mut harness = Harness::new("aicodecparse");
    harness.set_src_caps(unparsed("byte-stream"));
    harness.set_sink_caps(gst::Caps::from_str("video/x-aicodec,stream-format=frame").unwrap());
    for piece in data.chunks(chunk) {
        if harness
            .push(gst::Buffer::from_slice(piece.to_vec()))
            .is_err()
        {
            break;
        }
    }
    harness.push_event(gst::event::Eos::new());
    (0..harness.buffers_in_queue())
        .map(|_| harness.pull().unwrap())
        .collect()
}

fn contents(buffers: &[gst::Buffer]) -> Vec<Vec<u8>> {
    buffers
        .iter()
        .map(|b| b.map_readable().unwrap().to_vec())
        .collect()
}

#[test]
fn garbage_before_and_between_is_passed_over() {
    let units = stream(20, 300);
    let whole = file(&units);
    let second = file(&units[..1]).len();
    let mut torn = vec![0xa1; 5000];
    torn.extend(&whole[..second]);
    torn.extend(b"\xa1IC not a unit at all \xa1I");
    torn.extend(&whole[second..]);
    for chunk in [1, 100, 100_000] {
        assert_eq!(contents(&parse(&torn, chunk)), units);
    }
}

#[test]
fn lost_bytes_cost_one_frame() {
    let units = stream(20, 300);
    let mut torn = file(&units);
    // In the middle of the sixth frame's tiles.
    let begin = file(&units[..5]).len();
    torn.drain(begin + 400..begin + 450);
    for chunk in [64, 100_000] {
        let buffers = parse(&torn, chunk);
        let found = contents(&buffers);
        assert_eq!(found.len(), units.len());
        for (i, (buffer, unit)) in buffers.iter().zip(&units).enumerate() {
            let corrupted = buffer.flags().contains(gst::BufferFlags::CORRUPTED);
            assert_eq!(corrupted, i == 5);
            assert_eq!(found[i] == *unit, i != 5);
        }
    }
}

#[test]
fn frames_before_the_first_key_frame_are_left_out() {
    let units = stream(20, 100);
    let whole = file(&units);
    let begin = file(&units[..3]).len();
    assert_eq!(contents(&parse(&whole[begin..], 1000)), units[10..]);
}

#[test]
fn units_of_later_versions_are_passed_over() {
    let units = stream(4, 100);
    let mut data = file(&units[..2]);
    let mut unknown =
        aivideo_codec::bitstream::byte_stream::write_unit(&[1; 5000], false, None, None);
    unknown[3] = 2;
    let sum = crc32fast::hash(&unknown[..6]) as u16;
    unknown[6..8].copy_from_slice(&sum.to_le_bytes());
    data.extend(unknown);
    data.extend(&file(&units)[file(&units[..2]).len()..]);
    for chunk in [10, 100_000] {
        assert_eq!(contents(&parse(&data, chunk)), units);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_damage_is_survived(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
        cut: prop::sample::Index,
        chunk in 1usize..5000,
    ) {
        let units = stream(15, 100);
        let mut data = file(&units);
        for (at, byte) in &edits {
            let at = at.index(data.len());
            data[at] = *byte;
        }
        data.truncate(cut.index(data.len() + 1));
        let buffers = parse(&data, chunk);
        prop_assert!(buffers.len() <= units.len());
        for buffer in &buffers {
            // What is not flagged is exactly what was written.
            if !buffer.flags().contains(gst::BufferFlags::CORRUPTED) {
                let data = buffer.map_readable().unwrap().to_vec();
                prop_assert!(units.contains(&data));
            }
        }
    }

    #[test]
    fn random_bytes_give_nothing(data in proptest::collection::vec(prop_oneof![Just(0xa1u8), Just(b'I'), Just(b'C'), any::<u8>()], 0..2000)) {
        prop_assert!(parse(&data, 100).is_empty());
    }
}
