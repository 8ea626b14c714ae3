// SPDX-License-Identifier: Apache-2.0
use super::common::*;
use gst::prelude::*;
use std::path::{Path, PathBuf};

struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn write(data: &[u8], name: &str) -> File {
    init();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, data).unwrap();
    File {
        _folder: folder,
        path,
    }
}

fn path(file: &File) -> &Path {
    &file.path
}

#[test]
fn files_are_recognised_and_parsed() {
    let units = stream(30, 300);
    // The name says nothing.
    let file = write(&file(&units), "film.bin");
    // Without a decoder among the elements decodebin has nothing to end with: this is its first half.
    let line = format!(
        "filesrc location={} ! typefind ! aicodecparse ! fakesink name=sink",
        path(&file).display()
    );
    let samples = run(&line).unwrap();
    assert_eq!(samples.len(), units.len());
    let caps = samples[0].caps().unwrap();
    assert_eq!(caps.structure(0).unwrap().name(), "video/x-aicodec");
}

#[test]
fn files_are_read_by_push_and_by_pull() {
    let units = stream(30, 3000);
    let file = write(&file(&units), "film.aic");
    for between in ["", "! queue", "! identity ! queue"] {
        let line = format!(
            "filesrc location={} blocksize=1234 {between} ! aicodecparse \
             ! video/x-aicodec,stream-format=frame ! fakesink name=sink",
            path(&file).display()
        );
        let found: Vec<_> = run(&line).unwrap().iter().map(bytes).collect();
        assert_eq!(found, units);
    }
}

#[test]
fn a_truncated_file_ends_with_what_was_whole() {
    let units = stream(30, 3000);
    let data = file(&units);
    let file = write(&data[..data.len() - 1], "film.aic");
    for between in ["", "! queue"] {
        let line = format!(
            "filesrc location={} {between} ! aicodecparse ! video/x-aicodec,stream-format=frame \
             ! fakesink name=sink",
            path(&file).display()
        );
        let found: Vec<_> = run(&line).unwrap().iter().map(bytes).collect();
        assert_eq!(found, units[..29]);
    }
}

#[test]
fn files_without_a_frame_are_an_error() {
    let data = file(&stream(1, 300));
    for (length, what) in [(0, "empty"), (10, "part of a header"), (40, "header only")] {
        let file = write(&data[..length], "film.aic");
        let line = format!(
            "filesrc location={} ! aicodecparse ! fakesink name=sink",
            path(&file).display()
        );
        let error = run(&line).expect_err(what);
        assert!(error.is::<gst::StreamError>(), "{what}: {error}");
    }
    let file = write(&[7; 10_000], "film.aic");
    let line = format!(
        "filesrc location={} ! decodebin ! fakesink name=sink",
        path(&file).display()
    );
    assert!(run(&line).is_err());
}

fn playing(file: &File) -> gst::Pipeline {
    let line = format!(
        "filesrc location={} ! aicodecparse ! video/x-aicodec,stream-format=frame \
         ! fakesink name=sink",
        path(file).display()
    );
    let pipeline = gst::parse::launch(&line)
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
    pipeline.set_state(gst::State::Paused).unwrap();
    let (result, ..) = pipeline.state(gst::ClockTime::from_seconds(10));
    result.unwrap();
    pipeline
}

#[test]
fn the_duration_is_known_at_once() {
    // Key frames are much larger than the others, which spoils any estimate.
    let units: Vec<_> = (0..95)
        .map(|i| access_unit(i, i % 10 == 0, if i % 10 == 0 { 9000 } else { 30 }))
        .collect();
    let file = write(&file(&units), "film.aic");
    let pipeline = playing(&file);
    let duration = pipeline.query_duration::<gst::ClockTime>();
    assert_eq!(duration, Some(gst::ClockTime::from_nseconds(95 * FRAME)));
    let mut seeking = gst::query::Seeking::new(gst::Format::Time);
    assert!(pipeline.query(&mut seeking));
    assert!(seeking.result().0);
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn seeks_begin_at_a_key_frame() {
    let units = stream(95, 700);
    let file = write(&file(&units), "film.aic");
    for flags in [
        gst::SeekFlags::empty(),
        gst::SeekFlags::KEY_UNIT,
        gst::SeekFlags::ACCURATE,
    ] {
        let pipeline = playing(&file);
        // Frame 0 waits in the sink already, so what is watched begins with the seek.
        let samples = watch(&pipeline);
        let target = gst::ClockTime::from_nseconds(37 * FRAME + 1000);
        pipeline
            .seek_simple(gst::SeekFlags::FLUSH | flags, target)
            .unwrap();
        play(&pipeline).unwrap();
        pipeline.set_state(gst::State::Null).unwrap();
        let found: Vec<_> = samples.lock().unwrap().iter().map(bytes).collect();
        assert_eq!(found, units[30..], "{flags:?}");
    }
}

#[test]
fn what_was_written_plays_again() {
    let units = stream(30, 300);
    let source = write(&file(&units), "film.aic");
    let copy = source.path.with_extension("copy");
    let line = format!(
        "filesrc location={} ! aicodecparse ! video/x-aicodec,stream-format=frame ! aicodecparse \
         ! filesink name=sink location={}",
        path(&source).display(),
        copy.display()
    );
    run(&line).unwrap();
    assert_eq!(std::fs::read(copy).unwrap(), file(&units));
}
