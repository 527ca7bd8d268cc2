// Package systemdtest boots a Debian with systemd in a container, installs what systemd/ holds as docs/systemd.md
// says, and looks whether it keeps what that page promises. It has tests only.
package systemdtest
