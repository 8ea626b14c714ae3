// SPDX-License-Identifier: Apache-2.0
use crate::common::*;
use aivideo_codec::bitstream::{AccessUnit, AccessUnitWriter, FrameHeader};
use aivideo_codec::coder::{DecodeNet, Decoder, ModelFiles};
use aivideo_core::settings::InferenceSettings;
use gst::prelude::*;
use proptest::prelude::*;

fn key_requests(harness: &mut gst_check::Harness) -> usize {
    let mut count = 0;
    while let Some(event) = harness.try_pull_upstream_event() {
        count += usize::from(gst_video::ForceKeyUnitEvent::is(&event));
    }
    count
}

#[test]
fn a_lost_frame_asks_for_help_and_decoding_goes_on() {
    let (caps, units) = access_units("key-int-max=5", 128, 128, 10);
    let mut harness = decoder(&caps);
    for (i, unit) in units.iter().enumerate() {
        if i != 2 {
            harness.push(unit.clone()).unwrap();
        }
    }
    assert!(key_requests(&mut harness) >= 1, "nothing was asked for");
    let shown: Vec<_> = std::iter::from_fn(|| harness.try_pull())
        .map(|b| {
            let corrupted = b.flags().contains(gst::BufferFlags::CORRUPTED);
            (b.pts().unwrap().mseconds() / 40, corrupted)
        })
        .collect();
    // Whatever depends on what was lost says so.
    let expected = [0, 1, 3, 4, 5, 6, 7, 8, 9].map(|i| (i, (3..5).contains(&i)));
    assert_eq!(shown, expected);
}

#[test]
fn what_comes_behind_a_lost_frame_is_read_but_for_a_network_s_symbols() {
    for (choices, concealed) in [("", 0), ("inter-network=true", 6)] {
        let (caps, units) = access_units(&format!("key-int-max=0 {choices}"), 128, 128, 9);
        let mut harness = decoder(&caps);
        for (_, unit) in units.iter().enumerate().filter(|(i, _)| *i != 2) {
            harness.push(unit.clone()).unwrap();
        }
        let decoder = harness.find_element("aicodecdec").unwrap();
        let stats = decoder.property::<gst::Structure>("stats");
        assert_eq!(stats.get::<u64>("concealed-tiles"), Ok(concealed));
    }
}

#[test]
fn joining_late_waits_for_a_key_frame() {
    let (caps, units) = access_units("key-int-max=4", 64, 64, 6);
    let mut harness = decoder(&caps);
    for unit in &units[1..] {
        harness.push(unit.clone()).unwrap();
    }
    assert!(key_requests(&mut harness) >= 1);
    assert_eq!(harness.buffers_received(), 2);
}

#[test]
fn a_damaged_tile_is_concealed_and_reported() {
    let (caps, units) = access_units("tile-rows=1 quality=40", 192, 192, 4);
    let mut harness = decoder(&caps);
    harness.push(units[0].clone()).unwrap();
    let before = read(
        &harness.pull().unwrap(),
        &info(gst_video::VideoFormat::I420, 192, 192),
    );
    // The last bytes belong to the last tile's y.
    let mut unit = units[1].copy_deep().unwrap();
    {
        let mut map = unit.get_mut().unwrap().map_writable().unwrap();
        let at = map.len() - 3;
        map[at] ^= 0x55;
    }
    harness.push(unit).unwrap();
    let after = read(
        &harness.pull().unwrap(),
        &info(gst_video::VideoFormat::I420, 192, 192),
    );
    // Its first three rows lean towards the tile above.
    assert!(
        before.y[131 * 192..] == after.y[131 * 192..],
        "the last tile is that of the key frame, which has no motion to go on with"
    );
    assert!(
        before.y[..128 * 192] != after.y[..128 * 192],
        "the other tiles are decoded"
    );
    assert!(key_requests(&mut harness) >= 1);
    let stats = harness
        .find_element("aicodecdec")
        .unwrap()
        .property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("damaged-tiles"), Ok(1));
    // Decoding goes on.
    harness.push(units[2].clone()).unwrap();
    assert!(harness.pull().is_ok());
}

#[test]
fn rubbish_gives_no_picture_and_no_harm() {
    let (caps, units) = access_units("", 64, 64, 2);
    let mut harness = decoder(&caps);
    harness.push(units[0].clone()).unwrap();
    for size in [0usize, 1, 7, 100, 5000] {
        let mut buffer = gst::Buffer::from_mut_slice(vec![0xA7u8; size]);
        buffer
            .get_mut()
            .unwrap()
            .set_flags(gst::BufferFlags::DELTA_UNIT);
        // Refused or dropped; what matters is that the next key frame works.
        let _ = harness.push(buffer);
    }
    harness.push(units[0].clone()).unwrap();
    harness.push(units[1].clone()).unwrap();
    assert_eq!(harness.buffers_received(), 3);
}

/// One decoder for all cases: loading the model each time would take most of the test's time.
fn with_decoder<T>(f: impl FnOnce(&mut Decoder, &[Vec<u8>]) -> T) -> T {
    use std::sync::{LazyLock, Mutex};
    static SHARED: LazyLock<Mutex<(Decoder, Vec<Vec<u8>>)>> = LazyLock::new(|| {
        let (_, units) = access_units("tile-rows=1 quality=30", 72, 130, 3);
        let units = units
            .iter()
            .map(|u| u.map_readable().unwrap().to_vec())
            .collect();
        let files = ModelFiles::find(Some(&model())).unwrap();
        let net = DecodeNet::acquire(&files, &InferenceSettings::default()).unwrap();
        Mutex::new((Decoder::new(net, true), units))
    });
    let mut shared = SHARED.lock().unwrap_or_else(|e| e.into_inner());
    let (decoder, units) = &mut *shared;
    f(decoder, units)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        with_decoder(|decoder, units| {
            decoder.decode(&units[0]).unwrap();
            let _ = decoder.decode(&bytes);
            // Header kept, the rest random.
            let mut mixed = units[1][..units[1].len().min(24)].to_vec();
            mixed.extend_from_slice(&bytes);
            let _ = decoder.decode(&mixed);
            decoder.decode(&units[0]).unwrap();
        });
    }

    #[test]
    fn recovery_from_what_is_not_there_never_panics(
        kind in 0u8..4,
        numbers: (u16, u16),
        near: bool,
        flags: u8,
        unit in 0usize..3,
        damage in prop::option::of((0usize..4000, any::<u8>())),
    ) {
        with_decoder(|decoder, units| {
            decoder.decode(&units[0]).unwrap();
            let parsed = AccessUnit::parse(&units[unit]).unwrap();
            // Numbers near those of the stream are let in; others must be kept out.
            let number = |n: u16| if near { n % 4 } else { n };
            let count = if kind == 2 { 0 } else { parsed.header.tile_count };
            let flags = kind | flags & 0b110_1100;
            let (own, reference) = (number(numbers.0), number(numbers.1));
            let Ok(header) = FrameHeader::from_fields(flags, 30, own, reference, count) else {
                return;
            };
            let mut writer = AccessUnitWriter::new(header, None);
            for tile in parsed.tiles.iter().flatten().take(count.into()) {
                writer.push_tile(tile);
            }
            let mut bytes = writer.finish();
            if let Some((at, value)) = damage {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            for bytes in [&bytes, &units[1], &units[2], &bytes] {
                let _ = decoder.decode(bytes);
            }
            let clean = decoder.decode(&units[0]).unwrap();
            assert!(clean.intact && clean.damaged.is_empty());
        });
    }

    #[test]
    fn damage_and_truncation_never_panic(unit in 0usize..3, cut in 0usize..4000, at in 0usize..4000, value in any::<u8>()) {
        with_decoder(|decoder, units| {
            decoder.decode(&units[0]).unwrap();
            let mut bytes = units[unit].clone();
            let at = at % bytes.len();
            bytes[at] = value;
            bytes.truncate(bytes.len() - cut % bytes.len());
            let _ = decoder.decode(&bytes);
            let clean = decoder.decode(&units[0]).unwrap();
            assert!(clean.damaged.is_empty());
        });
    }
}
