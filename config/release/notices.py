#!/usr/bin/env python3
"""Prints the copyright notices and licence texts of the crates in the program, which their licences ask to be passed on
with it. It must not judge them: `make deny` does."""

import pathlib
import re

import crates

NOTICE = re.compile(r"(licen[cs]e|copying|copyright|notice|authors)", re.IGNORECASE)


def main():
    root, graph = crates.graph()
    print("Portcullis is built from the following crates, under the licences that each of them names.")
    known = {}
    for package, _ in graph.values():
        if package["id"] != root["id"]:
            print(f"\n{'=' * 78}\n{package['name']} {package['version']}: {package['license']}")
            print(f"{package['repository'] or ''}")
            for path in notices(package):
                text = path.read_text("utf-8", "replace").strip()
                where = known.setdefault(text, f"{package['name']} {package['version']}, {path.name}")
                mine = f"{package['name']} {package['version']}, {path.name}"
                print(f"\n--- {path.name}{'' if where == mine else ': the same as of ' + where}")
                if where == mine:
                    print(f"\n{text}")


def notices(package):
    folder = pathlib.Path(package["manifest_path"]).parent
    return sorted(path for path in folder.iterdir() if path.is_file() and NOTICE.match(path.name))


if __name__ == "__main__":
    main()
