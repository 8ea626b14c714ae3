// SPDX-License-Identifier: Apache-2.0

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard};

use aivideo_core::element::same_pads;
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::subclass::prelude::*;
use gst_video::prelude::*;
use gst_video::subclass::prelude::*;

use super::formats::{FORMATS, colorimetry};
use super::properties;
use crate::chain::{self, Chain, Defaults, Renderer};
use crate::cube::CubeError;
use crate::deep::{self, DeepChain, DeepFormat};
use crate::params::{Value, Values};
use crate::parse::{self, Item, ParseError};
use crate::pass::Moment;
use crate::picture::{Colorimetry, Family, PixelFormat, RawFrame};
use crate::registry::{self, EFFECTS};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "fxfilter",
        gst::DebugColorFlags::empty(),
        Some("Video effects"),
    )
});

/// Those of ten bits.
const DEEP_FORMATS: [(gst_video::VideoFormat, DeepFormat); 2] = [
    (gst_video::VideoFormat::P01010le, DeepFormat::P010le),
    (gst_video::VideoFormat::I42010le, DeepFormat::I42010le),
];

const DEFAULT_MIX: f64 = 1.0;
const DEFAULT_THREADS: u32 = 1;
const MAX_THREADS: u32 = 256;

struct Settings {
    /// As it was set; one that cannot be read is kept until `start()` refuses it.
    effects: String,
    items: Result<Vec<Item>, ParseError>,
    /// Files that properties name and that could not be read, until `start()` refuses them.
    unread: HashMap<String, CubeError>,
    mix: f64,
    seed: u32,
    n_threads: u32,
    /// The properties of effects.
    defaults: Defaults,
    /// Between `start()` and `stop()`: a chain that cannot be read is not taken any more.
    started: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            effects: String::new(),
            items: Ok(Vec::new()),
            unread: HashMap::new(),
            mix: DEFAULT_MIX,
            seed: 0,
            n_threads: DEFAULT_THREADS,
            defaults: chain::registry_defaults(),
            started: false,
        }
    }
}

/// What the pictures of the current caps are.
#[derive(Clone, Copy)]
struct Input {
    format: Format,
    width: usize,
    height: usize,
    color: Colorimetry,
    /// Nanoseconds from frame to frame, for streams without time stamps.
    duration: u64,
}

#[derive(Clone, Copy)]
enum Format {
    Eight(PixelFormat),
    Ten(DeepFormat),
}

/// A chain for the current caps.
enum Prepared {
    Eight(Chain),
    Ten(DeepChain),
}

impl Prepared {
    fn is_identity(&self) -> bool {
        match self {
            Self::Eight(chain) => chain.is_identity(),
            Self::Ten(chain) => chain.is_identity(),
        }
    }

    fn notes(&self) -> &[String] {
        match self {
            Self::Eight(chain) => chain.notes(),
            Self::Ten(_) => &[],
        }
    }
}

/// Everything that a chain is made of; a new one is made when this changes.
#[derive(PartialEq)]
struct Recipe {
    effects: Vec<(usize, Values)>,
    mix: u32,
}

struct State {
    renderer: Renderer,
    n_threads: u32,
    input: Option<Input>,
    chain: Option<(Recipe, Prepared)>,
    /// Notes of effects that were posted.
    notes: Vec<String>,
    moment: Moment,
    /// Frames since the start, for streams without time stamps.
    frames: u64,
}

#[derive(Default)]
pub struct FxFilter {
    settings: Mutex<Settings>,
    state: Mutex<Option<State>>,
}

#[glib::object_subclass]
impl ObjectSubclass for FxFilter {
    const NAME: &'static str = "GstFxFilter";
    type Type = super::FxFilter;
    type ParentType = gst_video::VideoFilter;
    type Interfaces = (gst::Preset,);
}

impl FxFilter {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn state(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn set_effects(&self, text: String) {
        let items = parse::parse(&text).and_then(|mut items| {
            parse::load(&mut items)?;
            Ok(items)
        });
        // A stream of ten bits cannot become one of eight from here.
        let ten = {
            let state = self.state();
            let input = state.as_ref().and_then(|state| state.input);
            matches!(input, Some(input) if matches!(input.format, Format::Ten(_)))
        };
        let mut settings = self.settings();
        let refusal = match &items {
            Err(error) => Some(error.to_string()),
            Ok(items) if ten => deep::check(&chain::resolve(items, &settings.defaults))
                .err()
                .map(|error| error.to_string()),
            Ok(_) => None,
        };
        if let (true, Some(error)) = (settings.started, refusal) {
            let kept = settings.effects.clone();
            drop(settings);
            gst::element_imp_warning!(
                self,
                gst::ResourceError::Settings,
                ("Cannot use effects=\"{text}\": {error}"),
                ["The chain \"{kept}\" stays in place"]
            );
            return;
        }
        settings.effects = text;
        settings.items = items;
    }

    /// Sets the property of an effect. A file that cannot be read while playing is refused, before
    /// it stops the element from starting.
    fn set_parameter(&self, property: &str, effect: usize, index: usize, mut value: Value) {
        let mut failed = None;
        if let Value::File(file) = &mut value {
            failed = file.load().err();
        }
        let mut settings = self.settings();
        if let (true, Some(error)) = (settings.started, &failed) {
            drop(settings);
            gst::element_imp_warning!(
                self,
                gst::ResourceError::Settings,
                ("Cannot use {property}: {error}"),
                ["The old file stays in place"]
            );
            return;
        }
        match failed {
            Some(error) => settings.unread.insert(property.to_string(), error),
            None => settings.unread.remove(property),
        };
        settings.defaults[effect].set(index, value);
    }

    /// Takes the settings into the frame that comes next, and says whether it stays as it is.
    fn prepare(&self, time: Option<u64>) -> bool {
        let settings = self.settings();
        let Ok(items) = &settings.items else {
            // `start()` refuses this, and it cannot be set later.
            return true;
        };
        let recipe = Recipe {
            effects: chain::resolve(items, &settings.defaults),
            mix: chain::mix_steps(settings.mix),
        };
        let (mix, seed, n_threads) = (settings.mix, settings.seed, settings.n_threads);
        drop(settings);

        let mut guard = self.state();
        let Some(state) = guard.as_mut() else {
            return true;
        };
        let Some(input) = state.input else {
            return true;
        };
        let time = time.unwrap_or_else(|| state.frames.saturating_mul(input.duration));
        state.frames += 1;
        state.moment = Moment {
            time,
            seed: u64::from(seed),
        };
        let mut warning = None;
        let mut notes = Vec::new();
        if state.n_threads != n_threads {
            match Renderer::new(n_threads as usize) {
                Ok(renderer) => state.renderer = renderer,
                Err(error) => warning = Some(error.to_string()),
            }
            // Not tried again with each frame.
            state.n_threads = n_threads;
        }
        if state
            .chain
            .as_ref()
            .is_none_or(|(known, _)| *known != recipe)
        {
            let Input {
                format,
                width,
                height,
                color,
                ..
            } = input;
            let chain = match format {
                Format::Eight(format) => Ok(Prepared::Eight(Chain::new(
                    &recipe.effects,
                    mix,
                    format,
                    width,
                    height,
                    color,
                ))),
                Format::Ten(format) => {
                    DeepChain::new(&recipe.effects, mix, format, width, height, color)
                        .map(Prepared::Ten)
                }
            };
            let chain = match chain {
                Ok(chain) => chain,
                // A property made an effect one that takes eight bits only: what was, stays.
                Err(error) => {
                    let identity = state.chain.as_ref().is_none_or(|(_, c)| c.is_identity());
                    let news = vec![error.to_string()];
                    let told = std::mem::replace(&mut state.notes, news) == [error.to_string()];
                    drop(guard);
                    if !told {
                        gst::element_imp_warning!(
                            self,
                            gst::ResourceError::Settings,
                            ("{error}"),
                            ["The effects stay as they were"]
                        );
                    }
                    return identity;
                }
            };
            gst::debug!(
                CAT,
                imp = self,
                "New chain: {:?}, mix {}/256, identity: {}",
                recipe
                    .effects
                    .iter()
                    .map(|(e, v)| (EFFECTS[*e].name, v))
                    .collect::<Vec<_>>(),
                recipe.mix,
                chain.is_identity()
            );
            // An effect that does nothing says so once, not with each parameter that moves.
            let news: Vec<_> = chain.notes().to_vec();
            if news != state.notes {
                notes = news.clone();
                state.notes = news;
            }
            if chain.is_identity() {
                state.renderer.forget();
            }
            state.chain = Some((recipe, chain));
        }
        let identity = state
            .chain
            .as_ref()
            .is_none_or(|(_, chain)| chain.is_identity());
        drop(guard);
        for note in notes {
            gst::element_imp_warning!(self, gst::StreamError::Format, ("{note}"));
        }
        if let Some(error) = warning {
            gst::element_imp_warning!(
                self,
                gst::ResourceError::Failed,
                ("Cannot start {n_threads} threads: {error}"),
                ["The number of threads stays as it was"]
            );
        }
        identity
    }
}

impl ObjectImpl for FxFilter {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let effects = format!(
                "The chain: effect:parameter=value,… or a JSON array; empty passes frames \
                 through. Effects: {}",
                registry::names()
            );
            let mut specs = vec![
                glib::ParamSpecString::builder("effects")
                    .nick("Effects")
                    .blurb(&effects)
                    .default_value(Some(""))
                    .mutable_playing()
                    .build(),
                glib::ParamSpecDouble::builder("mix")
                    .nick("Mix")
                    .blurb("Share of the effects in the result: 0 is the input, 1 the chain alone")
                    .minimum(0.0)
                    .maximum(1.0)
                    .default_value(DEFAULT_MIX)
                    .controllable()
                    .mutable_playing()
                    .build(),
                glib::ParamSpecUInt::builder("seed")
                    .nick("Seed")
                    .blurb("Seed of random effects; the same seed and times give the same frames")
                    .controllable()
                    .mutable_playing()
                    .build(),
                glib::ParamSpecUInt::builder("n-threads")
                    .nick("Threads")
                    .blurb("Threads that share the rows of a frame, 0 for one a core")
                    .maximum(MAX_THREADS)
                    .default_value(DEFAULT_THREADS)
                    .mutable_playing()
                    .build(),
            ];
            specs.extend(properties::specs());
            specs
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let name = pspec.name();
        match name {
            "effects" => {
                // NULL is the empty chain.
                let text = value.get::<Option<String>>().ok().flatten();
                self.set_effects(text.unwrap_or_default());
            }
            "mix" => {
                if let Ok(mix) = value.get() {
                    self.settings().mix = mix;
                }
            }
            "seed" => {
                if let Ok(seed) = value.get() {
                    self.settings().seed = seed;
                }
            }
            "n-threads" => {
                if let Ok(n_threads) = value.get() {
                    self.settings().n_threads = n_threads;
                }
            }
            name => {
                let Some((effect, index)) = properties::place(name) else {
                    gst::error!(CAT, imp = self, "No property {name}");
                    return;
                };
                let param = &EFFECTS[effect].params[index];
                match properties::from_glib_value(param, value) {
                    Some(value) => self.set_parameter(name, effect, index, value),
                    None => gst::error!(CAT, imp = self, "{name} cannot be {value:?}"),
                }
            }
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        let settings = self.settings();
        match pspec.name() {
            "effects" => settings.effects.to_value(),
            "mix" => settings.mix.to_value(),
            "seed" => settings.seed.to_value(),
            "n-threads" => settings.n_threads.to_value(),
            name => match properties::place(name) {
                Some((effect, index)) => {
                    properties::to_glib_value(settings.defaults[effect].at(index), pspec)
                }
                None => pspec.default_value().clone(),
            },
        }
    }
}

impl GstObjectImpl for FxFilter {}
impl PresetImpl for FxFilter {}

impl ElementImpl for FxFilter {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Video effects",
                "Filter/Effect/Video",
                "Runs a chain of effects, as in \
                 effects=\"posterize:num-levels=8,vignette:amount=0.8\"",
                "The gst-aivideo developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = gst_video::VideoCapsBuilder::new()
                .format_list(
                    FORMATS
                        .map(|(format, _)| format)
                        .into_iter()
                        .chain(DEEP_FORMATS.map(|(format, _)| format)),
                )
                .build();
            same_pads(&caps)
        });
        &TEMPLATES
    }
}

impl BaseTransformImpl for FxFilter {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let mut settings = self.settings();
        if let Err(error) = &settings.items {
            return Err(gst::error_msg!(
                gst::ResourceError::Settings,
                ("Cannot use effects=\"{}\": {error}", settings.effects)
            ));
        }
        if let Some((property, error)) = settings.unread.iter().next() {
            return Err(gst::error_msg!(
                gst::ResourceError::Settings,
                ("Cannot use {property}: {error}")
            ));
        }
        let n_threads = settings.n_threads;
        let renderer = Renderer::new(n_threads as usize).map_err(|error| {
            gst::error_msg!(
                gst::ResourceError::Failed,
                ("Cannot start n-threads={n_threads} threads: {error}")
            )
        })?;
        settings.started = true;
        drop(settings);
        *self.state() = Some(State {
            renderer,
            n_threads,
            input: None,
            chain: None,
            notes: Vec::new(),
            moment: Moment::default(),
            frames: 0,
        });
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        self.settings().started = false;
        *self.state() = None;
        Ok(())
    }

    fn transform_caps(
        &self,
        _direction: gst::PadDirection,
        caps: &gst::Caps,
        filter: Option<&gst::Caps>,
    ) -> Option<gst::Caps> {
        // Ten bits are offered only where the whole chain takes them, so that a converter before
        // the element knows what to do.
        let refusal = {
            let settings = self.settings();
            let items = settings.items.as_deref().unwrap_or_default();
            deep::check(&chain::resolve(items, &settings.defaults)).err()
        };
        let mut caps = caps.clone();
        if let Some(error) = refusal {
            let eight = gst_video::VideoCapsBuilder::new()
                .format_list(FORMATS.map(|(format, _)| format))
                .any_features()
                .build();
            let fewer = caps.intersect_with_mode(&eight, gst::CapsIntersectMode::First);
            if fewer.is_empty() && caps.is_fixed() {
                gst::element_imp_error!(self, gst::StreamError::Format, ("{error}"));
            }
            caps = fewer;
        }
        Some(match filter {
            Some(filter) => filter.intersect_with_mode(&caps, gst::CapsIntersectMode::First),
            None => caps,
        })
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        // What effects remember of earlier frames ends with a jump.
        if event.type_() == gst::EventType::FlushStop
            && let Some(state) = self.state().as_mut()
        {
            state.renderer.forget();
        }
        self.parent_sink_event(event)
    }

    fn before_transform(&self, inbuf: &gst::BufferRef) {
        let obj = self.obj();
        let time = inbuf
            .pts()
            .and_then(|pts| match obj.segment().downcast::<gst::ClockTime>() {
                Ok(segment) => segment.to_stream_time(pts),
                Err(_) => None,
            });
        if let Some(time) = time
            && let Err(error) = obj.sync_values(time)
        {
            gst::warning!(CAT, imp = self, "Cannot follow the controllers: {error}");
        }
        // Before the base class decides whether it needs the frame to be writable.
        let identity = self.prepare(time.map(gst::ClockTime::nseconds));
        if obj.is_passthrough() != identity {
            obj.set_passthrough(identity);
        }
    }
}

impl VideoFilterImpl for FxFilter {
    fn set_info(
        &self,
        _incaps: &gst::Caps,
        in_info: &gst_video::VideoInfo,
        _outcaps: &gst::Caps,
        _out_info: &gst_video::VideoInfo,
    ) -> Result<(), gst::LoggableError> {
        let of_eight = FORMATS.iter().find(|(f, _)| *f == in_info.format());
        let of_ten = DEEP_FORMATS.iter().find(|(f, _)| *f == in_info.format());
        let format = of_eight
            .map(|(_, format)| Format::Eight(*format))
            .or(of_ten.map(|(_, format)| Format::Ten(*format)))
            .ok_or_else(|| gst::loggable_error!(CAT, "{:?} is not taken", in_info.format()))?;
        let fps = in_info.fps();
        let duration = if fps.numer() > 0 {
            1_000_000_000u64.saturating_mul(fps.denom().max(1) as u64) / fps.numer() as u64
        } else {
            40_000_000
        };
        let mut guard = self.state();
        let Some(state) = guard.as_mut() else {
            return Err(gst::loggable_error!(CAT, "Caps before the start"));
        };
        state.input = Some(Input {
            format,
            width: in_info.width() as usize,
            height: in_info.height() as usize,
            color: colorimetry(
                in_info,
                match format {
                    Format::Eight(format) => format.family(),
                    Format::Ten(_) => Family::Yuv,
                },
            ),
            duration,
        });
        state.chain = None;
        Ok(())
    }

    fn transform_frame_ip(
        &self,
        frame: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut guard = self.state();
        let Some(state) = guard.as_mut() else {
            return Err(gst::FlowError::Flushing);
        };
        let (Some(input), Some((_, chain))) = (state.input, state.chain.as_ref()) else {
            return Err(gst::FlowError::NotNegotiated);
        };
        let strides: Vec<i32> = frame.plane_stride().to_vec();
        let planes = frame
            .planes_data_mut()
            .into_iter()
            .zip(strides)
            .take(match input.format {
                Format::Eight(format) => format.plane_count(),
                Format::Ten(format) => format.plane_count(),
            })
            // A negative stride is refused as one that is too short.
            .map(|(data, stride)| (data, usize::try_from(stride).unwrap_or(0)))
            .collect();
        let result = match (input.format, chain) {
            (Format::Eight(format), Prepared::Eight(chain)) => {
                RawFrame::new(format, input.width, input.height, input.color, planes)
                    .map(|frame| chain.run(frame, &state.moment, &mut state.renderer))
                    .map_err(|error| error.to_string())
            }
            (Format::Ten(_), Prepared::Ten(chain)) => chain
                .run(planes, state.renderer.workers())
                .map_err(|error| error.to_string()),
            _ => return Err(gst::FlowError::NotNegotiated),
        };
        match result {
            Ok(()) => Ok(gst::FlowSuccess::Ok),
            Err(error) => {
                drop(guard);
                gst::element_imp_error!(
                    self,
                    gst::StreamError::Format,
                    ("Cannot read the frame: {error}")
                );
                Err(gst::FlowError::Error)
            }
        }
    }
}
