// SPDX-License-Identifier: Apache-2.0

use std::sync::{
    LazyLock, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use aivideo_core::{engine::Engine, settings::InferenceSettings};
use glib::prelude::*;
use gst::subclass::prelude::*;
use gst_base::{prelude::*, subclass::prelude::*};
use gst_video::{prelude::*, subclass::prelude::*};

use crate::{
    chroma::Siting,
    operations::{self, EnhanceError, Measurement, Operation, Spare},
    spec::{self, SpecError},
};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "aienhance",
        gst::DebugColorFlags::empty(),
        Some("Trained enhancement operations"),
    )
});

/// Largest side of a picture on either pad.
const MAX_SIDE: i32 = 16384;

#[derive(Debug, Clone, Default, PartialEq)]
struct Settings {
    operations: String,
    inference: InferenceSettings,
}

/// A chain whose nets are loaded.
#[derive(Default)]
struct Chain {
    steps: Vec<Box<dyn Operation>>,
    scale: u32,
}

/// Between `start()` and `stop()`.
struct State {
    chain: Chain,
    /// What the chain was made from, to go back to when a change is refused.
    settings: Settings,
    spare: Spare,
}

/// A chain that waits for the next frame, and what it was made from.
struct Next {
    chain: Chain,
    settings: Settings,
}

/// What `stats` reads; apart from the state, which is locked while a frame is processed.
#[derive(Default)]
struct Report {
    frames: u64,
    engines: Vec<(&'static str, Engine)>,
    measurements: Vec<Measurement>,
}

#[derive(Default)]
pub struct AiEnhance {
    settings: Mutex<Settings>,
    state: Mutex<Option<State>>,
    /// Set by a property change while running, taken at the next frame.
    next: Mutex<Option<Next>>,
    /// Held while properties change, so that changes come one after the other.
    changing: Mutex<()>,
    report: Mutex<Report>,
    /// Scale of the active chain, for caps queries that come while a frame is processed; 0 before
    /// the element has started.
    scale: AtomicU32,
}

/// A panic of another thread leaves plain values behind: they can be used.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a chain cannot be had.
enum Refusal {
    Spec(SpecError),
    Load(EnhanceError),
}

impl Refusal {
    fn to_error_message(&self) -> gst::ErrorMessage {
        match self {
            Self::Spec(error) => {
                gst::error_msg!(gst::ResourceError::Settings, ("operations: {error}"))
            }
            Self::Load(error) => error.to_error_message(),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Spec(error) => error.fmt(f),
            Self::Load(error) => error.fmt(f),
        }
    }
}

impl Chain {
    fn load(settings: &Settings) -> Result<Self, Refusal> {
        let specs = spec::parse(&settings.operations).map_err(Refusal::Spec)?;
        let steps = operations::build_chain(&specs, &settings.inference).map_err(Refusal::Load)?;
        Ok(Self {
            steps,
            scale: spec::total_scale(&specs),
        })
    }

    fn set_siting(&mut self, siting: Siting) {
        for step in &mut self.steps {
            step.set_siting(siting);
        }
    }
}

fn siting_of(info: &gst_video::VideoInfo) -> Siting {
    let site = info.chroma_site();
    // Unknown means the default of the codecs in use, which is left.
    if site.is_empty() || site.contains(gst_video::VideoChromaSite::H_COSITED) {
        Siting::Left
    } else {
        Siting::Centre
    }
}

/// Multiplies (`grow`) or divides the sides of `value` by `scale`; `None` when nothing is left.
fn scale_side(value: &glib::SendValue, scale: i32, grow: bool) -> Option<glib::SendValue> {
    if let Ok(side) = value.get::<i32>() {
        let side = match grow {
            true => side.checked_mul(scale).filter(|s| *s <= MAX_SIDE)?,
            false if side % scale == 0 => side / scale,
            false => return None,
        };
        return (side > 0).then(|| side.to_send_value());
    }
    if let Ok(range) = value.get::<gst::IntRange<i32>>() {
        let (low, high) = if grow {
            (
                range.min().saturating_mul(scale),
                range.max().saturating_mul(scale).min(MAX_SIDE),
            )
        } else {
            // Rounded inwards; the sides in between are multiples again on the other pad.
            (
                range.min() / scale + i32::from(range.min() % scale > 0),
                range.max() / scale,
            )
        };
        let low = low.max(1);
        return match low.cmp(&high) {
            std::cmp::Ordering::Less => {
                // A step would say it exactly when growing, but bases rarely fixate steps well:
                // the plain range is a superset, and fixed caps are exact.
                Some(gst::IntRange::new(low, high).to_send_value())
            }
            std::cmp::Ordering::Equal => Some(low.to_send_value()),
            std::cmp::Ordering::Greater => None,
        };
    }
    if let Ok(list) = value.get::<gst::List>() {
        let sides: Vec<_> = list
            .iter()
            .filter_map(|v| scale_side(v, scale, grow))
            .collect();
        return (!sides.is_empty()).then(|| gst::List::new(sides).to_send_value());
    }
    None
}

/// The caps on the other pad of a chain that enlarges `scale` times.
fn scale_caps(caps: &gst::Caps, scale: i32, grow: bool) -> gst::Caps {
    if scale == 1 {
        return caps.clone();
    }
    let mut out = gst::Caps::new_empty();
    {
        let out = out.make_mut();
        for (structure, features) in caps.iter_with_features() {
            let mut structure = structure.to_owned();
            let fits = ["width", "height"].iter().all(|name| {
                let Ok(value) = structure.value(*name) else {
                    return true; // any size
                };
                match scale_side(value, scale, grow) {
                    Some(value) => {
                        structure.set_value(*name, value);
                        true
                    }
                    None => false,
                }
            });
            if fits {
                out.append_structure_full(structure, Some(features.to_owned()));
            }
        }
    }
    out
}

impl AiEnhance {
    /// Loads a chain after a property changed while running. On failure the old settings stay.
    fn change(&self, settings: Settings) {
        let loaded = Chain::load(&settings);
        match loaded {
            Ok(chain) => {
                self.warn_of(&chain);
                *lock(&self.settings) = settings.clone();
                *lock(&self.next) = Some(Next { chain, settings });
                gst::debug!(CAT, imp = self, "new chain waits for the next frame");
            }
            Err(refusal) => {
                gst::element_imp_warning!(
                    self,
                    gst::ResourceError::Settings,
                    ("the change is refused, the old operations stay: {refusal}")
                );
            }
        }
    }

    /// Says on the bus what a chain could not have as asked, such as the device.
    fn warn_of(&self, chain: &Chain) {
        for step in &chain.steps {
            for warning in step.engine().warnings() {
                gst::element_imp_warning!(
                    self,
                    gst::ResourceError::Settings,
                    ("{}: {warning}", step.name())
                );
            }
        }
    }

    fn report_on(&self, chain: &Chain) {
        let mut report = lock(&self.report);
        report.engines = chain
            .steps
            .iter()
            .map(|step| (step.name(), step.engine().clone()))
            .collect();
        report.measurements.clear();
    }

    /// Makes a waiting chain the active one, between two frames.
    fn adopt_next(&self) {
        let Some(Next {
            chain: mut next,
            settings,
        }) = lock(&self.next).take()
        else {
            return;
        };
        let old_scale = self.scale.load(Ordering::Acquire);
        let obj = self.obj();
        let renegotiate = next.scale != old_scale;
        if renegotiate && let Some(caps) = obj.sink_pad().current_caps() {
            let wanted = scale_caps(&caps, next.scale as i32, true);
            if wanted.is_empty() || !obj.src_pad().peer_query_accept_caps(&wanted) {
                gst::element_imp_warning!(
                    self,
                    gst::ResourceError::Settings,
                    ("the change is refused, the old operations stay: downstream does not accept {wanted}; let it take any size (videoscale, or no fixed caps behind aienhance)")
                );
                let active = lock(&self.state).as_ref().map(|s| s.settings.clone());
                let mut current = lock(&self.settings);
                if let Some(active) = active
                    && *current == settings
                {
                    *current = active;
                }
                return;
            }
        }
        let info = obj
            .sink_pad()
            .current_caps()
            .and_then(|caps| gst_video::VideoInfo::from_caps(&caps).ok());
        if let Some(info) = info {
            next.set_siting(siting_of(&info));
        }
        self.report_on(&next);
        let passthrough = next.steps.is_empty();
        self.scale.store(next.scale, Ordering::Release);
        if let Some(state) = &mut *lock(&self.state) {
            state.chain = next;
            state.settings = settings;
        }
        obj.set_passthrough(passthrough);
        // Also when the size stays: buffers must now be allocated, or need not be any more.
        obj.reconfigure_src();
        gst::info!(CAT, imp = self, "new chain in use");
    }

    fn reset(&self) {
        if let Some(state) = &mut *lock(&self.state) {
            for step in &mut state.chain.steps {
                step.reset();
            }
        }
    }

    fn stats(&self) -> gst::Structure {
        let report = lock(&self.report);
        let mut stats = gst::Structure::builder("aivideo-stats").field("frames", report.frames);
        for (name, value) in &report.measurements {
            stats = stats.field(*name, *value);
        }
        for (name, engine) in &report.engines {
            stats = stats.field(*name, engine.stats().to_structure(&[]));
        }
        stats.build()
    }
}

#[glib::object_subclass]
impl ObjectSubclass for AiEnhance {
    const NAME: &'static str = "GstAiEnhance";
    type Type = super::AiEnhance;
    type ParentType = gst_video::VideoFilter;
}

impl ObjectImpl for AiEnhance {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let mut properties = vec![
                glib::ParamSpecString::builder("operations")
                    .nick("Operations")
                    .blurb("What is done, in this order, as in \"denoise:strength=auto,upscale:factor=2\": denoise (strength=auto|0-55, chroma=auto|0-55, model=file), upscale (factor=2|4, model=file); empty: nothing")
                    .default_value(Some(""))
                    .mutable_playing()
                    .build(),
            ];
            properties.extend(InferenceSettings::properties());
            properties
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let _one_at_a_time = lock(&self.changing);
        let mut settings = lock(&self.settings).clone();
        if pspec.name() == "operations" {
            settings.operations = value
                .get::<Option<String>>()
                .ok()
                .flatten()
                .unwrap_or_default();
        } else if !settings.inference.set_property(pspec.name(), value) {
            return;
        }
        if lock(&self.state).is_some() {
            self.change(settings);
        } else {
            *lock(&self.settings) = settings;
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "operations" => lock(&self.settings).operations.to_value(),
            "stats" => self.stats().to_value(),
            name => lock(&self.settings)
                .inference
                .property(name)
                .unwrap_or_else(|| pspec.default_value().clone()),
        }
    }
}

impl GstObjectImpl for AiEnhance {}

impl ElementImpl for AiEnhance {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Neural video enhancement",
                "Filter/Effect/Converter/Video/Scaler",
                "Denoises and upscales video by trained nets, in the order given",
                "The gst-aivideo developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = gst_video::VideoCapsBuilder::new()
                .format_list([gst_video::VideoFormat::I420, gst_video::VideoFormat::Nv12])
                .width_range(1..=MAX_SIDE)
                .height_range(1..=MAX_SIDE)
                .build();
            [
                ("src", gst::PadDirection::Src),
                ("sink", gst::PadDirection::Sink),
            ]
            .into_iter()
            .filter_map(|(name, direction)| {
                gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps).ok()
            })
            .collect()
        });
        &TEMPLATES
    }
}

impl BaseTransformImpl for AiEnhance {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::NeverInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        let chain = Chain::load(&settings).map_err(|refusal| refusal.to_error_message())?;
        self.warn_of(&chain);
        *lock(&self.report) = Report::default();
        self.report_on(&chain);
        *lock(&self.next) = None;
        self.scale.store(chain.scale, Ordering::Release);
        self.obj().set_passthrough(chain.steps.is_empty());
        gst::info!(CAT, imp = self, "operations: \"{}\"", settings.operations);
        *lock(&self.state) = Some(State {
            chain,
            settings,
            spare: Spare::default(),
        });
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.state) = None;
        *lock(&self.next) = None;
        lock(&self.report).engines.clear();
        self.scale.store(0, Ordering::Release);
        Ok(())
    }

    fn transform_caps(
        &self,
        direction: gst::PadDirection,
        caps: &gst::Caps,
        filter: Option<&gst::Caps>,
    ) -> Option<gst::Caps> {
        let scale = match self.scale.load(Ordering::Acquire) {
            // Not started: what the settings say, so that caps queries are right in READY too.
            0 => spec::parse(&lock(&self.settings).operations)
                .map_or(1, |specs| spec::total_scale(&specs)),
            scale => scale,
        };
        let other = scale_caps(caps, scale as i32, direction == gst::PadDirection::Sink);
        gst::log!(CAT, imp = self, "{direction:?} {caps} -> {other}");
        Some(match filter {
            Some(filter) => filter.intersect_with_mode(&other, gst::CapsIntersectMode::First),
            None => other,
        })
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        if event.type_() == gst::EventType::FlushStop {
            self.reset();
        }
        self.parent_sink_event(event)
    }

    fn submit_input_buffer(
        &self,
        is_discont: bool,
        inbuf: gst::Buffer,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.adopt_next();
        if is_discont {
            self.reset();
        }
        self.parent_submit_input_buffer(is_discont, inbuf)
    }
}

impl VideoFilterImpl for AiEnhance {
    fn set_info(
        &self,
        _incaps: &gst::Caps,
        in_info: &gst_video::VideoInfo,
        outcaps: &gst::Caps,
        out_info: &gst_video::VideoInfo,
    ) -> Result<(), gst::LoggableError> {
        let mut guard = lock(&self.state);
        let Some(state) = &mut *guard else {
            return Err(gst::loggable_error!(CAT, "not started"));
        };
        let scale = state.chain.scale;
        let scaled = |side: u32| side.checked_mul(scale);
        if (scaled(in_info.width()), scaled(in_info.height()))
            != (Some(out_info.width()), Some(out_info.height()))
        {
            return Err(gst::loggable_error!(
                CAT,
                "the operations make {scale} x {}x{}, which is not {outcaps}",
                in_info.width(),
                in_info.height()
            ));
        }
        state.chain.set_siting(siting_of(in_info));
        for step in &mut state.chain.steps {
            step.reset();
        }
        Ok(())
    }

    fn transform_frame(
        &self,
        inframe: &gst_video::VideoFrameRef<&gst::BufferRef>,
        outframe: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut guard = lock(&self.state);
        let state = guard.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
        let State { chain, spare, .. } = state;
        let mut picture = spare.picture(inframe.width() as usize, inframe.height() as usize);
        let mut outcome = picture
            .read_frame(inframe)
            .map_err(|error| gst::error_msg!(gst::StreamError::Format, ("{error}")));
        if outcome.is_ok() {
            let done = chain
                .steps
                .iter_mut()
                .try_fold(picture, |picture, step| step.process(picture, spare));
            outcome = match done {
                Ok(picture) => {
                    let written = picture.write_frame(outframe);
                    spare.give_picture(picture);
                    written.map_err(|error| gst::error_msg!(gst::StreamError::Format, ("{error}")))
                }
                Err(error) => Err(error.to_error_message()),
            };
        }
        let measurements: Vec<Measurement> = chain
            .steps
            .iter()
            .flat_map(|step| step.measurements())
            .collect();
        drop(guard);
        match outcome {
            Ok(()) => {
                let mut report = lock(&self.report);
                report.frames += 1;
                report.measurements = measurements;
                Ok(gst::FlowSuccess::Ok)
            }
            Err(message) => {
                self.post_error_message(message);
                Err(gst::FlowError::Error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    fn scaled(caps: &str, scale: i32, grow: bool) -> String {
        gst::init().expect("GStreamer");
        let caps = gst::Caps::from_str(caps).expect("caps");
        scale_caps(&caps, scale, grow).to_string()
    }

    #[test]
    fn sides_scale_and_the_rest_stays() {
        let out = scaled(
            "video/x-raw, width=(int)640, height=(int)[ 1, 100 ], pixel-aspect-ratio=(fraction)4/3, framerate=(fraction)30/1",
            2,
            true,
        );
        assert!(out.contains("width=(int)1280"), "{out}");
        assert!(out.contains("height=(int)[ 2, 200 ]"), "{out}");
        assert!(out.contains("pixel-aspect-ratio=(fraction)4/3"), "{out}");
        assert!(out.contains("framerate=(fraction)30/1"), "{out}");
    }

    #[test]
    fn only_multiples_come_back() {
        let out = scaled(
            "video/x-raw, width=(int){ 640, 641, 644 }, height=(int)[ 3, 8 ]",
            4,
            false,
        );
        assert!(out.contains("width=(int){ 160, 161 }"), "{out}");
        assert!(out.contains("height=(int)[ 1, 2 ]"), "{out}");
        assert_eq!(
            scaled("video/x-raw, width=(int)641, height=(int)10", 2, false),
            "EMPTY"
        );
        assert_eq!(
            scaled("video/x-raw, width=(int)[ 5, 7 ], height=(int)8", 4, false),
            "EMPTY"
        );
    }

    #[test]
    fn what_would_be_too_large_is_dropped() {
        let too_wide = format!("video/x-raw, width=(int){}, height=(int)10", MAX_SIDE);
        assert_eq!(scaled(&too_wide, 2, true), "EMPTY");
        let out = scaled(
            "video/x-raw, width=(int)[ 1, 2147483647 ], height=(int)1",
            2,
            true,
        );
        assert!(
            out.contains(&format!("width=(int)[ 2, {MAX_SIDE} ]")),
            "{out}"
        );
        // The largest i32 must not overflow on the way back either.
        let out = scaled(
            "video/x-raw, width=(int)[ 1, 2147483647 ], height=(int)2",
            2,
            false,
        );
        assert!(out.contains("1073741823"), "{out}");
    }
}
