// SPDX-License-Identifier: Apache-2.0
//! Chains of effects, prepared for one kind of picture and run on frames.

use aivideo_color::table::ColorTable;

use crate::params::Values;
use crate::parse::Item;
use crate::pass::{Build, Moment, Pass, PicturePass, RowPass, RowScratch, hash};
use crate::picture::{BandScratch, Colorimetry, PictureScratch, PixelFormat, RawFrame, Shape};
use crate::registry::EFFECTS;
use crate::simd::kernels;
use crate::simd::lut::{IDENTITY, Lut, RowLut};
use crate::workers::{Tools, Workers};

/// The values that parameters have where a chain leaves them out: one set an effect of
/// [`EFFECTS`].
pub type Defaults = Vec<Values>;

/// The defaults of the registry.
pub fn registry_defaults() -> Defaults {
    EFFECTS.iter().map(|e| Values::defaults(e.params)).collect()
}

/// A step of a walk over rows or pictures.
enum Step<T: ?Sized> {
    Luts(Box<[Lut; 3]>),
    Pass(Box<T>),
}

/// A walk over the picture.
enum Stage {
    /// Tables alone, applied to memory as it lies.
    Luts(Box<[Lut; 3]>),
    Rows(Vec<Step<dyn RowPass>>),
    Picture(Vec<Step<dyn PicturePass>>),
}

/// A chain for pictures of one format and size.
pub struct Chain {
    stages: Vec<Stage>,
    /// For a chain that is tables alone: by plane of the format.
    tables: Vec<RowLut>,
    /// Share of the effect in the result, of 256.
    mix: u32,
    notes: Vec<String>,
}

/// [`Values`] for each effect of a chain: what makes two chains equal.
pub fn resolve(items: &[Item], defaults: &Defaults) -> Vec<(usize, Values)> {
    items
        .iter()
        .map(|item| (item.effect, item.values(&defaults[item.effect])))
        .collect()
}

/// What `mix` of 0 to 1 is in 256ths.
pub fn mix_steps(mix: f64) -> u32 {
    (mix.clamp(0.0, 1.0) * 256.0).round() as u32
}

impl Chain {
    /// Prepares effects with all parameters known. `mix` is the share of the effects in the
    /// result, from 0 (the input) to 1.
    pub fn new(
        effects: &[(usize, Values)],
        mix: f64,
        format: PixelFormat,
        width: usize,
        height: usize,
        color: Colorimetry,
    ) -> Self {
        let shape = Shape::new(format, width, height, color);
        let mix = mix_steps(mix);
        let mut stages = Vec::new();
        let mut notes = Vec::new();
        if mix > 0 {
            for (place, (effect, values)) in effects.iter().enumerate() {
                let build = Build::new(format, shape, hash(&[place as u64]));
                push(&mut stages, (EFFECTS[*effect].build)(values, &build));
                let name = EFFECTS[*effect].name;
                let told = build.notes.into_inner();
                notes.extend(told.into_iter().map(|text| format!("{name}: {text}")));
            }
        }
        stages.retain(
            |stage| !matches!(stage, Stage::Luts(luts) if luts.iter().all(|l| l == &IDENTITY)),
        );
        let mut tables = Vec::new();
        if let [Stage::Luts(luts)] = stages.as_mut_slice() {
            // The mix of a function of a byte is one, too.
            for lut in luts.iter_mut() {
                kernels::blend(lut, &IDENTITY, mix);
            }
            if luts.iter().all(|lut| lut == &IDENTITY) {
                stages.clear();
            } else {
                tables = plane_tables(format, luts);
            }
        }
        Self {
            stages,
            tables,
            mix,
            notes,
        }
    }

    /// What people should know about effects that cannot do what they were asked for.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// True when frames stay as they are.
    pub fn is_identity(&self) -> bool {
        self.stages.is_empty()
    }

    /// Applies the chain to a frame of the format and size that it was prepared for.
    pub fn run(&self, frame: RawFrame, moment: &Moment, renderer: &mut Renderer) {
        if self.is_identity() {
            return;
        }
        if !self.tables.is_empty() {
            renderer.tables(frame, &self.tables);
            return;
        }
        let mut frame = frame;
        let copies = if self.mix < 256 {
            renderer.copy(&mut frame)
        } else {
            Vec::new()
        };
        for stage in &self.stages {
            let frame = frame.reborrow();
            match stage {
                Stage::Luts(luts) => {
                    let tables = plane_tables(frame.format, luts);
                    renderer.tables(frame, &tables);
                }
                Stage::Rows(steps) => renderer.rows(frame, steps, moment),
                Stage::Picture(steps) => renderer.picture(frame, steps, moment),
            }
        }
        if self.mix < 256 {
            renderer.blend(frame, copies, self.mix);
        }
        renderer.tools.end_frame();
    }
}

/// A step of a chain whose every step looks at one pixel by tables.
pub enum TableStep<'a> {
    /// Tables for the bytes of each plane.
    Planes(Vec<RowLut>),
    /// A table of three dimensions for the picture's components.
    Color(&'a ColorTable),
}

impl Chain {
    /// The chain as tables, or why it is more than that.
    pub fn table_steps(&self, format: PixelFormat) -> Result<Vec<TableStep<'_>>, &'static str> {
        const MORE: &str = "an effect looks at more than a pixel, or converts colours";
        if !self.tables.is_empty() {
            return Ok(vec![TableStep::Planes(self.tables.clone())]);
        }
        let mut steps = Vec::new();
        for stage in &self.stages {
            match stage {
                Stage::Luts(luts) => steps.push(TableStep::Planes(plane_tables(format, luts))),
                Stage::Rows(rows) => {
                    for step in rows {
                        steps.push(match step {
                            Step::Luts(luts) => TableStep::Planes(plane_tables(format, luts)),
                            Step::Pass(pass) => TableStep::Color(pass.color_table().ok_or(MORE)?),
                        });
                    }
                }
                Stage::Picture(_) => return Err(MORE),
            }
        }
        if self.mix < 256 && !steps.is_empty() {
            return Err("mix is less than 1, and not all effects are tables of single components");
        }
        Ok(steps)
    }
}

/// Adds a pass to the last stage where it can join it.
fn push(stages: &mut Vec<Stage>, pass: Pass) {
    match pass {
        Pass::Nothing => {}
        Pass::Luts(next) => match stages.last_mut() {
            Some(Stage::Luts(luts)) => compose(luts, &next),
            Some(Stage::Rows(steps)) => add_luts(steps, next),
            Some(Stage::Picture(steps)) => add_luts(steps, next),
            None => stages.push(Stage::Luts(next)),
        },
        Pass::Rows(pass) => match stages.pop() {
            Some(Stage::Rows(mut steps)) => {
                steps.push(Step::Pass(pass));
                stages.push(Stage::Rows(steps));
            }
            Some(Stage::Luts(luts)) => {
                stages.push(Stage::Rows(vec![Step::Luts(luts), Step::Pass(pass)]));
            }
            other => {
                stages.extend(other);
                stages.push(Stage::Rows(vec![Step::Pass(pass)]));
            }
        },
        Pass::Picture(pass) => match stages.pop() {
            Some(Stage::Picture(mut steps)) => {
                steps.push(Step::Pass(pass));
                stages.push(Stage::Picture(steps));
            }
            Some(Stage::Luts(luts)) => {
                stages.push(Stage::Picture(vec![Step::Luts(luts), Step::Pass(pass)]));
            }
            other => {
                stages.extend(other);
                stages.push(Stage::Picture(vec![Step::Pass(pass)]));
            }
        },
    }
}

fn add_luts<T: ?Sized>(steps: &mut Vec<Step<T>>, next: Box<[Lut; 3]>) {
    match steps.last_mut() {
        Some(Step::Luts(luts)) => compose(luts, &next),
        _ => steps.push(Step::Luts(next)),
    }
}

/// `luts` becomes: first itself, then `next`.
fn compose(luts: &mut [Lut; 3], next: &[Lut; 3]) {
    for (lut, next) in luts.iter_mut().zip(next) {
        for value in lut.iter_mut() {
            *value = next[usize::from(*value)];
        }
    }
}

/// Tables for each plane of a format.
fn plane_tables(format: PixelFormat, luts: &[Lut; 3]) -> Vec<RowLut> {
    (0..format.plane_count())
        .map(|plane| {
            let pattern = format.pattern(plane);
            let used: Vec<_> = pattern.iter().flatten().map(|c| &luts[*c]).collect();
            let same = used.windows(2).all(|pair| pair[0] == pair[1]);
            if same && pattern.len() == used.len() {
                return RowLut::new(&used[..1]);
            }
            let period: Vec<&Lut> = pattern
                .iter()
                .map(|c| c.map_or(&IDENTITY, |c| &luts[c]))
                .collect();
            RowLut::new(&period)
        })
        .collect()
}

/// What a thread that walks over rows needs.
#[derive(Default)]
struct ThreadScratch {
    band: BandScratch,
    rows: RowScratch,
}

/// Runs chains: threads and memory that outlive a chain.
pub struct Renderer {
    tools: Tools,
    scratch: Vec<ThreadScratch>,
    picture: PictureScratch,
}

impl Renderer {
    /// With `threads` threads, 0 for one a core.
    pub fn new(threads: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let workers = Workers::new(threads)?;
        let scratch = (0..workers.threads())
            .map(|_| ThreadScratch::default())
            .collect();
        Ok(Self {
            tools: Tools::new(workers),
            scratch,
            picture: PictureScratch::default(),
        })
    }

    /// The threads.
    pub fn workers(&self) -> &Workers {
        &self.tools.workers
    }

    /// Forgets earlier frames: the stream jumps here.
    pub fn forget(&mut self) {
        self.tools.forget();
    }

    fn tables(&self, frame: RawFrame, tables: &[RowLut]) {
        let parts = frame.split(self.tools.workers.threads());
        self.tools.workers.each(parts, |mut part| {
            for (plane, table) in tables.iter().enumerate() {
                if !table.is_identity() {
                    part.for_rows(plane, |row| table.apply(row));
                }
            }
        });
    }

    fn rows(&mut self, frame: RawFrame, steps: &[Step<dyn RowPass>], moment: &Moment) {
        let row_luts = step_tables(steps);
        let passes = || {
            steps.iter().filter_map(|step| match step {
                Step::Pass(pass) => Some(pass),
                Step::Luts(_) => None,
            })
        };
        let parts = match passes().any(|pass| pass.is_sequential()) {
            true => 1,
            false => self.scratch.len(),
        };
        let alpha = passes().any(|pass| pass.wants_alpha());
        let parts = frame.split(parts);
        let work = parts.into_iter().zip(&mut self.scratch).collect();
        self.tools.workers.each(work, |(mut part, scratch)| {
            let ThreadScratch { band, rows } = scratch;
            part.for_bands(band, alpha, |band| {
                for (step, tables) in steps.iter().zip(&row_luts) {
                    match step {
                        Step::Luts(_) => {
                            for row in &mut band.luma {
                                tables[0].apply(row);
                            }
                            for (row, table) in band.chroma.iter_mut().zip(&tables[1..]) {
                                table.apply(row);
                            }
                        }
                        Step::Pass(pass) => pass.run(band, moment, rows),
                    }
                }
            });
        });
    }

    fn picture(&mut self, mut frame: RawFrame, steps: &[Step<dyn PicturePass>], moment: &Moment) {
        let row_luts = step_tables(steps);
        let tools = &self.tools;
        frame.with_picture(&mut self.picture, |picture| {
            for (step, tables) in steps.iter().zip(&row_luts) {
                match step {
                    Step::Luts(_) => {
                        for (plane, table) in picture.planes.iter_mut().zip(tables) {
                            tools.strips(plane, 1, |_, strip| {
                                strip.rows_mut().for_each(|row| table.apply(row));
                            });
                        }
                    }
                    Step::Pass(pass) => pass.run(picture, moment, tools),
                }
            }
        });
    }

    fn copy(&self, frame: &mut RawFrame) -> Vec<Vec<u8>> {
        (0..frame.planes.len())
            .map(|plane| {
                let size = frame.planes[plane].row_bytes * frame.planes[plane].rows;
                let mut copy = self.tools.take(size);
                let mut at = 0;
                frame.for_rows(plane, |row| {
                    copy[at..at + row.len()].copy_from_slice(row);
                    at += row.len();
                });
                copy
            })
            .collect()
    }

    fn blend(&self, mut frame: RawFrame, copies: Vec<Vec<u8>>, mix: u32) {
        for (plane, copy) in copies.into_iter().enumerate() {
            let mut at = 0;
            frame.for_rows(plane, |row| {
                kernels::blend(row, &copy[at..at + row.len()], mix);
                at += row.len();
            });
            self.tools.give(copy);
        }
    }
}

/// Tables by step and component; none where the step is a pass.
fn step_tables<T: ?Sized>(steps: &[Step<T>]) -> Vec<Vec<RowLut>> {
    steps
        .iter()
        .map(|step| match step {
            Step::Luts(luts) => luts.iter().map(|lut| RowLut::new(&[lut])).collect(),
            Step::Pass(_) => Vec::new(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::{Kind, Value};
    use crate::parse::parse;
    use crate::picture::Family;
    use crate::simd::{Level, forced};
    use proptest::prelude::*;

    const COLOR: Colorimetry = Colorimetry::BT709;

    /// Bytes and stride of each plane.
    type Planes = Vec<(Vec<u8>, usize)>;

    /// Bytes that look random, for every plane of a format.
    fn memory(format: PixelFormat, w: usize, h: usize, pad: usize) -> Planes {
        (0..format.plane_count())
            .map(|plane| {
                let (row, rows) = format.plane_size(plane, w, h);
                let stride = row + pad;
                let data = (0..stride * rows)
                    .map(|i| hash(&[plane as u64, i as u64]) as u8)
                    .collect();
                (data, stride)
            })
            .collect()
    }

    fn run_with(
        chain: &Chain,
        renderer: &mut Renderer,
        format: PixelFormat,
        (w, h): (usize, usize),
        planes: &mut [(Vec<u8>, usize)],
    ) {
        let planes = planes
            .iter_mut()
            .map(|(data, stride)| (data.as_mut_slice(), *stride))
            .collect();
        let frame = RawFrame::new(format, w, h, COLOR, planes).unwrap();
        let moment = Moment {
            time: 1_234_567_890,
            seed: 5,
        };
        chain.run(frame, &moment, renderer);
    }

    fn rendered(
        text: &str,
        mix: f64,
        threads: usize,
        format: PixelFormat,
        size: (usize, usize),
        pad: usize,
    ) -> Planes {
        let planes = memory(format, size.0, size.1, pad);
        rendered_from(planes, text, mix, threads, format, size)
    }

    fn rendered_from(
        mut planes: Planes,
        text: &str,
        mix: f64,
        threads: usize,
        format: PixelFormat,
        (w, h): (usize, usize),
    ) -> Planes {
        let effects = resolve(&parse(text).unwrap(), &registry_defaults());
        let chain = Chain::new(&effects, mix, format, w, h, COLOR);
        let mut renderer = Renderer::new(threads).unwrap();
        run_with(&chain, &mut renderer, format, (w, h), &mut planes);
        planes
    }

    /// A frame of a real clip (bee.mp4, CC0), as planes of a format, and its size.
    fn photo(format: PixelFormat) -> (Planes, (usize, usize)) {
        const FILE: &[u8] = include_bytes!("../tests/golden/bee.ppm");
        const SIZE: (usize, usize) = (202, 114);
        let rgb = FILE.strip_prefix(b"P6\n202 114\n255\n").expect("a PPM");
        let (w, h) = SIZE;
        let mut planes = memory(format, w, h, 0);
        let scratch = &mut PictureScratch::default();
        let views = planes
            .iter_mut()
            .map(|(data, stride)| (data.as_mut_slice(), *stride));
        let mut frame = RawFrame::new(format, w, h, COLOR, views.collect()).unwrap();
        frame.with_picture(scratch, |picture: &mut crate::picture::Picture| {
            let shape = picture.shape;
            for (component, plane) in picture.planes.iter_mut().enumerate() {
                let (ws, hs) = shape.component_shift(component);
                for (y, row) in plane.rows_mut().enumerate() {
                    for (x, value) in row.iter_mut().enumerate() {
                        let at = 3 * ((y << hs) * w + (x << ws));
                        let [r, g, b] = [0, 1, 2].map(|c| f32::from(rgb[at + c]) / 255.0);
                        let code = match shape.family {
                            Family::Rgb => [r * 255.0, g * 255.0, b * 255.0],
                            _ => COLOR.encode([r, g, b]),
                        };
                        *value = code[component].round().clamp(0.0, 255.0) as u8;
                    }
                }
            }
        });
        (planes, SIZE)
    }

    #[test]
    fn no_mix_is_the_input_exactly() {
        for effect in EFFECTS {
            for format in PixelFormat::ALL {
                let out = rendered(effect.name, 0.0, 1, format, (33, 17), 3);
                assert_eq!(out, memory(format, 33, 17, 3), "{} {format:?}", effect.name);
            }
        }
        let effects = resolve(&parse("blur,sepia").unwrap(), &registry_defaults());
        let chain = Chain::new(&effects, 0.0, PixelFormat::I420, 8, 8, COLOR);
        assert!(chain.is_identity());
    }

    /// Bytes outside of the picture and alpha are never written, and every effect does something.
    #[test]
    fn effects_touch_their_components_only() {
        for effect in EFFECTS {
            for format in PixelFormat::ALL {
                if effect.name == "rgb-shift" && format == PixelFormat::Gray8 {
                    continue;
                }
                // Wide enough for the smallest shift to be a pixel.
                let (w, h, pad) = (129, 31, 3);
                let before = memory(format, w, h, pad);
                let gray = format == PixelFormat::Gray8;
                let text = match effect.name {
                    "glitch" => "glitch:amount=1",
                    // The first frame leaves no trail, and no table is built in.
                    "trails" | "lut" => continue,
                    "chroma-key" if gray => continue,
                    "chroma-key" => "chroma-key:color=#404040:similarity=0.3:to=color",
                    name => name,
                };
                let after = rendered(text, 1.0, 1, format, (w, h), pad);
                assert_ne!(before, after, "{} {format:?}", effect.name);
                for (plane, ((old, stride), (new, _))) in before.iter().zip(&after).enumerate() {
                    let (row, rows) = format.plane_size(plane, w, h);
                    let pattern = format.pattern(plane);
                    for y in 0..rows {
                        for x in 0..*stride {
                            let outside = x >= row || pattern[x % pattern.len()].is_none();
                            if outside {
                                let at = y * stride + x;
                                assert_eq!(old[at], new[at], "{} {format:?} {x},{y}", effect.name);
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn threads_and_strides_change_nothing() {
        for effect in EFFECTS {
            for format in PixelFormat::ALL {
                for size in [(1, 1), (2, 1), (1, 2), (3, 5), (35, 23)] {
                    let one = rendered(effect.name, 0.7, 1, format, size, 0);
                    let three = rendered(effect.name, 0.7, 3, format, size, 0);
                    assert_eq!(one, three, "{} {format:?} {size:?}", effect.name);
                    // Other bytes lie in padded memory, so compare with itself only.
                    let one = rendered(effect.name, 1.0, 1, format, size, 9);
                    let three = rendered(effect.name, 1.0, 3, format, size, 9);
                    assert_eq!(one, three, "{} {format:?} {size:?} padded", effect.name);
                }
            }
        }
    }

    /// Every effect, and settings that take another way through it.
    fn effects_and_variants() -> Vec<&'static str> {
        let mut texts: Vec<&str> = EFFECTS.iter().map(|effect| effect.name).collect();
        texts.extend([
            "posterize:space=rgb",
            "blur:sigma=9",
            "blur:sigma=0.7",
            "sharpen:sigma=4:amount=3",
            "glitch:amount=1",
            "dither:method=blue-noise",
            "dither:method=floyd-steinberg",
            "box-blur:radius=19",
            "bokeh:radius=3",
            "vhs:bleed=1:noise=1:jitter=1:tracking=1",
            "chroma-key:color=#404040:similarity=0.3",
        ]);
        texts
    }

    /// The same on a picture with edges, gradients and flat parts, as noise has none.
    #[test]
    fn vectors_change_nothing_on_a_real_frame() {
        for text in effects_and_variants() {
            for format in PixelFormat::ALL {
                let (planes, size) = photo(format);
                let vector = rendered_from(planes.clone(), text, 1.0, 1, format, size);
                let untouched = [
                    "lut",
                    "trails",
                    "chroma-key",
                    "chroma-key:color=#404040:similarity=0.3",
                ];
                let gray = format == PixelFormat::Gray8;
                if !(untouched.contains(&text) || gray && text == "rgb-shift") {
                    assert!(vector != planes, "{text} {format:?} does nothing");
                }
                for level in Level::available() {
                    let planes = planes.clone();
                    let other =
                        forced::with(level, || rendered_from(planes, text, 1.0, 1, format, size));
                    assert!(vector == other, "{text} {format:?} {level:?}");
                }
            }
        }
    }

    /// Every effect gives the same bits with and without vector instructions.
    #[test]
    fn vectors_change_nothing() {
        for text in effects_and_variants() {
            for format in PixelFormat::ALL {
                // Longer than a few vectors, with an odd rest.
                let size = (203, 11);
                for mix in [1.0, 0.4] {
                    let vector = rendered(text, mix, 1, format, size, 0);
                    for level in Level::available() {
                        let other = forced::with(level, || rendered(text, mix, 1, format, size, 0));
                        assert!(vector == other, "{text} {format:?} mix {mix} {level:?}");
                    }
                }
            }
        }
    }

    /// A chain must give what its effects give one after another, however it is fused.
    #[test]
    fn fusing_changes_nothing() {
        let chains = [
            "posterize:num-levels=9,invert,threshold:threshold=0.3",
            "invert,sepia:amount=0.4,posterize,vignette,invert",
            "posterize,blur,invert,threshold,edge,sepia",
            "sepia,blur,vignette,posterize,pixelate",
        ];
        for text in chains {
            for format in PixelFormat::ALL {
                // Even, as YUY2 has a byte of no pixel at the end of odd rows.
                let size = (38, 19);
                let fused = rendered(text, 1.0, 1, format, size, 0);
                let mut planes = memory(format, size.0, size.1, 0);
                let mut renderer = Renderer::new(1).unwrap();
                for part in text.split(',') {
                    let effects = resolve(&parse(part).unwrap(), &registry_defaults());
                    let chain = Chain::new(&effects, 1.0, format, size.0, size.1, COLOR);
                    run_with(&chain, &mut renderer, format, size, &mut planes);
                }
                assert_eq!(fused, planes, "{text} {format:?}");
            }
        }
    }

    /// Mixing is folded into tables; it must be the same as mixing pictures.
    #[test]
    fn mixing_tables_is_mixing_pictures() {
        for format in PixelFormat::ALL {
            let size = (37, 19);
            let mixed = rendered("posterize:num-levels=4", 0.3, 1, format, size, 0);
            let full = rendered("posterize:num-levels=4", 1.0, 1, format, size, 0);
            let before = memory(format, size.0, size.1, 0);
            for ((mixed, full), before) in mixed.iter().zip(&full).zip(&before) {
                let mut expected = full.0.clone();
                kernels::blend(&mut expected, &before.0, mix_steps(0.3));
                assert_eq!(mixed.0, expected, "{format:?}");
            }
        }
    }

    /// Posterise and threshold on every plane, byte by byte, from the definitions' tables.
    #[test]
    fn ancestor_effects_are_exact_on_planes() {
        use crate::effects::{posterize, threshold};
        for format in PixelFormat::ALL {
            if format.family() == crate::picture::Family::Rgb {
                continue;
            }
            for (text, table) in [
                ("posterize", posterize::lut(25)),
                ("posterize:num-levels=2", posterize::lut(2)),
                ("threshold", threshold::lut(0.5)),
                ("threshold:threshold=0.2", threshold::lut(0.2)),
            ] {
                let (before, after) = (
                    memory(format, 35, 9, 0),
                    rendered(text, 1.0, 1, format, (35, 9), 0),
                );
                for (old, new) in before.iter().zip(&after) {
                    let expected: Vec<u8> = old.0.iter().map(|v| table[usize::from(*v)]).collect();
                    assert_eq!(new.0, expected, "{text} {format:?}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        /// Any chain of any parameters runs on any picture.
        #[test]
        fn any_chain_runs(
            picks in proptest::collection::vec((0..EFFECTS.len(), 0.0f64..=1.0), 0..5),
            format in 0..PixelFormat::ALL.len(),
            size in (1usize..40, 1usize..40),
            mix in 0.0f64..=1.0,
        ) {
            let format = PixelFormat::ALL[format];
            let mut effects = Vec::new();
            for (effect, at) in picks {
                let params = EFFECTS[effect].params;
                let mut values = Values::defaults(params);
                for (index, param) in params.iter().enumerate() {
                    values.set(index, match param.kind {
                        Kind::Int { min, max, .. } =>
                            Value::Int(min + (f64::from(max - min) * at) as i32),
                        Kind::Float { min, max, .. } =>
                            Value::Float((min + (max - min) * at).clamp(min, max)),
                        Kind::Bool { .. } => Value::Bool(at < 0.5),
                        Kind::Choice { choices, .. } =>
                            Value::Choice(((choices.len() as f64 * at) as usize)
                                .min(choices.len() - 1)),
                        Kind::Color { .. } => Value::Color((at * 16777215.0) as u32),
                        Kind::File => Value::File(crate::params::File::new("")),
                    });
                }
                effects.push((effect, values));
            }
            let chain = Chain::new(&effects, mix, format, size.0, size.1, COLOR);
            let mut planes = memory(format, size.0, size.1, 2);
            run_with(&chain, &mut Renderer::new(1).unwrap(), format, size, &mut planes);
        }
    }
}
