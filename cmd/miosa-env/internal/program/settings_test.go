package program

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/agent/cache"
	"github.com/Miosa-osa/miosa-env/agent/config"
	"github.com/Miosa-osa/miosa-env/agent/socket"
	"github.com/Miosa-osa/miosa-env/fetch"
)

// The defaults that help and documents show are those of the packages that have them.
func TestOptionDefaults(t *testing.T) {
	want := map[string]string{
		"base-url": fetch.DefaultBaseURL, "socket": socket.DefaultPath,
		"timeout": fetch.DefaultTimeout.String(), "cache-max-age": cache.DefaultMaxAge.String(),
	}
	for _, o := range new(config.Config).Options() {
		shown := strings.Trim(o.Default, "`")
		if d, err := time.ParseDuration(shown); err == nil {
			shown = d.String()
		}
		if !strings.Contains(shown, want[o.Flag]) {
			t.Errorf("--%s: %s, want %s", o.Flag, shown, want[o.Flag])
		}
		delete(want, o.Flag)
	}
	if len(want) > 0 {
		t.Errorf("no such options: %v", want)
	}
}

// A variable sets an option even if the command has another flag of that name, and that flag doesn't.
func TestComplete_OtherFlag(t *testing.T) {
	p := New("", nil, []string{"MIOSA_TIMEOUT=3s"}, nil, nil, nil)
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.Duration("timeout", 0, "")
	if err := f.Parse([]string{"--timeout=1m"}); err != nil {
		t.Fatal(err)
	}
	if err := p.complete(f); err != nil {
		t.Fatal(err)
	}
	if p.Settings.Timeout != 3*time.Second || f.Lookup("timeout").Value.String() != "1m0s" {
		t.Errorf("timeout %s, flag %s", p.Settings.Timeout, f.Lookup("timeout").Value)
	}
	if variable := p.VariableOf(f.Lookup("timeout")); variable != "" {
		t.Errorf("help names %s", variable)
	}
}
