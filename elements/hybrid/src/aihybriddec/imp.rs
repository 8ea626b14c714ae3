// SPDX-License-Identifier: Apache-2.0

use std::sync::{LazyLock, Mutex, OnceLock};

use aivideo_core::element::lock;
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::airestore::AiRestore;
use crate::carriage;
use crate::hint::{Base, Hint};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "aihybriddec",
        gst::DebugColorFlags::empty(),
        Some("Hybrid decoder"),
    )
});

/// The parser and decoder for a standard.
struct Decoder {
    base: Base,
    elements: Vec<gst::Element>,
}

/// What is known of the picture behind the decoder.
#[derive(Default)]
struct Shown {
    hint: Option<Hint>,
    info: Option<gst_video::VideoInfo>,
}

/// What stays while the element lives: the way in, and the way from the decoder out.
struct Inside {
    head: gst::Element,
    convert: gst::Element,
    size: gst::Element,
    restore: AiRestore,
}

#[derive(Default)]
pub struct AiHybridDec {
    inside: OnceLock<Inside>,
    decoder: Mutex<Option<Decoder>>,
    shown: Mutex<Shown>,
}

#[glib::object_subclass]
impl ObjectSubclass for AiHybridDec {
    const NAME: &'static str = "GstAiHybridDec";
    type Type = super::AiHybridDec;
    type ParentType = gst::Bin;
}

impl ObjectImpl for AiHybridDec {
    /// The restorer's.
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> =
            LazyLock::new(crate::airestore::properties);
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        if let Some(inside) = self.inside.get() {
            inside.restore.set_property_from_value(pspec.name(), value);
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match self.inside.get() {
            Some(inside) => inside.restore.property_value(pspec.name()),
            None => pspec.default_value().clone(),
        }
    }

    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        let restore = glib::Object::builder::<AiRestore>()
            .property("name", "restore")
            .build();
        let made = self.build(restore);
        for template in Self::pad_templates() {
            let pad = gst::GhostPad::from_template(template);
            let inner = match (&made, template.direction()) {
                (Ok(inside), gst::PadDirection::Sink) => inside.head.static_pad("sink"),
                (Ok(inside), _) => inside.restore.static_pad("src"),
                (Err(_), _) => None,
            };
            let added = pad
                .set_target(inner.as_ref())
                .and_then(|()| obj.add_pad(&pad));
            if let Err(error) = added {
                gst::error!(CAT, imp = self, "Cannot add a pad: {error}");
            }
        }
        match made {
            Ok(inside) => {
                self.watch(&inside);
                let _ = self.inside.set(inside);
            }
            Err(error) => gst::error!(CAT, imp = self, "Cannot build the inside: {error}"),
        }
    }
}

impl GstObjectImpl for AiHybridDec {}

impl ElementImpl for AiHybridDec {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Hybrid decoder",
                "Codec/Decoder/Video",
                "Decodes a standard AV1, H.265 or H.264 stream and restores it by a net",
                "The gst-aivideo developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(crate::pads::decoder);
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::NullToReady && self.inside.get().is_none() {
            self.obj().post_error_message(gst::error_msg!(
                gst::CoreError::MissingPlugin,
                ("videoconvert or videoscale is missing; install GStreamer's base plugins")
            ));
            return Err(gst::StateChangeError);
        }
        let result = self.parent_change_state(transition);
        if transition == gst::StateChange::PausedToReady {
            self.remove_decoder();
            *lock(&self.shown) = Shown::default();
        }
        result
    }
}

impl BinImpl for AiHybridDec {}

impl AiHybridDec {
    fn build(&self, restore: AiRestore) -> Result<Inside, glib::BoolError> {
        let make = |factory: &str| gst::ElementFactory::make(factory).build();
        let head = make("identity")?;
        let convert = make("videoconvert")?;
        let scaler = make("videoscale")?;
        scaler.set_property_from_str("method", "lanczos");
        scaler.set_property("add-borders", false);
        let size = make("capsfilter")?;
        let tail = [&convert, &scaler, &size, restore.upcast_ref()];
        let obj = self.obj();
        obj.add(&head)?;
        obj.add_many(tail)?;
        gst::Element::link_many(tail)?;
        Ok(Inside {
            head,
            convert,
            size,
            restore,
        })
    }

    fn watch(&self, inside: &Inside) {
        let weak = self.downgrade();
        if let Some(pad) = inside.head.static_pad("src") {
            let weak = weak.clone();
            pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, probe| {
                let Some(this) = weak.upgrade() else {
                    return gst::PadProbeReturn::Ok;
                };
                if let Some(gst::PadProbeData::Event(event)) = &probe.data
                    && let gst::EventView::Caps(caps) = event.view()
                    && let Err(error) = this.expect(pad, caps.caps())
                {
                    this.obj().post_error_message(error);
                    return gst::PadProbeReturn::Drop;
                }
                gst::PadProbeReturn::Ok
            });
        }
        if let Some(pad) = inside.convert.static_pad("sink") {
            pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, probe| {
                if let Some(this) = weak.upgrade()
                    && let Some(gst::PadProbeData::Event(event)) = &probe.data
                {
                    this.follow(event);
                }
                gst::PadProbeReturn::Ok
            });
        }
    }

    /// Puts the parser and decoder for these caps behind the pad, where others or none are.
    fn expect(&self, pad: &gst::Pad, caps: &gst::CapsRef) -> Result<(), gst::ErrorMessage> {
        let base = caps
            .structure(0)
            .map(|structure| Base::of_media_type(structure.name()))
            .unwrap_or_default();
        if lock(&self.decoder)
            .as_ref()
            .is_some_and(|decoder| decoder.base == base)
        {
            return Ok(());
        }
        self.remove_decoder();
        let failed = |error: glib::BoolError| {
            gst::error_msg!(
                gst::CoreError::Failed,
                ("Cannot build the decoder: {error}")
            )
        };
        let (parser, stream) = match base {
            Base::Av1 => ("av1parse", "video/x-av1,stream-format=obu-stream"),
            Base::H265 => (
                "h265parse",
                "video/x-h265,stream-format=byte-stream,alignment=au",
            ),
            Base::H264 => (
                "h264parse",
                "video/x-h264,stream-format=byte-stream,alignment=au",
            ),
            // The template lets nothing else in.
            Base::Unknown => {
                return Err(gst::error_msg!(
                    gst::StreamError::WrongType,
                    ("{caps} is none of AV1, H.265 and H.264")
                ));
            }
        };
        let missing = |name: &str| {
            gst::error_msg!(
                gst::CoreError::MissingPlugin,
                ("{name} is missing; install GStreamer's bad plugins")
            )
        };
        let parser = gst::ElementFactory::make(parser)
            .build()
            .map_err(|_| missing(parser))?;
        let filter = gst::ElementFactory::make("capsfilter")
            .property_from_str("caps", stream)
            .build()
            .map_err(|_| missing("capsfilter"))?;
        let decoder = decoder(caps).ok_or_else(|| {
            gst::error_msg!(
                gst::CoreError::MissingPlugin,
                (
                    "No decoder for {} is installed; on Debian they are in gstreamer1.0-libav and gstreamer1.0-plugins-bad",
                    base.name()
                )
            )
        })?;
        gst::debug!(
            CAT,
            imp = self,
            "{} decodes {}",
            decoder.name(),
            base.name()
        );
        let elements = vec![parser, filter, decoder];
        let obj = self.obj();
        obj.add_many(&elements).map_err(failed)?;
        gst::Element::link_many(&elements).map_err(failed)?;
        if let Some(out) = elements[1].static_pad("src") {
            find_hints(&out, base);
        }
        let inside = self.inside.get();
        if let Some(inside) = inside {
            elements[2].link(&inside.convert).map_err(failed)?;
        }
        for element in elements.iter().rev() {
            element.sync_state_with_parent().map_err(failed)?;
        }
        let first = elements[0].static_pad("sink");
        let first = first.ok_or_else(|| missing("the parser's pad"))?;
        pad.link(&first).map_err(|error| {
            gst::error_msg!(
                gst::CoreError::Negotiation,
                ("Cannot link the parser: {error}")
            )
        })?;
        *lock(&self.decoder) = Some(Decoder { base, elements });
        Ok(())
    }

    fn remove_decoder(&self) {
        let Some(decoder) = lock(&self.decoder).take() else {
            return;
        };
        for element in decoder.elements {
            let _ = element.set_state(gst::State::Null);
            let _ = self.obj().remove(&element);
        }
    }

    /// Scales to the size that the encoder was given, as soon as a hint says it.
    fn follow(&self, event: &gst::Event) {
        let mut shown = lock(&self.shown);
        match event.view() {
            gst::EventView::Caps(caps) => {
                shown.info = gst_video::VideoInfo::from_caps(caps.caps()).ok();
            }
            gst::EventView::CustomDownstreamSticky(custom) => {
                let hint = custom.structure().and_then(carriage::from_structure);
                let Some((hint, _)) = hint else { return };
                shown.hint = Some(hint);
            }
            _ => return,
        }
        let caps = match (&shown.hint, &shown.info) {
            (Some(hint), Some(info)) if hint.width > 0 && hint.height > 0 => {
                gst_video::VideoCapsBuilder::new()
                    .width(i32::from(hint.width))
                    .height(i32::from(hint.height))
                    .pixel_aspect_ratio(info.par())
                    .build()
            }
            _ => gst::Caps::new_any(),
        };
        drop(shown);
        if let Some(inside) = self.inside.get() {
            inside.size.set_property("caps", caps);
        }
    }
}

/// The decoder with the highest rank that takes these caps.
fn decoder(caps: &gst::CapsRef) -> Option<gst::Element> {
    let kind = gst::ElementFactoryType::DECODER | gst::ElementFactoryType::MEDIA_VIDEO;
    // Without what only this stream has, as a level that a decoder does not name.
    let bare: gst::Caps = caps
        .iter()
        .map(|structure| gst::Structure::new_empty(structure.name()))
        .collect();
    let mut factories: Vec<gst::ElementFactory> =
        gst::ElementFactory::factories_with_type(kind, gst::Rank::MARGINAL)
            .into_iter()
            .filter(|factory| factory.can_sink_any_caps(&bare))
            .collect();
    factories.sort_by_key(|factory| std::cmp::Reverse(factory.rank()));
    factories
        .into_iter()
        .find_map(|factory| factory.create().build().ok())
}

/// Sends what key frames say ahead of them, where it is news.
fn find_hints(pad: &gst::Pad, base: Base) {
    let last: Mutex<Option<gst::Structure>> = Mutex::new(None);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, probe| {
        let Some(gst::PadProbeData::Buffer(buffer)) = &probe.data else {
            return gst::PadProbeReturn::Ok;
        };
        if buffer.flags().contains(gst::BufferFlags::DELTA_UNIT) {
            return gst::PadProbeReturn::Ok;
        }
        let hint = buffer
            .map_readable()
            .ok()
            .and_then(|map| carriage::find(base, &map));
        if let Some(hint) = hint {
            let coded = pad
                .current_caps()
                .and_then(|caps| caps.structure(0)?.get::<i32>("height").ok());
            let structure = carriage::structure(&hint, coded);
            let mut last = lock(&last);
            if last.as_ref() != Some(&structure) {
                *last = Some(structure.clone());
                drop(last);
                pad.push_event(gst::event::CustomDownstreamSticky::new(structure));
            }
        }
        gst::PadProbeReturn::Ok
    });
}
