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

// The columns of traffic are those that an event has, whatever the key comes from.
func TestPrintEvent(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tt := range []struct {
		name  string
		event api.Event
		ends  string
	}{
		{"the vault's", api.Event{Timestamp: at, Action: "reveal", Outcome: "ok", RemoteAddr: "127.0.0.1"}, "127.0.0.1"},
		{"the platform's", api.Event{Timestamp: at, Action: "denied", Traffic: api.Traffic{Method: "GET", Host: "example.com", StatusCode: 403}}, "GET  example.com  403"},
	} {
		for _, key := range []string{"", "msk_u_tenant"} {
			t.Run(tt.name+" "+key, func(t *testing.T) {
				var out bytes.Buffer
				p := &program.Program{Stdout: &cli.Output{To: &out}}
				p.Settings.TenantKey = key
				if err := printEvent(p, &tt.event, &names{}, false); err != nil {
					t.Fatal(err)
				}
				if line := strings.TrimRight(out.String(), " \n"); !strings.HasSuffix(line, tt.ends) {
					t.Errorf("%q doesn't end in %q", line, tt.ends)
				}
			})
		}
	}
}
