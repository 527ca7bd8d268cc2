package simulation

import (
	"flag"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/pace"
)

var update = flag.Bool("update", false, "write the chart of docs/scale.md")

const chart = "../../../docs/scale.svg"

// agents is how many agents are simulated.
func agents(t *testing.T) int {
	t.Helper()
	usual := 20_000
	if needs.Raced {
		usual = 2_000
	}
	return needs.Number(t, "MIOSA_SIMULATION_AGENTS", usual)
}

// run simulates a model with faults.
func run(t *testing.T, m *Model, faults []Fault) (r *Result) {
	synctest.Test(t, func(t *testing.T) {
		var err error
		if r, err = Run(m, faults, halfHour); err != nil {
			t.Fatal(err)
		}
	})
	return r
}

// The most requests in a second are no more than the replicas can answer, and none waits for a processor as long as an agent waits
// for a connection. After each fault every agent is current within two minutes. And there is no second wave: once the rate of
// requests is down to the usual one it stays there.
func TestFaults(t *testing.T) {
	needs.Long(t, "it simulates half an hour of many agents")
	m, faults := million().sized(agents(t)), allFaults()
	r := run(t, m, faults)
	all := r.Recoveries(m, faults)
	for _, v := range all {
		t.Logf("%s: at most %d requests in a second; all current after %s; then at most %d", v.Name, v.Peak, v.Current, v.Later)
		if v.Current < 0 || v.Current > 2*time.Minute {
			t.Errorf("%s: all agents are current after %s, want within 2 minutes", v.Name, v.Current)
		}
		if most := m.Rate(m.Costs.Request); float64(v.Peak) > most {
			t.Errorf("%s: %d requests in a second, and the replicas can answer %.0f", v.Name, v.Peak, most)
		}
		if v.Later == 0 || v.Later > m.Usual() {
			t.Errorf("%s: a second wave of %d requests in a second, want at most %d", v.Name, v.Later, m.Usual())
		}
	}
	t.Logf("longest delays: %s for a replica, %s for a database", r.Delay, r.DatabaseDelay)
	if r.Delay > pace.ConnectTime {
		t.Errorf("a request has waited for its replica for %s", r.Delay)
	}
	if *update {
		if err := os.WriteFile(chart, []byte(draw(m, faults, r)), 0o644); err != nil {
			t.Fatal(err)
		}
		write(t, "outcome", outcome(all))
	}
}

// The checks of TestFaults notice agents that come back together.
func TestAgentsTogether(t *testing.T) {
	m, faults := million().sized(5_000), allFaults()
	m.Together = true
	for _, v := range run(t, m, faults).Recoveries(m, faults) {
		if v.Kind != Errors && v.Later <= m.Usual() {
			t.Errorf("%s: no second wave is noticed: %d requests in a second", v.Name, v.Later)
		}
	}
}

// The chart in the documentation is of the model.
func TestChart(t *testing.T) {
	page, err := os.ReadFile(chart)
	if err != nil {
		t.Fatal(err)
	}
	if title := titleOf(million()); !strings.Contains(string(page), title) {
		t.Errorf("%s isn't of %s: make simulate", chart, title)
	}
}
