#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The images' files, as far as they can be checked without a container engine.
set -eu
cd "$(dirname "$0")/../.."
. scripts/versions.sh
ORT_VERSION=$ORT_VERSION python3 - <<'PY'
import glob, json, os, re, subprocess, sys

wrong = []
KNOWN = {"FROM", "RUN", "COPY", "WORKDIR", "ENV", "ARG", "CMD", "HEALTHCHECK"}
IMAGE = re.compile(r"^[a-z0-9./-]+:[a-z0-9][a-z0-9._-]*$")


def instructions(path):
    """Instructions with their continued lines joined."""
    text = re.sub(r"(?m)^\s*#.*\n", "", open(path).read())
    text = text.replace("\\\n", " ")
    return [line.strip().split(None, 1) for line in text.splitlines() if line.strip()]


for path in sorted(glob.glob("docker/Dockerfile.*")):
    def complain(what):
        wrong.append(f"{path}: {what}")

    stages = set()
    for word, rest in instructions(path):
        if word not in KNOWN:
            complain(f"unknown instruction {word}")
        if word == "FROM":
            image, *stage = re.split(r"\s+[Aa][Ss]\s+", rest)
            if not IMAGE.match(image) or image.endswith(":latest"):
                complain(f"the base {image} has no version")
            stages.update(stage)
        elif word == "COPY":
            *sources, _target = [part for part in rest.split() if not part.startswith("--")]
            origin = re.search(r"--from=(\S+)", rest)
            if origin:
                if origin[1] not in stages:
                    complain(f"no stage {origin[1]} before COPY {rest}")
            else:
                for source in sources:
                    if not os.path.exists(source):
                        complain(f"{source} does not exist")
        elif word == "RUN":
            done = subprocess.run(["sh", "-n"], input=rest, text=True, capture_output=True)
            if done.returncode:
                complain(f"RUN {rest[:60]}: {done.stderr.strip()}")
            for package in re.findall(r"make ([a-z-]+)", rest):
                if package != "ca-certificates" and not re.search(rf"(?m)^{package}( [a-z]+)*:", open("Makefile").read()):
                    complain(f"the Makefile has no target {package}")
        elif word == "HEALTHCHECK":
            command = re.search(r"CMD (\[.*\])", rest)
            if not command or json.loads(command[1])[:2] != ["aivideo", "doctor"]:
                complain(f"the health check is not the doctor: {rest}")
        elif word == "ARG" and rest.startswith("ORT_VERSION="):
            if rest.split("=")[1] != os.environ["ORT_VERSION"]:
                complain(f"{rest}, but scripts/versions.sh has {os.environ['ORT_VERSION']}")
        elif word == "ARG" and "SHA256" in rest and not re.search(r"=[0-9a-f]{64}$", rest):
            complain(f"{rest} is no SHA-256")
    print(f"{path}: {len(instructions(path))} instructions")

compose = "docker/compose.yaml"
try:
    import yaml
except ImportError:
    print(f"SKIP: {compose}: Python has no yaml")
else:
    file = yaml.safe_load(open(compose))
    for name, service in file["services"].items():
        build = service["build"]
        context = os.path.normpath(os.path.join("docker", build["context"]))
        if not os.path.exists(os.path.join(context, build["dockerfile"])):
            wrong.append(f"{compose}: {name}: {build['dockerfile']} does not exist")
        devices = service["deploy"]["resources"]["reservations"]["devices"]
        if not any(d["driver"] == "nvidia" and "gpu" in d["capabilities"] for d in devices):
            wrong.append(f"{compose}: {name} reserves no GPU")
        if service["healthcheck"]["test"][:3] != ["CMD", "aivideo", "doctor"]:
            wrong.append(f"{compose}: {name}: the health check is not the doctor")
        for volume in service["volumes"]:
            if volume.split(":")[0] not in file["volumes"]:
                wrong.append(f"{compose}: {name}: no volume {volume}")
    print(f"{compose}: {len(file['services'])} services")

for line in wrong:
    print(line, file=sys.stderr)
sys.exit(1 if wrong else 0)
PY
