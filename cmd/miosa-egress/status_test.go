package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/api"
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

// A binding's rule narrows its secret's: what it leaves out, the secret's says.
func TestEffectiveRule(t *testing.T) {
	whole := api.EgressRule{Hosts: []string{"*.a.example"}, Ports: []int{8443}, Methods: []string{"GET", "HEAD"}, Paths: []string{"/v1/**"}}
	for _, tt := range []struct {
		name  string
		rules []api.EgressRule
		want  api.EgressRule
	}{
		{"none", nil, api.EgressRule{}},
		{"the secret's", []api.EgressRule{whole}, whole},
		{"hosts", []api.EgressRule{whole, {Hosts: []string{"b.a.example"}}}, api.EgressRule{Hosts: []string{"b.a.example"}, Ports: whole.Ports, Methods: whole.Methods, Paths: whole.Paths}},
		{"methods and paths", []api.EgressRule{whole, {Hosts: whole.Hosts, Ports: []int{443}, Methods: []string{"HEAD", "POST"}, Paths: []string{"/v1/a"}}},
			api.EgressRule{Hosts: whole.Hosts, Ports: []int{443}, Methods: []string{"HEAD"}, Paths: []string{"/v1/a"}}},
	} {
		if diff := cmp.Diff(effectiveRule(&api.Egress{Rules: tt.rules}), tt.want); diff != "" {
			t.Errorf("%s (-got +want)\n%s", tt.name, diff)
		}
	}
	if got := effectiveRule(nil); len(got.Hosts) != 0 {
		t.Errorf("without a rule: %+v", got)
	}
}
