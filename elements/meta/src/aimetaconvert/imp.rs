// SPDX-License-Identifier: Apache-2.0

use std::sync::{LazyLock, Mutex, MutexGuard};

use gst::{prelude::*, subclass::prelude::*};
use gst_base::{
    prelude::*,
    subclass::{base_transform::GenerateOutputSuccess, prelude::*},
};
use serde_json::{Map, Value};

use crate::json;

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "aimetaconvert",
        gst::DebugColorFlags::empty(),
        Some("Results of models to JSON"),
    )
});

#[derive(Debug, Clone, Default)]
struct Settings {
    source: Option<String>,
    /// As it was set; what cannot be read is refused by `start()`.
    tags: String,
    add_empty_results: bool,
    post_messages: bool,
}

/// What leaves the element.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Output {
    Frames,
    Lines,
    Text,
}

struct Stream {
    output: Output,
    resolution: Option<(u32, u32)>,
}

#[derive(Default)]
pub struct AiMetaConvert {
    settings: Mutex<Settings>,
    tags: Mutex<Map<String, Value>>,
    stream: Mutex<Option<Stream>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

#[glib::object_subclass]
impl ObjectSubclass for AiMetaConvert {
    const NAME: &'static str = "GstAiMetaConvert";
    type Type = super::AiMetaConvert;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for AiMetaConvert {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            vec![
                glib::ParamSpecString::builder("source")
                    .nick("Source")
                    .blurb("Name of the camera or file, for the field 'source' of each line")
                    .mutable_playing()
                    .build(),
                glib::ParamSpecString::builder("tags")
                    .nick("Tags")
                    .blurb("A JSON object for the field 'tags' of each line, such as {\"site\":\"gate 4\"}")
                    .mutable_ready()
                    .build(),
                glib::ParamSpecBoolean::builder("add-empty-results")
                    .nick("Add empty results")
                    .blurb("Make a line of frames on which nothing was found, too")
                    .default_value(false)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecBoolean::builder("post-messages")
                    .nick("Post messages")
                    .blurb("Also post each line as an element message 'aimetaconvert' with a field 'json'")
                    .default_value(false)
                    .mutable_playing()
                    .build(),
            ]
        });
        PROPERTIES.as_ref()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let mut settings = lock(&self.settings);
        match pspec.name() {
            "source" => settings.source = value.get().unwrap_or_default(),
            "tags" => {
                let text: Option<String> = value.get().unwrap_or_default();
                settings.tags = text.unwrap_or_default();
            }
            "add-empty-results" => settings.add_empty_results = value.get().unwrap_or_default(),
            "post-messages" => settings.post_messages = value.get().unwrap_or_default(),
            name => gst::warning!(CAT, imp = self, "no property {name}"),
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        let settings = lock(&self.settings);
        match pspec.name() {
            "source" => settings.source.to_value(),
            "tags" => Some(&settings.tags).filter(|t| !t.is_empty()).to_value(),
            "add-empty-results" => settings.add_empty_results.to_value(),
            "post-messages" => settings.post_messages.to_value(),
            _ => pspec.default_value().clone(),
        }
    }

    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        // A late frame still has results.
        obj.set_qos(false);
        // Where both would do, lines are what the element is for.
        obj.set_prefer_passthrough(false);
    }
}

impl GstObjectImpl for AiMetaConvert {}

impl ElementImpl for AiMetaConvert {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Results to JSON",
                "Filter/Converter/Metadata/Video",
                "Turns what models found on frames into JSON: lines, timed text, or a meta on the frame",
                "The gst-aivideo developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let mut out = json::lines_caps();
            out.merge(json::text_caps());
            out.merge(json::video_caps());
            [
                ("sink", gst::PadDirection::Sink, json::video_caps()),
                ("src", gst::PadDirection::Src, out),
            ]
            .into_iter()
            .filter_map(|(name, direction, caps)| {
                gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps).ok()
            })
            .collect()
        });
        TEMPLATES.as_ref()
    }
}

impl BaseTransformImpl for AiMetaConvert {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::NeverInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        let tags = json::parse_tags(&settings.tags).map_err(|reason| {
            gst::error_msg!(
                gst::ResourceError::Settings,
                ("Cannot use tags={}: {reason}", settings.tags)
            )
        })?;
        *lock(&self.tags) = tags;
        crate::classification::register_custom(json::JSON_META);
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.stream) = None;
        Ok(())
    }

    fn transform_caps(
        &self,
        direction: gst::PadDirection,
        caps: &gst::Caps,
        filter: Option<&gst::Caps>,
    ) -> Option<gst::Caps> {
        let video: gst::Caps = caps
            .iter_with_features()
            .filter(|(structure, _)| structure.name() == "video/x-raw")
            .map(|(structure, features)| (structure.to_owned(), features.to_owned()))
            .collect();
        let other = if direction == gst::PadDirection::Sink {
            let mut other = json::lines_caps();
            other.merge(json::text_caps());
            other.merge(video);
            other
        } else if video.size() < caps.size() {
            // A line is made of any frame.
            json::video_caps()
        } else {
            video
        };
        Some(match filter {
            Some(filter) => filter.intersect_with_mode(&other, gst::CapsIntersectMode::First),
            None => other,
        })
    }

    fn fixate_caps(
        &self,
        direction: gst::PadDirection,
        caps: &gst::Caps,
        mut othercaps: gst::Caps,
    ) -> gst::Caps {
        if direction == gst::PadDirection::Sink {
            // The order of this element's wishes, not of the next one's.
            for wish in [json::lines_caps(), json::text_caps()] {
                if othercaps.can_intersect(&wish) {
                    othercaps = wish.intersect(&othercaps);
                    break;
                }
            }
        }
        self.parent_fixate_caps(direction, caps, othercaps)
    }

    fn set_caps(&self, incaps: &gst::Caps, outcaps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let output = match outcaps.structure(0).map(|s| s.name().as_str()) {
            Some("application/x-json") => Output::Lines,
            Some("text/x-raw") => Output::Text,
            _ => Output::Frames,
        };
        gst::debug!(CAT, imp = self, "{output:?} of {incaps}");
        *lock(&self.stream) = Some(Stream {
            output,
            resolution: json::resolution(incaps),
        });
        Ok(())
    }

    fn propose_allocation(
        &self,
        decide_query: Option<&gst::query::Allocation>,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        let frames = lock(&self.stream).as_ref().map(|stream| stream.output);
        if frames == Some(Output::Frames) {
            // Frames go through as they are, so the next element's wishes hold.
            if self.obj().src_pad().peer_query(query.query_mut()) {
                return Ok(());
            }
            return Err(gst::loggable_error!(CAT, "no answer from downstream"));
        }
        // Only metas are read, never the pixels.
        query.add_allocation_meta::<gst_video::VideoMeta>(None);
        let _ = decide_query;
        Ok(())
    }

    fn decide_allocation(
        &self,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        // No buffer is taken from a pool here.
        while query.allocation_pools().len() > 0 {
            query.remove_nth_allocation_pool(0);
        }
        Ok(())
    }

    fn generate_output(&self) -> Result<GenerateOutputSuccess, gst::FlowError> {
        let Some(mut buffer) = self.take_queued_buffer() else {
            return Ok(GenerateOutputSuccess::NoOutput);
        };
        let (output, resolution) = {
            let stream = lock(&self.stream);
            let stream = stream.as_ref().ok_or(gst::FlowError::NotNegotiated)?;
            (stream.output, stream.resolution)
        };
        let settings = lock(&self.settings).clone();
        let line = {
            let tags = lock(&self.tags);
            let segment = self.obj().segment();
            let context = json::Context {
                source: settings.source.as_deref(),
                tags: Some(&tags),
                resolution,
                segment: segment.downcast_ref::<gst::ClockTime>(),
            };
            json::frame(&buffer, &context, settings.add_empty_results)
        };
        let line = line.map(|line| line.to_string());
        if let (true, Some(line)) = (settings.post_messages, &line) {
            let structure = gst::Structure::builder(super::MESSAGE)
                .field(json::JSON_FIELD, line)
                .build();
            let message = gst::message::Element::builder(structure)
                .src(&*self.obj())
                .build();
            // Refused only by an element without a bus.
            let _ = self.obj().post_message(message);
        }
        match (output, line) {
            (Output::Frames, line) => {
                if let Some(line) = line
                    && let Err(err) = json::attach(buffer.make_mut(), &line)
                {
                    gst::warning!(CAT, imp = self, "the line cannot be attached: {err}");
                }
                Ok(GenerateOutputSuccess::Buffer(buffer))
            }
            (output, Some(mut line)) => {
                if output == Output::Lines {
                    line.push('\n');
                }
                let mut out = gst::Buffer::from_slice(line.into_bytes());
                if let Some(out) = out.get_mut() {
                    out.set_pts(buffer.pts());
                    out.set_duration(buffer.duration());
                }
                Ok(GenerateOutputSuccess::Buffer(out))
            }
            (_, None) => {
                // So that sinks which wait for a first buffer know that there is none yet.
                if let Some(pts) = buffer.pts() {
                    let gap = gst::event::Gap::builder(pts)
                        .duration(buffer.duration())
                        .build();
                    self.obj().src_pad().push_event(gap);
                }
                Ok(GenerateOutputSuccess::NoOutput)
            }
        }
    }
}
