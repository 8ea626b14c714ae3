// SPDX-License-Identifier: Apache-2.0
//! The codecs that are compared, as pipelines.

use super::MTU;

/// Time without an answer after which a receiver asks again: as aicodecdec does by itself.
pub(super) const BETWEEN_REQUESTS: gst::ClockTime = gst::ClockTime::from_mseconds(200);

/// One codec of the comparison.
pub(super) struct Codec {
    pub(super) name: &'static str,
    /// Elements that it needs beside those of GStreamer's base.
    pub(super) needs: &'static [&'static str],
    /// From pictures to packets, for a rate in kbit/s.
    pub(super) send: fn(u32) -> String,
    /// From packets to pictures.
    pub(super) receive: &'static str,
    pub(super) encoding: &'static str,
    /// The receiver's elements ask by themselves.
    pub(super) asks: bool,
}

pub(super) fn ours(rate: u32) -> String {
    format!(
        "aicodecenc name=encoder rate-control=cbr bitrate={rate} key-int-max=250 tile-rows=1 \
         ! rtpaicodecpay mtu={MTU} aggregate-mode=tiles"
    )
}

pub(super) fn ours_keys(rate: u32) -> String {
    ours(rate).replacen("aicodecenc", "aicodecenc recovery=key", 1)
}

pub(super) fn x264(knob: u32) -> String {
    format!(
        "x264enc name=encoder tune=zerolatency speed-preset=veryfast bitrate={knob} \
         vbv-buf-capacity=1000 key-int-max=250 threads=1 sliced-threads=false \
         option-string=slice-max-size={} min-force-key-unit-interval={} \
         ! rtph264pay mtu={MTU} config-interval=-1 aggregate-mode=zero-latency",
        MTU - 60,
        BETWEEN_REQUESTS.nseconds()
    )
}

pub(super) fn x265(knob: u32) -> String {
    format!(
        "x265enc name=encoder tune=zerolatency speed-preset=ultrafast bitrate={knob} key-int-max=250 \
         option-string=\"frame-threads=1:pools=2:slices=3:log-level=none\" \
         min-force-key-unit-interval={} ! rtph265pay mtu={MTU} config-interval=-1 \
         aggregate-mode=zero-latency",
        BETWEEN_REQUESTS.nseconds()
    )
}

pub(super) fn all() -> Vec<Codec> {
    let own = |name, send| Codec {
        name,
        needs: &[
            "aicodecenc",
            "aicodecdec",
            "rtpaicodecpay",
            "rtpaicodecdepay",
        ],
        send,
        receive: "rtpaicodecdepay ! aicodecdec name=decoder",
        encoding: "X-AICODEC",
        asks: true,
    };
    let h264 = |name, receive| Codec {
        name,
        needs: &["x264enc", "avdec_h264", "rtph264pay", "rtph264depay"],
        send: x264,
        receive,
        encoding: "H264",
        asks: false,
    };
    let h265 = Codec {
        name: "x265",
        needs: &["x265enc", "avdec_h265", "rtph265pay", "rtph265depay"],
        send: x265,
        receive: "rtph265depay ! h265parse ! avdec_h265 name=decoder max-threads=1",
        encoding: "H265",
        asks: false,
    };
    vec![
        own("aicodec", ours as fn(u32) -> String),
        own("aicodec, key frames", ours_keys),
        h264(
            "x264",
            "rtph264depay ! h264parse ! avdec_h264 name=decoder max-threads=1",
        ),
        h264(
            "x264, held",
            "rtph264depay wait-for-keyframe=true ! h264parse ! avdec_h264 name=decoder max-threads=1",
        ),
        h265,
    ]
}
