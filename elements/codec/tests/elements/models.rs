// SPDX-License-Identifier: Apache-2.0
//! What is wrong with a model is said in one clear error.

use crate::common::*;
use gst::prelude::*;
use std::path::Path;

/// Runs an encoder with this model and gives the error's text.
fn encoder_error(location: &Path) -> String {
    init();
    let line = format!(
        "videotestsrc num-buffers=2 ! video/x-raw,format=I420,width=64,height=64 ! aicodecenc model-location=\"{}\" ! fakesink",
        location.display()
    );
    pipeline_error(&line)
}

fn pipeline_error(line: &str) -> String {
    let pipeline = gst::parse::launch(line).unwrap();
    let bus = pipeline.bus().unwrap();
    let _ = pipeline.set_state(gst::State::Playing);
    let message = bus.timed_pop_filtered(
        gst::ClockTime::from_seconds(60),
        &[gst::MessageType::Error, gst::MessageType::Eos],
    );
    let _ = pipeline.set_state(gst::State::Null);
    match message.expect("an answer").view() {
        gst::MessageView::Error(error) => {
            format!("{} {}", error.error(), error.debug().unwrap_or_default())
        }
        _ => panic!("no error for: {line}"),
    }
}

fn copy_of_model() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["s-encode.onnx", "s-decode.onnx", "s-tables.bin"] {
        std::fs::copy(model().join(name), folder.path().join(name)).unwrap();
    }
    folder
}

#[test]
fn a_missing_model_is_named() {
    let text = encoder_error(Path::new("/nonexistent/model"));
    assert!(text.contains("/nonexistent/model/s-decode.onnx"), "{text}");
    assert!(text.contains("model-location"), "{text}");
}

#[test]
fn missing_tables_are_named() {
    let folder = copy_of_model();
    std::fs::remove_file(folder.path().join("s-tables.bin")).unwrap();
    let text = encoder_error(folder.path());
    assert!(text.contains("s-tables.bin"), "{text}");
}

#[test]
fn a_corrupt_model_is_refused() {
    let folder = copy_of_model();
    let path = folder.path().join("s-encode.onnx");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.truncate(bytes.len() / 2);
    std::fs::write(&path, &bytes).unwrap();
    let text = encoder_error(folder.path());
    assert!(text.contains("s-encode.onnx"), "{text}");
}

#[test]
fn corrupt_tables_are_refused() {
    let folder = copy_of_model();
    let path = folder.path().join("s-tables.bin");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() - 9;
    bytes[at] ^= 0x10;
    std::fs::write(&path, &bytes).unwrap();
    let text = encoder_error(folder.path());
    assert!(
        text.contains("entropy table") || text.contains("tables"),
        "{text}"
    );
}

#[test]
fn a_model_of_another_shape_is_refused() {
    // The decode network in the place of the encode network: a sound ONNX file, the wrong one.
    let folder = copy_of_model();
    std::fs::copy(
        model().join("s-decode.onnx"),
        folder.path().join("s-encode.onnx"),
    )
    .unwrap();
    let text = encoder_error(folder.path());
    assert!(
        text.contains("is not a network of this codec") && text.contains("'y'"),
        "{text}"
    );
}

#[test]
fn tables_of_another_model_are_refused() {
    // Swapping two frequencies of one table keeps the sums, but not the hash.
    let folder = copy_of_model();
    let path = folder.path().join("s-tables.bin");
    let mut bytes = std::fs::read(&path).unwrap();
    let pairs: Vec<usize> = (20..bytes.len() - 4).step_by(2).collect();
    let at = pairs
        .into_iter()
        .find(|&i| bytes[i..i + 2] != bytes[i + 2..i + 4])
        .unwrap();
    for i in at..at + 2 {
        bytes.swap(i, i + 2);
    }
    std::fs::write(&path, &bytes).unwrap();
    let text = encoder_error(folder.path());
    assert!(text.contains("belongs to the entropy tables"), "{text}");
}

#[test]
fn a_stream_of_another_model_is_refused_naming_both() {
    let (mut caps, _) = access_units("", 64, 64, 1);
    // A stream whose header names another model.
    let data = caps
        .structure(0)
        .unwrap()
        .get::<gst::Buffer>("codec_data")
        .unwrap();
    let (mut header, _) =
        aivideo_codec::bitstream::SequenceHeader::parse(&data.map_readable().unwrap()).unwrap();
    let own = hex(&header.model_id);
    header.model_id = [0xAB; 8];
    let other = gst::Buffer::from_mut_slice(header.write());
    caps.make_mut().set("codec_data", other);
    caps.make_mut().set("model-hash", hex(&header.model_id));
    let mut harness = parse("aicodecdec");
    let bus = watch(&harness);
    harness.set_src_caps(caps.clone());
    let (_, text) = error_on(&bus).expect("an error");
    assert!(
        text.contains("abababababababab") && text.contains(&own),
        "{text}"
    );
}

fn hex(bytes: &[u8]) -> String {
    aivideo_core::model::hex(bytes)
}

#[test]
fn an_encode_network_by_its_own_path_finds_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["encode.onnx", "decode.onnx", "tables.bin"] {
        std::fs::copy(
            model().join(format!("s-{name}")),
            folder.path().join(format!("cam-{name}")),
        )
        .unwrap();
    }
    let line = format!(
        "videotestsrc num-buffers=3 ! video/x-raw,format=I420,width=64,height=64 ! aicodecenc model-location={0}/cam-encode.onnx ! aicodecdec model-location={0}/cam-decode.onnx ! fakesink",
        folder.path().display()
    );
    init();
    let pipeline = gst::parse::launch(&line).unwrap();
    let bus = pipeline.bus().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let message = bus
        .timed_pop_filtered(
            gst::ClockTime::from_seconds(60),
            &[gst::MessageType::Error, gst::MessageType::Eos],
        )
        .unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
}

/// Key frames with a network of their own and without: what is decoded is what was encoded, and nothing of
/// a key frame's symbols is needed by the frames after it.
#[test]
fn key_frames_may_have_a_network_of_their_own() {
    use aivideo_codec::coder::{
        DecodeNet, Decoder, EncodeNet, Encoder, EncoderSettings, ModelFiles, Picture,
    };
    use aivideo_core::settings::InferenceSettings;
    init();
    let folder = tempfile::tempdir().unwrap();
    for name in ["encode.onnx", "decode.onnx", "tables.bin"] {
        let name = format!("s-{name}");
        std::fs::copy(model().join(&name), folder.path().join(&name)).unwrap();
    }
    let settings = InferenceSettings {
        device: "cpu".to_owned(),
        ..InferenceSettings::default()
    };
    let mut first_frames = Vec::new();
    for location in [model(), folder.path().to_owned()] {
        let files = ModelFiles::find(Some(&location)).unwrap();
        let own_key = files.key().is_some();
        assert_eq!(own_key, location == model());
        let choices = EncoderSettings {
            hash_symbols: true,
            ..EncoderSettings::default()
        };
        let net = EncodeNet::acquire(&files, &settings).unwrap();
        let mut encoder = Encoder::<u8>::new(net, sequence(200, 136), choices).unwrap();
        let net = DecodeNet::acquire(&files, &settings).unwrap();
        let mut decoder = Decoder::new(net, true);
        for i in 0..8 {
            let key = i % 3 == 0;
            let coded = encoder.encode(&scene(200, 136, i), 40, key).unwrap();
            let decoded = decoder.decode(&coded.data).unwrap();
            assert_eq!(decoded.symbols, coded.symbols, "frame {i}, {own_key}");
            assert!(decoded.intact && decoded.damaged.is_empty());
            let shown: &Picture = decoder.reconstruction().unwrap();
            assert_eq!(shown, &*encoder.reconstruction().unwrap());
            if i == 0 {
                first_frames.push(coded.data.clone());
            }
            if i == 3 {
                // A damaged tile of a key frame hides nothing of what follows but itself.
                let mut damaged = coded.data.clone();
                let at = damaged.len() - 3;
                damaged[at] ^= 0x55;
                let decoded = decoder.decode(&damaged).unwrap();
                assert_eq!(decoded.damaged.len(), 1);
                decoder.decode(&coded.data).unwrap();
            }
        }
    }
    assert_ne!(first_frames[0], first_frames[1]);
}

/// A network of inter frames that has come apart: it adds white to whatever is predicted.
#[test]
fn a_frame_that_came_apart_is_followed_by_a_key_frame() {
    use aivideo_codec::bitstream::FrameType::{Inter, Key};
    use aivideo_codec::coder::{EncodeNet, Encoder, EncoderSettings, ModelFiles};
    use aivideo_core::settings::InferenceSettings;
    init();
    let sound = std::fs::read(model().join("s-encode.onnx")).unwrap();
    // The output's biases: name and length of 96 floats, then these.
    let field = b"\x42\x05out.b\x4a\x80\x03";
    let at = sound.windows(field.len()).position(|w| w == field).unwrap() + field.len();
    let mut broken = sound.clone();
    for bias in broken[at..at + 384].as_chunks_mut::<4>().0 {
        *bias = 4f32.to_le_bytes();
    }
    let settings = InferenceSettings {
        device: "cpu".to_owned(),
        ..InferenceSettings::default()
    };
    let choices = EncoderSettings {
        skip_bits: 0.0,
        ..EncoderSettings::default()
    };
    for (bytes, wanted) in [
        (sound, [Key, Inter, Inter, Inter]),
        (broken, [Key, Inter, Key, Inter]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(model()).unwrap() {
            let file = file.unwrap().path();
            let name = file.file_name().unwrap();
            if name.to_string_lossy().starts_with("s-") {
                std::fs::copy(&file, folder.path().join(name)).unwrap();
            }
        }
        std::fs::write(folder.path().join("s-encode.onnx"), bytes).unwrap();
        let files = ModelFiles::find(Some(folder.path())).unwrap();
        let net = EncodeNet::acquire(&files, &settings).unwrap();
        let mut encoder = Encoder::<u8>::new(net, sequence(200, 136), choices).unwrap();
        let types = [0, 1, 2, 3].map(|i| {
            let picture = scene(200, 136, i);
            encoder.encode(&picture, 40, false).unwrap().frame_type
        });
        assert_eq!(types, wanted);
    }
}

/// Without `model-location` there is a model all the same, and it is the one in the tree.
#[test]
fn the_built_in_model_works() {
    use aivideo_codec::coder::ModelFiles;
    init();
    let location = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/codec");
    let shipped = ModelFiles::find(Some(Path::new(location))).unwrap();
    assert_eq!(ModelFiles::find(None).unwrap().model_id, shipped.model_id);
    let line = "videotestsrc num-buffers=3 ! video/x-raw,format=NV12,width=80,height=48 ! aicodecenc ! aicodecparse ! aicodecdec ! fakesink";
    let pipeline = gst::parse::launch(line).unwrap();
    let bus = pipeline.bus().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let types = [gst::MessageType::Error, gst::MessageType::Eos];
    let message = bus
        .timed_pop_filtered(gst::ClockTime::from_seconds(60), &types)
        .unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
}

#[test]
fn the_larger_tier_comes_back_and_says_what_it_is() {
    init();
    let folder = model().with_file_name("codec-m");
    let info = info(gst_video::VideoFormat::I420, 96, 80);
    let line = format!("aicodecenc model-location=\"{}\"", folder.display());
    let mut sender = gst_check::Harness::new_parse(&line);
    sender.set_sink_caps_str("video/x-aicodec, stream-format=frame");
    sender.set_src_caps(info.to_caps().unwrap());
    // One of the files stands for the folder, too.
    let file = folder.join("m-decode.onnx");
    let line = format!("aicodecdec model-location=\"{}\"", file.display());
    let mut receiver = gst_check::Harness::new_parse(&line);
    for frame in 0..3 {
        let picture = scene(96, 80, frame);
        sender.push(buffer(&picture, &info, frame)).unwrap();
        let unit = sender.pull().unwrap();
        if frame == 0 {
            let caps = sender.sinkpad().unwrap().current_caps().unwrap();
            let profile = caps.structure(0).unwrap().get::<String>("profile");
            assert_eq!(profile.as_deref(), Ok("m"));
            receiver.set_src_caps(caps);
        }
        receiver.push(unit).unwrap();
        let psnr = psnr(&read(&receiver.pull().unwrap(), &info), &picture);
        assert!(psnr > 28.0, "frame {frame}: {psnr} dB");
    }
}
