// Package packagetest has tests of the files that `make package` makes: they unpack, install, upgrade and remove packages, run
// install.sh with a server, and run programs for another processor.
//
// They aren't built for the race detector, since they run separate programs.
package packagetest
