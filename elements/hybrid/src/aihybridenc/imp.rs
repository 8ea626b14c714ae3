// SPDX-License-Identifier: Apache-2.0

use std::sync::{Arc, LazyLock, Mutex};

use aivideo_core::{element::lock, pixels::PlaneRef};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_video::prelude::*;

use super::base::{Encoder, Goals, candidates};
use super::{Base, Latency, Scale, scale, svtav1};
use crate::carriage;
use crate::hint::Hint;
use crate::restore;

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "aihybridenc",
        gst::DebugColorFlags::empty(),
        Some("Hybrid encoder"),
    )
});

#[derive(Clone, Copy)]
struct Settings {
    base: Base,
    latency: Latency,
    scale: Scale,
    bitrate: u32,
    quality: f64,
    key_int_max: u32,
    hints: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            base: Base::Auto,
            latency: Latency::Balanced,
            scale: Scale::Full,
            bitrate: 0,
            quality: 45.0,
            key_int_max: 250,
            hints: true,
        }
    }
}

impl Settings {
    fn goals(&self) -> Goals {
        Goals {
            latency: self.latency,
            bitrate: self.bitrate,
            quality: self.quality,
            key_int_max: self.key_int_max,
        }
    }
}

/// Mean difference of thumbnails from which on two frames belong to two scenes.
const CUT: u32 = 24;

/// What flows in, as the probes see it.
#[derive(Default)]
struct Stream {
    info: Option<gst_video::VideoInfo>,
    /// Chosen for the scene, where it is to be found out.
    scale: Option<Scale>,
    /// A small copy of the luma before, to see cuts.
    thumbnail: Vec<u8>,
    /// Standard deviation of the scene's noise, where it can be told.
    noise: Option<f64>,
    /// Coded sizes and those that they are shown at, the latest first: encoders keep frames back,
    /// so that what comes out may be of caps that are gone.
    shown: Vec<[(u32, u32); 2]>,
}

/// What is inside while the element is READY or above.
struct Inside {
    encoder: &'static Encoder,
    element: gst::Element,
    elements: Vec<gst::Element>,
    /// Where the encoder takes no new one by itself.
    bitrate: Option<svtav1::Bitrate>,
    /// Dropped when the encoder is gone.
    _place: Option<svtav1::Place>,
}

#[derive(Default)]
pub struct AiHybridEnc {
    settings: Arc<Mutex<Settings>>,
    inside: Mutex<Option<Inside>>,
}

#[glib::object_subclass]
impl ObjectSubclass for AiHybridEnc {
    const NAME: &'static str = "GstAiHybridEnc";
    type Type = super::AiHybridEnc;
    type ParentType = gst::Bin;
}

impl ObjectImpl for AiHybridEnc {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let default = Settings::default();
            vec![
                glib::ParamSpecEnum::builder_with_default("base", default.base)
                    .nick("Base")
                    .blurb("The standard of the stream")
                    .mutable_ready()
                    .build(),
                glib::ParamSpecEnum::builder_with_default("latency", default.latency)
                    .nick("Latency")
                    .blurb("Delay against bits")
                    .mutable_ready()
                    .build(),
                glib::ParamSpecEnum::builder_with_default("scale", default.scale)
                    .nick("Scale")
                    .blurb(
                        "The size that is coded; the decoder shows the full one. auto may change it \
                         at cuts, which transports take and files mostly do not",
                    )
                    .mutable_ready()
                    .build(),
                glib::ParamSpecUInt::builder("bitrate")
                    .nick("Bitrate")
                    .blurb("Bitrate in kbit/s; 0 for constant quality")
                    .maximum(1_000_000)
                    .default_value(default.bitrate)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecDouble::builder("quality")
                    .nick("Quality")
                    .blurb(
                        "Constant quality when there is no bitrate: the CRF is (1 - quality / 100) \
                         of the largest, 63 for AV1 and 51 for the others",
                    )
                    .minimum(0.0)
                    .maximum(100.0)
                    .default_value(default.quality)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecUInt::builder("key-int-max")
                    .nick("Key frame interval")
                    .blurb("Most frames from a key frame to the next")
                    .minimum(1)
                    .maximum(10_000)
                    .default_value(default.key_int_max)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecBoolean::builder("hints")
                    .nick("Hints")
                    .blurb("Put hints for the restorer into the stream, where others skip them")
                    .default_value(default.hints)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecString::builder("encoder")
                    .nick("Encoder")
                    .blurb("The element that encodes, once it is chosen")
                    .read_only()
                    .build(),
            ]
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let mut settings = lock(&self.settings);
        match pspec.name() {
            "base" => settings.base = value.get().unwrap_or(settings.base),
            "latency" => settings.latency = value.get().unwrap_or(settings.latency),
            "scale" => settings.scale = value.get().unwrap_or(settings.scale),
            "bitrate" => {
                settings.bitrate = value.get().unwrap_or(settings.bitrate);
                let goals = settings.goals();
                drop(settings);
                self.change_bitrate(&goals);
            }
            "quality" => settings.quality = value.get().unwrap_or(settings.quality),
            "key-int-max" => settings.key_int_max = value.get().unwrap_or(settings.key_int_max),
            "hints" => settings.hints = value.get().unwrap_or(settings.hints),
            name => gst::error!(CAT, imp = self, "there is no property {name}"),
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() == "encoder" {
            let inside = lock(&self.inside);
            return inside
                .as_ref()
                .map(|inside| inside.encoder.factory)
                .to_value();
        }
        let settings = lock(&self.settings);
        match pspec.name() {
            "base" => settings.base.to_value(),
            "latency" => settings.latency.to_value(),
            "scale" => settings.scale.to_value(),
            "bitrate" => settings.bitrate.to_value(),
            "quality" => settings.quality.to_value(),
            "key-int-max" => settings.key_int_max.to_value(),
            "hints" => settings.hints.to_value(),
            _ => pspec.default_value().clone(),
        }
    }

    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        for template in Self::pad_templates() {
            let pad = gst::GhostPad::from_template(template);
            if let Err(error) = obj.add_pad(&pad) {
                gst::error!(CAT, imp = self, "Cannot add a pad: {error}");
            }
        }
    }
}

impl GstObjectImpl for AiHybridEnc {}

impl ElementImpl for AiHybridEnc {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Hybrid encoder",
                "Codec/Encoder/Video",
                "A standard AV1, H.265 or H.264 stream with hints for a learned restoration",
                "The gst-aivideo developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(crate::pads::encoder);
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::NullToReady {
            self.build().map_err(|error| {
                self.obj().post_error_message(error);
                gst::StateChangeError
            })?;
        }
        let result = self.parent_change_state(transition);
        if transition == gst::StateChange::ReadyToNull
            || (transition == gst::StateChange::NullToReady && result.is_err())
        {
            self.tear_down();
        }
        result
    }
}

impl BinImpl for AiHybridEnc {}

impl AiHybridEnc {
    fn ghost(&self, name: &str) -> Option<gst::GhostPad> {
        self.obj().static_pad(name)?.downcast().ok()
    }

    fn build(&self) -> Result<(), gst::ErrorMessage> {
        let settings = *lock(&self.settings);
        let known = candidates(settings.base, settings.goals().bitrate == 0);
        let (encoder, element, place) = known
            .iter()
            .find_map(|encoder| {
                let element = gst::ElementFactory::make(encoder.factory).build().ok()?;
                let mut place = None;
                if encoder.factory == svtav1::FACTORY {
                    place = svtav1::Place::take(&settings.goals());
                    if place.is_none() {
                        gst::warning!(
                            CAT,
                            imp = self,
                            "svtav1enc runs in this process with another latency or kind of rate, \
                             which it does not bear: another encoder is taken"
                        );
                        return None;
                    }
                }
                Some((*encoder, element, place))
            })
            .ok_or_else(|| {
                let names: Vec<&str> = known.iter().map(|encoder| encoder.factory).collect();
                gst::error_msg!(
                    gst::CoreError::MissingPlugin,
                    (
                        "No encoder for this base is installed; tried {}. On Debian they are in \
                         gstreamer1.0-plugins-bad and -ugly",
                        names.join(", ")
                    )
                )
            })?;
        encoder.configure(&element, &settings.goals());
        let make = |factory: &str| {
            gst::ElementFactory::make(factory).build().map_err(|_| {
                gst::error_msg!(
                    gst::CoreError::MissingPlugin,
                    ("The element {factory} is missing; install GStreamer's base and bad plugins")
                )
            })
        };
        let convert = make("videoconvert")?;
        let scaler = make("videoscale")?;
        scaler.set_property_from_str("method", "lanczos");
        scaler.set_property("add-borders", false);
        let size = make("capsfilter")?;
        let stream = make("capsfilter")?;
        stream.set_property("caps", encoder.stream_caps());
        let parser = make(encoder.parser())?;
        let elements = vec![
            convert,
            scaler,
            size.clone(),
            element.clone(),
            stream.clone(),
            parser,
        ];

        let failed = |error: glib::BoolError| {
            gst::error_msg!(gst::CoreError::Failed, ("Cannot build the inside: {error}"))
        };
        let obj = self.obj();
        obj.add_many(&elements).map_err(failed)?;
        gst::Element::link_many(&elements).map_err(failed)?;
        let (first, last) = (&elements[0], &elements[elements.len() - 1]);
        for (name, inner) in [("sink", first), ("src", last)] {
            if let Some(ghost) = self.ghost(name) {
                ghost
                    .set_target(inner.static_pad(name).as_ref())
                    .map_err(failed)?;
            }
        }
        self.watch(first, &size, &stream, encoder);
        let mut bitrate = None;
        if encoder.factory == svtav1::FACTORY
            && let Some(before) = size.static_pad("src")
        {
            let asked = bitrate.insert(svtav1::Bitrate::default());
            svtav1::attend(&before, &element, &settings.goals(), asked);
        }
        *lock(&self.inside) = Some(Inside {
            encoder,
            element,
            elements,
            bitrate,
            _place: place,
        });
        Ok(())
    }

    fn tear_down(&self) {
        let Some(inside) = lock(&self.inside).take() else {
            return;
        };
        for name in ["sink", "src"] {
            if let Some(ghost) = self.ghost(name) {
                let _ = ghost.set_target(None::<&gst::Pad>);
            }
        }
        for element in inside.elements {
            let _ = element.set_state(gst::State::Null);
            let _ = self.obj().remove(&element);
        }
    }

    fn change_bitrate(&self, goals: &Goals) {
        if goals.bitrate == 0 {
            return;
        }
        if let Some(inside) = lock(&self.inside).as_ref() {
            if let Some(bitrate) = &inside.bitrate {
                bitrate.ask(goals.bitrate);
                return;
            }
            for name in ["bitrate", "target-bitrate"] {
                if inside.element.find_property(name).is_some() {
                    inside.element.set_property(name, goals.bitrate);
                }
            }
        }
    }

    /// Sees what comes in, sets the size that is coded, and puts hints into key frames.
    fn watch(
        &self,
        first: &gst::Element,
        size: &gst::Element,
        stream_filter: &gst::Element,
        encoder: &'static Encoder,
    ) {
        let stream = Arc::new(Mutex::new(Stream::default()));
        if let Some(pad) = first.static_pad("sink") {
            let (stream, settings, size) = (stream.clone(), self.settings.clone(), size.clone());
            let mask = gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::BUFFER;
            pad.add_probe(mask, move |_, probe| {
                let settings = *lock(&settings);
                let mut stream = lock(&stream);
                match &probe.data {
                    Some(gst::PadProbeData::Event(event)) => {
                        if let gst::EventView::Caps(caps) = event.view() {
                            stream.info = gst_video::VideoInfo::from_caps(caps.caps()).ok();
                            stream.scale = None;
                            // The first frame decides where the scene does.
                            if settings.scale != Scale::Auto {
                                stream.code_at(settings.scale, encoder.fit, &size);
                            }
                        }
                    }
                    Some(gst::PadProbeData::Buffer(buffer)) => {
                        if let Some(scale) = stream.look(buffer, &settings) {
                            stream.code_at(scale, encoder.fit, &size);
                        }
                    }
                    _ => {}
                }
                gst::PadProbeReturn::Ok
            });
        }
        if let Some(pad) = stream_filter.static_pad("src") {
            let (settings, model) = (self.settings.clone(), model());
            pad.add_probe(gst::PadProbeType::BUFFER, move |pad, probe| {
                let settings = *lock(&settings);
                let Some(gst::PadProbeData::Buffer(buffer)) = &mut probe.data else {
                    return gst::PadProbeReturn::Ok;
                };
                if !settings.hints || buffer.flags().contains(gst::BufferFlags::DELTA_UNIT) {
                    return gst::PadProbeReturn::Ok;
                }
                let (shown, noise) = {
                    let stream = lock(&stream);
                    (stream.shown_at(pad.current_caps()), stream.noise)
                };
                let hint = Hint {
                    model,
                    base: encoder.base,
                    quality: (settings.bitrate == 0).then(|| settings.goals().worst()),
                    width: u16::try_from(shown.0).unwrap_or(0),
                    height: u16::try_from(shown.1).unwrap_or(0),
                    noise,
                    low_delay: Some(settings.latency == Latency::LowDelay),
                };
                let with_hint = buffer
                    .map_readable()
                    .ok()
                    .and_then(|map| carriage::insert(encoder.base, &map, &hint));
                let Some(bytes) = with_hint else {
                    gst::warning!(
                        CAT,
                        obj = pad,
                        "a key frame without a picture takes no hint"
                    );
                    return gst::PadProbeReturn::Ok;
                };
                let mut new = gst::Buffer::from_mut_slice(bytes);
                let copied = new.get_mut().map(|new| {
                    let flags = gst::BufferCopyFlags::FLAGS
                        | gst::BufferCopyFlags::TIMESTAMPS
                        | gst::BufferCopyFlags::META;
                    buffer.copy_into(new, flags, ..)
                });
                match copied {
                    Some(Ok(())) => *buffer = new,
                    // The frame as it was is better than one without its time.
                    _ => gst::warning!(CAT, obj = pad, "a hint is left out: no copy of the frame"),
                }
                gst::PadProbeReturn::Ok
            });
        }
    }
}

/// What streams of this version are made for.
fn model() -> [u8; 8] {
    restore::default_model()
        .sha256()
        .map(|hash| restore::model_id(&hash))
        .unwrap_or_default()
}

impl Stream {
    /// Has frames scaled from here on; the shape of pixels stays, since both sides shrink alike.
    fn code_at(&mut self, scale: Scale, fit: fn(u32) -> u32, filter: &gst::Element) {
        let Some(info) = &self.info else { return };
        let full = (info.width(), info.height());
        let coded = (fit(scale.of(full.0)), fit(scale.of(full.1)));
        // The full size is said as well: left open, the scaler would follow what is downstream, as
        // a decoder in the same pipeline that still shows the size before.
        let caps = gst_video::VideoCapsBuilder::new()
            .width(coded.0 as i32)
            .height(coded.1 as i32)
            .pixel_aspect_ratio(info.par())
            .build();
        self.shown.retain(|[known, _]| *known != coded);
        self.shown.insert(0, [coded, full]);
        self.shown.truncate(16);
        filter.set_property("caps", caps);
    }

    /// The size to show a stream of these caps at.
    fn shown_at(&self, caps: Option<gst::Caps>) -> (u32, u32) {
        let coded = caps.and_then(|caps| {
            let structure = caps.structure(0)?;
            let side = |name| u32::try_from(structure.get::<i32>(name).ok()?).ok();
            side("width").zip(side("height"))
        });
        let known = self.shown.iter().find(|[size, _]| Some(*size) == coded);
        known.map_or(coded.unwrap_or_default(), |[_, full]| *full)
    }

    /// Looks whether a scene begins: if so at its noise, and at its detail where that decides the
    /// size. Gives a scale that is new.
    fn look(&mut self, buffer: &gst::Buffer, settings: &Settings) -> Option<Scale> {
        let info = self.info.clone()?;
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info).ok()?;
        let (width, height) = (frame.width() as usize, frame.height() as usize);
        let first = First::of(&frame)?;
        let thumbnail: Vec<u8> = (0..256)
            .map(|i| {
                first.at(
                    (i % 16 * 2 + 1) * width / 32,
                    (i / 16 * 2 + 1) * height / 32,
                )
            })
            .collect();
        let pairs = self.thumbnail.iter().zip(&thumbnail);
        let sum: u32 = pairs.map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
        let cut = self.thumbnail.is_empty() || sum / 256 >= CUT;
        self.thumbnail = thumbnail;
        let undecided = settings.scale == Scale::Auto && self.scale.is_none();
        if !cut && !undecided {
            return None;
        }
        let luma: Vec<u8> = (0..height)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .map(|(x, y)| first.at(x, y))
            .collect();
        let plane = PlaneRef::packed(&luma, width, height);
        self.noise = aivideo_enhance::noise::estimate(plane).map(f64::from);
        if settings.scale != Scale::Auto {
            return None;
        }
        let error = match settings.bitrate {
            0 => scale::coding_error(settings.quality),
            kbit => {
                let fps = info.fps();
                let fps = f64::from(fps.numer().max(1)) / f64::from(fps.denom().max(1));
                let pixels = (width * height) as f64 * fps;
                scale::coding_error_of_rate(f64::from(kbit) * 1000.0 / pixels)
            }
        };
        let scale = scale::choose(&luma, width, width, height, error);
        let news = self.scale != Some(scale);
        self.scale = Some(scale);
        news.then_some(scale)
    }
}

/// One byte of the first component of each pixel: luma, or red where there is none.
struct First<'a> {
    data: &'a [u8],
    stride: usize,
    step: usize,
    offset: usize,
}

impl<'a> First<'a> {
    fn of(frame: &'a gst_video::VideoFrameRef<&gst::BufferRef>) -> Option<Self> {
        let format = frame.format_info();
        // The upper byte of two.
        let high = match (format.depth().first()?, format.shift().first()?) {
            (0..=8, _) => 0,
            _ => 1,
        };
        Some(Self {
            data: frame.plane_data(0).ok()?,
            stride: usize::try_from(*frame.plane_stride().first()?).ok()?,
            step: usize::try_from(*format.pixel_stride().first()?).ok()?,
            offset: *format.poffset().first()? as usize + high,
        })
    }

    fn at(&self, x: usize, y: usize) -> u8 {
        let at = y * self.stride + x * self.step + self.offset;
        self.data.get(at).copied().unwrap_or(0)
    }
}
