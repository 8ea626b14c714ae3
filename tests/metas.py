# SPDX-License-Identifier: Apache-2.0
"""Reads the classifier's results from another language, with nothing of this project imported.

    . ./env.sh; python3 tests/metas.py CLIP      # needs PyGObject: apt-get install python3-gi gir1.2-gstreamer-1.0
"""

import json
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, GObject, Gst  # noqa: E402

Gst.init(None)


def values(structure, name):
    found, array = structure.get_array(name)
    if not found:
        sys.exit(f"{structure.get_name()} has no array {name}")
    return [array.get_nth(i) for i in range(array.n_values)]


def read(structure):
    found, start = structure.get_uint64("clip-start")
    also, end = structure.get_uint64("clip-end")
    if not (found and also):
        sys.exit("a result without times")
    return {
        "model": structure.get_string("model"),
        "clip": [start, end],
        "labels": values(structure, "labels"),
        "scores": values(structure, "scores"),
    }


def main():
    pipeline = Gst.parse_launch(
        f"filesrc location={sys.argv[1]} ! decodebin ! videoconvert ! vjepa2classify sync=true top-k=2 "
        "! videoscale ! video/x-raw,width=160,height=120 ! fakesink name=sink"
    )
    metas, messages = [], []

    def on_buffer(_pad, info):
        meta = info.get_buffer().get_custom_meta("AiVideoClassificationMeta")
        if meta is not None:
            metas.append(read(meta.get_structure()))
        return Gst.PadProbeReturn.OK

    pad = pipeline.get_by_name("sink").get_static_pad("sink")
    pad.add_probe(Gst.PadProbeType.BUFFER, on_buffer)
    pipeline.set_state(Gst.State.PLAYING)
    bus = pipeline.get_bus()
    while True:
        kinds = Gst.MessageType.ERROR | Gst.MessageType.EOS | Gst.MessageType.ELEMENT
        message = bus.timed_pop_filtered(60 * Gst.SECOND, kinds)
        if message is None or message.type == Gst.MessageType.ERROR:
            sys.exit(str(message.parse_error()) if message else "no end within 60 s")
        if message.type == Gst.MessageType.EOS:
            break
        if message.get_structure().get_name() == "vjepa2classify":
            messages.append(read(message.get_structure()))
    pipeline.set_state(Gst.State.NULL)
    for result in metas:
        print(json.dumps(result))
    if not metas or metas != messages:
        sys.exit(f"{len(metas)} results on frames, {len(messages)} as messages, or they differ")
    print(f"{len(metas)} results on frames and as messages, the same")


main()
