// SPDX-License-Identifier: Apache-2.0
//! The real codec over UDP on the loopback device.

use super::file::{direct, source};
use aivideo_codec::bitstream::{AccessUnit, FrameType};
use aivideo_tests::*;
use gst::prelude::*;
use std::sync::{Arc, Mutex};

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
        "{} ! rtpaicodecpay mtu=200 aggregate-mode=none name=pay \
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

/// The whole way of a request: decoder, RTCP, encoder. There is but one key frame.
#[test]
fn a_loss_is_mended_by_a_recovery_frame_over_rtcp() {
    let (rtp, rtcp, back) = (free_port(), free_port(), free_port());
    let receive = pipeline(&format!(
        "rtpbin name=bin latency=60 do-lost=true rtp-profile=avpf \
         udpsrc address=127.0.0.1 port={rtp} buffer-size=2000000 \
         ! {CAPS},rtcp-fb-nack-pli=(boolean)true,rtcp-fb-ccm-fir=(boolean)true ! bin.recv_rtp_sink_0 \
         bin. ! rtpaicodecdepay name=depay ! aicodecdec name=dec \
         ! fakesink name=sink sync=false async=false \
         udpsrc address=127.0.0.1 port={rtcp} ! bin.recv_rtcp_sink_0 \
         bin.send_rtcp_src_0 ! udpsink host=127.0.0.1 port={back} sync=false async=false"
    ));
    let pictures = tap(&receive, "sink");
    start_listening(&receive);
    let send = pipeline(&format!(
        "rtpbin name=bin rtp-profile=avpf \
         videotestsrc is-live=true pattern=ball background-color=0xff406080 \
         ! video/x-raw,format=I420,width=256,height=192,framerate=10/1 \
         ! aicodecenc name=enc key-int-max=0 tile-rows=1 quality=40 long-term-delay=300 \
         ! rtpaicodecpay mtu=200 aggregate-mode=none name=pay ! bin.send_rtp_sink_0 \
         bin.send_rtp_src_0 ! udpsink host=127.0.0.1 port={rtp} \
         bin.send_rtcp_src_0 ! udpsink host=127.0.0.1 port={rtcp} sync=false async=false \
         udpsrc address=127.0.0.1 port={back} ! bin.recv_rtcp_sink_0"
    ));
    let types = Arc::new(Mutex::new(Vec::new()));
    let seen = types.clone();
    let pad = send.by_name("enc").unwrap().static_pad("src").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(gst::PadProbeData::Buffer(buffer)) = &info.data {
            let data = bytes(buffer);
            let unit = AccessUnit::parse(&data).unwrap();
            seen.lock().unwrap().push(unit.header.frame_type);
        }
        gst::PadProbeReturn::Ok
    });
    // A whole frame is lost after three seconds.
    let pad = send.by_name("pay").unwrap().static_pad("src").unwrap();
    let count = std::sync::atomic::AtomicUsize::new(0);
    pad.add_probe(gst::PadProbeType::BUFFER_LIST, move |_, _| {
        match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            30 => gst::PadProbeReturn::Drop,
            _ => gst::PadProbeReturn::Ok,
        }
    });
    send.set_state(gst::State::Playing).unwrap();
    let recoveries = || {
        let decoder = receive.by_name("dec").unwrap();
        let stats = decoder.property::<gst::Structure>("stats");
        stats.get::<u64>("recoveries").unwrap()
    };
    let mut corrupted = 0;
    for i in 0.. {
        let buffer = next(&receive, &pictures);
        let bad = buffer.flags().contains(gst::BufferFlags::CORRUPTED);
        corrupted += usize::from(bad);
        if recoveries() > 0 && !bad {
            println!("picture {i} is sound again after {corrupted} that were not");
            break;
        }
        assert!(i < 300, "nothing was mended");
    }
    send.set_state(gst::State::Null).unwrap();
    receive.set_state(gst::State::Null).unwrap();
    let types = types.lock().unwrap();
    assert!(corrupted > 0);
    // The receiver may have joined late; then the loss came after that.
    let at = types.iter().rposition(|t| *t == FrameType::Key).unwrap();
    assert!(at < 30, "{types:?}");
    assert!(types[31..].contains(&FrameType::Recovery), "{types:?}");
}
