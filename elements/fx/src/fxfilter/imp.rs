// SPDX-License-Identifier: Apache-2.0

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard};

use aivideo_core::{
    cuda::{self, Access, Frames, Offer, Place},
    element::same_pads,
};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::subclass::prelude::*;
use gst_video::prelude::*;
use gst_video::subclass::prelude::*;

use super::device::{self, Device};
use super::formats::{FORMATS, colorimetry};
use super::properties;
use crate::card::{CardChain, CardError, Plan};
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
    /// As it was set; `start()` refuses what it does not know.
    device: String,
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
            device: Device::default().to_string(),
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
    /// With what people should know.
    Card(CardChain, Vec<String>),
}

impl Prepared {
    fn is_identity(&self) -> bool {
        match self {
            Self::Eight(chain) => chain.is_identity(),
            Self::Ten(chain) => chain.is_identity(),
            Self::Card(chain, _) => chain.is_identity(),
        }
    }

    fn notes(&self) -> &[String] {
        match self {
            Self::Eight(chain) => chain.notes(),
            Self::Ten(_) => &[],
            Self::Card(_, notes) => notes,
        }
    }
}

/// A chain as tables for pictures of a format, and what people should know of it.
fn plan(
    recipe: &Recipe,
    mix: f64,
    format: Format,
    size: (usize, usize),
    color: Colorimetry,
) -> Result<(Plan, Vec<String>), String> {
    let (width, height) = size;
    let said = |error: CardError| format!("it does not work in a GPU's memory: {error}");
    match format {
        Format::Eight(format) => {
            let chain = Chain::new(&recipe.effects, mix, format, width, height, color);
            let plan = Plan::eight(&chain, format, size).map_err(said)?;
            Ok((plan, chain.notes().to_vec()))
        }
        Format::Ten(format) => {
            let chain = DeepChain::new(&recipe.effects, mix, format, width, height, color)
                .map_err(|error| error.to_string())?;
            Ok((Plan::ten(&chain, format, size).map_err(said)?, Vec::new()))
        }
    }
}

/// Everything that a chain is made of; a new one is made when this changes.
#[derive(Clone, PartialEq)]
struct Recipe {
    effects: Vec<(usize, Values)>,
    mix: u32,
}

struct State {
    renderer: Renderer,
    n_threads: u32,
    input: Option<Input>,
    chain: Option<(Recipe, Prepared)>,
    /// Where frames lie, and their format, when they lie in a GPU's memory.
    place: Option<(Place, gst_video::VideoInfo)>,
    /// What maps them, made when they first come.
    mapper: Option<Frames>,
    /// The GPU that they may lie on, once it was looked for.
    gpu: Option<Result<u32, String>>,
    /// The formats that a chain takes there.
    on_card: Option<(Recipe, Vec<gst_video::VideoFormat>)>,
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
        // A stream of ten bits cannot become one of eight from here, nor leave a GPU's memory.
        let (input, on_card) = match self.state().as_ref() {
            Some(state) => (state.input, state.place.is_some()),
            None => (None, false),
        };
        let ten = matches!(input, Some(input) if matches!(input.format, Format::Ten(_)));
        let mut settings = self.settings();
        let refusal = match (&items, input.filter(|_| on_card)) {
            (Ok(items), Some(input)) => {
                let recipe = Recipe {
                    effects: chain::resolve(items, &settings.defaults),
                    mix: chain::mix_steps(settings.mix),
                };
                let size = (input.width, input.height);
                plan(&recipe, settings.mix, input.format, size, input.color).err()
            }
            (Err(error), _) => Some(error.to_string()),
            (Ok(items), None) if ten => deep::check(&chain::resolve(items, &settings.defaults))
                .err()
                .map(|error| error.to_string()),
            (Ok(_), None) => None,
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
            let on_card = state.place.as_ref().and(state.mapper.as_ref());
            let chain =
                match (format, on_card) {
                    (_, Some(frames)) => plan(&recipe, mix, format, (width, height), color)
                        .and_then(|(plan, notes)| match plan.upload(frames.gpu()) {
                            Ok(chain) => Ok(Prepared::Card(chain, notes)),
                            Err(error) => Err(error.to_string()),
                        }),
                    (Format::Eight(format), None) => Ok(Prepared::Eight(Chain::new(
                        &recipe.effects,
                        mix,
                        format,
                        width,
                        height,
                        color,
                    ))),
                    (Format::Ten(format), None) => {
                        DeepChain::new(&recipe.effects, mix, format, width, height, color)
                            .map(Prepared::Ten)
                            .map_err(|error| error.to_string())
                    }
                };
            let chain = match chain {
                Ok(chain) => chain,
                // A property made an effect one that takes eight bits, or the host's memory, only: what
                // was, stays.
                Err(error) => {
                    let identity = state.chain.as_ref().is_none_or(|(_, c)| c.is_identity());
                    let news = vec![error.clone()];
                    let told = std::mem::replace(&mut state.notes, news) == [error.as_str()];
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

impl FxFilter {
    /// The formats of frames in a GPU's memory that the chain takes; `None` before the start, when it is
    /// not known.
    fn formats_on_card(&self) -> Option<Vec<gst_video::VideoFormat>> {
        let (recipe, mix, device) = {
            let settings = self.settings();
            let items = settings.items.as_deref().unwrap_or_default();
            let recipe = Recipe {
                effects: chain::resolve(items, &settings.defaults),
                mix: chain::mix_steps(settings.mix),
            };
            (recipe, settings.mix, settings.device.parse::<Device>())
        };
        let mut guard = self.state();
        let state = guard.as_mut()?;
        if let Some((known, formats)) = &state.on_card
            && *known == recipe
        {
            return Some(formats.clone());
        }
        let of_eight = FORMATS.map(|(format, own)| (format, Format::Eight(own)));
        let of_ten = DEEP_FORMATS.map(|(format, own)| (format, Format::Ten(own)));
        let mut refusal = None;
        let mut formats = Vec::new();
        // Whatever the size, the kinds of effects are the same.
        const SMALL: (usize, usize) = (16, 16);
        for (format, own) in of_eight.into_iter().chain(of_ten) {
            match plan(&recipe, mix, own, SMALL, Colorimetry::BT709) {
                Ok(_) => formats.push(format),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        if !formats.is_empty() {
            let gpu = state
                .gpu
                .get_or_insert_with(|| device.clone().and_then(Device::index));
            if let Err(error) = gpu {
                refusal = Some(error.clone());
                formats.clear();
            }
        }
        if let Some(refusal) = refusal.filter(|_| formats.is_empty()) {
            // Who names a GPU wants to know.
            match matches!(device, Ok(Device::Cuda(_))) {
                true => gst::warning!(
                    CAT,
                    imp = self,
                    "Frames in a GPU's memory are not taken: {refusal}"
                ),
                false => gst::info!(
                    CAT,
                    imp = self,
                    "Frames in a GPU's memory are not taken: {refusal}"
                ),
            }
        }
        state.on_card = Some((recipe, formats.clone()));
        Some(formats)
    }

    /// Caps without the frames in a GPU's memory that the chain does not take.
    fn possible(&self, caps: &gst::Caps) -> gst::Caps {
        let place = |features: &gst::CapsFeaturesRef| {
            Place::ALL
                .into_iter()
                .find(|place| features.contains(place.feature()))
        };
        let asked = caps.iter_with_features().any(|(_, f)| place(f).is_some());
        let Some(formats) = asked.then(|| self.formats_on_card()).flatten() else {
            return caps.clone();
        };
        let mut rest = gst::Caps::new_empty();
        for (structure, features) in caps.iter_with_features() {
            let one = gst::Caps::builder_full()
                .structure_with_features(structure.to_owned(), features.to_owned())
                .build();
            let Some(place) = place(features) else {
                rest.merge(one);
                continue;
            };
            if !formats.is_empty() {
                let mine = gst_video::VideoCapsBuilder::new()
                    .features([place.feature()])
                    .format_list(formats.iter().copied())
                    .build();
                rest.merge(one.intersect_with_mode(&mine, gst::CapsIntersectMode::First));
            }
        }
        rest
    }

    /// The GPU that others may be told of.
    fn gpu(&self) -> Option<u32> {
        match self.formats_on_card() {
            None => match self.settings().device.parse() {
                Ok(Device::Cuda(index)) => Some(index),
                _ => None,
            },
            Some(formats) if formats.is_empty() => None,
            Some(_) => self.state().as_ref()?.gpu.as_ref()?.as_ref().ok().copied(),
        }
    }
}

impl State {
    /// Changes a frame in a GPU's memory, and waits for it.
    #[allow(unsafe_code)] // the GPU uses the frame's memory
    fn run_on_card(&mut self, buffer: &mut gst::BufferRef) -> Result<(), String> {
        let (Some((place, info)), Some(frames)) = (&self.place, &mut self.mapper) else {
            return Err("There is no GPU for frames in its memory".to_string());
        };
        let Some((_, Prepared::Card(chain, _))) = &self.chain else {
            return Err("The effects are not prepared for a GPU".to_string());
        };
        let gpu = frames.gpu().clone();
        let frame = frames
            .map(buffer, info, *place, Access::Change)
            .map_err(|error| error.to_string())?;
        // SAFETY: the planes are the frame's, which `finish`, or dropping it, waits for.
        unsafe { chain.start(&gpu, frame.planes()) }.map_err(|error| error.to_string())?;
        frame.finish().map_err(|error| error.to_string())
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
            specs.push(
                glib::ParamSpecString::builder("device")
                    .nick("Device")
                    .blurb(
                        "Where frames in a GPU's memory may lie: auto (the first GPU, where there is one), \
                         cuda, cuda:<number>, or cpu for none",
                    )
                    .default_value(Some("auto"))
                    .mutable_ready()
                    .build(),
            );
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
            "device" => {
                let text = value.get::<Option<String>>().ok().flatten();
                self.settings().device = text.unwrap_or_else(|| Device::default().to_string());
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
            "device" => settings.device.to_value(),
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
            same_pads(&cuda::with_places(&caps, &Place::ALL))
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
        if let Err(error) = settings.device.parse::<Device>() {
            return Err(gst::error_msg!(gst::ResourceError::Settings, ("{error}")));
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
            place: None,
            mapper: None,
            gpu: None,
            on_card: None,
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
        let mut caps = self.possible(caps);
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

    fn query(&self, direction: gst::PadDirection, query: &mut gst::QueryRef) -> bool {
        let context = matches!(query.view(), gst::QueryView::Context(_));
        context && Offer::before_start(self.gpu()).answer(&*self.obj(), query)
            || BaseTransformImplExt::parent_query(self, direction, query)
    }

    fn propose_allocation(
        &self,
        decide_query: Option<&gst::query::Allocation>,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        let answered = self.parent_propose_allocation(decide_query, query);
        let guard = self.state();
        let frames = guard.as_ref().and_then(|state| state.mapper.as_ref());
        let offer = Offer::started(None, frames);
        drop(guard);
        offer.propose(query, answered)
    }

    fn transform_ip(&self, buf: &mut gst::BufferRef) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut guard = self.state();
        let Some(state) = guard.as_mut().filter(|state| state.place.is_some()) else {
            drop(guard);
            return self.parent_transform_ip(buf);
        };
        let result = state.run_on_card(buf);
        drop(guard);
        result.map(|()| gst::FlowSuccess::Ok).map_err(|error| {
            gst::element_imp_error!(
                self,
                gst::StreamError::Failed,
                ("Cannot change the frame in the GPU's memory: {error}")
            );
            gst::FlowError::Error
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
        incaps: &gst::Caps,
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
        let place = Place::of(incaps);
        let gpu = place.and_then(|_| self.gpu());
        let mut guard = self.state();
        let Some(state) = guard.as_mut() else {
            return Err(gst::loggable_error!(CAT, "Caps before the start"));
        };
        if let Some(place) = place {
            let refused = |reason: String| {
                gst::loggable_error!(
                    CAT,
                    "Frames in a GPU's memory cannot be taken: {reason}; put cudadownload or \
                     nvvideoconvert before this element"
                )
            };
            if state.mapper.is_none() {
                let index = gpu.ok_or_else(|| {
                    refused("the effects, or this machine, do not allow it, see the log".into())
                })?;
                state.mapper = Some(device::frames(&*self.obj(), index).map_err(refused)?);
            }
            if !state
                .mapper
                .as_ref()
                .is_some_and(|frames| frames.takes(place))
            {
                return Err(refused("GStreamer's CUDA library cannot be used".into()));
            }
        }
        state.place = place.map(|place| (place, in_info.clone()));
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
