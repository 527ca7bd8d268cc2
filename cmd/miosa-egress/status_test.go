package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// A broker that is starting answers before it has resources: status doesn't take it for one that serves.
func TestStatusWhileStarting(t *testing.T) {
	s := &settings{}
	s.Socket = filepath.Join(t.TempDir(), "egress.sock")
	socket, err := newBroker(zerolog.Nop()).listenStatus(s)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.close()
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"status", "--socket", s.Socket}, &stdout, &stderr); code != exitClosed || !strings.Contains(stderr.String(), "the broker is starting") {
		t.Errorf("exit code %d: %s%s", code, &stdout, &stderr)
	}
}
