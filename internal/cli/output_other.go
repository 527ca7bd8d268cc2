//go:build !linux

package cli

func stdoutWasClosed() bool { return false }
