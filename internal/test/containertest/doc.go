// Package containertest runs miosa-env in containers, with podman and runc, as the image of
// packaging/container and in front of another image's command. It holds docs/container.md to what it says.
//
// Everything is in its tests. They need root, podman and runc, and no network: images are built from what this
// machine has, and the vault is on loopback.
package containertest
