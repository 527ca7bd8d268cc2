package signal_test

import (
	"syscall"
	"testing"

	"github.com/Miosa-osa/miosa-env/inject/signal"
)

func TestParseSignal(t *testing.T) {
	for in, want := range map[string]syscall.Signal{
		"TERM": 15, "SIGTERM": 15, "term": 15, " sighup ": 1, "9": 9, "64": 64, "RTMIN": 34, "SIGRTMIN": 34,
		"RTMIN+3": 37, "RTMAX": 64, "RTMAX-2": 62,
		"": 0, "0": 0, "65": 0, "-1": 0, "RTMIN-1": 0, "RTMAX+1": 0, "RTMIN+": 0, "FOO": 0, "SIG": 0, "RTMIN+x": 0,
	} {
		got, err := signal.Parse(in)
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("Parse(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
}
