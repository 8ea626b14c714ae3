// SPDX-License-Identifier: Apache-2.0

use std::sync::{LazyLock, Mutex, MutexGuard};

use gst::{prelude::*, subclass::prelude::*};
use gst_base::{prelude::*, subclass::prelude::*};
use gst_video::{VideoFormat, prelude::*, subclass::prelude::*};

use super::Position;
use crate::{
    ClassificationResult, Detection,
    overlay::{
        canvas::{Canvas, Colours, Component, Layout, Plane},
        scene::{self, Corner, Style},
        text::Type,
    },
};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "aioverlay",
        gst::DebugColorFlags::empty(),
        Some("Results of models on the picture"),
    )
});

/// Samples of 8 to 16 bits in whole bytes, low byte first, without tiles. Not VYUY: GStreamer 1.22
/// looks for its U one byte behind its place.
const FORMATS: [VideoFormat; 35] = [
    VideoFormat::I420,
    VideoFormat::Nv12,
    VideoFormat::Yv12,
    VideoFormat::Nv21,
    VideoFormat::Y42b,
    VideoFormat::Y444,
    VideoFormat::Y41b,
    VideoFormat::Nv16,
    VideoFormat::Nv24,
    VideoFormat::Yuy2,
    VideoFormat::Uyvy,
    VideoFormat::Yvyu,
    VideoFormat::Ayuv,
    VideoFormat::Vuya,
    VideoFormat::A420,
    VideoFormat::Rgb,
    VideoFormat::Bgr,
    VideoFormat::Rgbx,
    VideoFormat::Bgrx,
    VideoFormat::Xrgb,
    VideoFormat::Xbgr,
    VideoFormat::Rgba,
    VideoFormat::Bgra,
    VideoFormat::Argb,
    VideoFormat::Abgr,
    VideoFormat::Gbr,
    VideoFormat::Gbra,
    VideoFormat::Gray8,
    VideoFormat::Gray16Le,
    VideoFormat::P01010le,
    VideoFormat::I42010le,
    VideoFormat::I42210le,
    VideoFormat::Y44410le,
    VideoFormat::I42012le,
    VideoFormat::Gbr10le,
];

const DEFAULT_HOLD_TIME: u32 = 3000;

#[derive(Debug, Clone)]
struct Settings {
    style: Style,
    position: Position,
    font_file: Option<String>,
    hold_time: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            style: Style::default(),
            position: Position::default(),
            font_file: None,
            hold_time: DEFAULT_HOLD_TIME,
        }
    }
}

/// Classes that stay in the picture.
struct Held {
    result: ClassificationResult,
    since: Option<gst::ClockTime>,
}

struct State {
    font: Type,
    layout: Option<Layout>,
    held: Vec<Held>,
    objects: Vec<Detection>,
}

#[derive(Default)]
pub struct AiOverlay {
    settings: Mutex<Settings>,
    state: Mutex<Option<State>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

#[glib::object_subclass]
impl ObjectSubclass for AiOverlay {
    const NAME: &'static str = "GstAiOverlay";
    type Type = super::AiOverlay;
    type ParentType = gst_video::VideoFilter;
}

impl ObjectImpl for AiOverlay {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let style = Style::default();
            let switch = |name, nick, blurb| {
                glib::ParamSpecBoolean::builder(name)
                    .nick(nick)
                    .blurb(blurb)
                    .default_value(true)
                    .mutable_playing()
                    .build()
            };
            vec![
                switch("show-boxes", "Show boxes", "Draw the boxes of objects"),
                switch("show-labels", "Show labels", "Write the names of objects"),
                switch(
                    "show-scores",
                    "Show scores",
                    "Write scores, and draw them as bars in the panel",
                ),
                glib::ParamSpecUInt::builder("max-classes")
                    .nick("Maximum of classes")
                    .blurb("Classes that the panel names for one model (0 = no panel)")
                    .maximum(20)
                    .default_value(style.classes as u32)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecEnum::builder::<Position>("position")
                    .nick("Position")
                    .blurb("Corner of the panel with the classes")
                    .mutable_playing()
                    .build(),
                glib::ParamSpecUInt::builder("font-size")
                    .nick("Font size")
                    .blurb("Height of letters in pixels (0 = by the size of the picture)")
                    .maximum(400)
                    .default_value(0)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecUInt::builder("line-width")
                    .nick("Line width")
                    .blurb("Width of the boxes' lines in pixels (0 = by the size of the picture)")
                    .maximum(100)
                    .default_value(0)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecFloat::builder("opacity")
                    .nick("Opacity")
                    .blurb("How much the ground of letters covers the picture")
                    .minimum(0.0)
                    .maximum(1.0)
                    .default_value(style.opacity)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecUInt::builder("hold-time")
                    .nick("Hold time")
                    .blurb("Milliseconds that a clip's classes stay in the picture")
                    .maximum(3_600_000)
                    .default_value(DEFAULT_HOLD_TIME)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecString::builder("font-file")
                    .nick("Font file")
                    .blurb("TrueType or OpenType font instead of the built-in one")
                    .mutable_ready()
                    .build(),
            ]
        });
        PROPERTIES.as_ref()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let mut settings = lock(&self.settings);
        let style = &mut settings.style;
        // Types and ranges were checked against the specifications above.
        match pspec.name() {
            "show-boxes" => style.boxes = value.get().unwrap_or(true),
            "show-labels" => style.labels = value.get().unwrap_or(true),
            "show-scores" => style.scores = value.get().unwrap_or(true),
            "max-classes" => style.classes = value.get::<u32>().unwrap_or_default() as usize,
            "font-size" => style.font_size = value.get().unwrap_or_default(),
            "line-width" => style.line_width = value.get().unwrap_or_default(),
            "opacity" => style.opacity = value.get().unwrap_or_default(),
            "position" => {
                settings.position = value.get().unwrap_or_default();
                settings.style.corner = match settings.position {
                    Position::TopLeft => Corner::TopLeft,
                    Position::TopRight => Corner::TopRight,
                    Position::BottomLeft => Corner::BottomLeft,
                    Position::BottomRight => Corner::BottomRight,
                };
            }
            "hold-time" => settings.hold_time = value.get().unwrap_or(DEFAULT_HOLD_TIME),
            "font-file" => {
                let path: Option<String> = value.get().unwrap_or_default();
                settings.font_file = path.filter(|path| !path.is_empty());
            }
            name => gst::warning!(CAT, imp = self, "no property {name}"),
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        let settings = lock(&self.settings);
        let style = &settings.style;
        match pspec.name() {
            "show-boxes" => style.boxes.to_value(),
            "show-labels" => style.labels.to_value(),
            "show-scores" => style.scores.to_value(),
            "max-classes" => (style.classes as u32).to_value(),
            "position" => settings.position.to_value(),
            "font-size" => style.font_size.to_value(),
            "line-width" => style.line_width.to_value(),
            "opacity" => style.opacity.to_value(),
            "hold-time" => settings.hold_time.to_value(),
            "font-file" => settings.font_file.to_value(),
            _ => pspec.default_value().clone(),
        }
    }

    fn constructed(&self) {
        self.parent_constructed();
        self.obj().set_in_place(true);
    }
}

impl GstObjectImpl for AiOverlay {}

impl ElementImpl for AiOverlay {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Results on the picture",
                "Filter/Editor/Video",
                "Draws boxes, labels and scores that models attached to frames",
                "The gst-aivideo developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = gst_video::VideoCapsBuilder::new()
                .format_list(FORMATS)
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

/// How the samples of a format lie.
fn layout(info: &gst_video::VideoInfo) -> Layout {
    use gst_video::{VideoColorMatrix, VideoColorRange};
    let format = info.format_info();
    let components = (0..format.n_components() as usize)
        .map(|at| {
            let depth = format.depth()[at].clamp(8, 16);
            let offset = format.poffset()[at] as usize;
            Component {
                plane: format.plane()[at] as usize,
                // GStreamer counts the second sample of P010's chroma as byte 1.
                offset: if depth > 8 {
                    offset.next_multiple_of(2)
                } else {
                    offset
                },
                step: format.pixel_stride()[at].max(1) as usize,
                sub_x: format.w_sub()[at],
                sub_y: format.h_sub()[at],
                depth,
                shift: format.shift()[at],
            }
        })
        .collect();
    let colours = if format.is_rgb() {
        Colours::Rgb
    } else {
        let (kr, kb) = match info.colorimetry().matrix() {
            VideoColorMatrix::Bt709 => (0.2126, 0.0722),
            VideoColorMatrix::Smpte240m => (0.212, 0.087),
            VideoColorMatrix::Bt2020 => (0.2627, 0.0593),
            VideoColorMatrix::Fcc => (0.30, 0.11),
            _ => (0.299, 0.114),
        };
        let full_range = info.colorimetry().range() == VideoColorRange::Range0_255;
        Colours::Yuv { kr, kb, full_range }
    };
    Layout {
        components,
        colours,
    }
}

impl BaseTransformImpl for AiOverlay {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let file = lock(&self.settings).font_file.clone();
        let font = match &file {
            None => Type::built_in().map_err(|err| {
                gst::error_msg!(gst::LibraryError::Init, ("the built-in font: {err}"))
            })?,
            Some(path) => {
                let bytes = std::fs::read(path).map_err(|err| {
                    gst::error_msg!(
                        gst::ResourceError::OpenRead,
                        ("font-file '{path}' cannot be read: {err}")
                    )
                })?;
                Type::of_bytes(bytes).map_err(|err| {
                    gst::error_msg!(
                        gst::ResourceError::Settings,
                        ("font-file '{path}' cannot be used: {err}")
                    )
                })?
            }
        };
        *lock(&self.state) = Some(State {
            font,
            layout: None,
            held: Vec::new(),
            objects: Vec::new(),
        });
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.state) = None;
        Ok(())
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        let begins = matches!(
            event.type_(),
            gst::EventType::FlushStop | gst::EventType::StreamStart
        );
        if begins && let Some(state) = lock(&self.state).as_mut() {
            state.held.clear();
        }
        self.parent_sink_event(event)
    }

    /// Before the base class decides whether it needs the frame to be writable.
    fn before_transform(&self, inbuf: &gst::BufferRef) {
        let hold = u64::from(lock(&self.settings).hold_time);
        let hold = gst::ClockTime::from_mseconds(hold);
        let mut nothing = true;
        if let Some(state) = lock(&self.state).as_mut() {
            let pts = inbuf.pts();
            for result in ClassificationResult::read_all(inbuf) {
                state.held.retain(|held| held.result.model != result.model);
                state.held.push(Held { result, since: pts });
            }
            state.held.retain(|held| match (held.since, pts) {
                // Time that runs backwards is another stream.
                (Some(since), Some(now)) => since <= now && now - since <= hold,
                _ => true,
            });
            state.objects = Detection::read_all(inbuf);
            nothing = state.held.is_empty() && state.objects.is_empty();
        }
        let obj = self.obj();
        if obj.is_passthrough() != nothing {
            obj.set_passthrough(nothing);
        }
    }
}

impl VideoFilterImpl for AiOverlay {
    fn set_info(
        &self,
        _incaps: &gst::Caps,
        in_info: &gst_video::VideoInfo,
        _outcaps: &gst::Caps,
        _out_info: &gst_video::VideoInfo,
    ) -> Result<(), gst::LoggableError> {
        match lock(&self.state).as_mut() {
            Some(state) => state.layout = Some(layout(in_info)),
            None => return Err(gst::loggable_error!(CAT, "Caps before the start")),
        }
        Ok(())
    }

    fn transform_frame_ip(
        &self,
        frame: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let style = lock(&self.settings).style.clone();
        let mut guard = lock(&self.state);
        let state = guard.as_mut().ok_or(gst::FlowError::Flushing)?;
        let layout = state.layout.as_ref().ok_or(gst::FlowError::NotNegotiated)?;
        let (width, height) = (frame.width() as usize, frame.height() as usize);
        let strides: Vec<i32> = frame.plane_stride().to_vec();
        let planes = frame
            .planes_data_mut()
            .into_iter()
            .zip(strides)
            .map(|(data, stride)| Plane {
                data,
                // Never negative in these formats; samples beyond the plane are left out.
                stride: usize::try_from(stride).unwrap_or(usize::MAX / 65536),
            })
            .collect();
        let mut canvas = Canvas {
            planes,
            layout,
            width,
            height,
        };
        let clips: Vec<_> = state.held.iter().map(|held| held.result.clone()).collect();
        scene::draw(&mut canvas, &mut state.font, &style, &state.objects, &clips);
        Ok(gst::FlowSuccess::Ok)
    }
}
