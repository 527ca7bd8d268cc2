package tenant

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// A line has every column, "-" if the event has nothing for it, so that the columns have one meaning.
func TestPrintEvent(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tt := range []struct {
		name  string
		event api.Event
		want  string
	}{
		{"the vault's", api.Event{Timestamp: at, Action: "reveal", Outcome: "ok", RemoteAddr: "127.0.0.1"}, "2026-01-02T03:04:05Z reveal ok - - - 127.0.0.1 - - - - -"},
		{
			"the platform's", api.Event{Timestamp: at, Action: "denied", Traffic: api.Traffic{Method: "GET", Host: "example.com", StatusCode: 403}},
			"2026-01-02T03:04:05Z denied - - - - - GET example.com - 403 -",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			p := &program.Program{Stdout: &cli.Output{To: &out}}
			if err := printEvent(p, &tt.event, &names{}, false); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(strings.Fields(out.String()), " "); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if len(auditWidths) != len(auditHead) {
		t.Errorf("%d widths for %d columns", len(auditWidths), len(auditHead))
	}
}
