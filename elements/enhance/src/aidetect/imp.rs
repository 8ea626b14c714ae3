// SPDX-License-Identifier: Apache-2.0

use std::{
    path::PathBuf,
    sync::{LazyLock, Mutex},
};

use aivideo_core::{
    cuda::{self, Access, Frames, Offer, Place},
    element::{lock, same_pads},
    model::ModelSource,
    pixels::Yuv420,
    settings::InferenceSettings,
};
use aivideo_meta::Detection;
use glib::prelude::*;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::subclass::prelude::*;

use crate::{
    detect::{
        DetectError, Detector,
        device::KERNELS,
        region::region,
        sidecar::Sidecar,
        track::Tracked,
        watch::{MAX_AGE, Rules, Watch},
    },
    frame::Gamut,
};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "aidetect",
        gst::DebugColorFlags::empty(),
        Some("Object detection"),
    )
});

/// Name of the message with a picture's objects.
const OBJECTS: &str = "aivideo-objects";

#[derive(Debug, Clone)]
struct Settings {
    /// Below 0: what the sidecar says.
    threshold: f32,
    nms_threshold: f32,
    sidecar_location: Option<PathBuf>,
    labels_file: Option<PathBuf>,
    inference_interval: u32,
    tracking: bool,
    max_age: u32,
    post_messages: bool,
    inference: InferenceSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threshold: -1.0,
            nms_threshold: -1.0,
            sidecar_location: None,
            labels_file: None,
            inference_interval: 1,
            tracking: true,
            max_age: MAX_AGE,
            post_messages: false,
            inference: InferenceSettings::default(),
        }
    }
}

impl Settings {
    fn rules(&self) -> Rules {
        let set = |value: f32| (value >= 0.0).then_some(value);
        Rules {
            threshold: set(self.threshold),
            overlap: set(self.nms_threshold),
            interval: self.inference_interval,
            tracking: self.tracking,
        }
    }
}

struct State {
    watch: Watch,
    /// When the model runs on a GPU and pictures may lie there.
    device_frames: Option<Frames>,
    /// Where, when they do.
    on_device: Option<Place>,
    info: Option<gst_video::VideoInfo>,
    picture: Yuv420,
    frames: u64,
    objects: u64,
    /// Objects of the last picture.
    last: usize,
}

#[derive(Default)]
pub struct AiDetect {
    settings: Mutex<Settings>,
    state: Mutex<Option<State>>,
}

fn load(settings: &Settings) -> Result<Detector, DetectError> {
    let inference = &settings.inference;
    let Some(path) = &inference.model_location else {
        return Err(DetectError::NoModel {
            property: "model-location",
        });
    };
    let mut sidecar = match &settings.sidecar_location {
        Some(sidecar) => Sidecar::read(sidecar)?,
        None => Sidecar::read(&Sidecar::beside(path))?,
    };
    let model = ModelSource::File(path.clone());
    if let Some(path) = &settings.labels_file {
        sidecar.read_labels(path)?;
    }
    Detector::load(&model, sidecar, inference)
}

fn colour_of(info: &gst_video::VideoInfo) -> (Gamut, bool) {
    let colorimetry = info.colorimetry();
    let gamut = match colorimetry.matrix() {
        gst_video::VideoColorMatrix::Bt709 => Gamut::Bt709,
        gst_video::VideoColorMatrix::Bt2020 => Gamut::Bt2020,
        gst_video::VideoColorMatrix::Bt601 => Gamut::Bt601,
        // GStreamer's own guess where nothing is said.
        _ if info.height() >= 720 => Gamut::Bt709,
        _ => Gamut::Bt601,
    };
    (
        gamut,
        colorimetry.range() == gst_video::VideoColorRange::Range0_255,
    )
}

impl State {
    /// What the model sees in a picture in the GPU's memory.
    #[allow(unsafe_code)] // the GPU reads the picture's memory
    fn look_on_device(
        &mut self,
        buffer: &mut gst::BufferRef,
        place: Place,
        rules: &Rules,
    ) -> Result<Vec<Tracked>, gst::ErrorMessage> {
        let wrong =
            |reason: String| gst::error_msg!(gst::StreamError::Format, ("the picture: {reason}"));
        let (Some(frames), Some(info)) = (&mut self.device_frames, &self.info) else {
            return Err(wrong("there is no GPU for it".to_string()));
        };
        let frame = frames
            .map(buffer, info, place, Access::Read)
            .map_err(|error| wrong(error.to_string()))?;
        let picture = frame
            .yuv(info)
            .ok_or_else(|| wrong("its planes are not those of its format".to_string()))?;
        let colour = colour_of(info);
        self.watch
            .look_by(rules, |detector, threshold, overlap| {
                // SAFETY: the planes are the mapped frame's, which is dropped only after the GPU was
                // waited for.
                unsafe { detector.find_on_device(&picture, colour, threshold, overlap) }
            })
            .map_err(|error| error.to_error_message())
    }
}

impl AiDetect {
    fn stats(&self) -> gst::Structure {
        match lock(&self.state).as_ref() {
            Some(state) => state.watch.detector().engine().stats().to_structure(&[
                ("frames", state.frames.to_send_value()),
                ("frames-analyzed", state.watch.looked().to_send_value()),
                ("objects", state.objects.to_send_value()),
                ("objects-last", (state.last as u64).to_send_value()),
            ]),
            None => gst::Structure::new_empty("aivideo-stats"),
        }
    }

    fn look(&self, buffer: &mut gst::BufferRef) -> Result<Vec<Detection>, gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        let mut guard = lock(&self.state);
        let not_ready = || gst::error_msg!(gst::CoreError::Negotiation, ("a picture before caps"));
        let state = guard.as_mut().ok_or_else(not_ready)?;
        let info = state.info.as_ref().ok_or_else(not_ready)?;
        let size = (info.width(), info.height());
        let rules = settings.rules();
        state.frames += 1;
        let tracked = if !state.watch.is_due(&rules) {
            state.watch.skip(&rules)
        } else if let Some(place) = state.on_device {
            state.look_on_device(buffer, place, &rules)?
        } else {
            let frame =
                gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, info).map_err(|_| {
                    gst::error_msg!(
                        gst::StreamError::Format,
                        (
                            "a buffer of {} bytes cannot be read as a picture",
                            buffer.size()
                        )
                    )
                })?;
            state
                .picture
                .read_frame(&frame)
                .map_err(|error| gst::error_msg!(gst::StreamError::Format, ("{error}")))?;
            state
                .watch
                .look(&state.picture, colour_of(info), &rules)
                .map_err(|error| error.to_error_message())?
        };
        let detections: Vec<Detection> = tracked
            .iter()
            .filter_map(|t| region(t, state.watch.detector().label(t.object.class), size))
            .collect();
        state.objects += detections.len() as u64;
        state.last = detections.len();
        Ok(detections)
    }
}

#[glib::object_subclass]
impl ObjectSubclass for AiDetect {
    const NAME: &'static str = "GstAiDetect";
    type Type = super::AiDetect;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for AiDetect {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let default = Settings::default();
            let share = |name, nick, blurb| {
                glib::ParamSpecFloat::builder(name)
                    .nick(nick)
                    .blurb(blurb)
                    .minimum(-1.0)
                    .maximum(1.0)
                    .default_value(-1.0)
                    .controllable()
                    .mutable_playing()
                    .build()
            };
            let path = |name, nick, blurb| {
                glib::ParamSpecString::builder(name)
                    .nick(nick)
                    .blurb(blurb)
                    .mutable_ready()
                    .build()
            };
            let mut specs = vec![
                share(
                    "threshold",
                    "Threshold",
                    "Least confidence of an object, 0 to 1; -1: what the model's sidecar says",
                ),
                share(
                    "nms-threshold",
                    "Suppression threshold",
                    "Overlap (intersection over union) beyond which the less sure of two boxes of a class is dropped; -1: what the model's sidecar says",
                ),
                path(
                    "sidecar-location",
                    "Sidecar location",
                    "JSON file that says what the model takes and gives (default: beside model-location, .json for .onnx)",
                ),
                path(
                    "labels-file",
                    "Labels file",
                    "Names of the classes, one a line, in place of the sidecar's",
                ),
                glib::ParamSpecUInt::builder("inference-interval")
                    .nick("Inference interval")
                    .blurb("The model looks at every so many-th picture; objects that are followed are moved on in between")
                    .minimum(1)
                    .maximum(1000)
                    .default_value(default.inference_interval)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecBoolean::builder("tracking")
                    .nick("Tracking")
                    .blurb("Follow objects, and number them")
                    .default_value(default.tracking)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecUInt::builder("max-age")
                    .nick("Maximum age")
                    .blurb("Pictures that an object may be out of sight before its number is given up")
                    .maximum(10_000)
                    .default_value(default.max_age)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecBoolean::builder("post-messages")
                    .nick("Post messages")
                    .blurb("Post an element message aivideo-objects for each picture with objects")
                    .default_value(default.post_messages)
                    .mutable_playing()
                    .build(),
            ];
            specs.extend(InferenceSettings::properties());
            specs
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let mut settings = lock(&self.settings);
        let s = &mut *settings;
        let path = || {
            let text: Option<String> = value.get().ok().flatten();
            text.filter(|text| !text.is_empty()).map(PathBuf::from)
        };
        match pspec.name() {
            "threshold" => s.threshold = value.get().unwrap_or(s.threshold),
            "nms-threshold" => s.nms_threshold = value.get().unwrap_or(s.nms_threshold),
            "sidecar-location" => s.sidecar_location = path(),
            "labels-file" => s.labels_file = path(),
            "inference-interval" => {
                s.inference_interval = value.get().unwrap_or(s.inference_interval);
            }
            "tracking" => s.tracking = value.get().unwrap_or(s.tracking),
            "max-age" => s.max_age = value.get().unwrap_or(s.max_age),
            "post-messages" => s.post_messages = value.get().unwrap_or(s.post_messages),
            name => {
                if !s.inference.set_property(name, value) {
                    gst::error!(CAT, imp = self, "{name} cannot be {value:?}");
                }
            }
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() == "stats" {
            return self.stats().to_value();
        }
        let settings = lock(&self.settings);
        let text = |path: &Option<PathBuf>| {
            let text = path
                .as_ref()
                .map(|path| path.to_string_lossy().into_owned());
            text.to_value()
        };
        match pspec.name() {
            "threshold" => settings.threshold.to_value(),
            "nms-threshold" => settings.nms_threshold.to_value(),
            "sidecar-location" => text(&settings.sidecar_location),
            "labels-file" => text(&settings.labels_file),
            "inference-interval" => settings.inference_interval.to_value(),
            "tracking" => settings.tracking.to_value(),
            "max-age" => settings.max_age.to_value(),
            "post-messages" => settings.post_messages.to_value(),
            name => settings
                .inference
                .property(name)
                .unwrap_or_else(|| pspec.default_value().clone()),
        }
    }
}

impl GstObjectImpl for AiDetect {}

impl ElementImpl for AiDetect {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Object detection",
                "Filter/Analyzer/Video",
                "Finds and follows objects by a YOLOX or D-FINE model, as regions of interest; needs model-location",
                "The gst-aivideo developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = gst_video::VideoCapsBuilder::new()
                .format_list([
                    gst_video::VideoFormat::I420,
                    gst_video::VideoFormat::Nv12,
                    gst_video::VideoFormat::Yv12,
                    gst_video::VideoFormat::Nv21,
                ])
                .build();
            same_pads(&cuda::with_places(&caps, &Place::ALL))
        });
        &TEMPLATES
    }
}

impl AiDetect {
    /// What this answers about frames in a GPU's memory.
    fn offer(&self) -> Offer {
        if let Some(state) = lock(&self.state).as_ref() {
            return Offer::started(
                state.watch.detector().engine().gpu_index(),
                state.device_frames.as_ref(),
            );
        }
        Offer::before_start(lock(&self.settings).inference.gpu())
    }
}

impl BaseTransformImpl for AiDetect {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        let detector = load(&settings).map_err(|error| error.to_error_message())?;
        for warning in detector.engine().warnings() {
            gst::element_imp_warning!(self, gst::ResourceError::Settings, ("{warning}"));
        }
        let device_frames = Frames::of_element(&*self.obj(), detector.engine(), &KERNELS);
        *lock(&self.state) = Some(State {
            watch: Watch::new(detector, settings.max_age),
            device_frames,
            on_device: None,
            info: None,
            picture: Yuv420::new(0, 0),
            frames: 0,
            objects: 0,
            last: 0,
        });
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.state) = None;
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
            .map_err(|_| gst::loggable_error!(CAT, "{incaps} is no raw video"))?;
        let place = self.offer().place(incaps);
        let place = place.map_err(|err| gst::loggable_error!(CAT, "{err}"))?;
        if let Some(state) = lock(&self.state).as_mut() {
            state.on_device = place;
            state.picture = Yuv420::new(info.width() as usize, info.height() as usize);
            state.info = Some(info);
            state.watch.reset();
        }
        Ok(())
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        if event.type_() == gst::EventType::FlushStop
            && let Some(state) = lock(&self.state).as_mut()
        {
            state.watch.reset();
        }
        self.parent_sink_event(event)
    }

    fn transform_ip(
        &self,
        buffer: &mut gst::BufferRef,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let obj = self.obj();
        if buffer.flags().contains(gst::BufferFlags::DISCONT)
            && let Some(state) = lock(&self.state).as_mut()
        {
            state.watch.reset();
        }
        let time = aivideo_core::control::follow(*CAT, &*obj, buffer);
        let detections = self.look(buffer).map_err(|message| {
            self.post_error_message(message);
            gst::FlowError::Error
        })?;
        let size = {
            let guard = lock(&self.state);
            let info = guard.as_ref().and_then(|state| state.info.as_ref());
            info.map(|info| (info.width(), info.height()))
                .ok_or(gst::FlowError::NotNegotiated)?
        };
        for detection in &detections {
            if let Err(error) = detection.attach(buffer, size) {
                gst::warning!(CAT, imp = self, "no meta: {error}");
            }
        }
        if lock(&self.settings).post_messages && !detections.is_empty() {
            let objects = detections.iter().map(|d| {
                let mut object = gst::Structure::builder("object")
                    .field("label", &d.label)
                    .field("confidence", d.confidence.unwrap_or_default())
                    .field("x", d.x)
                    .field("y", d.y)
                    .field("w", d.width)
                    .field("h", d.height)
                    .build();
                if let Some(id) = d.object_id {
                    object.set("object-id", id);
                }
                object
            });
            let mut structure = gst::Structure::builder(OBJECTS)
                .field("objects", gst::Array::new(objects))
                .build();
            if let Some(time) = time {
                structure.set("stream-time", time);
            }
            let message = gst::message::Element::builder(structure).src(&*obj).build();
            let _ = obj.post_message(message);
        }
        Ok(gst::FlowSuccess::Ok)
    }
}
