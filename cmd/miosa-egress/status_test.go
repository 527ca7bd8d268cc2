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

// The status says where a value may be sent, without what is the default.
func TestBindingStatusWhere(t *testing.T) {
	hosts := []string{"a.example", "*.b.example"}
	for _, tt := range []struct {
		want string
		bindingStatus
	}{
		{"no rule: nothing is swapped", bindingStatus{}},
		{"a.example *.b.example", bindingStatus{Hosts: hosts}},
		{"a.example *.b.example", bindingStatus{Hosts: hosts, Ports: []int{443}}},
		{"a.example *.b.example; ports 443 8443; methods GET POST; paths /v1/**", bindingStatus{
			Hosts: hosts, Ports: []int{443, 8443}, Methods: []string{"GET", "POST"}, Paths: []string{"/v1/**"},
		}},
	} {
		if got := tt.where(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
