// SPDX-License-Identifier: Apache-2.0
//! Finding objects, for the pictures that leave the chain.

use aivideo_core::{engine::Engine, model::ModelSource};

use aivideo_cuda::picture::Picture as Picture420;

use super::{Build, Built, Definition, EnhanceError, Measurement, Operation, Spare};
use crate::{
    detect::{
        DetectError, Detector,
        device::KERNELS,
        sidecar::Sidecar,
        track::Tracked,
        watch::{MAX_AGE, Rules, Watch},
    },
    device::{OnDevice, Stream},
    frame::{Format, Frame, Picture, Sighting},
    spec::{Kind, Param, Values},
};

const NAME: &str = "detect";

pub const DEFINITION: Definition = Definition {
    name: NAME,
    preset: Some("object_detection"),
    nick: "Object detection",
    blurb: "Finds and follows objects by a YOLOX or D-FINE model, as regions of interest; pictures stay as they are. The element aidetect does the same with more properties",
    params: &[
        Param {
            name: "model",
            blurb: "ONNX file; there is no built-in one",
            kind: Kind::Path,
        },
        Param {
            name: "sidecar",
            blurb: "JSON file that says what the model takes and gives (default: beside it, .json for .onnx)",
            kind: Kind::Path,
        },
        Param {
            name: "threshold",
            blurb: "Least confidence of an object; auto: what the sidecar says",
            kind: Kind::Number {
                min: 0.0,
                max: 1.0,
                default: 0.3,
                auto: true,
            },
        },
        Param {
            name: "interval",
            blurb: "The model looks at every so many-th picture; objects are moved on in between",
            kind: Kind::Whole {
                min: 1,
                max: 1000,
                default: 1,
            },
        },
    ],
    build,
};

fn build(values: &Values, build: &Build) -> Built {
    let path = values
        .path("model")
        .or_else(|| build.inference.model_location.clone())
        .ok_or(EnhanceError::Detect(DetectError::NoModel {
            property: "detect:model",
        }))?;
    let sidecar = values
        .path("sidecar")
        .unwrap_or_else(|| Sidecar::beside(&path));
    let detector = Detector::load(
        &ModelSource::File(path),
        Sidecar::read(&sidecar)?,
        build.inference,
    )?;
    Ok(Box::new(Detect {
        watch: Watch::new(detector, MAX_AGE),
        rules: Rules {
            threshold: values.unless_auto("threshold").map(|v| v as f32),
            overlap: None,
            interval: values.whole("interval"),
            tracking: true,
        },
        format: Format::default(),
        last: 0,
    }))
}

pub struct Detect {
    watch: Watch,
    rules: Rules,
    format: Format,
    last: usize,
}

impl Detect {
    /// What was seen in a picture of this size, as it leaves the chain.
    fn sightings(&mut self, seen: Vec<Tracked>, size: (f32, f32)) -> Vec<Sighting> {
        self.last = seen.len();
        let detector = self.watch.detector();
        seen.into_iter()
            .map(|Tracked { object, id }| Sighting {
                label: detector.label(object.class),
                tracked: Tracked {
                    object: object.scaled(1.0 / size.0, 1.0 / size.1),
                    id,
                },
            })
            .collect()
    }
}

impl Operation for Detect {
    fn name(&self) -> &'static str {
        NAME
    }

    fn remembers(&self) -> bool {
        true
    }

    fn wants_cuts(&self) -> bool {
        true
    }

    fn start(&mut self, input: &Format) {
        self.format = *input;
        self.reset();
    }

    fn process(&mut self, mut frame: Frame, _: &mut Spare) -> Result<Option<Frame>, EnhanceError> {
        let Picture::Eight(picture) = &frame.picture else {
            return Err(super::not_eight(NAME));
        };
        if frame.cut {
            self.watch.reset();
        }
        let size = (picture.width as f32, picture.height as f32);
        let seen = if self.watch.is_due(&self.rules) {
            let colour = (self.format.colour.gamut, self.format.colour.full_range);
            self.watch.look(picture, colour, &self.rules)?
        } else {
            self.watch.skip(&self.rules)
        };
        frame.sightings = self.sightings(seen, size);
        Ok(Some(frame))
    }

    fn on_device(&self) -> OnDevice {
        OnDevice::Looks(&KERNELS)
    }

    #[allow(unsafe_code)] // passes the caller's promise on
    unsafe fn look_on_device(
        &mut self,
        stream: &Stream,
        input: &Picture420,
        cut: bool,
    ) -> Result<Vec<Sighting>, EnhanceError> {
        if cut {
            self.watch.reset();
        }
        let seen = if self.watch.is_due(&self.rules) {
            // The detector works on its model's stream, and waits for the results.
            stream.lead(self.watch.detector().engine())?;
            let colour = (self.format.colour.gamut, self.format.colour.full_range);
            self.watch
                .look_by(&self.rules, |detector, threshold, overlap| {
                    // SAFETY: the promise is the same.
                    unsafe { detector.find_on_device(input, colour, threshold, overlap) }
                })?
        } else {
            self.watch.skip(&self.rules)
        };
        let (width, height) = input.size();
        Ok(self.sightings(seen, (width as f32, height as f32)))
    }

    fn reset(&mut self) {
        self.watch.reset();
    }

    fn set(&mut self, parameter: &str, value: f64) {
        if parameter == "threshold" {
            self.rules.threshold = (!value.is_nan()).then_some(value as f32);
        }
    }

    fn measurements(&self) -> Vec<Measurement> {
        vec![("detect-objects", self.last as f64)]
    }

    fn engine(&self) -> Option<&Engine> {
        Some(self.watch.detector().engine())
    }
}
