package fetch_test

import (
	"net/http"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/google/go-cmp/cmp"
)

// plaintext returns a snapshot's names and values, in order.
func plaintext(s api.Snapshot) [][2]string {
	out := [][2]string{}
	for _, b := range s.Bound {
		out = append(out, [2]string{b.ExposeAsEnv, b.Value.Reveal()})
	}
	return out
}

func TestRevealSortsByName(t *testing.T) {
	vault := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) { answerJSON(w, 200, seal(t, r, set())) })
	got, err := client(t, vault.URL).Reveal(t.Context(), sandbox, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	want := [][2]string{{"ALPHA", "canary-alpha"}, {"ZED", "canary-zed"}}
	if diff := cmp.Diff(want, plaintext(got)); diff != "" {
		t.Errorf("set (-got +want):\n%s", diff)
	}
}
