// SPDX-License-Identifier: Apache-2.0
//! The element driven as a pipeline drives it.

#[path = "elements/common.rs"]
mod common;
#[path = "elements/errors.rs"]
mod errors;
#[path = "elements/family.rs"]
mod family;
#[path = "elements/formats.rs"]
mod formats;
#[path = "elements/rhythm.rs"]
mod rhythm;
#[path = "elements/scenes.rs"]
mod scenes;
#[path = "elements/sharing.rs"]
mod sharing;
#[path = "elements/shipped.rs"]
mod shipped;
#[path = "elements/swap.rs"]
mod swap;
#[path = "../../core/tests/testmodel/mod.rs"]
mod testmodel;
