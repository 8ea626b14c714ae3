# SPDX-License-Identifier: Apache-2.0
"""The motion classes, in the order of the model's outputs, and what each one means.

Directions are those of the camera for camera classes ("camera pan left": the camera
turns left, so the picture's content moves right) and those of the picture for
object classes ("object left to right": it moves towards the picture's right edge).
"""

CLASSES = [
    ("static", "camera and scene at rest: the view shifts by less than 0.5 % of its side"),
    ("camera shake", "the view trembles, 1-6 % of its side rms, without a lasting direction"),
    ("camera pan left", "camera turns left, content moves right by 10-130 % of the side in the clip"),
    ("camera pan right", "camera turns right, content moves left"),
    ("camera tilt up", "camera turns up, content moves down"),
    ("camera tilt down", "camera turns down, content moves up"),
    ("camera zoom in", "content grows by a factor of 1.12-2.2 in the clip"),
    ("camera zoom out", "content shrinks by a factor of 1.12-2.2 in the clip"),
    ("camera roll clockwise", "camera rolls clockwise by 8-75 degrees, content turns counter-clockwise"),
    ("camera roll counter-clockwise", "camera rolls counter-clockwise, content turns clockwise"),
    ("object left to right", "one object crosses before a resting background, towards the right"),
    ("object right to left", "one object crosses before a resting background, towards the left"),
    ("object upwards", "one object moves up before a resting background"),
    ("object downwards", "one object moves down before a resting background"),
    ("object approaching", "one object grows by a factor of 1.5-3.5 before a resting background"),
    ("object receding", "one object shrinks by a factor of 1.5-3.5 before a resting background"),
    ("cut", "one picture is replaced by another between two frames"),
    ("dissolve", "one picture blends into another over 5-13 frames"),
    ("fade in", "the picture comes out of black (or white) over 5-14 frames"),
    ("fade out", "the picture goes to black (or white) over 5-14 frames"),
]
LABELS = [name for name, _ in CLASSES]
INDEX = {name: i for i, name in enumerate(LABELS)}
