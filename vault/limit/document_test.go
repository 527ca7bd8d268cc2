package limit

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// docs/vault.md, "Limits", lists the table.
func TestLimitsAreThoseOfTheDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/vault.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Limits\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var written []Description
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (.*?) \\| (.*) \\|$").FindAllStringSubmatch(section, -1) {
		written = append(written, Description{m[1], m[2], m[3]})
	}
	if diff := cmp.Diff(Describe(), written); diff != "" {
		t.Errorf("docs/vault.md, \"Limits\" (-code +document):\n%s", diff)
	}
}

func TestValues(t *testing.T) {
	var v Values
	if err := v.Set("key_waits=5, connections=100\nmemory=1e6"); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[ID]float64{KeyWaits: 5, Connections: 100, TenantConnections: 37, TenantMemory: 5e5, KeyRequests: 100} {
		if got := v.Of(id); got != want {
			t.Errorf("%v is %v, want %v", id, got, want)
		}
	}
	if got := new(Values{Connections: 1}).Of(AddressConnections); got != 1 {
		t.Errorf("a part of 1 is %v", got)
	}
	for text, want := range map[string]string{
		"key_wait=5":     `no limit is called "key_wait": did you mean key_waits?`,
		"key_waits":      "key_waits must be a number of more than 0, as in key_waits=5",
		"key_waits=0":    "key_waits must be a number of more than 0, as in key_waits=5",
		"key_waits=NaN":  "key_waits must be a number of more than 0, as in key_waits=5",
		"key_waits=1e99": "key_waits must be a number of more than 0, as in key_waits=5",
		"memory=128MB":   "memory must be a number of more than 0, as in memory=1000000",
	} {
		if err := v.Set(text); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if err := (&Values{Memory: -1}).Validate(); err == nil || err.Error() != "limit memory must be more than 0" {
		t.Errorf("got %v", err)
	}
}
