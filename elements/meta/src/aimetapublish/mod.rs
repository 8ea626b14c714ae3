// SPDX-License-Identifier: Apache-2.0
//! # aimetapublish
//!
//! Publishes what models found on frames as lines of JSON: to a file, to standard output, to an
//! MQTT broker or to Kafka. Frames go through untouched. It takes the lines that `aimetaconvert`
//! put onto the frames, or makes them itself where there are none; JSON as a stream it takes too.
//! `docs/metadata.md` documents the lines.
//!
//! ```bash
//! gst-launch-1.0 videotestsrc num-buffers=100 ! video/x-raw,width=320,height=240 ! \
//!     vjepa2classify sync=true ! aimetapublish method=file file-path=published.jsonl ! fakesink
//! ```
//!
//! <!-- not run by the pipeline test: needs a broker -->
//! ```bash
//! gst-launch-1.0 videotestsrc is-live=true ! video/x-raw,width=320,height=240 ! \
//!     vjepa2classify ! aimetaconvert source=camera-1 ! video/x-raw ! \
//!     aimetapublish method=mqtt address=localhost:1883 topic=site/camera-1 ! fakesink
//! ```
//!
//! The pipeline never waits for a receiver. Lines wait in a queue of `queue-size`; when it is full,
//! the oldest are dropped. A broker that is not there is tried again and again; a warning says when it
//! is lost, and `stats` counts what was published and dropped. At the end of the stream, and when it
//! stops, the element waits for what is queued, at most for `drain-timeout`.

use gst::prelude::*;

mod imp;

/// Where the lines go.
#[derive(Debug, Eq, PartialEq, Clone, Copy, Default, glib::Enum)]
#[enum_type(name = "GstAiMetaPublishMethod")]
#[repr(u32)]
pub enum Method {
    #[enum_value(name = "File: one line a frame, to file-path", nick = "file")]
    File,
    #[default]
    #[enum_value(name = "Stdout: standard output", nick = "stdout")]
    Stdout,
    #[enum_value(name = "MQTT: messages of a topic at address", nick = "mqtt")]
    Mqtt,
    #[enum_value(name = "Kafka: records of a topic at address", nick = "kafka")]
    Kafka,
}

glib::wrapper! {
    /// The element.
    pub struct AiMetaPublish(ObjectSubclass<imp::AiMetaPublish>)
        @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

pub(crate) fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    Method::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    gst::Element::register(
        plugin,
        "aimetapublish",
        gst::Rank::NONE,
        AiMetaPublish::static_type(),
    )
}
