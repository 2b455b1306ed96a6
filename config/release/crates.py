"""The crates that the program is built from: normal and build dependencies on Linux, not those of tests. It must not
build anything."""

import json
import subprocess
import tomllib

TARGET = "x86_64-unknown-linux-gnu"


def graph():
    """Returns the root's package, and {id: (package, [ids that it depends on])} of everything that is shipped."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    found, new = {}, [root]
    while new:
        at = new.pop()
        if at not in found:
            needs = sorted(dep["pkg"] for dep in nodes[at]["deps"] if any(kind["kind"] != "dev" for kind in dep["dep_kinds"]))
            found[at] = (packages[at], needs)
            new.extend(needs)
    return packages[root], dict(sorted(found.items(), key=lambda item: (item[1][0]["name"], item[1][0]["version"])))


def checksums():
    """SHA-256 of each crate's archive, by (name, version)."""
    with open("Cargo.lock", "rb") as file:
        locked = tomllib.load(file)["package"]
    return {(package["name"], package["version"]): package.get("checksum") for package in locked}
