package keytree

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
)

var now = time.Now()

// keys are a and, under it, b (revoked) with c, and d; e is of a parent that isn't listed, and f and g are a cycle.
var keys = []api.IssuedKey{
	{ID: "a", Label: "root"}, {ID: "b", ParentID: "a", RevokedAt: &now}, {ID: "e", ParentID: "gone"},
	{ID: "c", ParentID: "b", Resource: api.Resource{Type: api.Sandbox, ID: "sb_1"}}, {ID: "d", ParentID: "a"}, {ID: "f", ParentID: "g"}, {ID: "g", ParentID: "f"},
}

func TestTree(t *testing.T) {
	var lines []string
	for _, n := range Of(Pointers(keys)) {
		lines = append(lines, n.Indent()+n.ID)
	}
	if diff := cmp.Diff(lines, []string{"a", "  b", "    c", "  d", "e"}); diff != "" {
		t.Errorf("tree (-got +want)\n%s", diff)
	}
	for id, want := range map[string]string{"a": "c d", "b": "c", "c": "", "d": "", "none": ""} {
		var under []string
		for _, k := range Under(Pointers(keys), id) {
			under = append(under, k.ID)
		}
		if got := strings.Join(under, " "); got != want {
			t.Errorf("under %s: %q, want %q", id, got, want)
		}
	}
}

func TestChoose(t *testing.T) {
	under := Under(Pointers(keys), "a")
	for _, tt := range []struct {
		name     string
		children Children
		under    []*api.IssuedKey
		want     string
		fails    bool
	}{
		{"none", Children{}, nil, "", false},
		{"with", Children{with: true}, under, api.ChildrenRevoke, false},
		{"with, of none", Children{with: true}, nil, api.ChildrenRevoke, false},
		{"keep", Children{keep: true}, under, api.ChildrenKeep, false},
		{"nothing said, without a terminal", Children{}, under, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			got, err := tt.children.Choose(tt.under, strings.NewReader("y\n"), &out)
			if got != tt.want || (err != nil) != tt.fails {
				t.Errorf("%q, %v; want %q", got, err, tt.want)
			}
			if asked := strings.Contains(out.String(), "  sandbox:sb_1 c\n  tenant d\n"); asked != tt.fails {
				t.Errorf("output: %q", out.String())
			}
		})
	}
	if (&Children{with: true, keep: true}).Check() == nil || (&Children{with: true}).Check() != nil {
		t.Error("Check")
	}
}
