// SPDX-License-Identifier: Apache-2.0
//! Whole pipelines with the plugins as they were built.

mod file;
mod rtsp;
mod udp;
