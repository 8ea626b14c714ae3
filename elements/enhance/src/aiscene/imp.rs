// SPDX-License-Identifier: Apache-2.0

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex},
};

use aivideo_core::element::{lock, same_pads};
use aivideo_meta::{ClassificationResult, Detection};
use glib::prelude::*;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::{
    prelude::*,
    subclass::{base_transform::GenerateOutputSuccess, prelude::*},
};
use gst_video::{VideoFormat, prelude::*};

use super::{SCENE, SCENE_CUT, SCENE_META};
use crate::scene::{
    Cut, CutFinder, Scene, SceneList, Sensitivity, Thumbnail, edl,
    list::{Label, Picture, SceneBuilder},
    thumbnail::Component,
};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "aiscene",
        gst::DebugColorFlags::empty(),
        Some("Scene analysis"),
    )
});

/// 8-bit formats whose components can be read one by one.
const FORMATS: [VideoFormat; 9] = [
    VideoFormat::I420,
    VideoFormat::Nv12,
    VideoFormat::Yv12,
    VideoFormat::Nv21,
    VideoFormat::Y42b,
    VideoFormat::Y444,
    VideoFormat::Yuy2,
    VideoFormat::Uyvy,
    VideoFormat::Gray8,
];

#[derive(Debug, Clone)]
struct Settings {
    sensitivity: Sensitivity,
    look_ahead: u32,
    json_location: Option<PathBuf>,
    edl_location: Option<PathBuf>,
    force_key_units: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sensitivity: Sensitivity::default(),
            look_ahead: 5,
            json_location: None,
            edl_location: None,
            force_key_units: false,
        }
    }
}

struct Held {
    buffer: gst::Buffer,
    picture: Picture,
    stream_time: Option<gst::ClockTime>,
    running_time: Option<gst::ClockTime>,
}

struct State {
    finder: CutFinder,
    builder: SceneBuilder,
    held: VecDeque<Held>,
    look_ahead: u32,
    info: Option<gst_video::VideoInfo>,
    /// Pictures taken.
    frames: u64,
    /// Time of the next picture where it has none of its own.
    next_time: gst::ClockTime,
    written: bool,
}

/// What is decided about a picture that leaves.
struct Leaving {
    held: Held,
    cut: Option<Cut>,
    ended: Option<Scene>,
    index: usize,
}

#[derive(Default)]
pub struct AiScene {
    settings: Mutex<Settings>,
    state: Mutex<Option<State>>,
}

fn thumbnail(buffer: &gst::BufferRef, info: &gst_video::VideoInfo) -> Option<Thumbnail> {
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, info).ok()?;
    let mut components = Vec::new();
    for n in 0..frame.n_components().min(3) {
        components.push(Component {
            data: frame.comp_data(n).ok()?,
            width: frame.comp_width(n) as usize,
            height: frame.comp_height(n) as usize,
            step: usize::try_from(frame.comp_pstride(n)).ok()?,
            stride: usize::try_from(frame.comp_stride(n)).ok()?,
        });
    }
    Some(Thumbnail::new(&components))
}

/// A scene as the content of a message.
fn structure_of(scene: &Scene) -> gst::Structure {
    let names = |labels: &[Label]| gst::Array::new(labels.iter().map(|l| l.label.as_str()));
    let scores = |labels: &[Label]| gst::Array::new(labels.iter().map(|l| l.score));
    gst::Structure::builder(SCENE)
        .field("index", scene.index as u32)
        .field("start", scene.start)
        .field("end", scene.end)
        .field("representative", scene.representative)
        .field("start-frame", scene.start_frame)
        .field("end-frame", scene.end_frame)
        .field("strength", scene.strength)
        .field("labels", names(&scene.labels))
        .field("label-scores", scores(&scene.labels))
        .field("objects", names(&scene.objects))
        .field("object-counts", scores(&scene.objects))
        .build()
}

/// Writes a file next to its place and moves it there, so that nobody reads half a list.
fn write_file(path: &Path, text: &str) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    std::fs::write(&part, text)?;
    std::fs::rename(&part, path)
}

impl AiScene {
    fn post(&self, structure: gst::Structure) {
        let obj = self.obj();
        let message = gst::message::Element::builder(structure).src(&*obj).build();
        let _ = obj.post_message(message);
    }

    /// Takes a picture in, and says which one leaves.
    fn take(&self, buffer: gst::Buffer) -> Result<Option<Leaving>, gst::FlowError> {
        let sensitivity = lock(&self.settings).sensitivity;
        let segment = self.obj().segment().downcast::<gst::ClockTime>().ok();
        let mut guard = lock(&self.state);
        let state = guard.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
        let info = state.info.as_ref().ok_or(gst::FlowError::NotNegotiated)?;
        let Some(thumbnail) = thumbnail(&buffer, info) else {
            drop(guard);
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                (
                    "a buffer of {} bytes cannot be read as a picture",
                    buffer.size()
                )
            );
            return Err(gst::FlowError::Error);
        };
        let fps = info.fps();
        let one = gst::ClockTime::SECOND
            .mul_div_round(fps.denom().max(0) as u64, fps.numer().max(0) as u64);
        let in_segment =
            |time: fn(
                &gst::FormattedSegment<gst::ClockTime>,
                gst::ClockTime,
            ) -> Option<gst::ClockTime>| { time(segment.as_ref()?, buffer.pts()?) };
        let stream_time = in_segment(|s, t| s.to_stream_time(t));
        let running_time = in_segment(|s, t| s.to_running_time(t));
        let start = stream_time.or(buffer.pts()).unwrap_or(state.next_time);
        let end = start + buffer.duration().or(one).unwrap_or(gst::ClockTime::ZERO);
        state.next_time = end;
        let results = ClassificationResult::read_all(&buffer)
            .into_iter()
            .map(|result| {
                let scored = result.labels.into_iter().zip(result.scores);
                scored
                    .map(|(label, score)| Label { label, score })
                    .collect()
            })
            .collect();
        let objects = Detection::read_all(&buffer)
            .into_iter()
            .map(|d| d.label)
            .collect();
        let picture = Picture {
            frame: state.frames,
            start: start.nseconds(),
            end: end.nseconds(),
            thumbnail: thumbnail.clone(),
            results,
            objects,
        };
        state.frames += 1;
        state.held.push_back(Held {
            buffer,
            picture,
            stream_time,
            running_time,
        });
        let decision = state.finder.push(thumbnail, &sensitivity);
        Ok(decision.and_then(|decision| state.leave(decision.cut)))
    }

    /// Tells about the picture that leaves, and hands it out.
    fn announce(&self, leaving: Leaving) -> gst::Buffer {
        let Leaving {
            mut held,
            cut,
            ended,
            index,
        } = leaving;
        if let Some(scene) = ended {
            self.post(structure_of(&scene));
        }
        let Some(cut) = cut else {
            return held.buffer;
        };
        gst::debug!(CAT, imp = self, "scene {index} begins: {cut:?}");
        let fields = |name: &str| {
            gst::Structure::builder(name)
                .field("index", index as u32)
                .field("strength", f64::from(cut.strength))
                .build()
        };
        let mut message = fields(SCENE_CUT);
        message.set("frame", cut.frame);
        if let Some(time) = held.stream_time {
            message.set("stream-time", time);
        }
        if let Some(time) = held.running_time {
            message.set("running-time", time);
        }
        self.post(message);
        let pad = self.obj().src_pad().clone();
        pad.push_event(gst::event::CustomDownstream::new(fields(SCENE)));
        if lock(&self.settings).force_key_units {
            let mut event = gst_video::DownstreamForceKeyUnitEvent::builder().all_headers(true);
            if let Some(time) = held.running_time {
                event = event.running_time(time);
            }
            pad.push_event(event.build());
        }
        match gst::meta::CustomMeta::add(held.buffer.make_mut(), SCENE_META) {
            Ok(mut meta) => {
                let structure = meta.mut_structure();
                structure.set("index", index as u32);
                structure.set("strength", f64::from(cut.strength));
            }
            Err(error) => gst::warning!(CAT, imp = self, "no meta: {error}"),
        }
        held.buffer
    }

    /// Pushes everything that is held back.
    fn drain(&self) -> Result<(), gst::FlowError> {
        let sensitivity = lock(&self.settings).sensitivity;
        loop {
            let leaving = {
                let mut guard = lock(&self.state);
                let Some(state) = guard.as_mut() else {
                    return Ok(());
                };
                match state.finder.drain(&sensitivity) {
                    Some(decision) => state.leave(decision.cut),
                    None => return Ok(()),
                }
            };
            if let Some(leaving) = leaving {
                let buffer = self.announce(leaving);
                self.obj().src_pad().push(buffer)?;
            }
        }
    }

    /// The stream is over: the last scene ends, and the list is written.
    fn finish(&self) {
        let settings = lock(&self.settings).clone();
        let (last, list, rate) = {
            let mut guard = lock(&self.state);
            let Some(state) = guard.as_mut() else { return };
            if state.written {
                return;
            }
            state.written = true;
            let last = state.builder.end();
            let fps = state
                .info
                .as_ref()
                .map_or(gst::Fraction::new(0, 1), |info| info.fps());
            let list = SceneList {
                frame_rate: format!("{}/{}", fps.numer(), fps.denom()),
                scenes: state.builder.scenes().to_vec(),
            };
            (
                last,
                list,
                (fps.numer().max(0) as u32, fps.denom().max(0) as u32),
            )
        };
        if let Some(scene) = &last {
            self.post(structure_of(scene));
        }
        if list.scenes.is_empty()
            && (settings.json_location.is_some() || settings.edl_location.is_some())
        {
            gst::element_imp_warning!(
                self,
                gst::StreamError::Failed,
                ("the stream ended without a single picture: the list of scenes is empty")
            );
        }
        let mut files = Vec::new();
        if let Some(path) = &settings.json_location {
            match list.to_json() {
                Ok(text) => files.push(("json-location", path, text + "\n")),
                Err(error) => gst::error!(CAT, imp = self, "{error}"),
            }
        }
        if let Some(path) = &settings.edl_location {
            let title = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            files.push(("edl-location", path, edl::write(&title, rate, &list.scenes)));
        }
        for (property, path, text) in files {
            if let Err(error) = write_file(path, &text) {
                gst::element_imp_error!(
                    self,
                    gst::ResourceError::OpenWrite,
                    (
                        "cannot write the list of scenes to {} ({property}): {error}",
                        path.display()
                    )
                );
            }
        }
    }

    fn latency(&self) -> Option<gst::ClockTime> {
        let guard = lock(&self.state);
        let state = guard.as_ref()?;
        let fps = state.info.as_ref()?.fps();
        let (n, d) = (
            u64::try_from(fps.numer()).ok()?,
            u64::try_from(fps.denom()).ok()?,
        );
        gst::ClockTime::SECOND.mul_div_ceil(u64::from(state.look_ahead) * d, n)
    }
}

impl State {
    /// The oldest picture leaves with what was decided about it.
    fn leave(&mut self, cut: Option<Cut>) -> Option<Leaving> {
        let held = self.held.pop_front()?;
        let ended = self
            .builder
            .push(held.picture.clone(), cut.map(|cut| cut.strength));
        Some(Leaving {
            held,
            cut,
            ended,
            index: self.builder.current(),
        })
    }
}

#[glib::object_subclass]
impl ObjectSubclass for AiScene {
    const NAME: &'static str = "GstAiScene";
    type Type = super::AiScene;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for AiScene {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let default = Settings::default();
            let float = |name, nick, blurb, low, high, value| {
                glib::ParamSpecFloat::builder(name)
                    .nick(nick)
                    .blurb(blurb)
                    .minimum(low)
                    .maximum(high)
                    .default_value(value)
                    .mutable_playing()
                    .build()
            };
            let location = |name, nick, blurb| {
                glib::ParamSpecString::builder(name)
                    .nick(nick)
                    .blurb(blurb)
                    .mutable_ready()
                    .build()
            };
            vec![
                float(
                    "threshold",
                    "Threshold",
                    "How many times more than its neighbours a picture must have changed to begin a scene",
                    1.0,
                    100.0,
                    default.sensitivity.ratio,
                ),
                float(
                    "min-change",
                    "Minimum change",
                    "How much it must have changed at least: mean change of luma and chroma, in steps of 255",
                    0.0,
                    255.0,
                    default.sensitivity.change,
                ),
                float(
                    "min-spread",
                    "Minimum change of the histogram",
                    "How much the histograms of luma and chroma must have changed, 0 to 1",
                    0.0,
                    1.0,
                    default.sensitivity.spread,
                ),
                glib::ParamSpecUInt64::builder("min-scene-length")
                    .nick("Minimum scene length")
                    .blurb("Pictures of the shortest scene")
                    .minimum(1)
                    .maximum(100_000)
                    .default_value(default.sensitivity.shortest)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecUInt::builder("look-ahead")
                    .nick("Look-ahead")
                    .blurb("Pictures behind a change that are looked at before it counts as a cut, and the longest flash that is told from one; each adds one of latency")
                    .maximum(30)
                    .default_value(default.look_ahead)
                    .mutable_ready()
                    .build(),
                location(
                    "json-location",
                    "JSON location",
                    "File that the list of scenes is written to as JSON at the end of the stream",
                ),
                location(
                    "edl-location",
                    "EDL location",
                    "File that the list of scenes is written to as an edit decision list (CMX 3600) at the end of the stream",
                ),
                glib::ParamSpecBoolean::builder("force-key-units")
                    .nick("Force key units")
                    .blurb("Ask encoders downstream for a key frame at each cut")
                    .default_value(default.force_key_units)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                    .nick("Statistics")
                    .blurb("Pictures, scenes that have ended, and flashes that were not taken for cuts")
                    .read_only()
                    .build(),
            ]
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let mut settings = lock(&self.settings);
        let path = || {
            let text: Option<String> = value.get().ok().flatten();
            text.filter(|text| !text.is_empty()).map(PathBuf::from)
        };
        let s = &mut settings.sensitivity;
        match pspec.name() {
            "threshold" => s.ratio = value.get().unwrap_or(s.ratio),
            "min-change" => s.change = value.get().unwrap_or(s.change),
            "min-spread" => s.spread = value.get().unwrap_or(s.spread),
            "min-scene-length" => s.shortest = value.get().unwrap_or(s.shortest),
            "look-ahead" => settings.look_ahead = value.get().unwrap_or(settings.look_ahead),
            "json-location" => settings.json_location = path(),
            "edl-location" => settings.edl_location = path(),
            "force-key-units" => {
                settings.force_key_units = value.get().unwrap_or(settings.force_key_units);
            }
            name => gst::error!(CAT, imp = self, "{name} cannot be set"),
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        let settings = lock(&self.settings).clone();
        let text = |path: &Option<PathBuf>| {
            let text = path
                .as_ref()
                .map(|path| path.to_string_lossy().into_owned());
            text.to_value()
        };
        match pspec.name() {
            "threshold" => settings.sensitivity.ratio.to_value(),
            "min-change" => settings.sensitivity.change.to_value(),
            "min-spread" => settings.sensitivity.spread.to_value(),
            "min-scene-length" => settings.sensitivity.shortest.to_value(),
            "look-ahead" => settings.look_ahead.to_value(),
            "json-location" => text(&settings.json_location),
            "edl-location" => text(&settings.edl_location),
            "force-key-units" => settings.force_key_units.to_value(),
            "stats" => {
                let mut stats = gst::Structure::builder("aivideo-stats");
                if let Some(state) = lock(&self.state).as_ref() {
                    stats = stats
                        .field("frames", state.frames)
                        .field("scenes", state.builder.scenes().len() as u64)
                        .field("flashes", state.finder.flashes());
                }
                stats.build().to_value()
            }
            _ => pspec.default_value().clone(),
        }
    }
}

impl GstObjectImpl for AiScene {}

impl ElementImpl for AiScene {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Scene analysis",
                "Filter/Analyzer/Video",
                "Finds cuts, and lists scenes with a representative picture and labels as JSON and EDL",
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
            same_pads(&caps)
        });
        &TEMPLATES
    }
}

impl BaseTransformImpl for AiScene {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        for (property, path) in [
            ("json-location", &settings.json_location),
            ("edl-location", &settings.edl_location),
        ] {
            // Found now, not after an hour of film.
            let folder = path.as_ref().and_then(|path| path.parent());
            if let Some(folder) = folder
                && !folder.as_os_str().is_empty()
                && !folder.is_dir()
            {
                return Err(gst::error_msg!(
                    gst::ResourceError::OpenWrite,
                    (
                        "{property}: there is no folder {}; make it first",
                        folder.display()
                    )
                ));
            }
        }
        if !gst::meta::CustomMeta::is_registered(SCENE_META) {
            gst::meta::CustomMeta::register_simple(SCENE_META);
        }
        *lock(&self.state) = Some(State {
            finder: CutFinder::new(settings.look_ahead as usize),
            builder: SceneBuilder::default(),
            held: VecDeque::new(),
            look_ahead: settings.look_ahead,
            info: None,
            frames: 0,
            next_time: gst::ClockTime::ZERO,
            written: false,
        });
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.state) = None;
        Ok(())
    }

    fn set_caps(&self, incaps: &gst::Caps, _outcaps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let info = gst_video::VideoInfo::from_caps(incaps)
            .map_err(|_| gst::loggable_error!(CAT, "{incaps} is no raw video"))?;
        if let Some(state) = lock(&self.state).as_mut() {
            state.info = Some(info);
        }
        let obj = self.obj();
        let _ = obj.post_message(gst::message::Latency::builder().src(&*obj).build());
        Ok(())
    }

    fn query(&self, direction: gst::PadDirection, query: &mut gst::QueryRef) -> bool {
        if direction == gst::PadDirection::Src
            && let gst::QueryViewMut::Latency(latency) = query.view_mut()
        {
            let mut upstream = gst::query::Latency::new();
            if !self.obj().sink_pad().peer_query(&mut upstream) {
                return false;
            }
            let own = self.latency().unwrap_or(gst::ClockTime::ZERO);
            let (live, min, max) = upstream.result();
            latency.set(live, min + own, max.map(|max| max + own));
            return true;
        }
        BaseTransformImplExt::parent_query(self, direction, query)
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::FlushStop(_) => {
                let look_ahead = lock(&self.settings).look_ahead;
                if let Some(state) = lock(&self.state).as_mut() {
                    state.finder = CutFinder::new(look_ahead as usize);
                    state.look_ahead = look_ahead;
                    state.held.clear();
                    state.builder = SceneBuilder::default();
                    state.frames = 0;
                    state.written = false;
                }
            }
            gst::EventView::Eos(_)
            | gst::EventView::Segment(_)
            | gst::EventView::Caps(_)
            | gst::EventView::Gap(_) => {
                if let Err(error) = self.drain() {
                    gst::debug!(CAT, imp = self, "drained in vain: {error:?}");
                }
            }
            _ => {}
        }
        if let gst::EventView::Eos(_) = event.view() {
            self.finish();
        }
        self.parent_sink_event(event)
    }

    fn generate_output(&self) -> Result<GenerateOutputSuccess, gst::FlowError> {
        let Some(buffer) = self.take_queued_buffer() else {
            return Ok(GenerateOutputSuccess::NoOutput);
        };
        Ok(match self.take(buffer)? {
            Some(leaving) => GenerateOutputSuccess::Buffer(self.announce(leaving)),
            None => GenerateOutputSuccess::NoOutput,
        })
    }
}
