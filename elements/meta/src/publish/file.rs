// SPDX-License-Identifier: Apache-2.0
//! Lines to a file, a named pipe or standard output.

use std::{fs::File, io::Write, path::Path};

use super::{Backoff, Link, TargetError};

pub(super) fn open(path: &Path, append: bool) -> Result<File, TargetError> {
    File::options()
        .create(true)
        .write(true)
        .append(append)
        .truncate(!append)
        .open(path)
        .map_err(|err| TargetError::Open {
            path: path.to_path_buf(),
            reason: err.to_string(),
        })
}

pub(super) async fn run(link: &Link, mut out: impl Write) {
    let mut backoff = Backoff::new();
    link.connected();
    loop {
        let lines = link.queue.take(256).await;
        if lines.is_empty() {
            return;
        }
        let mut text = lines.join("\n");
        text.push('\n');
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => {
                link.counters.published(lines.len());
                if link.lost.load(std::sync::atomic::Ordering::Relaxed) {
                    link.connected();
                    backoff = Backoff::new();
                }
            }
            Err(err) => {
                // A part may be written, so writing the same again could tear lines.
                link.counters.dropped(lines.len());
                link.lost(format!("lines cannot be written: {err}"));
                backoff.wait().await;
            }
        }
        link.queue.done(lines.len());
    }
}
