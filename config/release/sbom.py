#!/usr/bin/env python3
"""Prints the bill of materials of the program, CycloneDX 1.5 in JSON (https://cyclonedx.org/docs/1.5/json/). The same
sources and SOURCE_DATE_EPOCH give the same octets. It must not list what only tests need."""

import json
import os
import sys
import time
import uuid

import crates


def main():
    root, graph = crates.graph()
    hashes = crates.checksums()
    others = [component(package, hashes) for package, _ in graph.values() if package["id"] != root["id"]]
    subject = component(root, hashes) | {"type": "application"}
    bom = {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": "urn:uuid:" + str(uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(others, sort_keys=True))),
        "version": 1,
        "metadata": {"timestamp": stamp(), "component": subject},
        "components": others,
        "dependencies": [
            {"ref": purl(package), "dependsOn": [purl(graph[need][0]) for need in needs]}
            for package, needs in graph.values()
        ],
    }
    json.dump(bom, sys.stdout, indent=2, ensure_ascii=False)
    print()


def component(package, hashes):
    found = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "scope": "required",
        "purl": purl(package),
    }
    if package["description"]:
        found["description"] = " ".join(package["description"].split())
    checksum = hashes.get((package["name"], package["version"]))
    if checksum:
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["license"]:
        found["licenses"] = [{"expression": package["license"].replace(" / ", " OR ").replace("/", " OR ")}]
    if package["repository"]:
        found["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return found


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def stamp():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))


if __name__ == "__main__":
    main()
