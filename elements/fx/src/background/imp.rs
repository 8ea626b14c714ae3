// SPDX-License-Identifier: Apache-2.0

use std::sync::{LazyLock, Mutex};

use aivideo_core::{
    cuda::{self, Access, Frames, Offer, Place},
    element::{lock, same_pads},
    settings::InferenceSettings,
};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::subclass::prelude::*;
use gst_video::prelude::*;
use gst_video::subclass::prelude::*;

use super::Normalization;
use super::device::{DeviceBlur, KERNELS};
use super::mask::{Mask, MaskError, Segmenter};
use crate::fxfilter::formats::{FORMATS, colorimetry};
use crate::picture::{Colorimetry, PictureScratch, PixelFormat, RawFrame};
use crate::workers::{Tools, Workers};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "aibackgroundblur",
        gst::DebugColorFlags::empty(),
        Some("Background blur"),
    )
});

#[derive(Clone)]
struct Settings {
    sigma: f64,
    smoothing: f64,
    invert: bool,
    n_threads: u32,
    normalization: Normalization,
    inference: InferenceSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sigma: 12.0,
            smoothing: 0.3,
            invert: false,
            n_threads: 1,
            normalization: Normalization::default(),
            inference: InferenceSettings::default(),
        }
    }
}

/// Formats that are blurred in a GPU's memory.
const DEVICE_FORMATS: [gst_video::VideoFormat; 4] = [
    gst_video::VideoFormat::I420,
    gst_video::VideoFormat::Yv12,
    gst_video::VideoFormat::Nv12,
    gst_video::VideoFormat::Nv21,
];

struct State {
    segmenter: Segmenter,
    /// When the model runs on a GPU and frames may lie there.
    mapper: Option<Frames>,
    /// Of the frames, when they lie there.
    on_device: Option<(Place, gst_video::VideoInfo)>,
    blur: DeviceBlur,
    input: Option<(PixelFormat, usize, usize, Colorimetry)>,
    tools: Tools,
    scratch: PictureScratch,
    before: Option<Mask>,
    frames: u64,
}

#[derive(Default)]
pub struct AiBackgroundBlur {
    settings: Mutex<Settings>,
    state: Mutex<Option<State>>,
}

#[glib::object_subclass]
impl ObjectSubclass for AiBackgroundBlur {
    const NAME: &'static str = "GstAiBackgroundBlur";
    type Type = super::AiBackgroundBlur;
    type ParentType = gst_video::VideoFilter;
}

impl ObjectImpl for AiBackgroundBlur {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let default = Settings::default();
            let mut specs = vec![
                glib::ParamSpecDouble::builder("sigma")
                    .nick("Standard deviation")
                    .blurb("How soft the background gets, in pixels; 0 passes frames through")
                    .minimum(0.0)
                    .maximum(200.0)
                    .default_value(default.sigma)
                    .controllable()
                    .mutable_playing()
                    .build(),
                glib::ParamSpecDouble::builder("smoothing")
                    .nick("Smoothing")
                    .blurb("Share of the mask before that stays with each frame, against flicker")
                    .minimum(0.0)
                    .maximum(0.99)
                    .default_value(default.smoothing)
                    .controllable()
                    .mutable_playing()
                    .build(),
                glib::ParamSpecBoolean::builder("invert")
                    .nick("Invert")
                    .blurb("Blur the foreground and keep the background")
                    .controllable()
                    .mutable_playing()
                    .build(),
                glib::ParamSpecUInt::builder("n-threads")
                    .nick("Threads")
                    .blurb("Threads that blur, 0 for one a core; num-threads is the model's")
                    .maximum(256)
                    .default_value(default.n_threads)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecEnum::builder_with_default("normalization", default.normalization)
                    .nick("Normalization")
                    .blurb("What the model's input holds")
                    .mutable_ready()
                    .build(),
            ];
            specs.extend(InferenceSettings::properties());
            specs
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let mut settings = lock(&self.settings);
        match pspec.name() {
            "sigma" => settings.sigma = value.get().unwrap_or(settings.sigma),
            "smoothing" => settings.smoothing = value.get().unwrap_or(settings.smoothing),
            "invert" => settings.invert = value.get().unwrap_or(settings.invert),
            "n-threads" => settings.n_threads = value.get().unwrap_or(settings.n_threads),
            "normalization" => {
                settings.normalization = value.get().unwrap_or(settings.normalization);
            }
            name => {
                if !settings.inference.set_property(name, value) {
                    gst::error!(CAT, imp = self, "{name} cannot be {value:?}");
                }
            }
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() == "stats" {
            let state = lock(&self.state);
            let stats = match state.as_ref() {
                Some(state) => {
                    let frames = state.frames.to_send_value();
                    let engine = state.segmenter.engine().stats();
                    engine.to_structure(&[("frames", frames)])
                }
                None => gst::Structure::new_empty("aivideo-stats"),
            };
            return stats.to_value();
        }
        let settings = lock(&self.settings);
        match pspec.name() {
            "sigma" => settings.sigma.to_value(),
            "smoothing" => settings.smoothing.to_value(),
            "invert" => settings.invert.to_value(),
            "n-threads" => settings.n_threads.to_value(),
            "normalization" => settings.normalization.to_value(),
            name => settings
                .inference
                .property(name)
                .unwrap_or_else(|| pspec.default_value().clone()),
        }
    }
}

impl GstObjectImpl for AiBackgroundBlur {}

impl ElementImpl for AiBackgroundBlur {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Background blur",
                "Filter/Effect/Video",
                "Blurs what a segmentation model takes for background; needs model-location",
                "The gst-aivideo developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = gst_video::VideoCapsBuilder::new()
                .format_list(FORMATS.map(|(format, _)| format))
                .build();
            let device = gst_video::VideoCapsBuilder::new()
                .format_list(DEVICE_FORMATS)
                .build();
            let mut places = cuda::with_places(&device, &Place::ALL);
            // The host's memory is there already, with more formats.
            places.make_mut().remove_structure(0);
            let mut caps = caps;
            caps.merge(places);
            same_pads(&caps)
        });
        &TEMPLATES
    }
}

impl AiBackgroundBlur {
    /// What this answers about frames in a GPU's memory.
    fn offer(&self) -> Offer {
        if let Some(state) = lock(&self.state).as_ref() {
            return Offer::started(state.segmenter.engine().gpu_index(), state.mapper.as_ref());
        }
        Offer::before_start(lock(&self.settings).inference.gpu())
    }
}

impl BaseTransformImpl for AiBackgroundBlur {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        let segmenter =
            Segmenter::load(&settings.inference, settings.normalization).map_err(|error| {
                match &error {
                    MaskError::Engine(error) => error.to_error_message(),
                    MaskError::NoModel => {
                        gst::error_msg!(gst::ResourceError::Settings, ("{error}"))
                    }
                    MaskError::Model { .. } => {
                        gst::error_msg!(gst::ResourceError::Failed, ("{error}"))
                    }
                }
            })?;
        for warning in segmenter.engine().warnings() {
            gst::element_imp_warning!(self, gst::ResourceError::Settings, ("{warning}"));
        }
        let workers = Workers::new(settings.n_threads as usize).map_err(|error| {
            gst::error_msg!(
                gst::ResourceError::Failed,
                ("Cannot start threads: {error}")
            )
        })?;
        let mapper = Frames::of_element(&*self.obj(), segmenter.engine(), &KERNELS);
        *lock(&self.state) = Some(State {
            segmenter,
            mapper,
            on_device: None,
            blur: DeviceBlur::default(),
            input: None,
            tools: Tools::new(workers),
            scratch: PictureScratch::default(),
            before: None,
            frames: 0,
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

    fn transform_ip(&self, buf: &mut gst::BufferRef) -> Result<gst::FlowSuccess, gst::FlowError> {
        let settings = lock(&self.settings).clone();
        let mut guard = lock(&self.state);
        let Some(state) = guard.as_mut().filter(|state| state.on_device.is_some()) else {
            drop(guard);
            return self.parent_transform_ip(buf);
        };
        let result = state.blur_on_device(buf, &settings);
        state.frames += 1;
        drop(guard);
        result.map(|()| gst::FlowSuccess::Ok).map_err(|error| {
            gst::element_imp_error!(self, gst::StreamError::Failed, ("{error}"));
            gst::FlowError::Error
        })
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        if event.type_() == gst::EventType::FlushStop
            && let Some(state) = lock(&self.state).as_mut()
        {
            state.before = None;
        }
        self.parent_sink_event(event)
    }

    fn before_transform(&self, inbuf: &gst::BufferRef) {
        let obj = self.obj();
        aivideo_core::control::follow(*CAT, &*obj, inbuf);
        let nothing = lock(&self.settings).sigma < 0.1;
        if obj.is_passthrough() != nothing {
            obj.set_passthrough(nothing);
        }
    }
}

impl State {
    /// Blurs a frame in the GPU's memory in place, and waits for it.
    #[allow(unsafe_code)] // the GPU uses the frame's memory
    fn blur_on_device(
        &mut self,
        buffer: &mut gst::BufferRef,
        settings: &Settings,
    ) -> Result<(), String> {
        let (Some(mapper), Some((place, info)), Some((_, _, _, color))) =
            (&mut self.mapper, &self.on_device, self.input)
        else {
            return Err("There is no GPU for frames in its memory".to_string());
        };
        let gpu = mapper.gpu().clone();
        let frame = mapper
            .map(buffer, info, *place, Access::Change)
            .map_err(|error| error.to_string())?;
        let picture = frame
            .yuv(info)
            .ok_or_else(|| format!("frames of {} cannot be blurred", info.format().to_str()))?;
        // SAFETY: the planes are the frame's, which `finish`, or dropping it, waits for; so below.
        let mask = unsafe { self.segmenter.run_on_device(&picture, &color) };
        let mut mask = mask.map_err(|error| error.to_string())?;
        if let Some(before) = &self.before {
            mask.follow(before, settings.smoothing as f32);
        }
        let (sigma, invert) = (settings.sigma as f32, settings.invert);
        // SAFETY: the same.
        unsafe { self.blur.start(&gpu, &picture, &mask, sigma, invert) }
            .map_err(|error| error.to_string())?;
        self.before = Some(mask);
        frame.finish().map_err(|error| error.to_string())
    }
}

impl VideoFilterImpl for AiBackgroundBlur {
    fn set_info(
        &self,
        incaps: &gst::Caps,
        in_info: &gst_video::VideoInfo,
        _outcaps: &gst::Caps,
        _out_info: &gst_video::VideoInfo,
    ) -> Result<(), gst::LoggableError> {
        let format = FORMATS
            .iter()
            .find(|(format, _)| *format == in_info.format())
            .map(|(_, format)| *format)
            .ok_or_else(|| gst::loggable_error!(CAT, "{:?} is not taken", in_info.format()))?;
        let place = self.offer().place(incaps);
        let place = place.map_err(|err| gst::loggable_error!(CAT, "{err}"))?;
        let mut guard = lock(&self.state);
        let Some(state) = guard.as_mut() else {
            return Err(gst::loggable_error!(CAT, "Caps before the start"));
        };
        let (width, height) = (in_info.width() as usize, in_info.height() as usize);
        let color = colorimetry(in_info, format.family());
        state.on_device = place.map(|place| (place, in_info.clone()));
        state.input = Some((format, width, height, color));
        state.before = None;
        Ok(())
    }

    fn transform_frame_ip(
        &self,
        frame: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let settings = lock(&self.settings).clone();
        let mut guard = lock(&self.state);
        let Some(state) = guard.as_mut() else {
            return Err(gst::FlowError::Flushing);
        };
        let Some((format, width, height, color)) = state.input else {
            return Err(gst::FlowError::NotNegotiated);
        };
        let strides: Vec<i32> = frame.plane_stride().to_vec();
        let planes = frame
            .planes_data_mut()
            .into_iter()
            .zip(strides)
            .take(format.plane_count())
            // A negative stride is refused as one that is too short.
            .map(|(data, stride)| (data, usize::try_from(stride).unwrap_or(0)))
            .collect();
        let result = match RawFrame::new(format, width, height, color, planes) {
            Ok(mut raw) => {
                let State {
                    segmenter,
                    tools,
                    scratch,
                    before,
                    ..
                } = state;
                let mut result = Ok(());
                raw.with_picture(scratch, |picture| {
                    result = segmenter.run(picture).map(|mut mask| {
                        if let Some(before) = before {
                            mask.follow(before, settings.smoothing as f32);
                        }
                        mask.blur(picture, settings.sigma as f32, settings.invert, tools);
                        *before = Some(mask);
                    });
                });
                result.map_err(|error| error.to_string())
            }
            Err(error) => Err(format!("Cannot read the frame: {error}")),
        };
        state.frames += 1;
        drop(guard);
        result.map(|()| gst::FlowSuccess::Ok).map_err(|error| {
            gst::element_imp_error!(self, gst::StreamError::Failed, ("{error}"));
            gst::FlowError::Error
        })
    }
}
