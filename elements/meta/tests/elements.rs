// SPDX-License-Identifier: Apache-2.0
//! The metas and the elements on real pipelines.

#[path = "elements/detections.rs"]
mod detections;
#[path = "elements/metas.rs"]
mod metas;
