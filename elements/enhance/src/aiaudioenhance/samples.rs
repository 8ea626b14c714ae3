// SPDX-License-Identifier: Apache-2.0
//! Samples of the formats that the element takes, to and from `f32`.

use gst_audio::AudioFormat;

/// Formats in order of preference, all in the byte order of the machine.
pub const FORMATS: [AudioFormat; 4] = [
    gst_audio::AUDIO_FORMAT_F32,
    gst_audio::AUDIO_FORMAT_S16,
    gst_audio::AUDIO_FORMAT_S32,
    gst_audio::AUDIO_FORMAT_F64,
];

/// Reads `bytes`, whole samples, as values of about -1 to 1.
pub fn read(format: AudioFormat, bytes: &[u8], out: &mut Vec<f32>) {
    match format {
        gst_audio::AUDIO_FORMAT_S16 => {
            let (samples, _) = bytes.as_chunks::<2>();
            out.extend(
                samples
                    .iter()
                    .map(|s| f32::from(i16::from_ne_bytes(*s)) / 32768.0),
            );
        }
        gst_audio::AUDIO_FORMAT_S32 => {
            let (samples, _) = bytes.as_chunks::<4>();
            let scale = 1.0 / f64::from(1_u32 << 31);
            out.extend(
                samples
                    .iter()
                    .map(|s| (f64::from(i32::from_ne_bytes(*s)) * scale) as f32),
            );
        }
        gst_audio::AUDIO_FORMAT_F64 => {
            let (samples, _) = bytes.as_chunks::<8>();
            out.extend(samples.iter().map(|s| f64::from_ne_bytes(*s) as f32));
        }
        _ => {
            let (samples, _) = bytes.as_chunks::<4>();
            out.extend(samples.iter().map(|s| f32::from_ne_bytes(*s)));
        }
    }
}

/// The bytes of samples; integers are rounded, and cut off where they would overflow.
pub fn write(format: AudioFormat, samples: &[f32]) -> Vec<u8> {
    match format {
        gst_audio::AUDIO_FORMAT_S16 => samples
            .iter()
            .flat_map(|s| ((s * 32768.0).round() as i16).to_ne_bytes())
            .collect(),
        gst_audio::AUDIO_FORMAT_S32 => samples
            .iter()
            .flat_map(|s| ((f64::from(*s) * f64::from(1_u32 << 31)).round() as i32).to_ne_bytes())
            .collect(),
        gst_audio::AUDIO_FORMAT_F64 => samples
            .iter()
            .flat_map(|s| f64::from(*s).to_ne_bytes())
            .collect(),
        _ => samples.iter().flat_map(|s| s.to_ne_bytes()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_comes_back() {
        for format in FORMATS {
            let samples = [0.0_f32, 0.5, -0.25, -1.0, 0.125];
            let bytes = write(format, &samples);
            let mut back = Vec::new();
            read(format, &bytes, &mut back);
            assert_eq!(back, samples, "{format:?}");
        }
    }

    #[test]
    fn too_loud_is_cut_off() {
        let loud = write(gst_audio::AUDIO_FORMAT_S16, &[1.5, -1.5]);
        let mut back = Vec::new();
        read(gst_audio::AUDIO_FORMAT_S16, &loud, &mut back);
        assert_eq!(back, [32767.0 / 32768.0, -1.0]);
    }
}
