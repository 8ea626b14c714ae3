// SPDX-License-Identifier: Apache-2.0
//! Chains of effects, prepared for one kind of picture and run on frames.

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
        if mix > 0 {
            for (place, (effect, values)) in effects.iter().enumerate() {
                let build = Build {
                    shape,
                    salt: hash(&[place as u64]),
                };
                push(&mut stages, (EFFECTS[*effect].build)(values, &build));
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
        }
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
        let parts = frame.split(self.scratch.len());
        let work = parts.into_iter().zip(&mut self.scratch).collect();
        self.tools.workers.each(work, |(mut part, scratch)| {
            let ThreadScratch { band, rows } = scratch;
            part.for_bands(band, |band| {
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
