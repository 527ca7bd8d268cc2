// Package systemdtest has tests that boot Debian with systemd in a container, install the package and the files of systemd/ as in
// docs/systemd.md, and check that page and docs/install.md, including the removal of the package.
package systemdtest
