// SPDX-License-Identifier: Apache-2.0
//! `aivideo fx list`.

use std::fmt::Write;

use aivideo_fx::registry::{self, EFFECTS};
use anyhow::{Result, bail};
use clap::Args;

#[derive(Args)]
pub struct Options {
    /// Only this effect
    effect: Option<String>,
    /// For programs
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> Result<()> {
    let only = match &options.effect {
        Some(name) => match registry::find(&name.replace('_', "-")) {
            Some(index) => Some(index),
            None => bail!(
                "unknown effect \"{name}\"; the effects are {}",
                registry::names()
            ),
        },
        None => None,
    };
    if options.json {
        let all = registry::json();
        let shown = match only {
            Some(index) => &all[index],
            None => &all,
        };
        println!("{shown:#}");
    } else {
        print!("{}", text(only));
    }
    Ok(())
}

fn text(only: Option<usize>) -> String {
    let mut text = String::new();
    for (index, effect) in EFFECTS.iter().enumerate() {
        if only.is_some_and(|only| only != index) {
            continue;
        }
        let _ = write!(text, "{}", effect.name);
        if !effect.aliases.is_empty() {
            let _ = write!(text, " ({})", effect.aliases.join(", "));
        }
        let _ = writeln!(text, ": {}", effect.blurb);
        for param in effect.params {
            let _ = writeln!(
                text,
                "    {:<14} {}, default {}: {}",
                param.name,
                param.kind.domain(),
                registry::print_default(param),
                param.blurb
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_effect_and_parameter_is_listed() {
        let text = text(None);
        for effect in EFFECTS {
            assert!(text.contains(effect.name));
            for param in effect.params {
                assert!(text.contains(&format!("    {:<14} ", param.name)));
            }
        }
        let json = registry::json();
        assert_eq!(json.as_array().map(Vec::len), Some(EFFECTS.len()));
        assert_eq!(json[0]["name"], "posterize");
        assert_eq!(json[0]["parameters"][0]["minimum"], 2);
        assert_eq!(json[0]["parameters"][0]["default"], 25);
    }
}
