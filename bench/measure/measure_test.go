package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func rows(floor, ours []time.Duration, peak int64) *table {
	samples := func(walls []time.Duration) []sample {
		var all []sample
		for _, w := range walls {
			all = append(all, sample{w, peak})
		}
		return all
	}
	bare := &row{name: "bare", samples: samples(floor)}
	least := &row{name: "floor", samples: samples(floor)}
	return &table{bare: bare, rows: []*row{bare, least, {name: "ours", floor: least, most: 1.6, samples: samples(ours)}}}
}

func TestMissed(t *testing.T) {
	for _, tc := range []struct {
		name        string
		floor, ours []time.Duration
		peak        int64
		binary      int64
		want        []string
	}{
		{"all met", []time.Duration{10, 20, 30}, []time.Duration{16, 32, 48}, 12 << 20, 9e6, nil},
		{"one slow round", []time.Duration{10, 10, 10}, []time.Duration{10, 90, 10}, 0, 0, nil},
		{"one slow round for both", []time.Duration{10, 99, 10}, []time.Duration{15, 150, 15}, 0, 0, nil},
		{"slow", []time.Duration{10, 20, 30}, []time.Duration{20, 40, 60}, 0, 0,
			[]string{"ours takes 2.00 times the floor, at most 1.6 wanted"}},
		{"large", []time.Duration{10}, []time.Duration{10}, 13 << 20, 9_100_000,
			[]string{"ours needs 13.0 MiB, at most 12 wanted", "miosa-env has 9.10 MB, at most 9 wanted"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, rows(tc.floor, tc.ours, tc.peak).missed(tc.binary)); diff != "" {
				t.Errorf("missed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPrint(t *testing.T) {
	var b strings.Builder
	ms := time.Millisecond
	if err := rows([]time.Duration{2 * ms, ms, 3 * ms}, []time.Duration{3 * ms, 2 * ms, 4 * ms}, 3<<20).print(&b); err != nil {
		t.Fatal(err)
	}
	want := `
          median      p10      p90  to bare  to floor  target  peak memory
  bare   2.00 ms  1.00 ms  3.00 ms     1.00                        3.0 MiB
  floor  2.00 ms  1.00 ms  3.00 ms     1.00                        3.0 MiB
  ours   3.00 ms  2.00 ms  4.00 ms     1.50      1.50     1.6      3.0 MiB
`
	if diff := cmp.Diff(want, "\n"+b.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

// The figures are the command's own: not the memory of this test, which is made large, and not an
// earlier command's.
func TestLaunch(t *testing.T) {
	dir := t.TempDir()
	if err := buildFloors(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	ballast := make([]byte, 64<<20)
	for i := range ballast {
		ballast[i] = 1
	}
	start := func(argv ...string) (sample, error) {
		return launch(context.Background(), filepath.Join(dir, "launch"), &row{name: "row", argv: argv, env: os.Environ()})
	}
	s, err := start(filepath.Join(dir, "floor-exec"), "/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	if s.wall <= 0 || s.peak <= 0 || s.peak > 16<<20 {
		t.Errorf("floor-exec cost %v and %d bytes", s.wall, s.peak)
	}
	for _, tc := range []struct{ name, script, err string }{
		{"exit code", "echo reason >&2; exit 3", "row: exit status 3: reason"},
		{"signal", "kill -TERM $$", "row: killed by signal 15: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := start("/bin/sh", "-c", tc.script); err == nil || err.Error() != tc.err {
				t.Errorf("error %q, want %q", err, tc.err)
			}
		})
	}
	_ = ballast[len(ballast)-1]
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"-rounds", "0"}, {"-warmup", "-1"}, {"-rotations", "0"}, {"-idle", "0s"}, {"-only", "startup,x"}, {"more"}, {"-unknown"}} {
		var out, err strings.Builder
		if code := run(t.Context(), args, &out, &err); code != 2 || out.Len() > 0 || err.Len() == 0 {
			t.Errorf("%v: exit code %d, stdout %q, stderr %q", args, code, out.String(), err.String())
		}
	}
}
