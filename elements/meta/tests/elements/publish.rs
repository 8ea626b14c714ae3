// SPDX-License-Identifier: Apache-2.0
//! `aimetapublish`: what arrives, and what happens when nothing can arrive.

use std::time::{Duration, Instant};

use gst::prelude::*;

use crate::broker::{Broker, Heard, Manner};
use crate::convert::assert_schema;
use crate::support::{car, clip, run, tagged};

const SOURCE: &str = "videotestsrc num-buffers=6 ! video/x-raw,width=128,height=96,framerate=25/1 ! identity name=tag";

fn pipeline(elements: &str) -> gst::Pipeline {
    tagged(&format!("{SOURCE} ! {elements}"), |number, buffer| {
        let mut result = clip(buffer.pts().unwrap());
        result.model = number.to_string();
        result.attach(buffer).unwrap();
        car().attach(buffer, (128, 96)).unwrap();
    })
}

fn stats(pipeline: &gst::Pipeline) -> (u64, u64, u64) {
    let element = pipeline.by_name("publish").unwrap();
    let stats: gst::Structure = element.property("stats");
    let get = |name: &str| stats.get::<u64>(name).unwrap();
    (get("published"), get("dropped"), get("queued"))
}

/// The number that the frame's model is named after.
fn number(line: &str) -> u64 {
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_schema(&line);
    let model = line["classifications"][0]["model"].as_str().unwrap();
    model.parse().unwrap()
}

#[test]
fn a_file_is_whole_at_the_end_of_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines");
    let publish = format!(
        "aimetapublish name=publish method=file file-path={}",
        path.display()
    );
    for (elements, sources) in [
        (publish.clone(), false),
        (
            format!("aimetaconvert source=gate ! video/x-raw ! {publish}"),
            true,
        ),
        (
            format!("aimetaconvert source=gate ! application/x-json ! {publish}"),
            true,
        ),
        (
            format!("aimetaconvert source=gate ! text/x-raw ! {publish}"),
            true,
        ),
    ] {
        let pipeline = pipeline(&format!("{elements} ! fakesink"));
        pipeline.set_state(gst::State::Playing).unwrap();
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let patience = gst::ClockTime::from_seconds(30);
        let message = pipeline
            .bus()
            .unwrap()
            .timed_pop_filtered(patience, &kinds)
            .unwrap();
        assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
        // Before the pipeline stops.
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text.lines().map(number).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4, 5],
            "{elements}"
        );
        assert_eq!(text.contains("\"source\":\"gate\""), sources);
        pipeline.set_state(gst::State::Null).unwrap();
        assert_eq!(stats(&pipeline), (6, 0, 0));
    }
    // Appending keeps what is there.
    run(&pipeline(&format!("{publish} file-append=true ! fakesink"))).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 12);
}

#[test]
fn settings_that_cannot_be_are_refused_with_a_reason() {
    for (settings, said) in [
        ("method=file", "method=file needs file-path"),
        ("method=file file-path=/nowhere/x", "/nowhere/x"),
        ("method=mqtt topic=a", "needs address"),
        ("method=mqtt address=localhost", "needs topic"),
        ("method=mqtt address=http://a topic=a", "http://"),
        ("method=mqtt address=a topic=a/#", "subscribers"),
        ("method=kafka address=a:b topic=a", "not a port"),
        ("method=kafka address=a topic=a/b", "Kafka allows"),
    ] {
        let error = run(&pipeline(&format!("aimetapublish {settings} ! fakesink"))).unwrap_err();
        assert!(error.contains(said), "{settings}: {error}");
    }
}

fn mqtt(port: u16, more: &str) -> gst::Pipeline {
    pipeline(&format!(
        "aimetapublish name=publish method=mqtt address=mqtt://127.0.0.1:{port} topic=site/gate {more} \
         ! fakesink"
    ))
}

#[test]
fn a_broker_gets_every_line() {
    for (qos, retain) in [(0, false), (1, true)] {
        let broker = Broker::start(&[Manner::Polite]);
        let pipeline = mqtt(
            broker.port,
            &format!("client-id=me username=u mqtt-qos={qos} mqtt-retain={retain}"),
        );
        run(&pipeline).unwrap();
        let connect = Heard::Connect {
            client: "me".into(),
            user: Some("u".into()),
        };
        assert_eq!(broker.next(), connect);
        for expected in 0..6 {
            let Heard::Publish {
                topic,
                text,
                qos: q,
                retain: r,
            } = broker.next()
            else {
                panic!("not a message");
            };
            assert_eq!((topic.as_str(), q, r), ("site/gate", qos, retain));
            assert_eq!(number(&text), expected);
        }
        assert_eq!(broker.next(), Heard::Disconnect);
        assert_eq!(stats(&pipeline), (6, 0, 0));
    }
}

#[test]
fn a_broker_that_hangs_up_gets_the_rest_afterwards() {
    let broker = Broker::start(&[Manner::HangsUpAfter(3), Manner::Polite]);
    let pipeline = mqtt(broker.port, "drain-timeout=20000");
    run(&pipeline).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    while let Ok(heard) = broker.heard.recv_timeout(Duration::from_secs(5)) {
        match heard {
            Heard::Publish { text, .. } => {
                seen.insert(number(&text));
            }
            Heard::Disconnect => break,
            Heard::Connect { .. } => {}
        }
    }
    // At least once: none is missing, whatever came twice.
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    let (published, dropped, queued) = stats(&pipeline);
    assert_eq!((published, dropped, queued), (6, 0, 0));
    let element = pipeline.by_name("publish").unwrap();
    let stats: gst::Structure = element.property("stats");
    assert_eq!(stats.get::<u64>("reconnects"), Ok(1));
}

#[test]
fn a_broker_that_comes_late_gets_the_newest_lines() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let pipeline = mqtt(port, "queue-size=4 drain-timeout=20000");
    let bus = pipeline.bus().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let patience = gst::ClockTime::from_seconds(30);
    let warning = bus
        .timed_pop_filtered(patience, &[gst::MessageType::Warning])
        .unwrap();
    let gst::MessageView::Warning(warning) = warning.view() else {
        unreachable!()
    };
    let text = warning.error().to_string();
    assert!(
        text.contains("127.0.0.1") || text.contains("dropped"),
        "{text}"
    );
    // Every frame is through while there is no broker: only the end of the stream waits.
    let begin = Instant::now();
    while stats(&pipeline).1 < 2 {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "{:?}",
            stats(&pipeline)
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let broker = Broker::on(listener, &[Manner::Polite]);
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    bus.timed_pop_filtered(patience, &kinds).unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    let mut seen = Vec::new();
    while let Ok(heard) = broker.heard.recv_timeout(Duration::from_secs(5)) {
        match heard {
            Heard::Publish { text, .. } => seen.push(number(&text)),
            Heard::Disconnect => break,
            Heard::Connect { .. } => {}
        }
    }
    assert_eq!(seen, [2, 3, 4, 5]);
    assert_eq!(stats(&pipeline), (4, 2, 0));
}

/// A receiver that hangs, refuses, or is not there must not hold the pipeline.
#[test]
fn the_pipeline_never_waits() {
    let silent = Broker::start(&[Manner::Silent]);
    let refusing = Broker::start(&[Manner::Refuses]);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    for address in [silent.port, refusing.port, nobody] {
        let kafka = format!("method=kafka address=127.0.0.1:{address} topic=t");
        let mqtt = format!("method=mqtt address=127.0.0.1:{address} topic=t");
        for method in [mqtt, kafka] {
            let pipeline = tagged(
                &format!(
                    "videotestsrc num-buffers=500 ! video/x-raw,width=16,height=16 ! identity name=tag \
                     ! aimetapublish name=publish queue-size=10 drain-timeout=100 {method} ! fakesink"
                ),
                |_, buffer| car().attach(buffer, (16, 16)).unwrap(),
            );
            let begin = Instant::now();
            run(&pipeline).unwrap();
            let took = begin.elapsed();
            assert!(took < Duration::from_secs(8), "{method}: {took:?}");
            assert_eq!(stats(&pipeline), (0, 500, 0), "{method}");
        }
    }
}
