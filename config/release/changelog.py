#!/usr/bin/env python3
"""Prints CHANGELOG.md as a Debian changelog (deb-changelog(5)): an entry for each version, with the titles of its
sections. Before the first release it is one entry, of Cargo.toml's version and SOURCE_DATE_EPOCH; later, changes that
are not released yet are left out. It must not invent changes."""

import os
import re
import sys
import textwrap
import time
import tomllib

HEADING = re.compile(r"^## \[(?P<version>[^]]+)\](?: - (?P<date>\d{4}-\d\d-\d\d))?$")


def main():
    with open("Cargo.toml", "rb") as file:
        cargo = tomllib.load(file)["package"]
    maintainer = cargo["metadata"]["deb"]["maintainer"]
    found = list(releases("CHANGELOG.md"))
    for version, date, changes in [release for release in found if release[1]] or found:
        version = version if date else cargo["version"]
        print(f"portcullis ({version}-1) unstable; urgency=medium\n")
        for change in changes:
            print(textwrap.fill(change, 78, initial_indent="  * ", subsequent_indent="    "))
        print(f"\n -- {maintainer}  {stamp(date)}\n")


def releases(path):
    """Yields (version, date or None, [changes]); a change is the title of a section."""
    version, date, changes = None, None, []
    for line in open(path, encoding="utf-8"):
        heading = HEADING.match(line.rstrip())
        if heading:
            if changes:
                yield version, date, changes
            version, date, changes = heading["version"], heading["date"], []
        elif line.startswith("### ") and version:
            changes.append(line[4:].strip().replace("`", ""))
    if changes:
        yield version, date, changes
    elif version is None:
        sys.exit(f"{path}: no section such as ## [0.2.0] - 2026-11-30")


def stamp(date):
    """RFC 5322, in UTC."""
    at = time.strptime(date, "%Y-%m-%d") if date else time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))
    return time.strftime("%a, %d %b %Y %H:%M:%S +0000", at)


if __name__ == "__main__":
    main()
