// SPDX-License-Identifier: Apache-2.0
//! Orders that make no sense, and why. What a step cannot do with the pixels that another makes
//! (bits, transfer) is found when formats are laid out; this is about orders that would run and
//! give a worse picture.

use super::{OperationSpec, SpecError};

/// (comes first, may not follow, reason)
const WRONG: &[(&str, &str, &str)] = &[
    (
        "upscale",
        "denoise",
        "enlarged noise has grain of several pixels, which the measurement and the net take for \
         detail, and there are four times the pixels to clean",
    ),
    (
        "color",
        "denoise",
        "contrast makes noise stronger in some places than in others, and one level then fits \
         nowhere",
    ),
    (
        "stabilize",
        "denoise",
        "a picture moved by parts of a pixel has its noise smeared, unevenly from frame to frame, \
         and the level measured is too low",
    ),
    (
        "net",
        "denoise",
        "what noise looks like behind a net is not known",
    ),
    (
        "detect",
        "stabilize",
        "boxes would stay where objects were before the picture was moved",
    ),
    (
        "upscale",
        "detect",
        "the model sees a small picture anyway, and enlarging it first costs time",
    ),
    (
        "upscale",
        "stabilize",
        "the same motion is found on the smaller picture, at a quarter of the cost",
    ),
];

pub(super) fn check(chain: &[OperationSpec]) -> Result<(), SpecError> {
    for (at, second) in chain.iter().enumerate() {
        for first in &chain[..at] {
            let wrong = WRONG
                .iter()
                .find(|(a, b, _)| (*a, *b) == (first.name(), second.name()));
            if let Some(&(first, second, reason)) = wrong {
                return Err(SpecError::Order {
                    first,
                    second,
                    reason,
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_senseless_order_is_refused_with_the_reason() {
        let message = super::super::parse("upscale,denoise")
            .expect_err("enlarged noise")
            .to_string();
        assert!(message.contains("\"denoise\" cannot come after \"upscale\": enlarged noise"));
        assert!(message.contains("write denoise in front"), "{message}");
        assert!(super::super::parse("denoise,upscale").is_ok());
    }
}
