# SPDX-License-Identifier: Apache-2.0
"""Runs the gst-launch-1.0 lines of the documentation, so that none of them can lie.

Taken are the ```sh blocks of README.md and docs/*.md, and the lines in the documentation of each
element (elements/*/src/*/mod.rs), that contain gst-launch-1.0. They run one after the other in
one empty directory that holds .deps (with the clips) and clip.mp4 (bikes.mp4), so a later
line may read what an earlier one wrote. A block or line after a comment `<!-- not run ... -->` is left
out and counted. Sinks that need a screen are replaced by fakesink: nothing else is changed.
"""

import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

LIMIT = 120  # seconds for one block

# A display or sound card is not part of what is tested.
SCREEN = re.compile(r"\b(autovideosink|xvimagesink|ximagesink|glimagesink|autoaudiosink)\b( sync=\w+)?")


def markdown_blocks(path):
    lines = open(path, encoding="utf-8").read().split("\n")
    block, start, language, previous = None, 0, "", ""
    for number, line in enumerate(lines, 1):
        fence = re.match(r"\s*```(\w*)", line)
        if fence and block is None:
            block, start, language = [], number, fence.group(1)
        elif fence:
            text = "\n".join(block)
            if language in ("sh", "shell", "bash", "console") and "gst-launch-1.0" in text:
                reason = re.match(r"<!--\s*(not run.*?)\s*-->", previous)
                yield f"{path}:{start}", text, reason and reason.group(1)
            block = None
        elif block is not None:
            block.append(line)
        if block is None and line.strip() and not fence:
            previous = line.strip()
        elif fence and block is None:
            previous = ""


def doc_blocks(path):
    """Lines of `//!`, `///` or `/** */` comments that start with gst-launch-1.0, with their
    continuations."""
    lines = open(path, encoding="utf-8").read().split("\n")
    number = 0
    while number < len(lines):
        match = re.match(r"\s*(?://[/!]|\*)\s*(?:\$\s*)?(gst-launch-1\.0.*)", lines[number])
        if not match:
            number += 1
            continue
        start, command = number + 1, [match.group(1)]
        # In an element's documentation the comment stands above the example's opening mark.
        above = " ".join(lines[max(0, number - 3) : number])
        reason = re.search(r"<!--\s*(not run.*?)\s*-->", above)
        while command[-1].endswith("\\") and number + 1 < len(lines):
            number += 1
            command.append(re.sub(r"^\s*(?://[/!]|\*)\s?", "", lines[number]))
        # A line of documentation may end in a backtick when it is written inside a sentence.
        yield f"{path}:{start}", "\n".join(command).rstrip("`"), reason and reason.group(1)
        number += 1


# What a receiver's line is fed with, when its documentation has no sender beside it.
SENDER = (
    "gst-launch-1.0 videotestsrc is-live=true num-buffers=40 ! video/x-raw,width=320,height=240 "
    "! aicodecenc ! rtpaicodecpay ! udpsink host=127.0.0.1 port=5004"
)


def start(command, folder):
    return subprocess.Popen(
        ["sh", "-e", "-c", SCREEN.sub("fakesink", command)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def finish(process, limit):
    try:
        output, _ = process.communicate(timeout=limit)
        return process.returncode, output.decode(errors="replace")
    except subprocess.TimeoutExpired:
        # The shell's own children too: this is the session made above, and nobody else's.
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return None, output.decode(errors="replace")


def run(command, folder):
    """Exit code (None: not in time, or nothing came through) and output."""
    if "udpsrc" not in command or "udpsink" in command:
        return finish(start(command, folder), LIMIT)
    # A receiver never ends by itself: feed it, then interrupt it as a person would. `-v` makes it
    # print the caps of the last pad, which exist only when data has come through.
    receiver = start(command.replace("gst-launch-1.0", "exec gst-launch-1.0 -v", 1), folder)
    time.sleep(3)  # until it listens; what is sent before that would only be lost
    code, sent = finish(start(SENDER, folder), LIMIT)
    time.sleep(1)
    os.killpg(receiver.pid, signal.SIGINT)
    ended, output = finish(receiver, LIMIT)
    if code != 0:
        return code, sent
    if ended == 0 and not re.search(r"(fakesink|filesink)0\.GstPad:sink: caps = ", output):
        return None, output + "\nno data reached the sink"
    return ended, output


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    os.chdir(root)
    wanted = sys.argv[1:]
    blocks = []
    for path in ["README.md"] + sorted(glob.glob("docs/*.md")) + sorted(glob.glob("pipelines/*.md")):
        blocks += markdown_blocks(path)
    for path in sorted(glob.glob("elements/*/src/*/mod.rs")):
        blocks += doc_blocks(path)
    if wanted:
        blocks = [block for block in blocks if any(word in block[0] for word in wanted)]
    if not blocks:
        sys.exit("no documented pipeline was found")

    folder = tempfile.mkdtemp(prefix="aivideo-docs-")
    failed = ran = left = 0
    try:
        deps = os.environ.get("AIVIDEO_DEPS", os.path.join(root, ".deps"))
        os.symlink(deps, os.path.join(folder, ".deps"))
        shutil.copy(os.path.join(deps, "clips/bikes.mp4"), os.path.join(folder, "clip.mp4"))
        for place, command, reason in blocks:
            if reason:
                left += 1
                print(f"test {place} ... ignored, {reason}", flush=True)
                continue
            started = time.monotonic()
            code, output = run(command, folder)
            ran += 1
            took = time.monotonic() - started
            # gst-launch ends with 0 after some failures of linking; it says so, though.
            erroneous = "WARNING: erroneous pipeline" in output or "\nERROR" in "\n" + output
            if code == 0 and not erroneous:
                print(f"test {place} ... ok ({took:.1f} s)", flush=True)
                continue
            failed += 1
            why = f"not finished after {LIMIT} s, or nothing came" if code is None else f"exit code {code}"
            print(f"test {place} ... FAILED ({why})\n{command}\n{output[-3000:]}", flush=True)
    finally:
        shutil.rmtree(folder)
    print(f"documented pipelines: {ran - failed} passed; {failed} failed; {left} ignored", flush=True)
    sys.exit(1 if failed else 0)


main()
