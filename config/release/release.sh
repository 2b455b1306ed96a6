#!/usr/bin/env bash
# Makes the release of the version in Cargo.toml in target/VERSION, from the last commit: sources, everything of
# build.sh, checksums; and the tag, here only. With --check it only says whether it would. It must not push or publish.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
tag=v$version

refuse() {
    echo "No release: $*" >&2
    exit 1
}
[ -z "$(git status --porcelain)" ] || refuse "there are changes that are not committed; git status"
grep -qE "^## \[${version//./\\.}\] - [0-9]{4}-[0-9]{2}-[0-9]{2}$" CHANGELOG.md ||
    refuse "CHANGELOG.md has no dated section of this version, such as: ## [$version] - $(date +%F)"
grep -qxF "version = \"$version\"" Cargo.lock || refuse "Cargo.lock has another version than $version; cargo check"
if git rev-parse -q --verify "refs/tags/$tag" >/dev/null; then
    [ "$(git rev-parse "$tag^{commit}")" = "$(git rev-parse HEAD)" ] ||
        refuse "the tag $tag is at another commit; set a new version in Cargo.toml"
fi
[ "${1:-}" != --check ] || exit 0

config/release/reproducible.sh
made=target/$version
rm -rf "$made"
mv target/reproducible/first/made "$made"
git archive --format=tar --prefix="portcullis-$version/" HEAD | gzip -9n >"$made/portcullis-$version.tar.gz"
(cd "$made" && sha256sum -- * >SHA256SUMS)
git rev-parse -q --verify "refs/tags/$tag" >/dev/null || git tag -a "$tag" -m "Portcullis $version"
cat "$made/SHA256SUMS"
echo "The release is in $made. Sign SHA256SUMS, then: git push origin $tag"
