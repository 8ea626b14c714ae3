// SPDX-License-Identifier: Apache-2.0

use std::{
    collections::VecDeque,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use aivideo_core::{
    cuda::{self, Access, Frames, Offer, Place},
    element::{lock, same_pads},
    engine::{Engine, EngineError, Outputs, Pending},
    meta::{self, ClassificationResult},
    tensor::Tensor,
};
use glib::translate::IntoGlib;
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{
    prelude::*,
    subclass::{
        base_transform::{InputBuffer, PrepareOutputBufferSuccess},
        prelude::*,
    },
};

use super::{
    frame,
    settings::Settings,
    swap::{Loaded, Loader},
};
use crate::{
    clip::{Assembler, Clip, Continuity, Span},
    model::ClassifierModel,
    preprocess::{
        Preprocessor,
        device::{DevicePreprocessor, KERNELS},
    },
    scores::{self, Smoother},
};

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "vjepa2classify",
        gst::DebugColorFlags::empty(),
        Some("Video classification"),
    )
});

/// Clips of one element that are with the model at once: one that runs and one that waits. A newer
/// clip takes the place of the one that waits.
const MAX_PENDING: usize = 2;

/// How often a wait for a result looks whether the pipeline is flushing.
const WAIT_STEP: Duration = Duration::from_millis(20);

/// A clip that the model has been given. Fields are dropped in this order: see [`Loaded::retire`].
struct Asked {
    pending: Pending,
    model: Arc<ClassifierModel>,
    start: Option<u64>,
    end: Option<u64>,
}

/// What was asked, and what came of it.
struct Answered {
    model: Arc<ClassifierModel>,
    start: Option<u64>,
    end: Option<u64>,
    answer: Result<Outputs, EngineError>,
}

struct Video {
    info: gst_video::VideoInfo,
    prepare: Prepare,
    assembler: Assembler<Vec<f32>>,
}

/// Where frames lie, and what prepares them there.
enum Prepare {
    Host(Box<Preprocessor>),
    Device(Frames, Place, Box<DevicePreprocessor>),
}

/// Present between `start()` and `stop()`.
struct State {
    loaded: Loaded,
    /// When frames may lie in the memory of the model's GPU.
    device_frames: Option<Frames>,
    /// Takes over at the next frame.
    next: Option<Loaded>,
    video: Option<Video>,
    continuity: Continuity,
    asked: VecDeque<Asked>,
    smoother: Smoother,
}

#[derive(Default)]
struct Counters {
    /// Complete clips.
    clips: AtomicU64,
    /// Clips that the model had no time for.
    dropped: AtomicU64,
    /// Results attached or posted.
    results: AtomicU64,
    /// Incomplete clips given up for a gap, a flush or new caps.
    restarts: AtomicU64,
    /// Models that took over while playing.
    swaps: AtomicU64,
}

#[derive(Default)]
pub struct Vjepa2Classify {
    settings: Mutex<Settings>,
    state: Mutex<Option<State>>,
    counters: Counters,
    flushing: AtomicBool,
    loader: Loader,
}

#[glib::object_subclass]
impl ObjectSubclass for Vjepa2Classify {
    const NAME: &'static str = "GstVjepa2Classify";
    type Type = super::Vjepa2Classify;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for Vjepa2Classify {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(Settings::properties);
        PROPERTIES.as_ref()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let name = pspec.name();
        if !lock(&self.settings).set_property(name, value) {
            gst::warning!(CAT, imp = self, "no property {name}");
        }
        if name == "model-location" {
            self.change_model();
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() == "stats" {
            return self.stats().to_value();
        }
        lock(&self.settings)
            .property(pspec.name())
            .unwrap_or_else(|| pspec.default_value().clone())
    }

    fn constructed(&self) {
        self.parent_constructed();
        // A late frame is still a frame of its clip.
        self.obj().set_qos(false);
        self.obj().set_in_place(true);
    }
}

impl GstObjectImpl for Vjepa2Classify {}

impl ElementImpl for Vjepa2Classify {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "V-JEPA 2 video classifier",
                "Filter/Analyzer/Video",
                "Names what happens in a video from clips of its frames, as metas and messages",
                "The gst-aivideo developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = gst_video::VideoCapsBuilder::new()
                .format_list([
                    gst_video::VideoFormat::Nv12,
                    gst_video::VideoFormat::I420,
                    gst_video::VideoFormat::Rgb,
                    gst_video::VideoFormat::Bgr,
                ])
                .build();
            same_pads(&cuda::with_places(&caps, &Place::ALL))
        });
        TEMPLATES.as_ref()
    }
}

impl Vjepa2Classify {
    /// What this answers about frames in a GPU's memory.
    fn offer(&self) -> Offer {
        if let Some(state) = lock(&self.state).as_ref() {
            return Offer::started(
                state.loaded.engine.gpu_index(),
                state.device_frames.as_ref(),
            );
        }
        Offer::before_start(lock(&self.settings).inference.gpu())
    }
}

impl BaseTransformImpl for Vjepa2Classify {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        meta::register();
        let settings = lock(&self.settings).clone();
        let loaded = Loaded::new(&settings)?;
        self.announce(&loaded);
        for counter in [
            &self.counters.clips,
            &self.counters.dropped,
            &self.counters.results,
            &self.counters.restarts,
            &self.counters.swaps,
        ] {
            counter.store(0, Ordering::Relaxed);
        }
        self.flushing.store(false, Ordering::SeqCst);
        let element = self.obj();
        let device_frames = Frames::of_element(&*element, &loaded.engine, &KERNELS);
        *lock(&self.state) = Some(State {
            loaded,
            device_frames,
            next: None,
            video: None,
            continuity: Continuity::default(),
            asked: VecDeque::new(),
            smoother: Smoother::default(),
        });
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        // Freed outside the lock: the last user of an engine waits for its thread.
        self.loader.cancel();
        let state = lock(&self.state).take();
        drop(state);
        Ok(())
    }

    fn query(&self, direction: gst::PadDirection, query: &mut gst::QueryRef) -> bool {
        self.offer().answer(&*self.obj(), query)
            || BaseTransformImplExt::parent_query(self, direction, query)
    }

    fn transform_caps(
        &self,
        direction: gst::PadDirection,
        caps: &gst::Caps,
        filter: Option<&gst::Caps>,
    ) -> Option<gst::Caps> {
        self.parent_transform_caps(direction, &self.offer().possible(caps), filter)
    }

    fn propose_allocation(
        &self,
        decide_query: Option<&gst::query::Allocation>,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        let answered = self.parent_propose_allocation(decide_query, query);
        self.offer().propose(query, answered)
    }

    fn set_caps(&self, incaps: &gst::Caps, _outcaps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let info = gst_video::VideoInfo::from_caps(incaps)
            .map_err(|_| gst::loggable_error!(CAT, "not video caps: {incaps}"))?;
        let mut guard = lock(&self.state);
        let Some(state) = guard.as_mut() else {
            return Err(gst::loggable_error!(CAT, "not started"));
        };
        let video = self
            .video(
                info,
                Place::of(incaps),
                state.device_frames.as_ref(),
                &state.loaded,
            )
            .inspect_err(|err| {
                gst::element_imp_error!(self, gst::StreamError::WrongType, ("{err}"));
            })
            .map_err(|err| gst::loggable_error!(CAT, "{err}"))?;
        self.restart(state, "new caps");
        state.video = Some(video);
        Ok(())
    }

    fn prepare_output_buffer(
        &self,
        inbuf: InputBuffer,
    ) -> Result<PrepareOutputBufferSuccess, gst::FlowError> {
        Ok(match inbuf {
            InputBuffer::Writable(_) => PrepareOutputBufferSuccess::InputBuffer,
            // A buffer that others hold too: only the list of metas is ours, the pixels stay shared.
            InputBuffer::Readable(buffer) => PrepareOutputBufferSuccess::Buffer(buffer.copy()),
        })
    }

    fn transform_ip(
        &self,
        buffer: &mut gst::BufferRef,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let sync = lock(&self.settings).sync;
        let (finished, waiting) = {
            let mut guard = lock(&self.state);
            let state = guard.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
            let finished = take_finished(&mut state.asked);
            self.swap(state)?;
            let clip = self.take_frame(state, buffer)?;
            let waiting = match clip {
                Some(clip) if sync => Some(self.ask(state, clip)?),
                Some(clip) => {
                    self.try_ask(state, clip)?;
                    None
                }
                None => None,
            };
            (finished, waiting)
        };
        for answered in finished {
            self.report(answered, Some(buffer))?;
        }
        if let Some(asked) = waiting {
            let answered = self.wait(asked)?;
            self.report(answered, Some(buffer))?;
        }
        Ok(gst::FlowSuccess::Ok)
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::FlushStart(_) => self.flushing.store(true, Ordering::SeqCst),
            gst::EventView::FlushStop(_) => {
                self.flushing.store(false, Ordering::SeqCst);
                if let Some(state) = lock(&self.state).as_mut() {
                    // Results of before the flush belong to frames that nobody will see.
                    state.asked.clear();
                    self.restart(state, "flush");
                }
            }
            gst::EventView::Gap(_) => {
                if let Some(state) = lock(&self.state).as_mut() {
                    self.restart(state, "gap event");
                }
            }
            gst::EventView::Eos(_) => self.finish(),
            _ => {}
        }
        self.parent_sink_event(event)
    }

    fn src_event(&self, event: gst::Event) -> bool {
        match event.view() {
            // Upstream may shed load, but the base class is not told: it would leave late frames
            // out of the middle of clips.
            gst::EventView::Qos(_) => self.obj().sink_pad().push_event(event),
            _ => self.parent_src_event(event),
        }
    }
}

fn prepare_on_host(
    preprocessor: &mut Preprocessor,
    buffer: &gst::BufferRef,
    info: &gst_video::VideoInfo,
) -> Result<Arc<Vec<f32>>, String> {
    let mapped =
        gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, info).map_err(|_| {
            format!(
                "its {} bytes do not hold a frame of these caps",
                buffer.size()
            )
        })?;
    let pixels = frame::pixels(&mapped)
        .ok_or_else(|| "its planes are not those of its format".to_string())?;
    preprocessor
        .run(pixels)
        .map(Arc::new)
        .map_err(|err| err.to_string())
}

#[allow(unsafe_code)] // the GPU reads the frame's memory
fn prepare_on_device(
    frames: &mut Frames,
    place: Place,
    preprocessor: &mut DevicePreprocessor,
    buffer: &mut gst::BufferRef,
    info: &gst_video::VideoInfo,
) -> Result<Arc<Vec<f32>>, String> {
    let gpu = frames.gpu().clone();
    let mapped = frames
        .map(buffer, info, place, Access::Read)
        .map_err(|err| err.to_string())?;
    let pixels = frame::device_pixels(info.format(), mapped.planes())
        .ok_or_else(|| "its planes are not those of its format".to_string())?;
    // SAFETY: the planes are the mapped frame's, which is dropped only after the GPU was waited for.
    let prepared = unsafe { preprocessor.run(&gpu, pixels) }.map_err(|err| err.to_string())?;
    Ok(Arc::new(prepared))
}

/// The answers that are there, oldest first.
fn take_finished(asked: &mut VecDeque<Asked>) -> Vec<Answered> {
    let mut finished = Vec::new();
    while let Some(oldest) = asked.front_mut() {
        let Some(answer) = oldest.pending.try_take() else {
            break;
        };
        if let Some(Asked {
            model, start, end, ..
        }) = asked.pop_front()
        {
            finished.push(Answered {
                model,
                start,
                end,
                answer,
            });
        }
    }
    finished
}

impl Vjepa2Classify {
    /// Says which model runs, and what could not be done as asked.
    fn announce(&self, loaded: &Loaded) {
        for warning in loaded.engine.warnings() {
            gst::element_imp_warning!(self, gst::ResourceError::Settings, ["{warning}"]);
        }
        gst::info!(
            CAT,
            imp = self,
            "{}: {} frames of {} px, {} classes, on {}",
            loaded.model.name,
            loaded.model.frames,
            loaded.model.preprocessing.size,
            loaded.model.labels.len(),
            loaded.engine.device_in_use()
        );
    }

    /// Where the element is started: loads the model of the properties beside the one that runs.
    fn change_model(&self) {
        if lock(&self.state).is_none() {
            return;
        }
        let settings = lock(&self.settings).clone();
        let element = self.obj().downgrade();
        let loading = self.loader.load(settings, move |loaded| {
            let Some(element) = element.upgrade() else {
                return;
            };
            let this = element.imp();
            match loaded {
                Ok(loaded) => {
                    let mut loaded = Some(loaded);
                    if let Some(state) = lock(&this.state).as_mut() {
                        // One that was to be next and never ran goes at once, below.
                        loaded = std::mem::replace(&mut state.next, loaded);
                    }
                    drop(loaded);
                }
                Err(err) => this.keep_model(&err),
            }
        });
        if let Err(err) = loading {
            let reason = gst::error_msg!(
                gst::ResourceError::Failed,
                ("no thread to load a model in: {err}")
            );
            self.keep_model(&reason);
        }
    }

    /// A new model cannot be used: that is no reason to stop.
    fn keep_model(&self, why: &gst::ErrorMessage) {
        gst::element_imp_warning!(
            self,
            gst::ResourceError::Settings,
            ("the model is not changed, the one before goes on: {why}")
        );
    }

    /// Lets the model that was loaded meanwhile take over.
    fn swap(&self, state: &mut State) -> Result<(), gst::FlowError> {
        let Some(next) = state.next.take() else {
            return Ok(());
        };
        let before = &state.loaded.model;
        // Prepared frames serve the new model too if it wants the same ones.
        let alike = before.preprocessing == next.model.preprocessing
            && before.frames == next.model.frames
            && before.frame_stride == next.model.frame_stride;
        // The GPU's memory is that of the engine which runs.
        let place = |video: &Video| match video.prepare {
            Prepare::Host(_) => None,
            Prepare::Device(_, place, _) => Some(place),
        };
        let known = state
            .video
            .as_ref()
            .map(|video| (video.info.clone(), place(video)))
            .filter(|(_, place)| !alike || place.is_some());
        if let Some((info, place)) = known {
            match self.video(info, place, state.device_frames.as_ref(), &next) {
                Ok(mut video) => {
                    if alike && let Some(before) = state.video.take() {
                        video.assembler = before.assembler;
                    } else {
                        self.restart(state, "new model");
                    }
                    state.video = Some(video);
                }
                Err(err) => {
                    let err = gst::error_msg!(gst::StreamError::WrongType, ("{err}"));
                    self.keep_model(&err);
                    next.retire();
                    return Ok(());
                }
            }
        }
        state.smoother.restart();
        self.announce(&next);
        self.counters.swaps.fetch_add(1, Ordering::Relaxed);
        let structure = gst::Structure::builder(super::MODEL_MESSAGE)
            .field("model", &next.model.name)
            .field("sha256", next.engine.stats().model)
            .build();
        let message = gst::message::Element::builder(structure)
            .src(&*self.obj())
            .build();
        // Refused only by an element without a bus.
        let _ = self.obj().post_message(message);
        std::mem::replace(&mut state.loaded, next).retire();
        Ok(())
    }

    /// What frames of these caps need for this model.
    fn video(
        &self,
        info: gst_video::VideoInfo,
        place: Option<Place>,
        device_frames: Option<&Frames>,
        Loaded { engine, model }: &Loaded,
    ) -> Result<Video, String> {
        let preprocessor = Preprocessor::new(
            &model.preprocessing,
            info.width() as usize,
            info.height() as usize,
            frame::colour(&info),
        )
        .map_err(|err| err.to_string())?;
        let rhythm = lock(&self.settings).rhythm(model, Some(info.fps()))?;
        gst::info!(CAT, imp = self, "{rhythm:?}");
        let prepare = match place {
            None => Prepare::Host(Box::new(preprocessor)),
            Some(place) => {
                let frames = device_frames.filter(|frames| frames.takes(place));
                let frames = frames.and_then(|frames| frames.for_engine(engine));
                let frames = frames.ok_or_else(|| {
                    "frames in a GPU's memory need the model there (device=cuda), and those in \
                     CUDAMemory GStreamer's CUDA library; put cudadownload or nvvideoconvert before \
                     this element"
                        .to_string()
                })?;
                let device = DevicePreprocessor::new(frames.gpu(), &preprocessor);
                let device = device.map_err(|err| err.to_string())?;
                Prepare::Device(frames, place, Box::new(device))
            }
        };
        Ok(Video {
            info,
            prepare,
            assembler: Assembler::new(rhythm),
        })
    }

    /// Takes the frame into the clips; returns the clip that it completes.
    fn take_frame(
        &self,
        state: &mut State,
        buffer: &mut gst::BufferRef,
    ) -> Result<Option<Clip<Vec<f32>>>, gst::FlowError> {
        let pts = buffer.pts().map(gst::ClockTime::nseconds);
        let duration = buffer.duration().map(gst::ClockTime::nseconds);
        let follows = state.continuity.follows(pts, duration);
        if buffer.flags().contains(gst::BufferFlags::DISCONT) || !follows {
            self.restart(state, "discontinuity");
        }
        let Some(video) = state.video.as_mut() else {
            gst::element_imp_error!(
                self,
                gst::CoreError::Negotiation,
                ("a frame came before its caps")
            );
            return Err(gst::FlowError::NotNegotiated);
        };
        let span = Span {
            start: pts,
            end: pts
                .zip(duration)
                .map(|(pts, duration)| pts.saturating_add(duration)),
        };
        let Video {
            info,
            prepare,
            assembler,
        } = video;
        assembler
            .push(span, || match prepare {
                Prepare::Host(preprocessor) => prepare_on_host(preprocessor, buffer, info),
                Prepare::Device(frames, place, preprocessor) => {
                    prepare_on_device(frames, *place, preprocessor, buffer, info)
                }
            })
            .map_err(|reason| {
                gst::element_imp_error!(
                    self,
                    gst::ResourceError::Read,
                    ("the frame cannot be read: {reason}")
                );
                gst::FlowError::Error
            })
    }

    /// Gives up the clip under way.
    fn restart(&self, state: &mut State, why: &str) {
        if let Some(Video { assembler, .. }) = &mut state.video {
            if !assembler.is_empty() {
                gst::debug!(CAT, imp = self, "clip begun anew: {why}");
                self.counters.restarts.fetch_add(1, Ordering::Relaxed);
            }
            assembler.restart();
        }
        state.continuity.reset();
        state.smoother.restart();
    }

    /// The model's input for the clip.
    fn tensor(model: &ClassifierModel, clip: &Clip<Vec<f32>>) -> Tensor {
        let size = model.preprocessing.size;
        let mut values = Vec::with_capacity(model.frames * 3 * size * size);
        for frame in &clip.frames {
            values.extend_from_slice(frame);
        }
        Tensor::f32(vec![1, model.frames, 3, size, size], values)
    }

    /// Gives the clip to the model, waiting for room in its queue.
    fn ask(&self, state: &State, clip: Clip<Vec<f32>>) -> Result<Asked, gst::FlowError> {
        self.counters.clips.fetch_add(1, Ordering::Relaxed);
        let Loaded { engine, model } = &state.loaded;
        let tensor = Self::tensor(model, &clip);
        match engine.submit(vec![(&model.input, tensor)]) {
            Ok(pending) => Ok(Asked {
                pending,
                model: model.clone(),
                start: clip.start,
                end: clip.end,
            }),
            Err(err) => Err(self.failed(&err)),
        }
    }

    /// Gives the clip to the model; when that is behind, instead of the clip that waits for it.
    fn try_ask(&self, state: &mut State, clip: Clip<Vec<f32>>) -> Result<(), gst::FlowError> {
        self.counters.clips.fetch_add(1, Ordering::Relaxed);
        let left_out = || {
            gst::debug!(CAT, imp = self, "clip left out: the model is busy");
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        };
        if state.asked.len() >= MAX_PENDING {
            state.asked.pop_back();
            left_out();
        }
        let Loaded { engine, model } = &state.loaded;
        let tensor = Self::tensor(model, &clip);
        let pending = engine
            .try_submit(vec![(&model.input, tensor)])
            .map_err(|err| self.failed(&err))?;
        match pending {
            Some(pending) => state.asked.push_back(Asked {
                pending,
                model: model.clone(),
                start: clip.start,
                end: clip.end,
            }),
            None => left_out(),
        }
        Ok(())
    }

    fn failed(&self, err: &EngineError) -> gst::FlowError {
        self.post_error_message(err.to_error_message());
        gst::FlowError::Error
    }

    /// Waits for the answer, or until the pipeline flushes.
    fn wait(&self, mut asked: Asked) -> Result<Answered, gst::FlowError> {
        loop {
            if let Some(answer) = asked.pending.wait_timeout(WAIT_STEP) {
                return Ok(Answered {
                    model: asked.model,
                    start: asked.start,
                    end: asked.end,
                    answer,
                });
            }
            if self.flushing.load(Ordering::SeqCst) {
                return Err(gst::FlowError::Flushing);
            }
        }
    }

    /// Attaches and posts what the model said of a clip. Called without locks.
    fn report(
        &self,
        answered: Answered,
        buffer: Option<&mut gst::BufferRef>,
    ) -> Result<(), gst::FlowError> {
        let Answered {
            model,
            start,
            end,
            answer,
        } = answered;
        let (top_k, threshold, smoothing) = {
            let settings = lock(&self.settings);
            (
                settings.top_k as usize,
                settings.threshold,
                settings.smoothing,
            )
        };
        let outputs = answer.map_err(|err| self.failed(&err))?;
        let logits = outputs
            .iter()
            .find(|(name, _)| *name == model.output)
            .and_then(|(_, tensor)| tensor.as_f32().ok())
            .filter(|logits| logits.len() == model.labels.len());
        let Some(logits) = logits else {
            gst::element_imp_error!(
                self,
                gst::StreamError::WrongType,
                (
                    "model '{}' did not answer with {} class scores in '{}'",
                    model.name,
                    model.labels.len(),
                    model.output
                )
            );
            return Err(gst::FlowError::Error);
        };
        let mut probabilities = scores::softmax(logits);
        if let Some(state) = lock(&self.state).as_mut() {
            state.smoother.add(&mut probabilities, smoothing);
        }
        let best = scores::best(&probabilities, top_k, threshold);
        if best.is_empty() {
            return Ok(());
        }
        let none = gst::ClockTime::NONE.into_glib();
        let result = ClassificationResult {
            model: model.name.clone(),
            clip_start: start.unwrap_or(none),
            clip_end: end.unwrap_or(none),
            labels: best
                .iter()
                .map(|(class, _)| model.labels[*class].clone())
                .collect(),
            scores: best.iter().map(|(_, score)| *score).collect(),
        };
        if let Some(Err(err)) = buffer.map(|buffer| result.attach(buffer)) {
            gst::warning!(CAT, imp = self, "result cannot be attached: {err}");
        }
        let mut structure = result.to_message_structure();
        structure.set_name(super::MESSAGE);
        let message = gst::message::Element::builder(structure)
            .src(&*self.obj())
            .build();
        self.counters.results.fetch_add(1, Ordering::Relaxed);
        // Refused only by an element without a bus, whose application reads the metas.
        let _ = self.obj().post_message(message);
        Ok(())
    }

    /// At the end of the stream: waits for the results that are still to come and posts them.
    fn finish(&self) {
        let asked = match lock(&self.state).as_mut() {
            Some(state) => std::mem::take(&mut state.asked),
            None => return,
        };
        for asked in asked {
            let Ok(answered) = self.wait(asked) else {
                return;
            };
            if self.report(answered, None).is_err() {
                return;
            }
        }
    }

    fn stats(&self) -> gst::Structure {
        let engine: Option<Engine> = lock(&self.state)
            .as_ref()
            .map(|state| state.loaded.engine.clone());
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed).to_send_value();
        engine
            .map(|engine| engine.stats())
            .unwrap_or_default()
            .to_structure(&[
                ("clips", count(&self.counters.clips)),
                ("clips-dropped", count(&self.counters.dropped)),
                ("results", count(&self.counters.results)),
                ("restarts", count(&self.counters.restarts)),
                ("model-swaps", count(&self.counters.swaps)),
            ])
    }
}
