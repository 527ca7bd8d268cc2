package program

import (
	"strings"
	"testing"
	"time"

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
