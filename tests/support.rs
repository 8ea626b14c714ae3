// SPDX-License-Identifier: Apache-2.0
//! What the tests of whole pipelines share: the plugins as they were built, and running a pipeline.

use gst::prelude::*;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Once, mpsc};
use std::time::Duration;

/// How long anything may take on a busy machine.
pub const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(120);

/// Where cargo puts the plugins: this program is in its folder `deps`.
pub fn plugin_folder() -> PathBuf {
    let program = std::env::current_exe().expect("the test's own path");
    let folder = program.parent().and_then(|deps| deps.parent());
    folder.expect("cargo's folders").to_owned()
}

/// Loads the plugins that were built, not what is installed.
pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().expect("GStreamer starts");
        for name in ["aitransport", "aivideo", "aifx", "aimeta"] {
            let path = plugin_folder().join(format!("libgst{name}.so"));
            let plugin = gst::Plugin::load_file(&path).unwrap_or_else(|error| {
                panic!(
                    "{}: {error}; build the plugins first: cargo build --release --workspace",
                    path.display()
                )
            });
            gst::Registry::get()
                .add_plugin(&plugin)
                .expect("a registry that takes plugins");
        }
    });
}

/// Builds a pipeline out of a line.
pub fn pipeline(line: &str) -> gst::Pipeline {
    init();
    let element = gst::parse::launch(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    element
        .downcast::<gst::Pipeline>()
        .expect("more than one element")
}

/// Copies of all buffers that come to the element `name`.
pub fn tap(pipeline: &gst::Pipeline, name: &str) -> mpsc::Receiver<gst::Buffer> {
    let (sender, receiver) = mpsc::channel();
    let sender = Mutex::new(sender);
    let element = pipeline.by_name(name).expect("a named element");
    let pad = element.static_pad("sink").expect("a sink");
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(gst::PadProbeData::Buffer(buffer)) = &info.data {
            // The test may have seen enough.
            let _ = sender.lock().map(|sender| sender.send(buffer.clone()));
        }
        gst::PadProbeReturn::Ok
    });
    receiver
}

/// The next buffer, or a panic that tells what the pipeline says.
pub fn next(pipeline: &gst::Pipeline, receiver: &mpsc::Receiver<gst::Buffer>) -> gst::Buffer {
    let patience = Duration::from_nanos(PATIENCE.nseconds());
    receiver.recv_timeout(patience).unwrap_or_else(|_| {
        let kinds = [gst::MessageType::Error, gst::MessageType::Warning];
        let message = pipeline.bus().and_then(|bus| bus.pop_filtered(&kinds));
        panic!("nothing comes out of the pipeline: {message:?}")
    })
}

/// Waits for the end of the stream. Stops the pipeline.
pub fn finish(pipeline: &gst::Pipeline) -> Result<(), glib::Error> {
    finish_within(pipeline, PATIENCE).expect("the pipeline hangs")
}

/// Waits for the end of the stream, so long; None when it does not come. Stops the pipeline.
pub fn finish_within(
    pipeline: &gst::Pipeline,
    patience: gst::ClockTime,
) -> Option<Result<(), glib::Error>> {
    let bus = pipeline.bus().expect("a bus");
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = bus.timed_pop_filtered(patience, &kinds);
    pipeline
        .set_state(gst::State::Null)
        .expect("pipelines stop");
    Some(match message?.view() {
        gst::MessageView::Error(error) => Err(error.error()),
        _ => Ok(()),
    })
}

/// Runs a line to its end. Gives what came to the element `sink`, if there is one.
pub fn run(line: &str) -> Result<Vec<gst::Buffer>, glib::Error> {
    let pipeline = pipeline(line);
    let receiver = pipeline.by_name("sink").map(|_| tap(&pipeline, "sink"));
    // A failure is explained by a message.
    let _ = pipeline.set_state(gst::State::Playing);
    finish(&pipeline)?;
    Ok(receiver.map(|r| r.try_iter().collect()).unwrap_or_default())
}

/// Starts a pipeline that listens to the network, and waits until it does. Its sinks need
/// `async=false`: they would wait for pictures that nobody sends yet.
pub fn start_listening(pipeline: &gst::Pipeline) {
    pipeline.set_state(gst::State::Playing).expect("it starts");
    let (result, ..) = pipeline.state(PATIENCE);
    result.expect("it starts");
}

/// Contents of a buffer.
pub fn bytes(buffer: &gst::Buffer) -> Vec<u8> {
    buffer.map_readable().expect("system memory").to_vec()
}

/// A UDP port of the loopback device that nobody uses.
pub fn free_port() -> u16 {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("the loopback device");
    socket.local_addr().expect("an address").port()
}

/// How many upstream requests for a key frame pass the element `name`'s source.
pub fn count_key_requests(pipeline: &gst::Pipeline, name: &str) -> Arc<Mutex<usize>> {
    let count = Arc::new(Mutex::new(0));
    let counter = count.clone();
    let element = pipeline.by_name(name).expect("a named element");
    let pad = element.static_pad("src").expect("a source");
    pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        if let Some(gst::PadProbeData::Event(event)) = &info.data
            && gst_video::ForceKeyUnitEvent::is(event)
            && let Ok(mut count) = counter.lock()
        {
            *count += 1;
        }
        gst::PadProbeReturn::Ok
    });
    count
}
