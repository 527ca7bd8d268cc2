package cli

import (
	"testing"
	"time"
)

func TestMoment(t *testing.T) {
	for _, tt := range []struct {
		name string
		past bool
		from time.Duration // from now; 0: an error
		ago  string
	}{
		{name: "720h", from: 720 * time.Hour},
		{name: "30d", from: 720 * time.Hour},
		{name: " 2w ", from: 336 * time.Hour},
		{name: "24h", past: true, from: -24 * time.Hour},
		{name: "7d", past: true, from: -168 * time.Hour, ago: "7d"},
		{name: "0d"}, {name: "-1d"}, {name: "1.5d"}, {name: "1d12h"}, {name: "-1h"}, {name: "0"}, {name: "2030-01-02"},
	} {
		m := Moment{Past: tt.past}
		start := time.Now()
		err := m.Set(tt.name)
		if tt.from == 0 {
			if err == nil {
				t.Errorf("Set(%q) = %v, want an error", tt.name, m.At)
			}
			continue
		}
		if err != nil || m.Ago != tt.ago {
			t.Errorf("Set(%q): ago %q, %v, want ago %q", tt.name, m.Ago, err, tt.ago)
			continue
		}
		want := start.Add(tt.from)
		if m.At.Before(want.Truncate(time.Second)) || m.At.After(want.Add(time.Minute)) {
			t.Errorf("Set(%q) = %v, want %v", tt.name, m.At, want)
		}
	}
}
