// SPDX-License-Identifier: Apache-2.0
//! An RTSP server whose streams are coded by the neural codec.
//!
//! ```sh
//! . ./env.sh
//! cargo run --release -p aivideo-rtp --example rtsp-server -- clip.mp4     # or nothing: a test picture
//! gst-launch-1.0 rtspsrc location=rtsp://127.0.0.1:8554/live ! decodebin ! videoconvert ! autovideosink
//! ```
//!
//! `.aic` files are sent as they are; everything else is decoded and coded, once for all clients.
//! A client that joins or loses something asks for a key frame by RTCP (AVPF).

use gst_rtsp_server::gst_rtsp::RTSPProfile;
use gst_rtsp_server::prelude::*;

const USAGE: &str = "usage: rtsp-server [FILE] [PORT (8554)] [QUALITY 0-63 (32)]";

/// What is served, as a pipeline.
fn launch_line(file: Option<&str>, quality: u8) -> Result<String, String> {
    let payload = "rtpaicodecpay name=pay0 pt=96";
    let Some(file) = file else {
        return Ok(format!(
            "( videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=640,height=360,\
             framerate=25/1 ! timeoverlay ! aicodecenc quality={quality} ! {payload} )"
        ));
    };
    if !std::path::Path::new(file).is_file() {
        return Err(format!("{file} is not a file; {USAGE}"));
    }
    if file.contains('"') {
        return Err(format!(
            "a quotation mark in the name {file} cannot be put into a pipeline"
        ));
    }
    let source = format!("filesrc location=\"{file}\"");
    Ok(match file.rsplit_once('.') {
        Some((_, "aic")) => format!("( {source} ! aicodecparse ! {payload} )"),
        _ => format!(
            "( {source} ! decodebin ! videoconvert ! video/x-raw,format=I420 \
             ! aicodecenc quality={quality} ! {payload} )"
        ),
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next();
    if file.as_deref().is_some_and(|file| file.starts_with('-')) {
        println!("{USAGE}");
        return Ok(());
    }
    let port = arguments.next().unwrap_or("8554".into());
    let quality = arguments.next().map_or(Ok(32), |text| text.parse())?;
    let line = launch_line(file.as_deref(), quality)?;

    gst::init()?;
    for element in ["aicodecenc", "rtpaicodecpay"] {
        if gst::ElementFactory::find(element).is_none() {
            return Err(
                format!("the element {element} is not found: run `. ./env.sh` first").into(),
            );
        }
    }
    let server = gst_rtsp_server::RTSPServer::new();
    server.set_service(&port);
    let factory = gst_rtsp_server::RTSPMediaFactory::new();
    factory.set_launch(&line);
    // A live picture is coded once, whatever the number of clients; files begin anew for each.
    factory.set_shared(file.is_none());
    factory.set_profiles(RTSPProfile::AVP | RTSPProfile::AVPF);
    let mounts = server
        .mount_points()
        .ok_or("a server without mount points")?;
    mounts.add_factory("/live", factory);
    let _source = server.attach(None)?;
    println!(
        "rtsp://127.0.0.1:{}/live is served; Ctrl-C ends",
        server.bound_port()
    );
    glib::MainLoop::new(None, false).run();
    Ok(())
}
