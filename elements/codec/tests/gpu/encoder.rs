// SPDX-License-Identifier: Apache-2.0
//! The encoder with its pictures on the stand-in: it must make the stream of the host's encoder with the same search
//! to the bit, where both run the same provider, and a decoder must get the encoder's pictures from it.

use super::*;
use aivideo_codec::coder::{EncodeNet, KeyFrames, RateControl, RateMode, RateSettings, rated};
use aivideo_codec::motion::Variant;

fn encode_net(location: &Path, device: &str) -> EncodeNet {
    let files = ModelFiles::find(Some(location)).unwrap();
    EncodeNet::acquire(&files, &settings(device)).unwrap()
}

fn choices(motion: Variant) -> EncoderSettings {
    EncoderSettings {
        motion,
        hash_symbols: true,
        // An encoder on a GPU has none.
        residual: false,
        ..EncoderSettings::default()
    }
}

/// The host's encoder with the search of GPUs, and the one on the GPU.
fn encoders<S: Depth>(location: &Path, (width, height): (usize, usize)) -> [Encoder<S>; 2] {
    let sequence = sequence(width, height);
    let host = encode_net(location, "cpu");
    let device = encode_net(location, "cuda");
    [
        Encoder::new(host, sequence.clone(), choices(Variant::Parallel)).unwrap(),
        Encoder::on_gpu(device, sequence, choices(Variant::Full)).unwrap(),
    ]
}

/// Codes a frame as one of [`super::stream`]'s.
fn code<S: Scene>(encoder: &mut Encoder<S>, frame: usize) -> Vec<u8> {
    match frame {
        3 => S::repeat(encoder, frame),
        5 => {
            encoder.report_loss(LossReport {
                last: Some(4),
                held: Some(Some(0)),
            });
            S::encode(encoder, frame, false)
        }
        _ => S::encode(encoder, frame, frame.is_multiple_of(7)),
    }
}

fn check_shown<S: Scene>(encoder: &Encoder<S>, decoder: &mut Decoder, unit: &[u8], what: &str) {
    decoder.decode(unit).unwrap();
    let shown = decoder.reconstruction::<S>().unwrap();
    assert!(*shown == *encoder.reconstruction().unwrap(), "{what}");
}

fn every_frame_is_coded<S: Scene>(location: &Path, sizes: &[(usize, usize)]) {
    let mut decoder = Decoder::new(decode_net(location, "cpu"), true);
    for &size in sizes {
        let [mut host, mut device] = encoders::<S>(location, size);
        let mut types = Vec::new();
        for frame in 0..9 {
            let what = format!("{} bits, {size:?}, frame {frame}", S::BITS);
            let unit = code(&mut device, frame);
            assert!(unit == code(&mut host, frame), "{what}: another stream");
            types.push(kind(&unit));
            check_shown(&device, &mut decoder, &unit, &what);
        }
        use FrameType::{Inter, Key, Recovery, Skip};
        let wanted = [Key, Inter, Inter, Skip, Inter, Recovery, Inter, Key, Inter];
        assert_eq!(types, wanted);
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn every_kind_of_frame_is_coded_as_on_the_host() {
    init();
    let sizes = [(72, 50), (129, 67), (64, 64)];
    every_frame_is_coded::<u8>(&model(), &sizes);
    every_frame_is_coded::<u16>(&model(), &sizes);
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn key_frames_need_no_network_of_their_own_to_be_coded() {
    init();
    let folder = without_key_networks();
    every_frame_is_coded::<u8>(folder.path(), &[(72, 50)]);
    every_frame_is_coded::<u16>(folder.path(), &[(72, 50)]);
}

/// A rate that makes the control code frames again, and leave blocks out.
#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn frames_are_coded_again_where_they_do_not_fit() {
    init();
    let size = (136, 72);
    let [mut host, mut device] = encoders::<u8>(&model(), size);
    let mut decoder = Decoder::new(decode_net(&model(), "cpu"), true);
    let settings = RateSettings {
        mode: RateMode::ConstantBitrate,
        bitrate: 40_000.0,
        ..RateSettings::default()
    };
    let pixels = device.coded_pixels();
    let mut controls = [(); 2].map(|()| {
        (
            RateControl::new(settings, pixels, 25.0),
            KeyFrames::new(20, true),
        )
    });
    for frame in 0..24 {
        // A new scene in between.
        let picture = scene(size.0, size.1, if frame < 12 { frame } else { 40 * frame });
        let [one, other] = &mut controls;
        let encode = |encoder: &mut Encoder, (rate, keys): &mut (RateControl, KeyFrames)| {
            rated::encode(encoder, rate, keys, &picture, false, 0).unwrap()
        };
        let (wanted, got) = (encode(&mut host, one), encode(&mut device, other));
        assert!(got.data == wanted.data, "frame {frame}");
        assert_eq!(got.symbols, wanted.symbols);
        check_shown(&device, &mut decoder, &got.data, &format!("frame {frame}"));
    }
    assert!(controls[1].0.repeated > 0, "none was coded again");
}

/// What is written later is what a decoder gets, in order, with what was learnt late.
#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn frames_may_be_written_while_the_next_is_made() {
    init();
    let size = (129, 67);
    let [_, mut device] = encoders::<u8>(&model(), size);
    let mut decoder = Decoder::new(decode_net(&model(), "cpu"), true);
    let mut waiting = None;
    let mut pictures = std::collections::VecDeque::new();
    for frame in 0..8 {
        if frame == 5 {
            device.report_loss(LossReport {
                last: Some(4),
                held: Some(Some(0)),
            });
        }
        let picture = scene(size.0, size.1, frame - usize::from(frame == 3));
        let prepared = device.prepare(&picture, 34, frame == 6).unwrap();
        let quality = device.frame_quality(&prepared, 34);
        let begun = device.begin(prepared, quality).unwrap();
        if let Some(unwritten) = waiting.take() {
            write(
                &mut device,
                unwritten,
                &mut decoder,
                &mut pictures,
                frame - 1,
            );
        }
        waiting = Some(device.end(begun).unwrap());
        pictures.push_back(device.reconstruction().unwrap().into_owned());
    }
    write(
        &mut device,
        waiting.unwrap(),
        &mut decoder,
        &mut pictures,
        7,
    );
}

fn write(
    encoder: &mut Encoder,
    unwritten: aivideo_codec::coder::Unwritten,
    decoder: &mut Decoder,
    pictures: &mut std::collections::VecDeque<aivideo_codec::coder::Picture>,
    frame: usize,
) {
    let (coded, lesson) = unwritten.write();
    let decoded = decoder.decode(&coded.data).unwrap();
    assert_eq!(decoded.symbols, coded.symbols, "frame {frame}");
    assert!(decoded.intact);
    let shown = decoder.reconstruction::<u8>().unwrap();
    assert!(*shown == pictures.pop_front().unwrap(), "frame {frame}");
    assert_eq!(lesson.is_some(), !matches!(frame, 0 | 6), "frame {frame}");
    if let Some(lesson) = lesson {
        encoder.learn(lesson);
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn an_attempt_that_another_one_replaced_is_not_taken() {
    init();
    let [_, mut device] = encoders::<u8>(&model(), (64, 64));
    let picture = scene(64, 64, 0);
    let prepared = device.prepare(&picture, 34, true).unwrap();
    let old = device.attempt(&prepared, 30).unwrap();
    device.attempt(&prepared, 20).unwrap();
    let refused = device.commit(prepared, old, 0).unwrap_err();
    assert!(refused.to_string().contains("anew"), "{refused}");
    // It goes on with a key frame.
    let coded = device.encode(&picture, 34, false).unwrap();
    assert_eq!(coded.frame_type, FrameType::Key);
}

#[test]
fn without_a_gpu_there_is_no_encoder_on_one() {
    init();
    let net = encode_net(&model(), "cpu");
    let refused = Encoder::<u8>::on_gpu(net, sequence(64, 64), EncoderSettings::default());
    let text = refused.err().unwrap().to_string();
    assert!(text.contains("device=cuda"), "{text}");
}
