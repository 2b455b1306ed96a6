#!/usr/bin/env python3
"""Writes an image of the program as an OCI layout (https://github.com/opencontainers/image-spec, 1.1), without an
engine: one layer with the program, the authorities' certificates of this host, and nothing else that can be run. A
program that is linked dynamically brings its libraries. The same input and SOURCE_DATE_EPOCH give the same octets.
It must not run the program."""

import argparse
import gzip
import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import tarfile
import time
import tomllib

USER = 65532
NAME = "portcullis"
CONFIGURATION = "/etc/portcullis/portcullis.toml"
STATE = "/var/lib/portcullis"
AUTHORITIES = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

FILES = {
    "etc/passwd": f"root:x:0:0:root:/:/sbin/nologin\n{NAME}:x:{USER}:{USER}:Portcullis SMTP proxy:{STATE}:/sbin/nologin\n",
    "etc/group": f"root:x:0:\n{NAME}:x:{USER}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=pathlib.Path, help="without symbols: target/package/portcullis")
    parser.add_argument("--to", type=pathlib.Path, required=True, help="a folder that does not exist, or FILE.tar")
    parser.add_argument("--revision", default="", help="the commit")
    arguments = parser.parse_args()
    now = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    with open("Cargo.toml", "rb") as file:
        package = tomllib.load(file)["package"]

    layer = tar(root(arguments.program), now)
    packed = gzip.compress(layer, 9, mtime=0)
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    blobs = {}
    config = blob(blobs, json_octets(configuration(package, layer, created, arguments.revision)))
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json"} | config,
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"} | blob(blobs, packed)],
    }
    described = blob(blobs, json_octets(manifest))
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {"mediaType": manifest["mediaType"]}
            | described
            | {"annotations": {"org.opencontainers.image.ref.name": package["version"]}}
        ],
    }
    layout = {f"blobs/sha256/{digest}": octets for digest, octets in blobs.items()}
    layout["index.json"] = json_octets(index)
    layout["oci-layout"] = json_octets({"imageLayoutVersion": "1.0.0"})
    write(arguments.to, layout, now)


def root(program):
    """The files of the layer: {path: (octets, or None for a folder; mode; owner)}."""
    found = {
        "usr/bin/portcullis": (program.read_bytes(), 0o755, 0),
        CONFIGURATION[1:]: (pathlib.Path(__file__).with_name("image.toml").read_bytes(), 0o644, 0),
        STATE[1:]: (None, 0o700, USER),
        "tmp": (None, 0o1777, 0),
    }
    for path, text in FILES.items():
        found[path] = (text.encode(), 0o644, 0)
    for name in ("LICENSE", "LICENSE-APACHE", "LICENSE-MIT"):
        found[f"usr/share/doc/portcullis/{name}"] = (pathlib.Path(name).read_bytes(), 0o644, 0)
    notices = program.with_name("share") / "doc/portcullis/NOTICES.gz"
    if notices.exists():
        found["usr/share/doc/portcullis/NOTICES.gz"] = (notices.read_bytes(), 0o644, 0)
    if AUTHORITIES.exists():
        found[str(AUTHORITIES)[1:]] = (AUTHORITIES.read_bytes(), 0o644, 0)
    for library in libraries(program):
        found[library[1:]] = (pathlib.Path(library).read_bytes(), 0o755, 0)
    for path in list(found):
        for folder in pathlib.PurePosixPath(path).parents:
            if str(folder) != ".":
                found.setdefault(str(folder), (None, 0o755, 0))
    return found


def libraries(program):
    """The absolute paths that ldd(1) names; none of a static program."""
    told = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    return re.findall(r"(?:=> |^\s*)(/\S+) \(0x", told, re.MULTILINE)


def configuration(package, layer, created, revision):
    labels = {
        "org.opencontainers.image.title": NAME,
        "org.opencontainers.image.description": package["description"],
        "org.opencontainers.image.version": package["version"],
        "org.opencontainers.image.licenses": package["license"],
        "org.opencontainers.image.created": created,
    }
    if revision:
        labels["org.opencontainers.image.revision"] = revision
    return {
        "created": created,
        "architecture": ARCHITECTURES[os.uname().machine],
        "os": "linux",
        "config": {
            "User": f"{USER}:{USER}",
            "ExposedPorts": {"2525/tcp": {}},
            "Env": ["PATH=/usr/bin", f"PORTCULLIS_CONFIG={CONFIGURATION}"],
            "Entrypoint": ["/usr/bin/portcullis"],
            "Cmd": ["serve"],
            "Volumes": {STATE: {}},
            "WorkingDir": STATE,
            "StopSignal": "SIGTERM",
            "Labels": labels,
            # Not of OCI: Docker and Podman know it. Nanoseconds.
            "Healthcheck": {"Test": ["CMD", "/usr/bin/portcullis", "status"], "Interval": 30 * 10**9, "Timeout": 10 * 10**9},
        },
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
        "history": [{"created": created, "created_by": "config/release/image.py"}],
    }


def tar(files, now):
    octets = io.BytesIO()
    with tarfile.open(fileobj=octets, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, (content, mode, owner) in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            entry.mtime, entry.mode, entry.uid, entry.gid = now, mode, owner, owner
            entry.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            entry.size = len(content or b"")
            archive.addfile(entry, io.BytesIO(content or b""))
    return octets.getvalue()


def blob(blobs, octets):
    digest = hashlib.sha256(octets).hexdigest()
    blobs[digest] = octets
    return {"digest": f"sha256:{digest}", "size": len(octets)}


def json_octets(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def write(to, layout, now):
    if to.suffix == ".tar":
        files = {path: (octets, 0o644, 0) for path, octets in layout.items()}
        files |= {"blobs": (None, 0o755, 0), "blobs/sha256": (None, 0o755, 0)}
        to.write_bytes(tar(files, now))
        return
    (to / "blobs/sha256").mkdir(parents=True)
    for path, octets in layout.items():
        (to / path).write_bytes(octets)


if __name__ == "__main__":
    main()
