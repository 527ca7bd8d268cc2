// Package containertest has tests that run miosa-env in containers, with podman and runc, as the image of packaging/container and
// in front of another image's command. They check docs/container.md.
//
// They require root, podman and runc, but no network: images are built from files of this machine, and the vault is on
// loopback.
package containertest
