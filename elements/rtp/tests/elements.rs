// SPDX-License-Identifier: Apache-2.0
//! The payloader and the depayloader as elements, over a harness, a loopback socket and RTSP. Access
//! units are made by the syntax layer's writer, so that no model is needed.

#[path = "elements/common.rs"]
mod common;
#[path = "elements/loss.rs"]
mod loss;
#[path = "elements/network.rs"]
mod network;
#[path = "elements/payload.rs"]
mod payload;
