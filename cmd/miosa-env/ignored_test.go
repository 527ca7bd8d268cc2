package main

import (
	"os"
	"os/signal"
	"syscall"
)

// Whoever starts the tests may ignore signals (nohup does), and what is ignored is inherited all the way to
// the commands of the tests, which is as it should be, but then no shell can trap them. A signal that is
// caught here is at its default there.
func init() {
	for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
}
