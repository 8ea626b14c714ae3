// SPDX-License-Identifier: Apache-2.0
//! `aivideo-cameras serve`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use gst::prelude::*;
use gst_rtsp_server::prelude::*;

#[derive(Args)]
pub struct Options {
    /// Port; 0 takes a free one and prints it
    #[arg(long, default_value_t = 8554)]
    port: u16,
    /// Address to listen at
    #[arg(long, default_value = "127.0.0.1")]
    address: String,
    /// How many cameras
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=64))]
    count: u32,
    /// Number of the first, in its name and picture
    #[arg(long, default_value_t = 0)]
    first: u32,
    /// Width and height
    #[arg(long, default_value = "640x360")]
    size: String,
    /// Frames a second
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=120))]
    fps: u32,
    /// What the cameras see, again and again: a clip, or a folder that --prepare made (default: a
    /// test picture)
    #[arg(long)]
    clip: Option<PathBuf>,
    /// Only turns the clip into such a folder, for cameras that start quickly
    #[arg(long, requires = "clip")]
    prepare: Option<PathBuf>,
    /// A pipeline of your own, as /NAME=( … ! rtph264pay name=pay0 ); may be repeated
    #[arg(long)]
    mount: Vec<String>,
}

pub fn run(options: &Options) -> Result<()> {
    gst::init().context("GStreamer does not start")?;
    let (width, height) = size(&options.size)?;
    if let (Some(folder), Some(clip)) = (&options.prepare, &options.clip) {
        let frames = prepare(clip, folder, width, height, options.fps)?;
        println!("{frames} frames in {}", folder.display());
        return Ok(());
    }
    let mut mounts = Vec::new();
    for text in &options.mount {
        let (path, line) = mount(text)?;
        mounts.push((path.to_owned(), line.to_owned()));
    }
    // Kept until the end: the cameras read from it.
    let mut work = None;
    let source = match &options.clip {
        None => None,
        Some(folder) if folder.is_dir() => Some(folder.clone()),
        Some(clip) => {
            let folder = tempfile::tempdir().context("no temporary directory")?;
            prepare(clip, folder.path(), width, height, options.fps)?;
            let path = folder.path().to_owned();
            work = Some(folder);
            Some(path)
        }
    };
    for number in options.first..options.first + options.count {
        let line = camera(number, source.as_deref(), width, height, options.fps)?;
        mounts.push((format!("/camera{number}"), line));
    }
    if mounts.is_empty() {
        bail!("nothing is served: give --count or --mount");
    }
    serve(&options.address, options.port, &mounts)?;
    drop(work);
    Ok(())
}

pub fn size(text: &str) -> Result<(u32, u32)> {
    text.split_once('x')
        .and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)))
        .filter(|(w, h)| (16..=8192).contains(w) && (16..=8192).contains(h))
        .with_context(|| format!("the size is WIDTHxHEIGHT from 16 to 8192, not \"{text}\""))
}

/// Reads /NAME=( pipeline ).
fn mount(text: &str) -> Result<(&str, &str)> {
    let (path, line) = text
        .split_once('=')
        .map(|(path, line)| (path.trim(), line.trim()))
        .filter(|(path, _)| path.len() > 1 && path.starts_with('/'))
        .with_context(|| format!("a mount is /NAME=( pipeline ), not \"{text}\""))?;
    if !line.contains("name=pay0") {
        bail!("the pipeline of {path} has no payloader with name=pay0");
    }
    Ok((path, line))
}

/// Decodes the clip into numbered pictures of this size and rate, at most a minute.
fn prepare(clip: &Path, folder: &Path, width: u32, height: u32, fps: u32) -> Result<usize> {
    if !clip.is_file() {
        bail!("{} is not a file", clip.display());
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let pipeline = gst::parse::launch(&format!(
        "filesrc name=clip ! decodebin ! videoconvert ! videoscale ! videorate ! \
         video/x-raw,format=I420,width={width},height={height},framerate={fps}/1,pixel-aspect-ratio=1/1 ! \
         identity eos-after={} ! jpegenc quality=90 ! multifilesink name=frames",
        fps * 60 + 1
    ))?;
    let pipeline = pipeline
        .downcast::<gst::Pipeline>()
        .map_err(|_| anyhow::anyhow!("not a pipeline"))?;
    let element = |name: &str| pipeline.by_name(name).context(name.to_owned());
    element("clip")?.set_property("location", clip);
    element("frames")?.set_property("location", folder.join("%05d.jpg"));
    let _ = pipeline.set_state(gst::State::Playing);
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = pipeline
        .bus()
        .context("no bus")?
        .timed_pop_filtered(gst::ClockTime::from_seconds(300), &kinds);
    pipeline.set_state(gst::State::Null)?;
    match message.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => {}
        Some(gst::MessageView::Error(error)) => {
            bail!("{} cannot be decoded: {}", clip.display(), error.error())
        }
        _ => bail!("{} is not decoded after 5 minutes", clip.display()),
    }
    match frames(folder) {
        0 => bail!("{} has no pictures", clip.display()),
        count => Ok(count),
    }
}

fn frames(folder: &Path) -> usize {
    (0..)
        .take_while(|i| folder.join(format!("{i:05}.jpg")).is_file())
        .count()
}

/// The pipeline of one camera.
fn camera(number: u32, folder: Option<&Path>, width: u32, height: u32, fps: u32) -> Result<String> {
    let source = match folder {
        None => format!(
            "videotestsrc is-live=true pattern={} ! video/x-raw,format=I420,width={width},height={height},framerate={fps}/1",
            if number.is_multiple_of(2) {
                "ball"
            } else {
                "smpte"
            }
        ),
        Some(folder) => {
            let count = frames(folder);
            if count == 0 {
                bail!(
                    "{} has no 00000.jpg: make it with --prepare",
                    folder.display()
                );
            }
            let place = folder.to_str().filter(|place| !place.contains('"'));
            let place = place.context("the folder's name cannot be put into a pipeline")?;
            // Cameras that see the same begin at different places.
            format!(
                "multifilesrc location=\"{place}/%05d.jpg\" loop=true start-index=0 stop-index={} index={} \
                 caps=image/jpeg,framerate={fps}/1 ! jpegdec ! video/x-raw,format=I420,width={width},height={height} ! \
                 identity sync=true",
                count - 1,
                number as usize * 37 % count,
            )
        }
    };
    Ok(format!(
        "( {source} ! x264enc tune=zerolatency speed-preset=ultrafast threads=1 key-int-max={fps} bitrate=600 ! \
         video/x-h264,profile=baseline ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
    ))
}

fn serve(address: &str, port: u16, mounts: &[(String, String)]) -> Result<()> {
    let server = gst_rtsp_server::RTSPServer::new();
    server.set_address(address);
    server.set_service(&port.to_string());
    let points = server
        .mount_points()
        .context("a server without mount points")?;
    for (path, line) in mounts {
        let factory = gst_rtsp_server::RTSPMediaFactory::new();
        factory.set_launch(line);
        // All viewers see the same picture, coded once.
        factory.set_shared(true);
        points.add_factory(path, factory);
    }
    let main_loop = glib::MainLoop::new(None, false);
    let _source = server
        .attach(None)
        .with_context(|| format!("port {port} is not free at {address}"))?;
    for (path, _) in mounts {
        println!("rtsp://{address}:{}{path}", server.bound_port());
    }
    main_loop.run();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        assert!(size("640x360").is_ok());
        for text in [
            "",
            "x",
            "640",
            "640x",
            "-1x5",
            "8x8",
            "9999x9999",
            "640x360x2",
        ] {
            assert!(
                size(text).unwrap_err().to_string().contains("WIDTHxHEIGHT"),
                "{text}"
            );
        }
        assert_eq!(
            mount("/a=( x name=pay0 )").unwrap(),
            ("/a", "( x name=pay0 )")
        );
        for text in ["", "a=( name=pay0 )", "/=( name=pay0 )", "/a", "/a=( x )"] {
            assert!(mount(text).is_err(), "{text}");
        }
    }
}
