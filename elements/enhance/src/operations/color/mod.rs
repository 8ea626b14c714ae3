// SPDX-License-Identifier: Apache-2.0
//! Colour: black and white of flat pictures, white balance, a predicted colour table, a given one, and local contrast.
//!
//! All but the last become one table of luma and chroma, made anew when they have moved; contrast is
//! done on luma behind it. All of it follows the picture slowly and starts again at cuts.

mod balance;
pub mod clahe;
mod device;
mod look;
mod stretch;

use aivideo_color::{cube::Cube, table::ColorTable};
use aivideo_core::{engine::Engine, pixels::Yuv420};

use aivideo_cuda::picture::Picture as Picture420;

use super::{Build, Built, Definition, EnhanceError, Measurement, Operation, Spare};
use crate::{
    device::{OnDevice, Stream},
    frame::{Colour, Depth, Format, Frame, Picture},
    spec::{Kind, Param, Values},
    tables,
};
use clahe::Clahe;
use look::{Look, SIDE, identity};

const NAME: &str = "color";
/// Entries along an axis of the table that pixels are looked up in.
const SIZE: usize = 33;
/// Frames from one prediction to the next; in between the table moves on towards the last.
const INTERVAL: u32 = 4;
/// Share of the way to what was measured or predicted, a frame.
const RATE: f32 = 0.08;
/// Movement of any colour, of 1, from which the table is made anew.
const MOVED: f32 = 1.0 / 512.0;

const fn share(default: f64) -> Kind {
    Kind::Number {
        min: 0.0,
        max: 1.0,
        default,
        auto: false,
    }
}

pub const DEFINITION: Definition = Definition {
    name: NAME,
    preset: Some("color_enhancement"),
    nick: "Colour",
    blurb: "Black and white of flat pictures, white balance, a colour table predicted for the picture, a .cube table, and local contrast",
    params: &[
        Param {
            name: "look",
            blurb: "How much of the colour table that the net predicts",
            // It changes good pictures, too.
            kind: share(0.0),
        },
        Param {
            name: "stretch",
            blurb: "How much of the veil over a flat or hazy picture is taken away",
            kind: share(1.0),
        },
        Param {
            name: "white-balance",
            blurb: "How much of the light's colour is taken out",
            kind: share(0.3),
        },
        Param {
            name: "contrast",
            blurb: "How much local contrast is raised",
            // It changes good pictures as much as bad ones.
            kind: share(0.0),
        },
        Param {
            name: "lut",
            blurb: ".cube file of one or three dimensions that is applied last",
            kind: Kind::Path,
        },
        Param {
            name: "lut-amount",
            blurb: "How much of that table",
            kind: share(1.0),
        },
        Param {
            name: "model",
            blurb: "ONNX file instead of the built-in net",
            kind: Kind::Path,
        },
    ],
    build,
};

fn build(values: &Values, build: &Build) -> Built {
    let lut = match values.path("lut") {
        None => None,
        Some(path) => Some(Cube::read(&path).map_err(|error| EnhanceError::Values {
            operation: NAME,
            problem: format!("lut: {error}"),
        })?),
    };
    let model = build.model(values, look::default_model());
    let amount = |name| values.number(name) as f32;
    Ok(Box::new(Color {
        amounts: Amounts {
            look: amount("look"),
            stretch: amount("stretch"),
            balance: amount("white-balance"),
            contrast: amount("contrast"),
            lut: amount("lut-amount"),
        },
        lut,
        net: Look::new(NAME, &model, build.inference)?,
        format: Format::default(),
        state: None,
        clahe: Clahe::default(),
        table: None,
        last: [1.0; 3],
        levels: stretch::levels(&[]),
        device: device::DeviceColor::default(),
    }))
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Amounts {
    look: f32,
    stretch: f32,
    balance: f32,
    contrast: f32,
    lut: f32,
}

impl Amounts {
    /// What becomes of a colour before the tables: its veil is taken away, then the light's colour.
    fn first(self, levels: [f32; 2], gains: [f32; 3]) -> impl Fn([f32; 3]) -> [f32; 3] {
        let gains = gains.map(|gain| gain.powf(self.balance / 2.2));
        move |colour| {
            let out = stretch::stretched(colour, levels, self.stretch);
            std::array::from_fn(|c| (out[c] * gains[c]).min(1.0))
        }
    }
}

/// What follows the picture.
struct State {
    /// What black and white have become: where they are.
    levels: [f32; 2],
    /// Gains of linear red, green and blue: where they are, and where they go.
    gains: [f32; 3],
    /// The predicted table, likewise.
    look: Cube,
    wanted: Vec<[f32; 3]>,
    age: u32,
}

/// The table in use, and what it was made from.
struct Made {
    table: ColorTable,
    /// Tells it from those before.
    version: u64,
    amounts: Amounts,
    colour: Colour,
    levels: [f32; 2],
    gains: [f32; 3],
    look: Vec<[f32; 3]>,
}

pub struct Color {
    amounts: Amounts,
    lut: Option<Cube>,
    net: Look,
    format: Format,
    state: Option<State>,
    clahe: Clahe,
    table: Option<Made>,
    /// Gains measured on the latest picture.
    last: [f32; 3],
    /// What black and white are there.
    levels: [f32; 2],
    device: device::DeviceColor,
}

/// Samples of a field along a side, of luma; chroma has half as many.
const SAMPLES: usize = 4;

/// Red, green and blue of `SIDE` x `SIDE` fields of a picture.
pub fn thumbnail(picture: &Yuv420, colour: Colour) -> Vec<[f32; 3]> {
    let (w, h) = (picture.width, picture.height);
    let (cw, ch) = (picture.chroma_width(), picture.chroma_height());
    // A few samples of each field.
    let sum = |plane: &[u8], width: usize, height: usize, x: usize, y: usize, samples: usize| {
        let mut sum = 0u32;
        for j in 0..samples {
            let row = (y * samples + j) * height / (SIDE * samples);
            for i in 0..samples {
                let column = (x * samples + i) * width / (SIDE * samples);
                sum += u32::from(plane[row * width + column]);
            }
        }
        sum
    };
    if w == 0 || h == 0 {
        return vec![[0.0; 3]; SIDE * SIDE];
    }
    thumbnail_of(colour, |i| {
        let (x, y) = (i % SIDE, i / SIDE);
        [
            sum(&picture.y, w, h, x, y, SAMPLES),
            sum(&picture.u, cw, ch, x, y, SAMPLES / 2),
            sum(&picture.v, cw, ch, x, y, SAMPLES / 2),
        ]
    })
}

/// The same of the sums of a field's samples.
fn thumbnail_of(colour: Colour, sums: impl Fn(usize) -> [u32; 3]) -> Vec<[f32; 3]> {
    let mean = |sum: u32, samples: usize| f64::from(sum) / (255 * samples * samples) as f64;
    (0..SIDE * SIDE)
        .map(|i| {
            let [y, u, v] = sums(i);
            let (half, all) = (SAMPLES / 2, SAMPLES);
            let yuv = [mean(y, all), mean(u, half), mean(v, half)];
            tables::to_rgb(colour, Depth::Eight, yuv).map(|v| v.clamp(0.0, 1.0) as f32)
        })
        .collect()
}

fn toward(from: &mut [f32], to: &[f32]) {
    for (from, to) in from.iter_mut().zip(to) {
        *from += RATE * (to - *from);
    }
}

impl Color {
    /// Measures and predicts, and moves on towards it.
    fn follow(
        &mut self,
        thumbnail: impl FnOnce() -> Result<Vec<[f32; 3]>, EnhanceError>,
    ) -> Result<(), EnhanceError> {
        let due = match &self.state {
            Some(state) => state.age >= INTERVAL,
            None => true,
        };
        let amounts = self.amounts;
        let (stretch, balance) = (amounts.stretch > 0.0, amounts.balance > 0.0);
        let predicts = due && amounts.look > 0.0;
        let small = match predicts || balance || stretch {
            true => Some(thumbnail()?),
            false => None,
        };
        if let Some(small) = &small {
            self.levels = stretch::levels(if stretch { small } else { &[] });
            if balance {
                self.last = balance::gains(small).unwrap_or([1.0; 3]);
            }
        }
        let predicted = match &small {
            Some(small) if predicts => {
                // As it will be when the table comes.
                let first = amounts.first(self.levels, self.last);
                let seen: Vec<_> = small.iter().map(|colour| first(*colour)).collect();
                Some(self.net.predict(NAME, &seen)?)
            }
            _ => None,
        };
        match &mut self.state {
            Some(state) => {
                if due {
                    state.age = 0;
                }
                if let Some(table) = predicted {
                    state.wanted = table;
                }
                toward(&mut state.levels, &self.levels);
                toward(&mut state.gains, &self.last);
                for (entry, wanted) in state.look.entries.iter_mut().zip(&state.wanted) {
                    toward(entry, wanted);
                }
                state.age += 1;
            }
            None => {
                let mut look = identity();
                let wanted = predicted.unwrap_or_else(|| look.entries.clone());
                look.entries.clone_from(&wanted);
                self.state = Some(State {
                    levels: self.levels,
                    gains: self.last,
                    look,
                    wanted,
                    age: 1,
                });
            }
        }
        Ok(())
    }

    /// Codes of black and white.
    fn range(&self) -> (u8, u8) {
        match self.format.colour.full_range {
            true => (0, 255),
            false => (16, 235),
        }
    }

    /// Makes the table anew where anything has moved enough to be seen.
    fn remake(&mut self) {
        let Some(state) = &self.state else { return };
        let amounts = Amounts {
            contrast: 0.0,
            ..self.amounts
        };
        let far = |a: &[f32], b: &[f32]| a.iter().zip(b).any(|(a, b)| (a - b).abs() > MOVED);
        let stands = self.table.as_ref().is_some_and(|made| {
            made.amounts == amounts
                && made.colour == self.format.colour
                && !far(&made.levels, &state.levels)
                && !far(&made.gains, &state.gains)
                && !made
                    .look
                    .iter()
                    .zip(&state.look.entries)
                    .any(|(a, b)| far(a, b))
        });
        if stands {
            return;
        }
        let mix = |own: [f32; 3], new: [f32; 3], amount: f32| {
            std::array::from_fn(|c| own[c] + amount * (new[c] - own[c]))
        };
        let first = amounts.first(state.levels, state.gains);
        let side = (self.format.colour, Depth::Eight);
        let table = tables::bake(SIZE, side, side, |rgb| {
            let inside = rgb.map(|v| v.clamp(0.0, 1.0));
            let mut c = first(inside.map(|v| v as f32));
            if amounts.look > 0.0 {
                c = mix(c, state.look.sample(c), amounts.look);
            }
            if let Some(lut) = &self.lut {
                c = mix(c, lut.sample(c), amounts.lut);
            }
            // Colours that no display shows move as the nearest one that it does.
            std::array::from_fn(|i| rgb[i] + f64::from(c[i].clamp(0.0, 1.0)) - inside[i])
        });
        let version = self.table.as_ref().map_or(0, |made| made.version + 1);
        self.table = Some(Made {
            table,
            version,
            amounts,
            colour: self.format.colour,
            levels: state.levels,
            gains: state.gains,
            look: state.look.entries.clone(),
        });
    }
}

impl Operation for Color {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, input: &Format) -> Result<Format, String> {
        if input.depth != Depth::Eight {
            return Err(super::EIGHT_BITS.into());
        }
        Ok(*input)
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

    fn process(&mut self, frame: Frame, spare: &mut Spare) -> Result<Option<Frame>, EnhanceError> {
        if frame.cut {
            self.reset();
        }
        let Picture::Eight(picture) = &frame.picture else {
            return Err(super::not_eight(NAME));
        };
        let colour = self.format.colour;
        self.follow(|| Ok(thumbnail(picture, colour)))?;
        self.remake();
        let mut out = match &self.table {
            Some(made) => tables::apply(
                &made.table,
                &frame.picture,
                Depth::Eight,
                self.format.siting,
                spare,
            ),
            None => frame.picture.clone(),
        };
        if let Picture::Eight(old) = frame.picture {
            spare.give_picture(old);
        }
        if let Picture::Eight(picture) = &mut out {
            let (amount, range) = (self.amounts.contrast, self.range());
            self.clahe
                .apply(&mut picture.y, picture.width, amount, range);
        }
        Ok(Some(Frame {
            picture: out,
            ..frame
        }))
    }

    fn on_device(&self) -> OnDevice {
        OnDevice::Makes(device::KERNELS)
    }

    #[allow(unsafe_code)] // passes the caller's promise on
    unsafe fn process_on_device(
        &mut self,
        stream: &Stream,
        input: &Picture420,
        output: &Picture420,
        cut: bool,
    ) -> Result<(), EnhanceError> {
        if cut {
            self.reset();
        }
        // SAFETY: the promise is the same.
        unsafe { self.colour_on_device(&stream.of(NAME), input, output) }
    }

    fn reset(&mut self) {
        self.state = None;
        self.clahe.reset();
        self.device.reset();
    }

    fn set(&mut self, parameter: &str, value: f64) {
        let value = value as f32;
        match parameter {
            "look" => self.amounts.look = value,
            "stretch" => self.amounts.stretch = value,
            "white-balance" => self.amounts.balance = value,
            "contrast" => self.amounts.contrast = value,
            "lut-amount" => self.amounts.lut = value,
            _ => {}
        }
    }

    fn measurements(&self) -> Vec<Measurement> {
        let change = self.state.as_ref().map_or(0.0, |state| {
            let plain = identity();
            let sum: f32 = state
                .look
                .entries
                .iter()
                .zip(&plain.entries)
                .flat_map(|(a, b)| a.iter().zip(b).map(|(a, b)| (a - b).abs()))
                .sum();
            f64::from(sum) / (3 * plain.entries.len()) as f64
        });
        vec![
            ("color-light-red", f64::from(1.0 / self.last[0])),
            ("color-light-green", f64::from(1.0 / self.last[1])),
            ("color-light-blue", f64::from(1.0 / self.last[2])),
            ("color-look-change", change),
            ("color-black", f64::from(self.levels[0])),
            ("color-white", f64::from(self.levels[1])),
        ]
    }

    fn engine(&self) -> Option<&Engine> {
        Some(&self.net.engine)
    }
}
