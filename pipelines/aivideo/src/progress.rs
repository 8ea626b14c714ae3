// SPDX-License-Identifier: Apache-2.0
//! Numbered steps with a bar on a terminal, and one line a step where there is none (CI logs).

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

pub struct Steps {
    total: usize,
    done: usize,
    terminal: bool,
}

impl Steps {
    pub fn new(total: usize) -> Self {
        Self {
            total,
            done: 0,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Runs one step. `length` is the number of units the bar counts, 0 when it is unknown.
    pub fn run<T>(
        &mut self,
        label: &str,
        length: u64,
        work: impl FnOnce(&ProgressBar) -> Result<T>,
    ) -> Result<T> {
        self.done += 1;
        let head = format!("[{}/{}] {label}", self.done, self.total);
        let started = Instant::now();
        let bar = if self.terminal {
            self.bar(&head, length)
        } else {
            ProgressBar::hidden()
        };
        if !self.terminal {
            eprintln!("{head} ...");
        }
        let result = work(&bar);
        bar.finish_and_clear();
        if result.is_ok() {
            eprintln!("{head}: {:.1} s", started.elapsed().as_secs_f64());
        }
        result
    }

    fn bar(&self, head: &str, length: u64) -> ProgressBar {
        let (bar, template) = if length == 0 {
            (
                ProgressBar::new_spinner(),
                "{prefix} {spinner} {elapsed} {msg}",
            )
        } else {
            (
                ProgressBar::new(length),
                "{prefix} [{bar:30}] {pos}/{len} {elapsed} {msg}",
            )
        };
        // The templates are constants; a wrong one shows as the default style, nothing worse.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(head.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}
