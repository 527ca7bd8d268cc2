// Package packagetest tests what `make package` makes, by what it is for: packages are unpacked, installed, upgraded
// and removed, install.sh downloads from a server, programs for another processor run on it.
//
// They aren't built for the race detector: what they run are programs of their own.
//
// What a test needs and doesn't find, it names and skips: see .ci/run for the list.
package packagetest
