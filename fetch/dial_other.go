//go:build !linux

package fetch

import "syscall"

// limitSilence has no equivalent here: the deadlines of each attempt stand alone.
func limitSilence(syscall.RawConn) {}
