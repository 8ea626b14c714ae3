// SPDX-License-Identifier: Apache-2.0
//! `.aic` files through the elements that applications use.

use aivideo_tests::*;
use gst::prelude::*;
use std::path::{Path, PathBuf};

const FRAMES: usize = 24;

/// A short clip that moves, with key frames at 0, 10 and 20.
pub fn source(frames: usize, live: bool) -> String {
    format!(
        "videotestsrc num-buffers={frames} pattern=ball is-live={live} \
         ! video/x-raw,format=I420,width=192,height=130,framerate=25/1 \
         ! aicodecenc quality=30 key-int-max=10 tile-rows=1 name=encoder"
    )
}

/// What the decoder makes of the same clip without any transport.
pub fn direct(frames: usize) -> Vec<Vec<u8>> {
    let line = format!(
        "{} ! aicodecdec ! fakesink name=sink",
        source(frames, false)
    );
    run(&line).unwrap().iter().map(bytes).collect()
}

struct Clip {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn written() -> Clip {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.aic");
    run(&format!(
        "{} ! filesink location={}",
        source(FRAMES, false),
        path.display()
    ))
    .unwrap();
    Clip {
        _folder: folder,
        path,
    }
}

fn pictures(line: &str) -> Vec<Vec<u8>> {
    run(line).unwrap().iter().map(bytes).collect()
}

fn uri(path: &Path) -> glib::GString {
    glib::filename_to_uri(path, None).unwrap()
}

#[test]
fn decodebin_plays_files() {
    let clip = written();
    let line = format!(
        "filesrc location={} ! decodebin ! fakesink name=sink sync=false",
        clip.path.display()
    );
    let decoded = pictures(&line);
    assert_eq!(decoded.len(), FRAMES);
    assert!(decoded == direct(FRAMES), "the file changes the pictures");
}

/// The frames that a player shows of a file, or None where it never comes to the end.
fn play(player: &str, path: &std::path::Path) -> Option<usize> {
    let pipeline = pipeline(&format!(
        "{player} uri={} video-sink=\"fakesink name=sink sync=false\" audio-sink=fakesink",
        uri(path)
    ));
    // The player takes its sink out of the bin that `by_name` searches.
    let sink = pipeline.property::<gst::Element>("video-sink");
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = count.clone();
    let pad = sink.static_pad("sink").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        gst::PadProbeReturn::Ok
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    finish_within(&pipeline, gst::ClockTime::from_seconds(25))?.unwrap();
    Some(count.load(std::sync::atomic::Ordering::SeqCst))
}

#[test]
fn players_play_files() {
    let clip = written();
    assert_eq!(play("playbin", &clip.path), Some(FRAMES));
    // decodebin3 of GStreamer 1.22 adds an `identity` from the streaming thread. When its bin
    // is on the way to PAUSED at that moment, the identity stays flushing and drops the whole
    // stream: one start in 10 to 30 with a file as short as this.
    let shown = (0..4).find_map(|_| play("playbin3", &clip.path));
    assert_eq!(shown, Some(FRAMES));
}

#[test]
fn seeks_show_the_picture_that_was_asked_for() {
    let clip = written();
    let all = direct(FRAMES);
    for flags in [gst::SeekFlags::ACCURATE, gst::SeekFlags::KEY_UNIT] {
        let pipeline = pipeline(&format!(
            "filesrc location={} ! aicodecparse ! aicodecdec ! fakesink name=sink sync=false",
            clip.path.display()
        ));
        pipeline.set_state(gst::State::Paused).unwrap();
        let (result, ..) = pipeline.state(PATIENCE);
        result.unwrap();
        let duration = pipeline.query_duration::<gst::ClockTime>();
        assert_eq!(
            duration,
            Some(gst::ClockTime::from_mseconds(40 * FRAMES as u64))
        );
        let receiver = tap(&pipeline, "sink");
        let target = gst::ClockTime::from_mseconds(40 * 15);
        pipeline
            .seek_simple(gst::SeekFlags::FLUSH | flags, target)
            .unwrap();
        let first = next(&pipeline, &receiver);
        let frame = if flags == gst::SeekFlags::ACCURATE {
            15
        } else {
            10
        };
        assert_eq!(
            first.pts(),
            Some(gst::ClockTime::from_mseconds(40 * frame as u64))
        );
        assert!(
            bytes(&first) == all[frame],
            "another picture than without seeking"
        );
        pipeline.set_state(gst::State::Null).unwrap();
    }
}

#[test]
fn damaged_files_play_on_or_fail_clearly() {
    let clip = written();
    let data = std::fs::read(&clip.path).unwrap();
    let path = clip.path.with_file_name("damaged.aic");
    let line = format!(
        "filesrc location={} ! decodebin ! fakesink name=sink sync=false",
        path.display()
    );
    // Cut off: what was whole plays.
    std::fs::write(&path, &data[..data.len() - 1]).unwrap();
    assert_eq!(run(&line).unwrap().len(), FRAMES - 1);
    // Bytes in the middle are wrong: the rest plays, from the next key frame at the latest.
    let mut wrong = data.clone();
    let middle = data.len() / 3;
    wrong[middle..middle + 20].fill(0x55);
    std::fs::write(&path, &wrong).unwrap();
    let decoded: Vec<_> = run(&line).unwrap().iter().map(bytes).collect();
    assert!(decoded.len() >= 10, "{} frames", decoded.len());
    assert!(decoded.last() == direct(FRAMES).last());
    // Nothing but a header, and nothing that we know.
    for bad in [&data[..20], &[0x55; 5000]] {
        std::fs::write(&path, bad).unwrap();
        assert!(run(&line).is_err());
    }
}

/// The same file, as if another model had made it.
fn with_another_model(data: &[u8]) -> Vec<u8> {
    use aivideo_codec::bitstream::byte_stream::{UnitHeader, write_unit};
    use aivideo_codec::bitstream::{AccessUnit, AccessUnitWriter};
    let mut rest = data;
    let mut out = Vec::new();
    while !rest.is_empty() {
        let (header, size) = UnitHeader::parse(rest).unwrap();
        let payload;
        (payload, rest) = rest[size..].split_at(header.payload);
        let mut unit = AccessUnit::parse(payload).unwrap();
        if let Some(sequence) = &mut unit.sequence {
            sequence.model_id[0] ^= 1;
        }
        let mut writer = AccessUnitWriter::new(unit.header, unit.sequence.as_ref());
        for tile in unit.tiles.iter().flatten() {
            writer.push_tile(tile);
        }
        out.extend(write_unit(
            &writer.finish(),
            header.key,
            header.pts,
            header.duration,
        ));
    }
    out
}

#[test]
fn another_model_is_refused() {
    let clip = written();
    let path = clip.path.with_file_name("other.aic");
    let other = with_another_model(&std::fs::read(&clip.path).unwrap());
    std::fs::write(&path, other).unwrap();
    let pipeline = pipeline(&format!(
        "filesrc location={} ! aicodecparse ! aicodecdec ! fakesink name=sink sync=false",
        path.display()
    ));
    let pictures = tap(&pipeline, "sink");
    let _ = pipeline.set_state(gst::State::Playing);
    let bus = pipeline.bus().unwrap();
    let message = bus.timed_pop_filtered(PATIENCE, &[gst::MessageType::Error]);
    pipeline.set_state(gst::State::Null).unwrap();
    let message = message.expect("an error");
    let gst::MessageView::Error(error) = message.view() else {
        unreachable!()
    };
    assert!(
        error.error().matches(gst::StreamError::WrongType),
        "{}",
        error.error()
    );
    let text = format!("{} {:?}", error.error(), error.debug());
    assert!(text.contains("same model"), "{text}");
    assert_eq!(pictures.try_iter().count(), 0);
}
