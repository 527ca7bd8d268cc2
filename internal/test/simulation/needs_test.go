package simulation

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
)

const page = "../../../docs/scale.md"

// table returns the lines of the page after the comment that names a table, up to the next empty line, and where they are.
func table(t *testing.T, text, name string) (begin, end int) {
	t.Helper()
	mark := "<!-- The table " + name + " is"
	at := strings.Index(text, mark)
	if at < 0 {
		t.Fatalf("%s has no table %s", page, name)
	}
	begin = at + strings.Index(text[at:], "\n") + 1
	return begin, begin + strings.Index(text[begin:]+"\n\n", "\n\n") + 1
}

// write puts a table into the page.
func write(t *testing.T, name, rows string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := table(t, string(text), name)
	if err := os.WriteFile(page, []byte(string(text[:begin])+rows+string(text[end:])), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The figures of docs/scale.md follow from the measured costs.
func TestNeeds(t *testing.T) {
	m := million()
	for name, want := range map[string]string{
		"parameters": demanded.parameters(m), "needs": demanded.needs(m), "limits": demanded.limitsOf(m),
	} {
		if *update {
			write(t, name, want)
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		begin, end := table(t, string(text), name)
		if got := string(text[begin:end]); got != want {
			t.Errorf("table %s (go test ./internal/test/simulation -run Needs -update):\n%swant\n%s", name, got, want)
		}
	}
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "`"+m.Limits+"`") {
		t.Errorf("%s doesn't have the limits %q: %v", page, m.Limits, err)
	}
}

// Requests and answers are as long as the parameters say, with 500 bytes of headers.
func TestSizes(t *testing.T) {
	r := api.Resource{Type: api.Sandbox, ID: "sb_0123456789"}
	opener, err := api.NewOpener(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(opener.Request())
	if err != nil {
		t.Fatal(err)
	}
	answer, err := api.Seal(r, opener.Recipient(), []api.Bound{{Label: api.Label{ID: "bnd_0123456789", SecretID: "sec_0123456789", ExposeAsEnv: "GITHUB_TOKEN", Version: 1, Delivery: api.DeliverValue},
		Value: api.NewValue([]byte(strings.Repeat("v", 40)))}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name        string
		body, whole int
	}{{"request", len(body), demanded.Request}, {"answer", len(answer.AppendJSON(nil)), demanded.Answer}} {
		if whole := c.body + 500; whole < c.whole*9/10 || whole > c.whole*11/10 {
			t.Errorf("%s: %d bytes with its header, want about %d", c.name, whole, c.whole)
		}
	}
}
