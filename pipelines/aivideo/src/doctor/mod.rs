// SPDX-License-Identifier: Apache-2.0
//! `aivideo doctor`: what of the machine the elements can use, what is missing, and what helps.
//!
//! Three steps that know nothing of each other's work: [`find`] asks the machine, [`judge`] says what
//! the answers mean and what would cure them, and this file prints.

mod find;
mod judge;

use std::io::Write;

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;

use find::Findings;
use judge::{Level, Verdict};

#[derive(Args)]
pub struct Options {
    /// Where the elements are meant to run; with cuda[:n] or tensorrt[:n], whatever that needs is
    /// needed, and its absence an error
    #[arg(long, default_value = "auto")]
    device: String,
    /// Print findings and verdicts as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    device: &'a str,
    /// Whether everything that is needed works.
    ok: bool,
    verdicts: &'a [Verdict],
    findings: &'a Findings,
}

pub fn run(options: &Options) -> Result<()> {
    let findings = find::find(&options.device);
    let verdicts = judge::judge(&findings);
    let errors = verdicts.iter().filter(|v| v.level == Level::Error).count();
    if options.json {
        let report = Report {
            device: &options.device,
            ok: errors == 0,
            verdicts: &verdicts,
            findings: &findings,
        };
        print(&format!("{}\n", serde_json::to_string_pretty(&report)?))?;
    } else {
        print(&text(&verdicts))?;
    }
    if errors > 0 {
        bail!("{errors} of the things that are needed do not work");
    }
    Ok(())
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no error.
fn print(text: &str) -> std::io::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(err) if err.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// For people: a section a subject, a line a verdict, the cure below it.
fn text(verdicts: &[Verdict]) -> String {
    let mut text = String::new();
    let mut section = "";
    for verdict in verdicts {
        if verdict.section != section {
            section = verdict.section;
            let gap = if text.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{gap}{section}\n"));
        }
        let mark = match verdict.level {
            Level::Ok => "  ok      ",
            Level::Note => "  note    ",
            Level::Warning => "  WARNING ",
            Level::Error => "  ERROR   ",
        };
        push_indented(&mut text, mark, &verdict.what);
        if let Some(cure) = &verdict.cure {
            push_indented(&mut text, "          cure: ", cure);
        }
    }
    text.push('\n');
    text.push_str(
        &match verdicts.iter().filter(|v| v.level == Level::Error).count() {
            0 => "Everything that is needed works.\n".to_string(),
            n => format!("{n} of the things that are needed do not work.\n"),
        },
    );
    text
}

/// Appends lines, the first behind `mark`, the others below its text.
fn push_indented(text: &mut String, mark: &str, lines: &str) {
    for (index, line) in lines.lines().enumerate() {
        if index == 0 {
            text.push_str(mark);
        } else {
            text.push_str(&" ".repeat(mark.len()));
        }
        text.push_str(line);
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_sections_marks_and_cures() {
        let verdict = |section, level, what: &str, cure: Option<&str>| Verdict {
            section,
            level,
            what: what.to_string(),
            cure: cure.map(str::to_string),
        };
        let text = text(&[
            verdict("A", Level::Ok, "one", None),
            verdict("A", Level::Error, "two\nmore", Some("do this")),
            verdict("B", Level::Note, "three", None),
        ]);
        assert_eq!(
            text,
            "A\n  ok      one\n  ERROR   two\n          more\n          cure: do this\n\n\
             B\n  note    three\n\n1 of the things that are needed do not work.\n"
        );
    }
}
