// SPDX-License-Identifier: Apache-2.0
//! What this process holds.

use anyhow::{Context, Result};

#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub megabytes: f64,
    pub threads: usize,
    pub files: usize,
}

impl Usage {
    pub fn now() -> Result<Self> {
        let statm = std::fs::read_to_string("/proc/self/statm").context("no /proc/self/statm")?;
        let pages: f64 = statm
            .split_whitespace()
            .nth(1)
            .and_then(|word| word.parse().ok())
            .context("an odd /proc/self/statm")?;
        let count = |folder: &str| -> Result<usize> {
            Ok(std::fs::read_dir(folder)
                .with_context(|| format!("no {folder}"))?
                .count())
        };
        Ok(Self {
            megabytes: pages * rustix::param::page_size() as f64 / 1e6,
            threads: count("/proc/self/task")?,
            // One of them is this look.
            files: count("/proc/self/fd")? - 1,
        })
    }

    pub fn most(self, other: Self) -> Self {
        Self {
            megabytes: self.megabytes.max(other.megabytes),
            threads: self.threads.max(other.threads),
            files: self.files.max(other.files),
        }
    }
}
