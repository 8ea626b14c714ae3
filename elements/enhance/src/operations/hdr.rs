// SPDX-License-Identifier: Apache-2.0
//! HDR: SDR to PQ or HLG and back, by BT.2446.

mod device;

use std::collections::VecDeque;

use aivideo_color::table::ColorTable;

use aivideo_cuda::picture::Picture as Picture420;

use super::{Build, Built, Definition, EnhanceError, Measurement, Operation, Spare};
use crate::{
    chroma::Siting,
    device::{OnDevice, Stream},
    frame::{Colour, Depth, Format, Frame, Gamut, Picture, Transfer},
    hdr::{
        self, GAMMA, HDR_PEAK, Rgb, SDR_WHITE,
        bt2446::Method,
        light::{Levels, Meter},
        power,
    },
    spec::{Kind, Param, Values},
    tables,
};

const NAME: &str = "hdr";
/// Entries along an axis of the table: 0.27 codes of 1023 off on average, 11 at worst near black of
/// PQ, where curves are steep.
const SIZE: usize = 65;

pub const DEFINITION: Definition = Definition {
    name: NAME,
    preset: Some("hdr_processing"),
    nick: "High dynamic range",
    blurb: "Turns SDR into HDR (10 bits, BT.2020, PQ or HLG) or HDR into SDR by Report ITU-R BT.2446",
    params: &[
        Param {
            name: "to",
            blurb: "What comes out: HDR as PQ or HLG, or SDR (BT.709, 8 bits)",
            kind: Kind::Choice {
                choices: &["pq", "hlg", "sdr"],
                default: 0,
            },
        },
        Param {
            name: "method",
            blurb: "Method of BT.2446: a keeps the look, c keeps skin tones and can be undone exactly",
            kind: Kind::Choice {
                choices: &["a", "c"],
                default: 0,
            },
        },
        Param {
            name: "peak",
            blurb: "Brightest light of the HDR that comes in, in cd/m2 (method a towards SDR)",
            kind: Kind::Whole {
                min: 200,
                max: 10_000,
                default: HDR_PEAK as u32,
            },
        },
        Param {
            name: "max-cll",
            blurb: "Light of the brightest pixel for the caps, in cd/m2; 0: measured",
            kind: Kind::Whole {
                min: 0,
                max: 10_000,
                default: 0,
            },
        },
        Param {
            name: "max-fall",
            blurb: "Highest mean light of a frame for the caps, in cd/m2; 0: measured",
            kind: Kind::Whole {
                min: 0,
                max: 10_000,
                default: 0,
            },
        },
        Param {
            name: "window",
            blurb: "Frames looked ahead to measure light before the first caps",
            kind: Kind::Whole {
                min: 0,
                max: 120,
                default: 12,
            },
        },
    ],
    build,
};

fn build(values: &Values, _build: &Build) -> Built {
    let to = match values.choice("to") {
        "hlg" => Transfer::Hlg,
        "sdr" => Transfer::Sdr,
        _ => Transfer::Pq,
    };
    let (cll, fall) = (values.whole("max-cll"), values.whole("max-fall"));
    if fall > cll && cll > 0 {
        return Err(EnhanceError::Values {
            operation: NAME,
            problem: format!(
                "max-fall={fall} is more than max-cll={cll}: a frame's mean cannot be brighter than its brightest pixel"
            ),
        });
    }
    Ok(Box::new(Hdr::new(
        to,
        if values.choice("method") == "c" {
            Method::C
        } else {
            Method::A
        },
        f64::from(values.whole("peak")),
        (cll, fall),
        values.whole("window") as usize,
    )))
}

/// The virtual display that HDR is made for: primaries and white of BT.2020 in units of 0.00002,
/// then 1000 and 0.005 cd/m² in units of 0.0001.
const MASTERING: &str = "35400:14600:8500:39850:6550:2300:15635:16450:10000000:50";

/// What comes out of [`Hdr`].
const SDR: Colour = Colour {
    gamut: Gamut::Bt709,
    transfer: Transfer::Sdr,
    full_range: false,
};

pub struct Hdr {
    to: Transfer,
    method: Method,
    peak: f64,
    /// Light levels that were given; 0 where they are measured.
    given: (u32, u32),
    window: usize,
    table: Option<(Format, ColorTable)>,
    siting: Siting,
    meter: Meter,
    last: Levels,
    /// The most seen so far.
    most: Levels,
    /// What the caps say.
    told: (u32, u32),
    held: VecDeque<Frame>,
    /// The window has been seen once: from then on frames are only as late as it is long.
    begun: bool,
    device: device::DeviceHdr,
}

impl Hdr {
    pub fn new(to: Transfer, method: Method, peak: f64, given: (u32, u32), window: usize) -> Self {
        Self {
            to,
            method,
            peak,
            given,
            window,
            table: None,
            siting: Siting::default(),
            meter: Meter::default(),
            last: Levels::default(),
            most: Levels::default(),
            told: given,
            held: VecDeque::new(),
            begun: false,
            device: device::DeviceHdr::default(),
        }
    }

    fn output_colour(&self) -> (Colour, Depth) {
        match self.to {
            Transfer::Sdr => (SDR, Depth::Eight),
            transfer => (
                Colour {
                    gamut: Gamut::Bt2020,
                    transfer,
                    full_range: false,
                },
                Depth::Ten,
            ),
        }
    }

    /// What becomes of non-linear red, green and blue of `from`.
    pub fn convert(&self, from: Colour, rgb: Rgb) -> Rgb {
        let hdr = match from.transfer {
            Transfer::Pq => rgb.map(hdr::pq_to_light),
            Transfer::Hlg => hdr::hlg_to_light(rgb),
            Transfer::Sdr => {
                let light = rgb.map(|v| SDR_WHITE * power(v, GAMMA));
                let wide = match from.gamut {
                    Gamut::Bt2020 => light,
                    _ => hdr::bt709_to_2020(light),
                };
                self.method.up(wide)
            }
        };
        match self.to {
            Transfer::Pq => hdr.map(hdr::light_to_pq),
            Transfer::Hlg => hdr::light_to_hlg(hdr),
            Transfer::Sdr => {
                let sdr = self.method.down(hdr, self.peak);
                hdr::bt2020_to_709(sdr).map(|v| power(v / SDR_WHITE, 1.0 / GAMMA))
            }
        }
    }

    /// Whether light is measured to be told.
    fn tells(&self) -> bool {
        self.to == Transfer::Pq
    }

    fn measures(&self) -> bool {
        self.tells() && (self.given.0 == 0 || self.given.1 == 0)
    }

    fn measure(&mut self, picture: &Picture) {
        let Picture::Ten(picture) = picture else {
            return;
        };
        let levels = self.meter.measure(picture);
        self.take(levels);
    }

    /// Takes in what a picture's light is.
    fn take(&mut self, levels: Levels) {
        self.last = levels;
        self.most.brightest = self.most.brightest.max(self.last.brightest);
        self.most.mean = self.most.mean.max(self.last.mean);
        // Caps are not changed for every frame that is a little brighter: once the stream runs,
        // in steps of an eighth, upwards.
        let tell = |told: u32, given: u32, most: f64| {
            let exact = most.ceil() as u32;
            if given > 0 {
                given
            } else if exact <= told {
                told
            } else if self.begun {
                (exact + exact.div_ceil(8)).min(HDR_PEAK as u32).max(exact)
            } else {
                exact
            }
        };
        self.told = (
            tell(self.told.0, self.given.0, self.most.brightest),
            tell(self.told.1, self.given.1, self.most.mean),
        );
    }
}

impl Operation for Hdr {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, input: &Format) -> Result<Format, String> {
        let from = input.colour.transfer;
        if from == self.to {
            let name = match from {
                Transfer::Sdr => "SDR",
                Transfer::Pq => "PQ",
                Transfer::Hlg => "HLG",
            };
            return Err(format!(
                "they are {name} already; choose another \"to\", or correct the caps' colorimetry (bt2100-pq, bt2100-hlg) where they are wrong"
            ));
        }
        if from != Transfer::Sdr && input.depth == Depth::Eight {
            return Err(
                "PQ and HLG of 8 bits are not taken; give 10 bits (I420_10LE or P010_10LE)".into(),
            );
        }
        let (colour, depth) = self.output_colour();
        Ok(Format {
            depth,
            colour,
            ..*input
        })
    }

    fn look_ahead(&self) -> usize {
        if self.measures() { self.window } else { 0 }
    }

    fn remembers(&self) -> bool {
        self.measures()
    }

    fn start(&mut self, input: &Format) {
        self.reset();
        self.siting = input.siting;
        (self.begun, self.most, self.told) = (false, Levels::default(), self.given);
        let same = |other: &Format| (other.depth, other.colour) == (input.depth, input.colour);
        if !self.table.as_ref().is_some_and(|(format, _)| same(format)) {
            let table = tables::bake(
                SIZE,
                (input.colour, input.depth),
                self.output_colour(),
                |rgb| self.convert(input.colour, rgb),
            );
            self.table = Some((*input, table));
            self.device.forget_table();
        }
    }

    fn process(&mut self, frame: Frame, spare: &mut Spare) -> Result<Option<Frame>, EnhanceError> {
        let Some((_, table)) = &self.table else {
            return Ok(None);
        };
        let (_, depth) = self.output_colour();
        let picture = tables::apply(table, &frame.picture, depth, self.siting, spare);
        if let Picture::Eight(old) = frame.picture {
            spare.give_picture(old);
        }
        if self.tells() {
            self.measure(&picture);
        }
        self.held.push_back(Frame { picture, ..frame });
        if self.held.len() <= self.look_ahead() {
            return Ok(None);
        }
        self.begun = true;
        Ok(self.held.pop_front())
    }

    fn drain(&mut self, _spare: &mut Spare) -> Result<Option<Frame>, EnhanceError> {
        self.begun |= !self.held.is_empty();
        Ok(self.held.pop_front())
    }

    fn reset(&mut self) {
        self.held.clear();
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
        _cut: bool,
    ) -> Result<(), EnhanceError> {
        let Some((_, table)) = &self.table else {
            return Err(EnhanceError::Device {
                operation: NAME,
                reason: "a picture came before its format was known".into(),
            });
        };
        let (measures, siting) = (self.tells(), self.siting);
        // SAFETY: the promise is the same.
        unsafe {
            self.device
                .process(&stream.of(NAME), table, siting, [input, output], measures)
        }
    }

    fn collect_from_device(&mut self, stream: &Stream) -> Result<(), EnhanceError> {
        if let Some(counts) = self.device.counts(&stream.of(NAME))? {
            self.take(self.meter.levels(&counts));
        }
        Ok(())
    }

    fn leaves_device(&mut self) {
        self.begun = true;
    }

    fn measurements(&self) -> Vec<Measurement> {
        if !self.tells() {
            return Vec::new();
        }
        vec![
            ("hdr-max-cll", self.most.brightest),
            ("hdr-max-fall", self.most.mean),
            ("hdr-frame-brightest", self.last.brightest),
            ("hdr-frame-mean", self.last.mean),
        ]
    }

    fn caps_pending(&self) -> bool {
        self.measures() && !self.begun
    }

    fn caps_fields(&self) -> Vec<(&'static str, String)> {
        if !self.tells() {
            return Vec::new();
        }
        let mut fields = vec![("mastering-display-info", MASTERING.to_owned())];
        if self.told != (0, 0) {
            let (cll, fall) = self.told;
            fields.push(("content-light-level", format!("{cll}:{fall}")));
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deep::Yuv420Deep;
    use aivideo_core::pixels::Yuv420;

    fn hdr(to: Transfer, method: Method) -> Hdr {
        Hdr::new(to, method, HDR_PEAK, (0, 0), 3)
    }

    fn sdr_format() -> Format {
        Format {
            width: 64,
            height: 64,
            ..Format::default()
        }
    }

    /// Smooth colours of every hue and brightness, in gamut.
    fn picture() -> Yuv420 {
        let mut picture = Yuv420::new(64, 64);
        for y in 0..64 {
            for x in 0..64 {
                let rgb = [
                    x as f64 / 63.0,
                    y as f64 / 63.0,
                    0.2 + (x + y) as f64 / 210.0,
                ];
                let yuv = tables::to_yuv(Colour::default(), Depth::Eight, rgb);
                picture.y[y * 64 + x] = (yuv[0] * 255.0).round() as u8;
                picture.u[y / 2 * 32 + x / 2] = (yuv[1] * 255.0).round() as u8;
                picture.v[y / 2 * 32 + x / 2] = (yuv[2] * 255.0).round() as u8;
            }
        }
        picture
    }

    fn run(step: &mut Hdr, picture: Picture, format: &Format) -> Picture {
        step.start(format);
        let mut spare = Spare::default();
        let out = step
            .process(Frame::new(picture), &mut spare)
            .expect("processed");
        match out {
            Some(frame) => frame.picture,
            None => {
                step.drain(&mut spare)
                    .expect("drained")
                    .expect("a frame")
                    .picture
            }
        }
    }

    /// The table against the formulas, pixel by pixel where chroma is its own.
    #[test]
    fn the_table_is_as_good_as_the_formulas() {
        for (to, method) in [
            (Transfer::Pq, Method::A),
            (Transfer::Pq, Method::C),
            (Transfer::Hlg, Method::A),
            (Transfer::Hlg, Method::C),
        ] {
            let mut step = hdr(to, method);
            let format = Format {
                siting: Siting::Centre,
                ..sdr_format()
            };
            step.start(&format);
            let (colour, depth) = step.output_colour();
            let (_, table) = step.table.as_ref().expect("made");
            let (mut worst, mut sum, mut count) = (0.0f64, 0.0, 0);
            for r in 0..=15 {
                for g in 0..=15 {
                    for b in 0..=15 {
                        let rgb = [r, g, b].map(|v| f64::from(v) / 15.0);
                        let yuv = tables::to_yuv(Colour::default(), Depth::Eight, rgb)
                            .map(|v| (v * 255.0).round());
                        let mut one = Yuv420::new(2, 2);
                        one.y.fill(yuv[0] as u8);
                        one.u.fill(yuv[1] as u8);
                        one.v.fill(yuv[2] as u8);
                        let out = tables::apply(
                            table,
                            &Picture::Eight(one),
                            Depth::Ten,
                            Siting::Centre,
                            &mut Spare::default(),
                        );
                        let Picture::Ten(out) = out else { panic!() };
                        let exact =
                            tables::to_rgb(Colour::default(), Depth::Eight, yuv.map(|v| v / 255.0));
                        let wanted =
                            tables::to_yuv(colour, depth, step.convert(Colour::default(), exact));
                        for (got, wanted) in [out.y[0], out.u[0], out.v[0]].into_iter().zip(wanted)
                        {
                            let error = (f64::from(got) - wanted * 1023.0).abs();
                            worst = worst.max(error);
                            sum += error;
                            count += 1;
                        }
                    }
                }
            }
            let mean = sum / f64::from(count);
            println!("{to:?} {method:?}: mean {mean:.2}, worst {worst:.1} codes of 1023");
            assert!(
                mean < 1.0 && worst < 24.0,
                "{to:?} {method:?}: {mean} {worst}"
            );
        }
    }

    /// SDR to HDR and back: what is lost, in dB of luma.
    #[test]
    fn round_trips() {
        let original = picture();
        for (to, method, least) in [
            (Transfer::Pq, Method::C, 38.0),
            (Transfer::Hlg, Method::C, 38.0),
            (Transfer::Pq, Method::A, 24.0),
            (Transfer::Hlg, Method::A, 24.0),
        ] {
            let mut up = hdr(to, method);
            let bright = run(&mut up, Picture::Eight(original.clone()), &sdr_format());
            let middle = up.output(&sdr_format()).expect("HDR");
            let mut down = hdr(Transfer::Sdr, method);
            let Picture::Eight(back) = run(&mut down, bright, &middle) else {
                panic!("SDR has eight bits")
            };
            let error: f64 = original
                .y
                .iter()
                .zip(&back.y)
                .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
                .sum();
            let psnr =
                10.0 * (255.0f64.powi(2) * original.y.len() as f64 / error.max(1e-9)).log10();
            println!("{to:?} {method:?}: {psnr:.2} dB");
            assert!(psnr > least, "{to:?} {method:?}: {psnr}");
        }
    }

    #[test]
    fn pq_becomes_hlg_of_the_same_light() {
        let mut grey = Yuv420Deep::new(4, 4);
        grey.y
            .fill((64.0 + 876.0 * hdr::light_to_pq(203.0)).round() as u16);
        let format = Format {
            width: 4,
            height: 4,
            depth: Depth::Ten,
            colour: Colour {
                gamut: Gamut::Bt2020,
                transfer: Transfer::Pq,
                full_range: false,
            },
            siting: Siting::Left,
        };
        let Picture::Ten(out) = run(
            &mut hdr(Transfer::Hlg, Method::A),
            Picture::Ten(grey),
            &format,
        ) else {
            panic!("HLG has ten bits")
        };
        // 203 cd/m² is 75 % of HLG.
        assert!(
            out.y[0].abs_diff((64.0 + 876.0 * 0.75) as u16) <= 3,
            "{}",
            out.y[0]
        );
        assert!(out.u[0].abs_diff(512) <= 1 && out.v[0].abs_diff(512) <= 1);
    }

    #[test]
    fn light_is_measured_before_the_first_caps_and_raised_in_steps() {
        let mut step = hdr(Transfer::Pq, Method::A);
        assert_eq!(step.look_ahead(), 3);
        step.start(&sdr_format());
        assert_eq!(step.caps_fields().len(), 1);
        let mut spare = Spare::default();
        let frame = |luma: u8| {
            let mut picture = Yuv420::new(64, 64);
            picture.y.fill(luma);
            picture.u.fill(128);
            picture.v.fill(128);
            Frame::new(Picture::Eight(picture))
        };
        let mut outputs = 0;
        for luma in [60, 120, 120, 120] {
            outputs += usize::from(
                step.process(frame(luma), &mut spare)
                    .expect("made")
                    .is_some(),
            );
        }
        assert_eq!(outputs, 1);
        let first = step.told;
        assert!(first.0 > 20 && first.0 == first.1, "{first:?}");
        step.process(frame(235), &mut spare).expect("made");
        assert!((995..=1000).contains(&step.told.0), "{:?}", step.told);
        let level = &step.caps_fields()[1].1;
        assert!(level.starts_with(&step.told.0.to_string()), "{level}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let already = hdr(Transfer::Sdr, Method::A).output(&sdr_format());
        assert!(already.expect_err("SDR to SDR").contains("SDR already"));
        let eight = Format {
            colour: Colour {
                transfer: Transfer::Hlg,
                ..Colour::default()
            },
            ..sdr_format()
        };
        let reason = hdr(Transfer::Sdr, Method::A)
            .output(&eight)
            .expect_err("8 bits");
        assert!(reason.contains("I420_10LE"), "{reason}");
    }
}
