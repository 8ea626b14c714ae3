// SPDX-License-Identifier: Apache-2.0
//! Stabilisation: the camera's path is smoothed, and each picture moved onto it.

use std::collections::VecDeque;

use aivideo_cuda::picture::Picture as DevicePicture;

use super::{Build, Built, Definition, EnhanceError, Measurement, Operation, Spare};
use crate::{
    device::{OnDevice, Stream},
    frame::{Format, Frame, Picture},
    spec::{Kind, Param, Values},
    stabilize::{
        Motion, MotionFinder,
        path::{Path, fit_inside},
        similarity::Similarity,
        warp::View,
    },
};

mod device;

const NAME: &str = "stabilize";
const BORDERS: &[&str] = &["crop", "edge"];
/// Without a crop a correction may still not leave more than this share of the picture empty.
const MOST_EMPTY: f32 = 0.25;

pub const DEFINITION: Definition = Definition {
    name: NAME,
    preset: Some("stabilization"),
    nick: "Stabilisation",
    blurb: "Steadies a shaken camera: its path is smoothed, and each picture moved onto it",
    params: &[
        Param {
            name: "look-ahead",
            blurb: "Pictures by which the path is known in advance; each adds one of latency",
            kind: Kind::Whole {
                min: 0,
                max: 30,
                default: 15,
            },
        },
        Param {
            name: "smoothing",
            blurb: "Standard deviation of the smoothing, in pictures",
            kind: Kind::Number {
                min: 0.5,
                max: 60.0,
                default: 10.0,
                auto: false,
            },
        },
        Param {
            name: "border",
            blurb: "What shows where a picture moved away: crop enlarges until nothing does, edge repeats its border",
            kind: Kind::Choice {
                choices: BORDERS,
                default: 0,
            },
        },
        Param {
            name: "crop",
            blurb: "Share of each side that border=crop cuts off, and so the room there is for corrections",
            kind: Kind::Number {
                min: 0.0,
                max: 0.25,
                default: 0.06,
                auto: false,
            },
        },
    ],
    build,
};

fn build(values: &Values, _build: &Build) -> Built {
    Ok(Box::new(Stabilize::new(
        values.whole("look-ahead") as usize,
        values.number("smoothing") as f32,
        (values.choice("border") == "crop").then(|| values.number("crop") as f32),
    )))
}

/// Steadies pictures.
pub struct Stabilize {
    smoothing: f32,
    /// Share of each side; without it the border is repeated.
    crop: Option<f32>,
    finder: MotionFinder,
    path: Path,
    look_ahead: usize,
    waiting: VecDeque<Frame>,
    motion: Motion,
    correction: Similarity,
    limited: u64,
    on_device: device::DeviceStabilize,
}

impl Stabilize {
    pub fn new(look_ahead: usize, smoothing: f32, crop: Option<f32>) -> Self {
        Self {
            smoothing,
            crop,
            finder: MotionFinder::default(),
            path: Path::new(look_ahead),
            look_ahead,
            waiting: VecDeque::new(),
            motion: Motion::default(),
            correction: Similarity::IDENTITY,
            limited: 0,
            on_device: device::DeviceStabilize::default(),
        }
    }

    /// How the oldest picture that waits, of this size, is to be seen; `None` where nothing is known of it.
    fn view(&mut self, size: (f32, f32)) -> Option<View> {
        let correction = self.path.correction(self.smoothing)?;
        let (zoom, room) = match self.crop {
            Some(crop) => (1.0 / (1.0 - 2.0 * crop), 1.0 / (1.0 - 2.0 * crop)),
            None => (1.0, 1.0 / (1.0 - 2.0 * MOST_EMPTY)),
        };
        let fitted = fit_inside(correction, room, size);
        if fitted != correction {
            self.limited += 1;
        }
        self.correction = fitted;
        Some(View::new(fitted, zoom))
    }

    /// Moves the oldest frame onto the path.
    fn give(&mut self, spare: &mut Spare) -> Result<Option<Frame>, EnhanceError> {
        let Some(frame) = self.waiting.pop_front() else {
            return Ok(None);
        };
        let Picture::Eight(picture) = frame.picture else {
            return Err(super::not_eight(NAME));
        };
        let Some(view) = self.view((picture.width as f32, picture.height as f32)) else {
            return Ok(Some(Frame {
                picture: Picture::Eight(picture),
                ..frame
            }));
        };
        let mut out = spare.picture(picture.width, picture.height);
        view.render(picture.y_plane(), 1.0, &mut out.y);
        view.render(picture.u_plane(), 0.5, &mut out.u);
        view.render(picture.v_plane(), 0.5, &mut out.v);
        spare.give_picture(picture);
        Ok(Some(Frame {
            picture: Picture::Eight(out),
            ..frame
        }))
    }
}

impl Operation for Stabilize {
    fn name(&self) -> &'static str {
        NAME
    }

    fn look_ahead(&self) -> usize {
        self.look_ahead
    }

    fn remembers(&self) -> bool {
        true
    }

    fn wants_cuts(&self) -> bool {
        true
    }

    fn start(&mut self, _input: &Format) {
        self.reset();
    }

    fn process(&mut self, frame: Frame, spare: &mut Spare) -> Result<Option<Frame>, EnhanceError> {
        let Picture::Eight(picture) = &frame.picture else {
            return Err(super::not_eight(NAME));
        };
        if frame.cut {
            self.finder.reset();
        }
        self.motion = self.finder.next(picture.y_plane());
        self.path.push(self.motion.movement, frame.cut);
        self.waiting.push_back(frame);
        if self.path.is_ready() {
            self.give(spare)
        } else {
            Ok(None)
        }
    }

    fn drain(&mut self, spare: &mut Spare) -> Result<Option<Frame>, EnhanceError> {
        self.give(spare)
    }

    fn reset(&mut self) {
        self.finder.reset();
        self.path.reset();
        self.waiting.clear();
    }

    fn set(&mut self, parameter: &str, value: f64) {
        match parameter {
            "smoothing" => self.smoothing = value as f32,
            "crop" if self.crop.is_some() => self.crop = Some(value as f32),
            _ => {}
        }
    }

    fn on_device(&self) -> OnDevice {
        OnDevice::Later(device::KERNELS)
    }

    #[allow(unsafe_code)] // starts kernels
    unsafe fn foresee_on_device(
        &mut self,
        stream: &Stream,
        input: &DevicePicture,
        cut: bool,
    ) -> Result<(), EnhanceError> {
        // SAFETY: the caller's promise is passed on.
        let (luma, size) = unsafe { self.on_device.reduced(&stream.of(NAME), input) }?;
        if cut {
            self.finder.reset();
        }
        self.motion = self.finder.next_reduced(luma, size);
        self.path.push(self.motion.movement, cut);
        Ok(())
    }

    #[allow(unsafe_code)] // starts kernels
    unsafe fn process_on_device(
        &mut self,
        stream: &Stream,
        input: &DevicePicture,
        output: &DevicePicture,
        _cut: bool,
    ) -> Result<(), EnhanceError> {
        let stream = stream.of(NAME);
        match self.view((input.y.width as f32, input.y.height as f32)) {
            // SAFETY: the caller's promise is passed on.
            Some(view) => unsafe { device::render(&stream, &view, input, output) },
            // SAFETY: the same.
            None => unsafe { stream.copy(input, output) },
        }
    }

    fn measurements(&self) -> Vec<Measurement> {
        vec![
            ("stabilize-points", self.motion.points as f64),
            ("stabilize-agreeing", self.motion.agreeing as f64),
            ("stabilize-offset-x", f64::from(self.correction.x)),
            ("stabilize-offset-y", f64::from(self.correction.y)),
            (
                "stabilize-angle",
                f64::from(self.correction.angle.to_degrees()),
            ),
            ("stabilize-limited", self.limited as f64),
        ]
    }
}

#[cfg(test)]
mod tests {
    use aivideo_core::pixels::{PlaneRef, Yuv420};

    use super::*;
    use crate::testing::Random;

    const SIZE: (usize, usize) = (320, 192);

    /// A scene of blocks seen by a camera that shakes.
    fn shaken(count: usize) -> (Vec<Frame>, Vec<Similarity>) {
        let mut random = Random::new(2);
        let (w, h) = SIZE;
        let mut scene = Yuv420::new(w, h);
        let blocks: Vec<u8> = (0..600).map(|_| random.next_u32() as u8 / 2 + 60).collect();
        for (n, v) in scene.y.iter_mut().enumerate() {
            *v = blocks[(n / w / 9 * 31 + n % w / 11) % blocks.len()];
        }
        let shakes: Vec<Similarity> = (0..count)
            .map(|n| Similarity {
                x: random.gaussian() * 2.0 + n as f32 * 0.2,
                y: random.gaussian() * 2.0,
                angle: random.gaussian() * 0.003,
                log_scale: 0.0,
            })
            .collect();
        let frames = shakes
            .iter()
            .map(|shake| {
                let mut picture = scene.clone();
                View::new(*shake, 1.0).render(
                    PlaneRef::packed(&scene.y, w, h),
                    1.0,
                    &mut picture.y,
                );
                Frame::new(Picture::Eight(picture))
            })
            .collect();
        (frames, shakes)
    }

    fn run(step: &mut Stabilize, frames: Vec<Frame>) -> Vec<Frame> {
        let mut spare = Spare::default();
        let mut out = Vec::new();
        for frame in frames {
            out.extend(step.process(frame, &mut spare).unwrap());
        }
        while let Some(frame) = step.drain(&mut spare).unwrap() {
            out.push(frame);
        }
        out
    }

    /// Mean length of what is left of the motion, less its slow part.
    fn jitter(frames: &[Frame]) -> f32 {
        let mut finder = MotionFinder::default();
        let motions: Vec<Similarity> = frames
            .iter()
            .filter_map(|frame| match &frame.picture {
                Picture::Eight(picture) => Some(finder.next(picture.y_plane()).movement),
                Picture::Ten(_) => None,
            })
            .collect();
        let changes = motions[5..]
            .windows(2)
            .map(|m| (m[1].x - m[0].x).hypot(m[1].y - m[0].y));
        changes.sum::<f32>() / (motions.len() - 6) as f32
    }

    #[test]
    fn shaking_goes_with_and_without_look_ahead() {
        let (frames, _) = shaken(60);
        let before = jitter(&frames);
        for (look_ahead, part) in [(15, 0.15), (0, 0.6)] {
            let mut step = Stabilize::new(look_ahead, 10.0, Some(0.08));
            let out = run(&mut step, frames.clone());
            assert_eq!(out.len(), 60);
            let after = jitter(&out);
            assert!(after < part * before, "{look_ahead}: {before} to {after}");
        }
    }

    #[test]
    fn frames_come_out_when_the_look_ahead_is_full() {
        let (frames, _) = shaken(6);
        let mut step = Stabilize::new(4, 5.0, None);
        let mut spare = Spare::default();
        let mut given = Vec::new();
        for frame in frames {
            given.push(step.process(frame, &mut spare).unwrap().is_some());
        }
        assert_eq!(given, [false, false, false, false, true, true]);
        assert!(step.drain(&mut spare).unwrap().is_some());
        step.reset();
        assert!(step.drain(&mut spare).unwrap().is_none());
    }

    #[test]
    fn a_camera_on_a_tripod_is_cropped_and_no_more() {
        let (frames, _) = shaken(1);
        let still: Vec<Frame> = std::iter::repeat_n(frames[0].clone(), 20).collect();
        let out = run(&mut Stabilize::new(5, 10.0, None), still.clone());
        for (a, b) in still.iter().zip(&out) {
            assert_eq!(a.picture, b.picture);
        }
    }
}
