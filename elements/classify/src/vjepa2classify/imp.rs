// SPDX-License-Identifier: Apache-2.0

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use aivideo_core::{
    engine::{Engine, EngineError, ModelSource, Outputs, Pending},
    meta::{self, ClassificationResult},
    settings::InferenceSettings,
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

use super::frame;
use crate::{
    clip::{Assembler, Clip, Continuity, Rhythm, Span},
    model::ClassifierModel,
    preprocess::Preprocessor,
    scores,
};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "vjepa2classify",
        gst::DebugColorFlags::empty(),
        Some("Video classification"),
    )
});

const DEFAULT_TOP_K: u32 = 5;
const DEFAULT_THRESHOLD: f64 = 0.0;

/// Bounds the frames that overlapping clips hold.
const MAX_FRAME_STRIDE: u32 = 100;

/// Clips of one element that wait for the model at once. A second one keeps the model busy while
/// the first result is picked up; more would only be older when they come.
const MAX_PENDING: usize = 2;

/// How often a wait for a result looks whether the pipeline is flushing.
const WAIT_STEP: Duration = Duration::from_millis(20);

#[derive(Debug, Clone)]
struct Settings {
    inference: InferenceSettings,
    top_k: u32,
    threshold: f64,
    /// 0: the model's.
    frame_stride: u32,
    /// 0: the length of a clip.
    clip_stride: u32,
    sync: bool,
    labels_file: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            inference: InferenceSettings::default(),
            top_k: DEFAULT_TOP_K,
            threshold: DEFAULT_THRESHOLD,
            frame_stride: 0,
            clip_stride: 0,
            sync: false,
            labels_file: None,
        }
    }
}

/// A clip that the model has been given.
struct Asked {
    pending: Pending,
    start: Option<u64>,
    end: Option<u64>,
}

struct Video {
    info: gst_video::VideoInfo,
    preprocessor: Preprocessor,
}

/// Present between `start()` and `stop()`.
struct State {
    engine: Engine,
    model: Arc<ClassifierModel>,
    video: Option<Video>,
    assembler: Assembler<Vec<f32>>,
    continuity: Continuity,
    asked: VecDeque<Asked>,
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
}

#[derive(Default)]
pub struct Vjepa2Classify {
    settings: Mutex<Settings>,
    state: Mutex<Option<State>>,
    counters: Counters,
    flushing: AtomicBool,
}

#[glib::object_subclass]
impl ObjectSubclass for Vjepa2Classify {
    const NAME: &'static str = "GstVjepa2Classify";
    type Type = super::Vjepa2Classify;
    type ParentType = gst_base::BaseTransform;
}

/// The lock, also after a panic of another thread: what is inside is replaced as a whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The built-in model.
fn default_model() -> ModelSource {
    ModelSource::Embedded {
        name: "vjepa2-motion",
        bytes: include_bytes!("../../../../models/classify/vjepa2-motion.onnx"),
    }
}

impl ObjectImpl for Vjepa2Classify {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let mut properties = vec![
                glib::ParamSpecUInt::builder("top-k")
                    .nick("Top k")
                    .blurb("How many of the most probable classes a result names")
                    .minimum(1)
                    .maximum(1000)
                    .default_value(DEFAULT_TOP_K)
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
                    .default_value(DEFAULT_THRESHOLD)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecUInt::builder("frame-stride")
                    .nick("Frame stride")
                    .blurb("Distance between the frames of a clip, in frames (0 = as the model was trained)")
                    .maximum(MAX_FRAME_STRIDE)
                    .default_value(0)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecUInt::builder("clip-stride")
                    .nick("Clip stride")
                    .blurb(
                        "Distance between the starts of clips, in frames; less than a clip's \
                         length makes them overlap (0 = the length of a clip)",
                    )
                    .maximum(1_000_000)
                    .default_value(0)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecBoolean::builder("sync")
                    .nick("Synchronous")
                    .blurb(
                        "Let the last frame of each clip wait for the clip's result and carry it \
                         (for files); else the result rides on a later frame and clips are left \
                         out when the model is busy (for live streams)",
                    )
                    .default_value(false)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecString::builder("labels-file")
                    .nick("Labels file")
                    .blurb("Text file with a label a line, instead of the labels in the model")
                    .mutable_ready()
                    .build(),
            ];
            properties.extend(InferenceSettings::properties());
            properties
        });
        PROPERTIES.as_ref()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let mut settings = lock(&self.settings);
        if settings.inference.set_property(pspec.name(), value) {
            return;
        }
        // Types and ranges were checked against the specifications above.
        match pspec.name() {
            "top-k" => settings.top_k = value.get().unwrap_or(DEFAULT_TOP_K),
            "threshold" => settings.threshold = value.get().unwrap_or(DEFAULT_THRESHOLD),
            "frame-stride" => settings.frame_stride = value.get().unwrap_or(0),
            "clip-stride" => settings.clip_stride = value.get().unwrap_or(0),
            "sync" => settings.sync = value.get().unwrap_or(false),
            "labels-file" => {
                let path: Option<String> = value.get().unwrap_or(None);
                settings.labels_file = path.filter(|path| !path.is_empty()).map(PathBuf::from);
            }
            name => gst::warning!(CAT, imp = self, "no property {name}"),
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() == "stats" {
            return self.stats().to_value();
        }
        let settings = lock(&self.settings);
        if let Some(value) = settings.inference.property(pspec.name()) {
            return value;
        }
        match pspec.name() {
            "top-k" => settings.top_k.to_value(),
            "threshold" => settings.threshold.to_value(),
            "frame-stride" => settings.frame_stride.to_value(),
            "clip-stride" => settings.clip_stride.to_value(),
            "sync" => settings.sync.to_value(),
            "labels-file" => settings
                .labels_file
                .as_ref()
                .map(|path| path.to_string_lossy().into_owned())
                .to_value(),
            _ => pspec.default_value().clone(),
        }
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
            [
                ("sink", gst::PadDirection::Sink),
                ("src", gst::PadDirection::Src),
            ]
            .into_iter()
            .filter_map(|(name, direction)| {
                gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps).ok()
            })
            .collect()
        });
        TEMPLATES.as_ref()
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
        let source = settings.inference.model(default_model());
        let engine =
            Engine::acquire(&source, &settings.inference).map_err(|err| err.to_error_message())?;
        let model = ClassifierModel::of_engine(&engine, &source, settings.labels_file.as_deref())
            .map_err(|err| err.to_error_message())?;
        for warning in engine.warnings() {
            gst::element_imp_warning!(self, gst::ResourceError::Settings, ["{warning}"]);
        }
        let frame_stride = match settings.frame_stride {
            0 => model.frame_stride,
            stride => stride as usize,
        };
        let clip_stride = match settings.clip_stride {
            0 => model.frames * frame_stride,
            stride => stride as usize,
        };
        gst::info!(
            CAT,
            imp = self,
            "{}: {} frames of {} px, every {frame_stride}, a clip every {clip_stride}, on {}",
            model.name,
            model.frames,
            model.preprocessing.size,
            engine.device_in_use()
        );
        for counter in [
            &self.counters.clips,
            &self.counters.dropped,
            &self.counters.results,
            &self.counters.restarts,
        ] {
            counter.store(0, Ordering::Relaxed);
        }
        self.flushing.store(false, Ordering::SeqCst);
        *lock(&self.state) = Some(State {
            assembler: Assembler::new(Rhythm {
                frames: model.frames,
                frame_stride,
                clip_stride,
            }),
            engine,
            model: Arc::new(model),
            video: None,
            continuity: Continuity::default(),
            asked: VecDeque::new(),
        });
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        // Freed outside the lock: the last user of an engine waits for its thread.
        let state = lock(&self.state).take();
        drop(state);
        Ok(())
    }

    fn set_caps(&self, incaps: &gst::Caps, _outcaps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let info = gst_video::VideoInfo::from_caps(incaps)
            .map_err(|_| gst::loggable_error!(CAT, "not video caps: {incaps}"))?;
        let mut guard = lock(&self.state);
        let Some(state) = guard.as_mut() else {
            return Err(gst::loggable_error!(CAT, "not started"));
        };
        let preprocessor = Preprocessor::new(
            &state.model.preprocessing,
            info.width() as usize,
            info.height() as usize,
            frame::colour(&info),
        )
        .map_err(|err| gst::loggable_error!(CAT, "{err}"))?;
        self.restart(state, "new caps");
        state.video = Some(Video { info, preprocessor });
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
        let (model, finished, waiting) = {
            let mut guard = lock(&self.state);
            let state = guard.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
            let finished = take_finished(&mut state.asked);
            let clip = self.take_frame(state, buffer)?;
            let waiting = match clip {
                Some(clip) if sync => Some(self.ask(state, clip)?),
                Some(clip) => {
                    self.try_ask(state, clip)?;
                    None
                }
                None => None,
            };
            (state.model.clone(), finished, waiting)
        };
        for (start, end, answer) in finished {
            self.report(&model, start, end, answer, Some(buffer))?;
        }
        if let Some(asked) = waiting {
            let (start, end) = (asked.start, asked.end);
            let answer = self.wait(asked)?;
            self.report(&model, start, end, answer, Some(buffer))?;
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

type Answer = Result<Outputs, EngineError>;

/// The answers that are there, oldest first.
fn take_finished(asked: &mut VecDeque<Asked>) -> Vec<(Option<u64>, Option<u64>, Answer)> {
    let mut finished = Vec::new();
    while let Some(oldest) = asked.front_mut() {
        let Some(answer) = oldest.pending.try_take() else {
            break;
        };
        finished.push((oldest.start, oldest.end, answer));
        asked.pop_front();
    }
    finished
}

impl Vjepa2Classify {
    /// Takes the frame into the clips; returns the clip that it completes.
    fn take_frame(
        &self,
        state: &mut State,
        buffer: &gst::BufferRef,
    ) -> Result<Option<Clip<Vec<f32>>>, gst::FlowError> {
        let pts = buffer.pts().map(gst::ClockTime::nseconds);
        let duration = buffer.duration().map(gst::ClockTime::nseconds);
        let follows = state.continuity.follows(pts, duration);
        if buffer.flags().contains(gst::BufferFlags::DISCONT) || !follows {
            self.restart(state, "discontinuity");
        }
        if !state.assembler.wants_next() {
            state.assembler.skip();
            return Ok(None);
        }
        let Some(video) = state.video.as_mut() else {
            gst::element_imp_error!(
                self,
                gst::CoreError::Negotiation,
                ("a frame came before its caps")
            );
            return Err(gst::FlowError::NotNegotiated);
        };
        let unreadable = |reason: String| {
            gst::element_imp_error!(
                self,
                gst::ResourceError::Read,
                ("the frame cannot be read: {reason}")
            );
            gst::FlowError::Error
        };
        let mapped = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &video.info)
            .map_err(|_| {
                unreadable(format!(
                    "its {} bytes do not hold a frame of these caps",
                    buffer.size()
                ))
            })?;
        let pixels = frame::pixels(&mapped)
            .ok_or_else(|| unreadable("its planes are not those of its format".to_string()))?;
        let prepared = video
            .preprocessor
            .run(pixels)
            .map_err(|err| unreadable(err.to_string()))?;
        let span = Span {
            start: pts,
            end: pts
                .zip(duration)
                .map(|(pts, duration)| pts.saturating_add(duration)),
        };
        Ok(state.assembler.push(span, Arc::new(prepared)))
    }

    /// Gives up the clip under way.
    fn restart(&self, state: &mut State, why: &str) {
        if state.assembler.held() > 0 {
            gst::debug!(CAT, imp = self, "clip begun anew: {why}");
            self.counters.restarts.fetch_add(1, Ordering::Relaxed);
        }
        state.assembler.restart();
        state.continuity.reset();
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
        let tensor = Self::tensor(&state.model, &clip);
        match state.engine.submit(vec![(&state.model.input, tensor)]) {
            Ok(pending) => Ok(Asked {
                pending,
                start: clip.start,
                end: clip.end,
            }),
            Err(err) => Err(self.failed(&err)),
        }
    }

    /// Gives the clip to the model unless that is behind already.
    fn try_ask(&self, state: &mut State, clip: Clip<Vec<f32>>) -> Result<(), gst::FlowError> {
        self.counters.clips.fetch_add(1, Ordering::Relaxed);
        let pending = if state.asked.len() < MAX_PENDING {
            let tensor = Self::tensor(&state.model, &clip);
            state
                .engine
                .try_submit(vec![(&state.model.input, tensor)])
                .map_err(|err| self.failed(&err))?
        } else {
            None
        };
        match pending {
            Some(pending) => state.asked.push_back(Asked {
                pending,
                start: clip.start,
                end: clip.end,
            }),
            None => {
                gst::debug!(CAT, imp = self, "clip left out: the model is busy");
                self.counters.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn failed(&self, err: &EngineError) -> gst::FlowError {
        self.post_error_message(err.to_error_message());
        gst::FlowError::Error
    }

    /// Waits for the answer, or until the pipeline flushes.
    fn wait(&self, mut asked: Asked) -> Result<Answer, gst::FlowError> {
        loop {
            if let Some(answer) = asked.pending.wait_timeout(WAIT_STEP) {
                return Ok(answer);
            }
            if self.flushing.load(Ordering::SeqCst) {
                return Err(gst::FlowError::Flushing);
            }
        }
    }

    /// Attaches and posts what the model said of a clip. Called without locks.
    fn report(
        &self,
        model: &ClassifierModel,
        start: Option<u64>,
        end: Option<u64>,
        answer: Answer,
        buffer: Option<&mut gst::BufferRef>,
    ) -> Result<(), gst::FlowError> {
        let (top_k, threshold) = {
            let settings = lock(&self.settings);
            (settings.top_k as usize, settings.threshold)
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
        let best = scores::best(&scores::softmax(logits), top_k, threshold);
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
        let (model, asked) = {
            let mut guard = lock(&self.state);
            let Some(state) = guard.as_mut() else {
                return;
            };
            (state.model.clone(), std::mem::take(&mut state.asked))
        };
        for asked in asked {
            let (start, end) = (asked.start, asked.end);
            let Ok(answer) = self.wait(asked) else {
                return;
            };
            if self.report(&model, start, end, answer, None).is_err() {
                return;
            }
        }
    }

    fn stats(&self) -> gst::Structure {
        let engine = lock(&self.state).as_ref().map(|state| state.engine.clone());
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed).to_send_value();
        engine
            .map(|engine| engine.stats())
            .unwrap_or_default()
            .to_structure(&[
                ("clips", count(&self.counters.clips)),
                ("clips-dropped", count(&self.counters.dropped)),
                ("results", count(&self.counters.results)),
                ("restarts", count(&self.counters.restarts)),
            ])
    }
}
