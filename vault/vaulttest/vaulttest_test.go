package vaulttest_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

const reveal = "POST /egress/bindings/reveal"

func open(t *testing.T, s *vaulttest.Server, key api.Key, r api.Resource) map[string]string {
	t.Helper()
	opener, err := api.NewOpener(r)
	if err != nil {
		t.Fatal(err)
	}
	status, text := s.Do(t, key, "POST", "/egress/bindings/reveal", opener.Request())
	if status != 200 {
		t.Fatalf("status %d: %s", status, text)
	}
	var answer api.RevealAnswer
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatal(err)
	}
	snapshot, err := opener.Open(answer)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for _, b := range snapshot.Bound {
		values[b.ExposeAsEnv] = b.Value.Reveal()
	}
	return values
}

func TestServer(t *testing.T) {
	s := vaulttest.Start(t)
	r := api.Resource{Type: api.Sandbox, ID: "sb_1"}
	key := s.ResourceKey(t, r)
	id := s.Put(t, "github", "one", r, "GH_TOKEN")
	s.Put(t, "other", "", r, "EMPTY")
	if diff := cmp.Diff(map[string]string{"GH_TOKEN": "one", "EMPTY": ""}, open(t, s, key, r)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	base := s.BaseURL
	s.Rotate(t, id, "two")
	s.Restart(t)
	if s.BaseURL != base {
		t.Errorf("base URL changed from %s to %s", base, s.BaseURL)
	}
	if diff := cmp.Diff(map[string]string{"GH_TOKEN": "two", "EMPTY": ""}, open(t, s, key, r)); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
	if n := s.Requests(reveal); n != 2 {
		t.Errorf("%d reveals, want 2", n)
	}
}

func TestServerWithTLS(t *testing.T) {
	c, _, _ := vaulttest.Certificate(t)
	s := vaulttest.Start(t, vaulttest.WithTLS(c))
	r := api.Resource{Type: api.Computer, ID: "c_1"}
	s.Put(t, "github", "one", r, "GH_TOKEN")
	if diff := cmp.Diff(map[string]string{"GH_TOKEN": "one"}, open(t, s, s.ResourceKey(t, r), r)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
