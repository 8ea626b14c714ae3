// SPDX-License-Identifier: Apache-2.0
//! The real codec through gst-rtsp-server and rtspsrc.

use super::file::source;
use aivideo_tests::*;
use gst::prelude::*;
use gst_rtsp_server::{gst_rtsp, prelude::*};
use std::sync::mpsc;
use std::time::Duration;

struct Server {
    port: u16,
    main_loop: glib::MainLoop,
    thread: Option<std::thread::JoinHandle<()>>,
    /// A message for every request for a key frame that reaches the encoder.
    requests: mpsc::Receiver<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.main_loop.quit();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve() -> Server {
    init();
    let context = glib::MainContext::new();
    let main_loop = glib::MainLoop::new(Some(&context), false);
    let running = main_loop.clone();
    let (sender, receiver) = mpsc::channel();
    let (asked, requests) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let serve = || {
            let server = gst_rtsp_server::RTSPServer::new();
            server.set_address("127.0.0.1");
            server.set_service("0");
            let factory = gst_rtsp_server::RTSPMediaFactory::new();
            let source = source(10_000, true).replace("key-int-max=10", "key-int-max=0");
            factory.set_launch(&format!("( {source} ! rtpaicodecpay name=pay0 pt=96 )"));
            factory.set_shared(true);
            let profiles = gst_rtsp::RTSPProfile::AVP | gst_rtsp::RTSPProfile::AVPF;
            factory.set_profiles(profiles);
            factory.connect_media_configure(move |_, media| {
                let bin = media.element().downcast::<gst::Bin>().unwrap();
                let encoder = bin.by_name("encoder").unwrap();
                let asked = asked.clone();
                let pad = encoder.static_pad("src").unwrap();
                pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
                    if let Some(gst::PadProbeData::Event(event)) = &info.data
                        && gst_video::ForceKeyUnitEvent::is(event)
                    {
                        let _ = asked.send(());
                    }
                    gst::PadProbeReturn::Ok
                });
            });
            server
                .mount_points()
                .unwrap()
                .add_factory("/camera", factory);
            let source = server
                .create_source(gst_rtsp_server::gio::Cancellable::NONE)
                .unwrap();
            source.attach(Some(&context));
            sender.send(server.bound_port() as u16).unwrap();
            running.run();
        };
        context.with_thread_default(serve).unwrap();
    });
    Server {
        port: receiver.recv_timeout(Duration::from_secs(60)).unwrap(),
        main_loop,
        thread: Some(thread),
        requests,
    }
}

#[test]
fn decodebin_shows_an_rtsp_stream() {
    let server = serve();
    for protocol in ["tcp", "udp"] {
        let receive = pipeline(&format!(
            "rtspsrc location=rtsp://127.0.0.1:{}/camera protocols={protocol} latency=100 \
             ! decodebin ! fakesink name=sink sync=false",
            server.port
        ));
        let pictures = tap(&receive, "sink");
        receive.set_state(gst::State::Playing).unwrap();
        for _ in 0..10 {
            let picture = next(&receive, &pictures);
            assert_eq!(picture.size(), 192 * 130 * 3 / 2);
        }
        receive.set_state(gst::State::Null).unwrap();
    }
}

#[test]
fn a_receiver_that_joins_late_gets_a_key_frame() {
    let server = serve();
    let line = |name: &str| {
        pipeline(&format!(
            "rtspsrc location=rtsp://127.0.0.1:{}/camera protocols=tcp latency=100 \
             ! rtpaicodecdepay ! aicodecdec name={name} ! fakesink name=sink sync=false",
            server.port
        ))
    };
    let first = line("first");
    let pictures = tap(&first, "sink");
    first.set_state(gst::State::Playing).unwrap();
    for _ in 0..5 {
        next(&first, &pictures);
    }
    // The stream has no key frames of its own but the first, which is gone.
    while server.requests.try_recv().is_ok() {}
    let second = line("second");
    let pictures = tap(&second, "sink");
    second.set_state(gst::State::Playing).unwrap();
    next(&second, &pictures);
    server.requests.try_recv().expect("the encoder was asked");
    first.set_state(gst::State::Null).unwrap();
    second.set_state(gst::State::Null).unwrap();
}
