package main

import (
	"os"
	"os/signal"
	"syscall"
)

// The tests may be started with ignored signals, for instance by nohup. Their commands would inherit that,
// correctly, but a shell cannot trap an ignored signal. Signals that are caught here are at their default in the
// commands.
func init() {
	for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
}
