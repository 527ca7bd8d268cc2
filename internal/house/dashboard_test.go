package house_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// queried are metrics in an expression, with what a histogram adds to its name; others are those of every program.
var queried = regexp.MustCompile(`\bmiosa_[a-z_]+|\b(?:go|process)_[a-z_]+`)

// documentedMetrics are the names of docs/messages.md, which another test compares with the code.
func documentedMetrics(t *testing.T) []string {
	t.Helper()
	names := captures(section(t, "Metrics of the agent")+section(t, "Metrics of the vault"), "(?m)^\\| `(miosa_[a-z_]+)` \\|")
	return append(names, "miosa_vault_request_seconds_bucket", "process_resident_memory_bytes", "process_cpu_seconds_total")
}

// Each panel of the dashboard has a title, a unit and a place of its own, and queries metrics that there are.
func TestDashboard(t *testing.T) {
	const path = "/packaging/grafana/miosa-env.json"
	var board struct {
		Title  string
		UID    string
		Panels []struct {
			ID          int
			Type, Title string
			GridPos     struct{ X, Y, W, H int }
			FieldConfig struct{ Defaults struct{ Unit string } }
			Targets     []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, root+path)), &board); err != nil || board.Title == "" || board.UID == "" {
		t.Fatalf("%s: %v, title %q, uid %q", path, err, board.Title, board.UID)
	}
	known := documentedMetrics(t)
	shown := map[string]bool{}
	ids := map[int]string{}
	for _, p := range board.Panels {
		if p.Title == "" || ids[p.ID] != "" || p.GridPos.W < 1 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d, %q: it has no title, the id of %q, or is outside of the grid: %+v", p.ID, p.Title, ids[p.ID], p.GridPos)
		}
		ids[p.ID] = p.Title
		if p.Type == "row" {
			continue
		}
		if p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
			t.Errorf("panel %q has unit %q and %d queries", p.Title, p.FieldConfig.Defaults.Unit, len(p.Targets))
		}
		for _, q := range p.Targets {
			names := queried.FindAllString(q.Expr, -1)
			if len(names) == 0 || q.LegendFormat == "" {
				t.Errorf("panel %q: query %q has no metric, or no legend", p.Title, q.Expr)
			}
			for _, name := range names {
				if shown[name] = true; !slices.Contains(known, name) {
					t.Errorf("panel %q: there is no metric %s", p.Title, name)
				}
			}
		}
	}
	for _, name := range known {
		if strings.HasPrefix(name, "miosa_vault_") && !shown[name] && name != "miosa_vault_request_seconds" {
			t.Errorf("no panel shows %s", name)
		}
	}
}

// The alerts of docs/scale.md are on metrics that there are.
func TestAlertsNameMetrics(t *testing.T) {
	known := documentedMetrics(t)
	table := captures(read(t, root+"/docs/scale.md"), "(?m)^\\| [^|]+ \\| `(.*)`,? ?.* \\|")
	found := 0
	for _, expression := range table {
		for _, name := range queried.FindAllString(expression, -1) {
			found++
			if !slices.Contains(known, name) {
				t.Errorf("docs/scale.md: there is no metric %s", name)
			}
		}
	}
	if found < 15 {
		t.Errorf("docs/scale.md names %d metrics", found)
	}
}
