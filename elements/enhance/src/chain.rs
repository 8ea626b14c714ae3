// SPDX-License-Identifier: Apache-2.0
//! Operations one after the other.

use std::collections::VecDeque;

use aivideo_core::{engine::Engine, settings::InferenceSettings};

use aivideo_cuda::{
    device::Buffer,
    measure::Sums,
    picture::{Picture as Picture420, Samples},
};

use crate::{
    cuts::{CutDetector, PLACES, QUARTERS, SIDE},
    device::{COPY, OnDevice, Own, Stream},
    frame::{Depth, Format, Frame, Picture, Sighting},
    operations::{Build, EnhanceError, Measurement, Operation, Spare},
    spec::OperationSpec,
};

/// Steps whose nets are loaded.
#[derive(Default)]
pub struct Chain {
    steps: Vec<Box<dyn Operation>>,
    cuts: Option<CutDetector>,
    spare: Spare,
    /// Of what comes, from the start on.
    format: Format,
    /// Number of the GPU that is asked for by name.
    gpu: Option<u32>,
    /// In a GPU's memory: what steps make for the next one, pictures that steps will make later and memory of such that
    /// they have made, and the picture's thumbnail.
    between: Vec<Option<Own>>,
    kept: Vec<VecDeque<Kept>>,
    free: Vec<Own>,
    thumbnail: Option<Buffer>,
    /// Frames there that have not left.
    held: usize,
}

/// A picture in a GPU's memory that waits in front of a step for those after it.
struct Kept {
    picture: Own,
    cut: bool,
    sightings: Vec<Sighting>,
}

/// Where the pictures lie that a chain is given: the frame that comes, and one for what comes out. Without one, the
/// frame that comes is changed.
#[derive(Clone, Copy, Default)]
struct Places<'a> {
    input: Option<&'a Picture420>,
    output: Option<&'a Picture420>,
}

/// What a chain needs for pictures in a GPU's memory.
pub struct DeviceForm<'a> {
    pub on: On<'a>,
    pub kernels: Vec<&'static str>,
}

/// Whose GPU and stream a chain's work goes to.
pub enum On<'a> {
    /// That of the first model.
    Engine(&'a Engine),
    /// The GPU of this number, as there is no model.
    Gpu(u32),
}

/// A step's own picture for the next one.
fn own(
    place: &mut Option<Own>,
    stream: &Stream,
    format: &Format,
) -> Result<Picture420, EnhanceError> {
    let fitting = place.take().filter(|own| own.fits(format));
    let own = match fitting {
        Some(own) => own,
        None => Own::new(stream, format)?,
    };
    Ok(place.insert(own).picture())
}

/// Whether a step makes pictures.
fn makes(step: &dyn Operation) -> bool {
    matches!(step.on_device(), OnDevice::Makes(_) | OnDevice::Later(_))
}

impl Chain {
    /// The chain that `specs` describes.
    pub fn build(
        specs: &[OperationSpec],
        settings: &InferenceSettings,
    ) -> Result<Self, EnhanceError> {
        let with_model =
            |spec: &&OperationSpec| spec.definition.params.iter().any(|p| p.name == "model");
        let models = specs.iter().filter(with_model).count();
        if settings.model_location.is_some() && models > 1 {
            return Err(EnhanceError::AmbiguousModel { count: models });
        }
        let steps = specs
            .iter()
            .map(|spec| {
                // An id names one model; the steps of a chain have one each.
                let own = InferenceSettings {
                    model_instance_id: settings
                        .model_instance_id
                        .as_ref()
                        .map(|id| format!("{id}/{}", spec.name())),
                    ..settings.clone()
                };
                (spec.definition.build)(&spec.values, &Build { inference: &own })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let chain = Self {
            cuts: steps
                .iter()
                .any(|step| step.wants_cuts())
                .then(CutDetector::default),
            steps,
            gpu: settings.gpu(),
            ..Self::default()
        };
        // An order that no format can pass is wrong whatever comes.
        if chain.depths().is_empty() {
            let probe = |depth| Format {
                depth,
                ..Format::default()
            };
            chain.output(&probe(Depth::Eight))?;
        }
        Ok(chain)
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub fn steps(&self) -> impl Iterator<Item = &dyn Operation> {
        self.steps.iter().map(AsRef::as_ref)
    }

    /// What the chain needs for pictures in a GPU's memory, or why it does not work there.
    pub fn device_form(&self) -> Result<DeviceForm<'_>, String> {
        let mut kernels = vec![COPY];
        if self.cuts.is_some() {
            kernels.push("picture_sums");
        }
        for step in &self.steps {
            match step.on_device() {
                OnDevice::Makes(own) | OnDevice::Later(own) | OnDevice::Looks(own) => {
                    kernels.extend(own);
                }
                OnDevice::No(reason) => return Err(format!("\"{}\": {reason}", step.name())),
            }
        }
        let mut engines = self.engines().into_iter();
        let on_the_cpu = engines.find(|(_, engine)| engine.gpu().is_none());
        if let Some((name, engine)) = on_the_cpu {
            let device = engine.device_in_use();
            return Err(format!("\"{name}\": its model runs on {device}"));
        }
        kernels.sort();
        kernels.dedup();
        match self.steps.iter().find_map(|step| step.engine()) {
            Some(engine) => Ok(DeviceForm {
                on: On::Engine(engine),
                kernels,
            }),
            None if self.is_empty() => Err("there are no operations".to_string()),
            None => match self.gpu {
                Some(gpu) => Ok(DeviceForm {
                    on: On::Gpu(gpu),
                    kernels,
                }),
                None => Err(
                    "no operation has a model that tells which GPU is meant; set device=cuda"
                        .to_string(),
                ),
            },
        }
    }

    /// Whether pictures keep size and depth.
    pub fn keeps_form(&self) -> bool {
        self.scale() == 1 && self.depths().iter().all(|(from, to)| from == to)
    }

    /// Whether frames in a GPU's memory can be changed where they are: size and depth stay, and what comes out is what has
    /// just come. Frames that wait must be the chain's, as whoever makes them may have no more.
    pub fn works_in_place(&self) -> bool {
        self.keeps_form() && self.behind_on_device() == 0
    }

    /// Pictures by which steps in a GPU's memory are behind those that come.
    pub fn behind_on_device(&self) -> usize {
        self.steps()
            .filter(|step| matches!(step.on_device(), OnDevice::Later(_)))
            .map(Operation::look_ahead)
            .sum()
    }

    /// Whether a picture comes out there for the next one that comes.
    pub fn gives_on_device(&self) -> bool {
        self.steps().enumerate().all(|(at, step)| {
            let kept = self.kept.get(at).map_or(0, VecDeque::len);
            !matches!(step.on_device(), OnDevice::Later(_)) || kept >= step.look_ahead()
        })
    }

    /// Starts on the stream all that is due with `input`. What comes out, if [anything](Self::gives_on_device), is written
    /// into `output` or, without one, into `input`. It waits in the chain until [`leave_device`](Self::leave_device)
    /// lets the oldest go. Answers the objects that were found in what came out.
    ///
    /// # Safety
    /// The pictures' planes must be memory of the stream's GPU and live until it was waited for.
    #[allow(unsafe_code)] // passes the caller's promise on
    pub unsafe fn process_on_device(
        &mut self,
        stream: &Stream,
        input: &Picture420,
        output: Option<&Picture420>,
    ) -> Result<Option<Vec<Sighting>>, EnhanceError> {
        // SAFETY: the promise is the same, here and below.
        let cut = unsafe { self.is_cut(stream, input) }?;
        self.held += 1;
        let places = Places {
            input: Some(input),
            output,
        };
        // SAFETY: as above.
        unsafe { self.pass_on_device(stream, 0, *input, (cut, Vec::new()), places) }
    }

    /// The next of the pictures that steps keep, when no more come for now; `None` when there are none.
    ///
    /// # Safety
    /// As [`Self::process_on_device`].
    #[allow(unsafe_code)] // passes the caller's promise on
    pub unsafe fn drain_on_device(
        &mut self,
        stream: &Stream,
        output: &Picture420,
    ) -> Result<Option<Vec<Sighting>>, EnhanceError> {
        let places = Places {
            input: None,
            output: Some(output),
        };
        for at in 0..self.kept.len() {
            while !self.kept[at].is_empty() {
                // SAFETY: the promise is the same.
                if let Some(found) = unsafe { self.give_on_device(stream, at, places) }? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// The oldest picture that waits in front of a step goes on.
    ///
    /// # Safety
    /// As [`Self::process_on_device`].
    #[allow(unsafe_code)] // passes the caller's promise on
    unsafe fn give_on_device(
        &mut self,
        stream: &Stream,
        at: usize,
        places: Places<'_>,
    ) -> Result<Option<Vec<Sighting>>, EnhanceError> {
        let Some(kept) = self.kept[at].pop_front() else {
            return Ok(None);
        };
        let (picture, known) = (kept.picture.picture(), (kept.cut, kept.sightings));
        // SAFETY: the promise is the same; the picture is the chain's own.
        let made = unsafe { self.make_on_device(stream, at, picture, known, places) };
        // What comes into it next is written in the stream's order.
        self.free.push(kept.picture);
        made
    }

    /// What a step is given, and what comes of it.
    ///
    /// # Safety
    /// As [`Self::process_on_device`].
    #[allow(unsafe_code)] // passes the caller's promise on
    unsafe fn pass_on_device(
        &mut self,
        stream: &Stream,
        first: usize,
        from: Picture420,
        (cut, mut sightings): (bool, Vec<Sighting>),
        places: Places<'_>,
    ) -> Result<Option<Vec<Sighting>>, EnhanceError> {
        for at in first..self.steps.len() {
            let step = &mut self.steps[at];
            match step.on_device() {
                OnDevice::Later(_) => {
                    // SAFETY: the promise is the same, here and below.
                    unsafe { step.foresee_on_device(stream, &from, cut) }?;
                    let ahead = step.look_ahead();
                    if ahead > 0 {
                        // SAFETY: as above.
                        unsafe { self.keep(stream, at, &from, (cut, sightings)) }?;
                        return match self.kept[at].len() > ahead {
                            // SAFETY: as above.
                            true => unsafe { self.give_on_device(stream, at, places) },
                            false => Ok(None),
                        };
                    }
                }
                OnDevice::Makes(_) => {}
                OnDevice::Looks(_) | OnDevice::No(_) => {
                    // SAFETY: as above.
                    sightings = unsafe { step.look_on_device(stream, &from, cut) }?;
                    continue;
                }
            }
            // SAFETY: as above.
            return unsafe { self.make_on_device(stream, at, from, (cut, sightings), places) };
        }
        // SAFETY: as above.
        unsafe { self.hand_out(stream, &from, places) }?;
        Ok(Some(sightings))
    }

    /// What a step makes of a picture, and what comes of that.
    ///
    /// # Safety
    /// As [`Self::process_on_device`].
    #[allow(unsafe_code)] // passes the caller's promise on
    unsafe fn make_on_device(
        &mut self,
        stream: &Stream,
        at: usize,
        from: Picture420,
        known: (bool, Vec<Sighting>),
        places: Places<'_>,
    ) -> Result<Option<Vec<Sighting>>, EnhanceError> {
        let format = self.format_behind(at)?;
        let last = self.steps.iter().rposition(|step| makes(step.as_ref()));
        let to = match places.output {
            Some(output) if last == Some(at) => *output,
            _ => {
                if self.between.len() < self.steps.len() {
                    self.between.resize_with(self.steps.len(), || None);
                }
                own(&mut self.between[at], stream, &format)?
            }
        };
        // SAFETY: the promise is the same; the chain's own pictures are freed, when they are, in the stream's order.
        unsafe { self.steps[at].process_on_device(stream, &from, &to, known.0) }?;
        // SAFETY: as above.
        unsafe { self.pass_on_device(stream, at + 1, to, known, places) }
    }

    /// Brings what the last step made to where it is wanted, unless it is there.
    ///
    /// # Safety
    /// As [`Self::process_on_device`].
    #[allow(unsafe_code)] // passes the caller's promise on
    unsafe fn hand_out(
        &self,
        stream: &Stream,
        from: &Picture420,
        places: Places<'_>,
    ) -> Result<(), EnhanceError> {
        let made = self.steps.iter().any(|step| makes(step.as_ref()));
        match (places.output, places.input) {
            // SAFETY: the promise is the same.
            (Some(output), _) if !made => unsafe { stream.copy(from, output) },
            // SAFETY: the same.
            (None, Some(input)) if made => unsafe { stream.copy(from, input) },
            _ => Ok(()),
        }
    }

    /// Keeps a copy of a picture in front of a step.
    ///
    /// # Safety
    /// As [`Self::process_on_device`].
    #[allow(unsafe_code)] // passes the caller's promise on
    unsafe fn keep(
        &mut self,
        stream: &Stream,
        at: usize,
        from: &Picture420,
        (cut, sightings): (bool, Vec<Sighting>),
    ) -> Result<(), EnhanceError> {
        let format = match at {
            0 => self.format,
            _ => self.format_behind(at - 1)?,
        };
        let fitting = self.free.iter().position(|own| own.fits(&format));
        let picture = match fitting {
            Some(place) => self.free.swap_remove(place),
            None => Own::new(stream, &format)?,
        };
        // SAFETY: the promise is the same.
        unsafe { stream.copy(from, &picture.picture()) }?;
        if self.kept.len() < self.steps.len() {
            self.kept.resize_with(self.steps.len(), VecDeque::new);
        }
        self.kept[at].push_back(Kept {
            picture,
            cut,
            sightings,
        });
        Ok(())
    }

    /// The format of pictures behind a step.
    fn format_behind(&self, at: usize) -> Result<Format, EnhanceError> {
        self.steps[..=at]
            .iter()
            .try_fold(self.format, |format, step| {
                step.output(&format).map_err(|reason| EnhanceError::Format {
                    operation: step.name(),
                    reason,
                })
            })
    }

    /// Whether a scene begins with a picture.
    ///
    /// # Safety
    /// As [`Self::process_on_device`].
    #[allow(unsafe_code)] // starting a kernel
    unsafe fn is_cut(
        &mut self,
        stream: &Stream,
        picture: &Picture420,
    ) -> Result<bool, EnhanceError> {
        let Some(cuts) = &mut self.cuts else {
            return Ok(false);
        };
        if picture.samples() != Samples::Eight {
            return Ok(false);
        }
        let spec = Sums {
            side: SIDE as u32,
            parts: QUARTERS as u32,
            first: PLACES[0] as u32,
            every: (PLACES[1] - PLACES[0]) as u32,
            count: PLACES.len() as u32,
        };
        let thumbnail = match self.thumbnail.take() {
            Some(thumbnail) => thumbnail,
            None => stream.zeros(spec.bytes())?,
        };
        // SAFETY: the caller's promise; the thumbnail is freed, when it is, in the stream's order.
        unsafe { stream.start(spec.launch(&picture.y, thumbnail.memory())) }?;
        let bytes = stream.read(&thumbnail)?;
        self.thumbnail = Some(thumbnail);
        let sums: Vec<u16> = bytes
            .chunks_exact(2)
            .map(|b| u16::from_ne_bytes([b[0], b[1]]))
            .collect();
        Ok(cuts.is_cut_of_sums(&sums))
    }

    /// The stream was waited for: takes down what was measured on the latest picture.
    pub fn collect_from_device(&mut self, stream: &Stream) -> Result<(), EnhanceError> {
        self.steps
            .iter_mut()
            .try_for_each(|step| step.collect_from_device(stream))
    }

    /// Whether the oldest of the frames in a GPU's memory that wait may leave; with `drain`, it need not
    /// wait for those that come. Each leaves once.
    pub fn leave_device(&mut self, drain: bool) -> bool {
        let leaves = self.held > if drain { 0 } else { self.look_ahead() };
        if leaves {
            self.held -= 1;
            self.steps.iter_mut().for_each(|step| step.leaves_device());
        }
        leaves
    }

    /// By how much width and height grow.
    pub fn scale(&self) -> usize {
        const SIDE: usize = 16;
        self.candidates()
            .find_map(|format| self.output(&format).ok())
            .map_or(1, |out| out.width / SIDE)
    }

    /// Small pictures of every depth and transfer.
    fn candidates(&self) -> impl Iterator<Item = Format> {
        use crate::frame::{Colour, Transfer};
        [Transfer::Sdr, Transfer::Pq, Transfer::Hlg]
            .into_iter()
            .flat_map(|transfer| {
                [Depth::Eight, Depth::Ten].map(move |depth| Format {
                    width: 16,
                    height: 16,
                    depth,
                    colour: Colour {
                        transfer,
                        ..Colour::default()
                    },
                    ..Format::default()
                })
            })
    }

    /// Depths that it takes, each with what comes out.
    pub fn depths(&self) -> Vec<(Depth, Depth)> {
        let mut pairs: Vec<_> = self
            .candidates()
            .filter_map(|format| Some((format.depth, self.output(&format).ok()?.depth)))
            .collect();
        pairs.sort();
        pairs.dedup();
        pairs
    }

    /// What code values mean behind the chain, where that is another thing than in front of it.
    pub fn changes_colour(&self) -> Option<crate::frame::Colour> {
        self.candidates().find_map(|format| {
            let out = self.output(&format).ok()?;
            (out.colour != format.colour).then_some(out.colour)
        })
    }

    /// What comes out for pictures of a format, or which step cannot take them.
    pub fn output(&self, input: &Format) -> Result<Format, EnhanceError> {
        self.steps.iter().try_fold(*input, |format, step| {
            step.output(&format).map_err(|reason| EnhanceError::Format {
                operation: step.name(),
                reason,
            })
        })
    }

    /// Frames by which the last step's output is behind the first one's input.
    pub fn look_ahead(&self) -> usize {
        self.steps.iter().map(|step| step.look_ahead()).sum()
    }

    pub fn remembers(&self) -> bool {
        self.steps.iter().any(|step| step.remembers())
    }

    /// A stream begins. Answers the format that comes out.
    pub fn start(&mut self, input: &Format) -> Result<Format, EnhanceError> {
        let output = self.output(input)?;
        (self.format, self.held) = (*input, 0);
        self.kept.clear();
        self.free.clear();
        let mut format = *input;
        for step in &mut self.steps {
            step.start(&format);
            format = step.output(&format).unwrap_or(format);
        }
        if let Some(cuts) = &mut self.cuts {
            cuts.reset();
        }
        Ok(output)
    }

    /// Forgets everything, held frames too.
    pub fn reset(&mut self) {
        self.held = 0;
        self.kept.clear();
        for step in &mut self.steps {
            step.reset();
        }
        if let Some(cuts) = &mut self.cuts {
            cuts.reset();
        }
    }

    pub fn spare(&mut self) -> &mut Spare {
        &mut self.spare
    }

    /// Takes a frame, and gives the next one that is done.
    pub fn process(&mut self, mut frame: Frame) -> Result<Option<Frame>, EnhanceError> {
        if let Some(cuts) = &mut self.cuts
            && let Picture::Eight(picture) = &frame.picture
        {
            frame.cut = cuts.is_cut(picture.y_plane());
        }
        self.pass(frame, 0)
    }

    fn pass(&mut self, frame: Frame, first: usize) -> Result<Option<Frame>, EnhanceError> {
        let mut frame = frame;
        for step in &mut self.steps[first..] {
            match step.process(frame, &mut self.spare)? {
                Some(next) => frame = next,
                None => return Ok(None),
            }
        }
        Ok(Some(frame))
    }

    /// The next of the frames that are held back; `None` when there are no more.
    pub fn drain(&mut self) -> Result<Option<Frame>, EnhanceError> {
        for at in 0..self.steps.len() {
            while let Some(frame) = self.steps[at].drain(&mut self.spare)? {
                if let Some(done) = self.pass(frame, at + 1)? {
                    return Ok(Some(done));
                }
            }
        }
        Ok(None)
    }

    /// A parameter of an operation has changed; NaN is `auto`.
    pub fn set(&mut self, operation: &str, parameter: &str, value: f64) {
        for step in self.steps.iter_mut().filter(|s| s.name() == operation) {
            step.set(parameter, value);
        }
    }

    pub fn measurements(&self) -> Vec<Measurement> {
        self.steps().flat_map(Operation::measurements).collect()
    }

    /// Fields of the caps behind the chain; the last step that has one says so.
    pub fn caps_fields(&self) -> Vec<(&'static str, String)> {
        self.steps().flat_map(Operation::caps_fields).collect()
    }

    pub fn caps_pending(&self) -> bool {
        self.steps().any(Operation::caps_pending)
    }

    pub fn engines(&self) -> Vec<(&'static str, Engine)> {
        self.steps()
            .filter_map(|step| Some((step.name(), step.engine()?.clone())))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aivideo_core::pixels::Yuv420;

    /// Holds `n` frames back and adds one to every sample.
    struct Late {
        n: usize,
        held: std::collections::VecDeque<Frame>,
    }

    impl Operation for Late {
        fn name(&self) -> &'static str {
            "late"
        }
        fn look_ahead(&self) -> usize {
            self.n
        }
        fn wants_cuts(&self) -> bool {
            true
        }
        fn process(
            &mut self,
            mut frame: Frame,
            _: &mut Spare,
        ) -> Result<Option<Frame>, EnhanceError> {
            if let Picture::Eight(p) = &mut frame.picture {
                p.y.iter_mut().for_each(|v| *v += 1);
            }
            self.held.push_back(frame);
            Ok(if self.held.len() > self.n {
                self.held.pop_front()
            } else {
                None
            })
        }
        fn drain(&mut self, _: &mut Spare) -> Result<Option<Frame>, EnhanceError> {
            Ok(self.held.pop_front())
        }
        fn reset(&mut self) {
            self.held.clear();
        }
    }

    fn chain(delays: &[usize]) -> Chain {
        let late = |&n: &usize| -> Box<dyn Operation> {
            Box::new(Late {
                n,
                held: Default::default(),
            })
        };
        Chain {
            steps: delays.iter().map(late).collect(),
            cuts: Some(CutDetector::default()),
            ..Chain::default()
        }
    }

    fn frame(value: u8) -> Frame {
        let mut picture = Yuv420::new(8, 8);
        picture.y.fill(value);
        Frame::new(Picture::Eight(picture))
    }

    fn value(frame: &Frame) -> u8 {
        match &frame.picture {
            Picture::Eight(p) => p.y[0],
            Picture::Ten(_) => panic!("ten bits"),
        }
    }

    #[test]
    fn every_frame_comes_out_once_and_in_order() {
        for delays in [&[0usize][..], &[3], &[2, 0, 5]] {
            let mut chain = chain(delays);
            assert_eq!(chain.look_ahead(), delays.iter().sum::<usize>());
            for _ in 0..2 {
                let mut out = Vec::new();
                for i in 0..20 {
                    out.extend(chain.process(frame(i)).expect("processed"));
                    let behind = i as usize + 1 - out.len();
                    assert!(behind <= chain.look_ahead());
                }
                while let Some(frame) = chain.drain().expect("drained") {
                    out.push(frame);
                }
                let values: Vec<_> = out.iter().map(value).collect();
                let wanted: Vec<_> = (0..20).map(|i| i + delays.len() as u8).collect();
                assert_eq!(values, wanted);
            }
        }
    }

    #[test]
    fn a_reset_drops_what_is_held() {
        let mut chain = chain(&[4]);
        for i in 0..3 {
            assert!(chain.process(frame(i)).expect("processed").is_none());
        }
        chain.reset();
        assert!(chain.drain().expect("drained").is_none());
    }

    #[test]
    fn ten_bits_are_refused_by_name() {
        let chain = chain(&[0]);
        let format = Format {
            depth: Depth::Ten,
            ..Format::default()
        };
        let message = chain.output(&format).expect_err("ten bits").to_string();
        assert!(message.contains("\"late\" cannot take these pictures: it works on 8 bits"));
        assert_eq!(chain.depths(), [(Depth::Eight, Depth::Eight)]);
        assert_eq!(chain.scale(), 1);
    }
}
