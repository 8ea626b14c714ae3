// SPDX-License-Identifier: Apache-2.0

fn main() {
    gst_plugin_version_helper::info()
}
