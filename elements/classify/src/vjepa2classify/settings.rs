// SPDX-License-Identifier: Apache-2.0
//! The element's properties.

use std::path::PathBuf;

use aivideo_core::settings::InferenceSettings;
use glib::prelude::*;
use gst::prelude::*;

use crate::{clip::Rhythm, model::ClassifierModel};

/// Bounds the frames that overlapping clips hold.
const MAX_FRAME_STRIDE: u32 = 100;
const MAX_CLIP_STRIDE: u32 = 1_000_000;
/// A minute between the frames of a clip, and a day between clips.
const MAX_FRAME_TIME: u64 = 60_000_000_000;
const MAX_CLIP_TIME: u64 = 86_400_000_000_000;
const MAX_INTERVAL: u32 = 1_000_000;

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub inference: InferenceSettings,
    pub top_k: u32,
    pub threshold: f64,
    pub smoothing: f64,
    /// 0: the model's.
    pub frame_stride: u32,
    /// Nanoseconds; 0: by frames.
    pub frame_stride_time: u64,
    /// 0: the length of a clip.
    pub clip_stride: u32,
    /// Nanoseconds; 0: by frames.
    pub clip_stride_time: u64,
    pub inference_interval: u32,
    pub sync: bool,
    pub labels_file: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            inference: InferenceSettings::default(),
            top_k: 5,
            threshold: 0.0,
            smoothing: 0.0,
            frame_stride: 0,
            frame_stride_time: 0,
            clip_stride: 0,
            clip_stride_time: 0,
            inference_interval: 1,
            sync: false,
            labels_file: None,
        }
    }
}

impl Settings {
    pub fn properties() -> Vec<glib::ParamSpec> {
        let default = Self::default();
        let mut properties = vec![
            glib::ParamSpecUInt::builder("top-k")
                .nick("Top k")
                .blurb("How many of the most probable classes a result names")
                .minimum(1)
                .maximum(1000)
                .default_value(default.top_k)
                .mutable_playing()
                .build(),
            glib::ParamSpecDouble::builder("threshold")
                .nick("Threshold")
                .blurb(
                    "Probability that a class needs to be named; a clip in which no class \
                     reaches it gives no result",
                )
                .minimum(0.0)
                .maximum(1.0)
                .default_value(default.threshold)
                .mutable_playing()
                .build(),
            glib::ParamSpecDouble::builder("smoothing")
                .nick("Smoothing")
                .blurb(
                    "Share of the clips before in a result's probabilities (0 = each clip by \
                     itself); a gap, a seek, new caps and a new model begin anew",
                )
                .minimum(0.0)
                .maximum(0.99)
                .default_value(default.smoothing)
                .mutable_playing()
                .build(),
            glib::ParamSpecUInt::builder("frame-stride")
                .nick("Frame stride")
                .blurb(
                    "Distance between the frames of a clip, in frames (0 = as the model was trained)",
                )
                .maximum(MAX_FRAME_STRIDE)
                .default_value(default.frame_stride)
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt64::builder("frame-stride-time")
                .nick("Frame stride by time")
                .blurb(
                    "Distance between the frames of a clip in ns of the timestamps, whatever the \
                     frame rate; replaces frame-stride (0 = by frames)",
                )
                .maximum(MAX_FRAME_TIME)
                .default_value(default.frame_stride_time)
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("clip-stride")
                .nick("Clip stride")
                .blurb(
                    "Distance between the starts of clips, in frames; less than a clip's \
                     length makes them overlap (0 = the length of a clip)",
                )
                .maximum(MAX_CLIP_STRIDE)
                .default_value(default.clip_stride)
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt64::builder("clip-stride-time")
                .nick("Clip stride by time")
                .blurb(
                    "Distance between the starts of clips in ns of the timestamps, whatever the \
                     frame rate; replaces clip-stride (0 = by frames)",
                )
                .maximum(MAX_CLIP_TIME)
                .default_value(default.clip_stride_time)
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("inference-interval")
                .nick("Inference interval")
                .blurb("Classify every n-th clip only")
                .minimum(1)
                .maximum(MAX_INTERVAL)
                .default_value(default.inference_interval)
                .mutable_ready()
                .build(),
            glib::ParamSpecBoolean::builder("sync")
                .nick("Synchronous")
                .blurb(
                    "Let the last frame of each clip wait for the clip's result and carry it \
                     (for files); else the result rides on a later frame and clips are left \
                     out when the model is busy (for live streams)",
                )
                .default_value(default.sync)
                .mutable_ready()
                .build(),
            glib::ParamSpecString::builder("labels-file")
                .nick("Labels file")
                .blurb(
                    "Text file with a label a line, instead of the labels in the model; while \
                     playing it takes effect with the next model-location",
                )
                .mutable_playing()
                .build(),
            glib::ParamSpecString::builder("model-location")
                .nick("Model location")
                .blurb(
                    "ONNX model file to use instead of the built-in model; while playing, the \
                     new model is loaded beside the old one and takes over between two frames",
                )
                .mutable_playing()
                .build(),
        ];
        // This element's model can change while playing, as the text above says.
        properties.extend(
            InferenceSettings::properties()
                .into_iter()
                .filter(|pspec| pspec.name() != "model-location"),
        );
        properties
    }

    /// Sets the property; `false` if there is none of that name. Types and ranges were checked
    /// against the specifications.
    pub fn set_property(&mut self, name: &str, value: &glib::Value) -> bool {
        self.inference.set_property(name, value) || self.try_set(name, value).is_some()
    }

    fn try_set(&mut self, name: &str, value: &glib::Value) -> Option<()> {
        match name {
            "top-k" => self.top_k = value.get().ok()?,
            "threshold" => self.threshold = value.get().ok()?,
            "smoothing" => self.smoothing = value.get().ok()?,
            "frame-stride" => self.frame_stride = value.get().ok()?,
            "frame-stride-time" => self.frame_stride_time = value.get().ok()?,
            "clip-stride" => self.clip_stride = value.get().ok()?,
            "clip-stride-time" => self.clip_stride_time = value.get().ok()?,
            "inference-interval" => self.inference_interval = value.get().ok()?,
            "sync" => self.sync = value.get().ok()?,
            "labels-file" => {
                let path: Option<String> = value.get().ok()?;
                self.labels_file = path.filter(|path| !path.is_empty()).map(PathBuf::from);
            }
            _ => return None,
        }
        Some(())
    }

    /// The value of a property; `None` if there is none of that name. `stats` is the element's.
    pub fn property(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "top-k" => self.top_k.to_value(),
            "threshold" => self.threshold.to_value(),
            "smoothing" => self.smoothing.to_value(),
            "frame-stride" => self.frame_stride.to_value(),
            "frame-stride-time" => self.frame_stride_time.to_value(),
            "clip-stride" => self.clip_stride.to_value(),
            "clip-stride-time" => self.clip_stride_time.to_value(),
            "inference-interval" => self.inference_interval.to_value(),
            "sync" => self.sync.to_value(),
            "labels-file" => self
                .labels_file
                .as_ref()
                .map(|path| path.to_string_lossy().into_owned())
                .to_value(),
            name => return self.inference.property(name),
        })
    }

    /// The clips to take for this model. Distances given in frames count as time where another is
    /// given by time, for which the frame rate must be known.
    pub fn rhythm(
        &self,
        model: &ClassifierModel,
        rate: Option<gst::Fraction>,
    ) -> Result<Rhythm, String> {
        let by_time = self.frame_stride_time > 0 || self.clip_stride_time > 0;
        let rate = rate.filter(|rate| rate.numer() > 0 && rate.denom() > 0);
        let moments = |name: &str, frames: u64| match (by_time, rate) {
            (false, _) => Ok(frames),
            (true, Some(rate)) => Ok(frames.saturating_mul(1_000_000_000)
                / rate.numer().unsigned_abs() as u64
                * rate.denom().unsigned_abs() as u64),
            (true, None) => Err(format!(
                "this stream has no fixed frame rate, so that {frames} frames are no certain time: \
                 set {name} too"
            )),
        };
        let frame_stride = match (self.frame_stride_time, self.frame_stride) {
            (0, 0) => moments("frame-stride-time", model.frame_stride as u64)?,
            (0, frames) => moments("frame-stride-time", frames.into())?,
            (time, _) => time,
        };
        let clip_stride = match (self.clip_stride_time, self.clip_stride) {
            (0, 0) => frame_stride.saturating_mul(model.frames as u64),
            (0, frames) => moments("clip-stride-time", frames.into())?,
            (time, _) => time,
        };
        Ok(Rhythm {
            frames: model.frames,
            frame_stride,
            clip_stride: clip_stride.saturating_mul(self.inference_interval.into()),
            by_time,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::Preprocessing;

    const MS: u64 = 1_000_000;

    fn model() -> ClassifierModel {
        ClassifierModel {
            name: "m".to_string(),
            input: "x".to_string(),
            output: "y".to_string(),
            frames: 16,
            frame_stride: 2,
            preprocessing: Preprocessing {
                size: 8,
                resize_short_side: 8,
                mean: [0.0; 3],
                std: [1.0; 3],
            },
            labels: vec!["a".to_string()],
        }
    }

    fn strides(
        change: impl FnOnce(&mut Settings),
        rate: Option<(i32, i32)>,
    ) -> Result<(u64, u64, bool), String> {
        let mut settings = Settings::default();
        change(&mut settings);
        let rate = rate.map(|(n, d)| gst::Fraction::new(n, d));
        let rhythm = settings.rhythm(&model(), rate)?;
        Ok((rhythm.frame_stride, rhythm.clip_stride, rhythm.by_time))
    }

    #[test]
    fn strides_come_from_the_model_or_the_properties() {
        assert_eq!(strides(|_| (), None), Ok((2, 32, false)));
        assert_eq!(strides(|s| s.frame_stride = 3, None), Ok((3, 48, false)));
        assert_eq!(strides(|s| s.clip_stride = 5, None), Ok((2, 5, false)));
        assert_eq!(
            strides(|s| s.inference_interval = 4, None),
            Ok((2, 128, false))
        );
        assert_eq!(
            strides(|s| s.frame_stride_time = 80 * MS, None),
            Ok((80 * MS, 1280 * MS, true))
        );
    }

    #[test]
    fn frames_become_time_by_the_frame_rate() {
        let second = |s: &mut Settings| s.clip_stride_time = 1000 * MS;
        assert_eq!(
            strides(second, Some((25, 1))),
            Ok((80 * MS, 1000 * MS, true))
        );
        for rate in [None, Some((0, 1))] {
            let err = strides(second, rate).unwrap_err();
            assert!(err.contains("set frame-stride-time"), "{err}");
        }
        let err = strides(
            |s| {
                s.frame_stride_time = 1;
                s.clip_stride = 1;
            },
            None,
        )
        .unwrap_err();
        assert!(err.contains("set clip-stride-time"), "{err}");
    }

    #[test]
    fn every_property_but_stats_is_stored_and_starts_at_its_default() {
        gst::init().unwrap();
        let settings = Settings::default();
        for pspec in Settings::properties() {
            let name = pspec.name();
            if name == "stats" {
                continue;
            }
            let value = settings.property(name).unwrap();
            let show = |value: &glib::Value| value.serialize().map(|text| text.to_string()).ok();
            assert_eq!(show(&value), show(pspec.default_value()), "{name}");
            assert!(settings.clone().set_property(name, &value), "{name}");
            assert!(pspec.blurb().is_some_and(|b| b.len() > 20), "{name}");
        }
    }
}
