#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Licences of all dependencies against the list in deny.toml (cargo-deny checks more, see
# `make deny`; this needs nothing but cargo and Python).
set -eu
cd "$(dirname "$0")/../.."
. ./env.sh
cargo metadata --format-version 1 --locked | python3 -c '
import json, re, sys, tomllib
allowed = set(tomllib.load(open("deny.toml", "rb"))["licenses"]["allow"])

def permitted(expression):
    """Whether an SPDX expression can be met by the allowed licences."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))
    def either():
        result = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            result = both() or result
        return result
    def both():
        result = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            result = one() and result
        return result
    def one():
        token = tokens.pop(0)
        if token == "(":
            result = either()
            tokens.pop(0)
            return result
        if tokens and tokens[0] == "WITH":
            token = " ".join([token, tokens.pop(0), tokens.pop(0)])
        return token in allowed
    return either()

assert permitted("(MIT OR GPL-3.0) AND ISC") and not permitted("MIT AND GPL-3.0")
packages = json.load(sys.stdin)["packages"]
wrong = [(p["name"], p["license"]) for p in packages if not p["license"] or not permitted(p["license"])]
for name, licence in wrong:
    print(f"{name}: {licence} is not in deny.toml")
print(f"{len(packages)} packages, {len(wrong)} with a licence that is not allowed")
sys.exit(1 if wrong else 0)
'
