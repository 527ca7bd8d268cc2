// Package systemdtest boots a Debian with systemd in a container, installs the package with what systemd/ holds as
// docs/systemd.md says, and looks whether it keeps what that page and docs/install.md promise, to the end of the
// package. It has tests only.
package systemdtest
