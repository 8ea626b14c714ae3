// SPDX-License-Identifier: Apache-2.0
//! The real codec over UDP on the loopback device.

use super::file::{direct, source};
use aivideo_tests::*;
use gst::prelude::*;

const CAPS: &str =
    "application/x-rtp,media=video,clock-rate=90000,encoding-name=X-AICODEC,payload=96";

fn receiver(port: u16) -> gst::Pipeline {
    pipeline(&format!(
        "udpsrc address=127.0.0.1 port={port} buffer-size=2000000 ! {CAPS} \
         ! rtpjitterbuffer latency=100 ! rtpaicodecdepay name=depay ! aicodecdec \
         ! fakesink name=sink sync=false async=false"
    ))
}

#[test]
fn pictures_arrive_as_they_were_coded() {
    let frames = 24;
    let port = free_port();
    let receive = receiver(port);
    let pictures = tap(&receive, "sink");
    start_listening(&receive);
    let send = format!(
        "{} ! rtpaicodecpay mtu=600 ! udpsink host=127.0.0.1 port={port}",
        source(frames, true)
    );
    run(&send).unwrap();
    for (i, expected) in direct(frames).iter().enumerate() {
        assert!(
            bytes(&next(&receive, &pictures)) == *expected,
            "frame {i} differs"
        );
    }
    receive.set_state(gst::State::Null).unwrap();
}

#[test]
fn loss_is_concealed_until_the_next_key_frame() {
    let frames = 30;
    let port = free_port();
    let receive = receiver(port);
    let pictures = tap(&receive, "sink");
    let requests = count_key_requests(&receive, "depay");
    start_listening(&receive);
    let send = pipeline(&format!(
        "{} ! rtpaicodecpay mtu=600 aggregate-mode=none name=pay \
         ! udpsink host=127.0.0.1 port={port}",
        source(frames, true)
    ));
    // Of the fourth frame's packets the first is lost.
    let pad = send.by_name("pay").unwrap().static_pad("src").unwrap();
    let lost = std::sync::atomic::AtomicUsize::new(0);
    pad.add_probe(gst::PadProbeType::BUFFER_LIST, move |_, info| {
        let Some(gst::PadProbeData::BufferList(list)) = &mut info.data else {
            return gst::PadProbeReturn::Ok;
        };
        if lost.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 3 {
            assert!(list.len() > 1, "one packet would be the whole frame");
            list.make_mut().remove(0..1);
        }
        gst::PadProbeReturn::Ok
    });
    send.set_state(gst::State::Playing).unwrap();
    finish(&send).unwrap();
    let sent = direct(frames);
    let mut differ = Vec::new();
    for (i, expected) in sent.iter().enumerate() {
        let buffer = next(&receive, &pictures);
        assert_eq!(buffer.size(), expected.len());
        if bytes(&buffer) != *expected {
            differ.push(i);
        }
    }
    receive.set_state(gst::State::Null).unwrap();
    // It spreads by prediction, and the key frame at 10 ends it.
    assert!(differ.contains(&3), "{differ:?}");
    assert!(differ.iter().all(|i| (3..10).contains(i)), "{differ:?}");
    assert!(
        *requests.lock().unwrap() > 0,
        "the decoder asks for a key frame"
    );
}
