// SPDX-License-Identifier: Apache-2.0
use super::common::*;
use gst::prelude::*;
use std::sync::mpsc;
use std::time::Duration;

/// A port that nobody uses.
fn free_port() -> u16 {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

/// A pipeline whose appsink named `sink` sends what comes to the receiver.
fn receiving(line: &str) -> (gst::Pipeline, mpsc::Receiver<gst::Buffer>) {
    let pipeline = gst::parse::launch(line)
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
    let (sender, receiver) = mpsc::channel();
    let sink = pipeline.by_name("sink").unwrap();
    sink.static_pad("sink")
        .unwrap()
        .add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(gst::PadProbeData::Buffer(buffer)) = &info.data {
                // The test may have seen enough.
                let _ = sender.send(buffer.clone());
            }
            gst::PadProbeReturn::Ok
        });
    (pipeline, receiver)
}

fn wait(pipeline: &gst::Pipeline, receiver: &mpsc::Receiver<gst::Buffer>) -> gst::Buffer {
    receiver
        .recv_timeout(Duration::from_secs(20))
        .unwrap_or_else(|_| {
            let kinds = [gst::MessageType::Error, gst::MessageType::Warning];
            panic!(
                "nothing arrives: {:?}",
                pipeline.bus().unwrap().pop_filtered(&kinds)
            )
        })
}

#[test]
fn packets_go_over_udp() {
    init();
    let port = free_port();
    let (receive, receiver) = receiving(&format!(
        "udpsrc address=127.0.0.1 port={port} buffer-size=2000000 \
         caps=application/x-rtp,media=video,clock-rate=90000,encoding-name=X-AICODEC,payload=96 \
         ! rtpjitterbuffer latency=50 ! rtpaicodecdepay ! fakesink name=sink sync=false async=false"
    ));
    receive.set_state(gst::State::Playing).unwrap();
    let (result, ..) = receive.state(gst::ClockTime::from_seconds(10));
    result.unwrap();

    let units = stream(30, 2500);
    let mut pay = payloader(1400);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for (i, unit) in units.iter().enumerate() {
        pay.push(buffer(unit, i as u16)).unwrap();
        for _ in 0..pay.buffers_in_queue() {
            socket
                .send_to(&data(&pay.pull().unwrap()), ("127.0.0.1", port))
                .unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    for unit in &units {
        assert_eq!(data(&wait(&receive, &receiver)), *unit);
    }
    receive.set_state(gst::State::Null).unwrap();
}

#[test]
fn the_jitterbuffer_restores_the_order() {
    init();
    let port = free_port();
    let (receive, receiver) = receiving(&format!(
        "udpsrc address=127.0.0.1 port={port} buffer-size=2000000 \
         caps=application/x-rtp,media=video,clock-rate=90000,encoding-name=X-AICODEC,payload=96 \
         ! rtpjitterbuffer latency=300 ! rtpaicodecdepay ! fakesink name=sink sync=false async=false"
    ));
    receive.set_state(gst::State::Playing).unwrap();
    let (result, ..) = receive.state(gst::ClockTime::from_seconds(10));
    result.unwrap();

    let units = stream(20, 2500);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut all: Vec<_> = packets(&units, 800).into_iter().flatten().collect();
    // The very first tells where the numbers begin.
    for chunk in all[1..].chunks_mut(4) {
        chunk.reverse();
    }
    for packet in &all {
        socket.send_to(&data(packet), ("127.0.0.1", port)).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    for unit in &units {
        let buffer = wait(&receive, &receiver);
        assert!(!buffer.flags().contains(gst::BufferFlags::CORRUPTED));
        assert_eq!(data(&buffer), *unit);
    }
    receive.set_state(gst::State::Null).unwrap();
}

/// An RTSP server that sends `units` to each client, as fast as a camera would.
fn serve(units: Vec<Vec<u8>>) -> (u16, glib::MainLoop, std::thread::JoinHandle<()>) {
    use gst_rtsp_server::prelude::*;
    let context = glib::MainContext::new();
    let main_loop = glib::MainLoop::new(Some(&context), false);
    let (sender, receiver) = mpsc::channel();
    let running = main_loop.clone();
    let thread = std::thread::spawn(move || {
        context
            .with_thread_default(|| {
                let server = gst_rtsp_server::RTSPServer::new();
                server.set_address("127.0.0.1");
                server.set_service("0");
                let factory = gst_rtsp_server::RTSPMediaFactory::new();
                factory.set_launch(
                    "( appsrc name=source is-live=true format=time ! rtpaicodecpay name=pay0 pt=96 )",
                );
                factory.connect_media_configure(move |_, media| feed(media, &units));
                server.mount_points().unwrap().add_factory("/camera", factory);
                let source = server.create_source(gio_none()).unwrap();
                source.attach(Some(&glib::MainContext::thread_default().unwrap()));
                sender.send(server.bound_port() as u16).unwrap();
                running.run();
            })
            .unwrap();
    });
    let port = receiver.recv_timeout(Duration::from_secs(10)).unwrap();
    (port, main_loop, thread)
}

/// No cancellable: gio is not among the dependencies.
fn gio_none() -> Option<&'static gst_rtsp_server::gio::Cancellable> {
    None
}

fn feed(media: &gst_rtsp_server::RTSPMedia, units: &[Vec<u8>]) {
    use gst_rtsp_server::prelude::*;
    let bin = media.element().downcast::<gst::Bin>().unwrap();
    let source = bin
        .by_name("source")
        .unwrap()
        .downcast::<gst_app::AppSrc>()
        .unwrap();
    source.set_caps(Some(&caps()));
    let units = units.to_vec();
    let mut next = 0;
    let push = move |source: &gst_app::AppSrc, _| {
        if next > 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
        let unit = &units[next % units.len()];
        let _ = source.push_buffer(buffer(unit, next as u16));
        next += 1;
    };
    source.set_callbacks(gst_app::AppSrcCallbacks::builder().need_data(push).build());
}

#[test]
fn streams_go_through_rtsp() {
    init();
    let units = stream(40, 2500);
    let (port, main_loop, server) = serve(units.clone());
    for protocol in ["tcp", "udp"] {
        let (receive, receiver) = receiving(&format!(
            "rtspsrc location=rtsp://127.0.0.1:{port}/camera protocols={protocol} latency=50 \
             ! rtpaicodecdepay name=depay ! fakesink name=sink sync=false"
        ));
        receive.set_state(gst::State::Playing).unwrap();
        let mut at = None;
        for _ in 0..15 {
            let buffer = wait(&receive, &receiver);
            let found = units.iter().position(|unit| *unit == data(&buffer));
            let found = found.expect("an access unit as it was sent");
            if let Some(at) = at {
                assert_eq!(found, at + 1);
            }
            at = Some(found);
        }
        // The description came in the session's own.
        let depay = receive.by_name("depay").unwrap();
        let caps = depay.static_pad("sink").unwrap().current_caps().unwrap();
        let config = caps.structure(0).unwrap().get::<String>("config").unwrap();
        assert_eq!(glib::base64_decode(&config), sequence().write());
        receive.set_state(gst::State::Null).unwrap();
    }
    main_loop.quit();
    server.join().unwrap();
}

#[test]
fn what_is_received_can_be_written_to_a_playable_file() {
    init();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("received.aic");
    let line = format!(
        "appsrc name=source format=time ! rtpaicodecpay ! rtpaicodecdepay ! aicodecparse \
         ! filesink location={}",
        path.display()
    );
    let pipeline = gst::parse::launch(&line)
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
    let source = pipeline
        .by_name("source")
        .unwrap()
        .downcast::<gst_app::AppSrc>()
        .unwrap();
    source.set_caps(Some(&caps()));
    let units = stream(25, 2500);
    for (i, unit) in units.iter().enumerate() {
        source.push_buffer(buffer(unit, i as u16)).unwrap();
    }
    source.end_of_stream().unwrap();
    run(&pipeline);

    let line = format!(
        "filesrc location={} ! typefind ! aicodecparse ! fakesink name=sink",
        path.display()
    );
    let (pipeline, receiver) = receiving(&line);
    run(&pipeline);
    assert_eq!(receiver.try_iter().count(), units.len());
}

fn run(pipeline: &gst::Pipeline) {
    pipeline.set_state(gst::State::Playing).unwrap();
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let bus = pipeline.bus().unwrap();
    let message = bus
        .timed_pop_filtered(gst::ClockTime::from_seconds(20), &kinds)
        .unwrap();
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    pipeline.set_state(gst::State::Null).unwrap();
}
