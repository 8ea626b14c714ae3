// SPDX-License-Identifier: Apache-2.0
//! The metas and the elements on real pipelines.

#[cfg(feature = "analytics")]
#[path = "elements/analytics.rs"]
mod analytics;
#[path = "elements/broker.rs"]
mod broker;
#[path = "elements/convert.rs"]
mod convert;
#[path = "elements/detections.rs"]
mod detections;
#[path = "elements/metas.rs"]
mod metas;
#[path = "elements/overlay.rs"]
mod overlay;
#[path = "elements/publish.rs"]
mod publish;
#[path = "elements/support.rs"]
mod support;
