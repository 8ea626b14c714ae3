// SPDX-License-Identifier: Apache-2.0
//! The model that is compiled in: encode network, decode network, tables.

/// None until trained weights are part of the tree: nothing untrained ships.
pub const MODEL: Option<[&[u8]; 3]> = None;
