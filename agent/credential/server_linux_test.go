package credential

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/agent/config"
	"github.com/Miosa-osa/miosa-env/agent/peer"
	"github.com/Miosa-osa/miosa-env/api"
)

// fakeEngine serves a set, or an error.
type fakeEngine struct {
	set api.Snapshot
	err error // returned instead of the set
}

func (s *fakeEngine) holds(values map[string]string) { s.set = setOf(values) }
func (s *fakeEngine) Wait(ctx context.Context, _ string) (api.Snapshot, error) {
	if s.err == nil && s.set.Etag == "" {
		<-ctx.Done()
		return api.Snapshot{}, ctx.Err()
	}
	return s.set, s.err
}

func setOf(values map[string]string) api.Snapshot {
	s := api.Snapshot{Etag: "some"}
	for name, value := range values {
		b := api.Bound{Value: api.NewValue([]byte(value))}
		b.ExposeAsEnv = name
		s.Bound = append(s.Bound, b)
	}
	return s
}

// ask connects like systemd, from an address that names the unit, and reads until EOF.
func ask(t *testing.T, path, address string) []byte {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.UnixAddr{Name: address, Net: "unix"}}
	c, err := d.DialContext(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.(*net.UnixConn).CloseWrite()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	b, err := io.ReadAll(io.LimitReader(c, 2<<20))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A unit gets the credentials that it may have. A denial has more bytes than systemd accepts, and is never empty.
func TestCredentials(t *testing.T) {
	const canary = "canary-value"
	bound := map[string]string{"GH_TOKEN": canary, "DB_URL": canary, "EMPTY": "", "LARGE": strings.Repeat("x", maxValue)}
	units := []config.Unit{{Name: "app.service", Only: []string{"GH_TOKEN", "EMPTY", "LARGE", "NONE"}}, {Name: "each@.service", Only: []string{"DB_*"}}}
	for _, tt := range []struct {
		name   string
		from   string // the part of the address after the random number
		runsIn string
		uid    uint32
		served fakeEngine
		want   string // "": denial
		says   string
	}{
		{name: "allowed", from: "/unit/app.service/GH_TOKEN", runsIn: "app.service", want: canary, says: "credential sent"},
		{name: "longest that systemd accepts", from: "/unit/app.service/LARGE", runsIn: "app.service", want: bound["LARGE"], says: "credential sent"},
		{name: "an instance", from: "/unit/each@1.service/DB_URL", runsIn: "each@1.service", want: canary, says: "credential sent"},
		{name: "not in only", from: "/unit/app.service/DB_URL", runsIn: "app.service", says: "its only doesn't name it"},
		{name: "unknown unit", from: "/unit/other.service/GH_TOKEN", runsIn: "other.service", says: "there is no [[unit]] for it"},
		{name: "another unit's name", from: "/unit/app.service/GH_TOKEN", runsIn: "other.service", says: "doesn't run in this unit"},
		{name: "in no unit", from: "/unit/app.service/GH_TOKEN", says: "doesn't run in this unit"},
		{name: "not root", from: "/unit/app.service/GH_TOKEN", runsIn: "app.service", uid: 1000, says: "uid 1000 isn't systemd"},
		{name: "another address", from: "/app.service/GH_TOKEN", runsIn: "app.service", says: "isn't systemd starting a unit"},
		{name: "an address too long", from: "/unit/app.service/GH_TOKEN/more", runsIn: "app.service", says: "isn't systemd starting a unit"},
		{name: "not bound", from: "/unit/app.service/NONE", runsIn: "app.service", says: "no such variable is bound"},
		{name: "empty", from: "/unit/app.service/EMPTY", runsIn: "app.service", says: "its value is empty"},
		{name: "revoked", from: "/unit/app.service/GH_TOKEN", runsIn: "app.service", served: fakeEngine{err: api.NewError(api.ErrUnauthorized, "no")}, says: "it was revoked"},
		{name: "no set yet", from: "/unit/app.service/GH_TOKEN", runsIn: "app.service", served: fakeEngine{set: api.Snapshot{Resource: api.Resource{ID: "none"}}}, says: "the vault hasn't answered"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.served.err == nil && tt.served.set.Resource.ID == "" {
				tt.served.holds(bound)
			}
			var log bytes.Buffer
			path := filepath.Join(t.TempDir(), "d", "credentials.sock")
			s, err := Listen(Config{Path: path, Engine: &tt.served, Units: units, Log: zerolog.New(&log)})
			if err != nil {
				t.Fatal(err)
			}
			s.identify = func(*net.UnixConn) (peer.Peer, string, error) { return peer.Peer{UID: tt.uid, PID: 7}, tt.runsIn, nil }
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the socket: %v %v", info, err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan bool)
			go func() { s.Serve(ctx); close(ended) }()
			began := time.Now()
			got := ask(t, path, fmt.Sprintf("@%x%s", time.Now().UnixNano(), tt.from))
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
			cancel()
			<-ended
			switch {
			case tt.want == "" && len(got) != maxValue+1:
				t.Errorf("denied with %d bytes", len(got))
			case tt.want != "" && string(got) != tt.want:
				t.Errorf("got %d bytes, want %d", len(got), len(tt.want))
			}
			if !strings.Contains(log.String(), tt.says) || strings.Contains(log.String(), canary) {
				t.Errorf("the log doesn't contain %q, or contains a value: %s", tt.says, log.String())
			}
		})
	}
}

// The client's unit is verified: this test does not run in the unit that it names.
func TestCredentialsIdentify(t *testing.T) {
	served := &fakeEngine{}
	served.holds(map[string]string{"A": "canary-value"})
	path := filepath.Join(t.TempDir(), "credentials.sock")
	units := []config.Unit{{Name: "no-such-unit.service", Only: []string{"*"}}}
	if err := os.Chmod(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s, err := Listen(Config{Path: path, Engine: served, Units: units, Log: zerolog.New(&log)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan bool)
	go func() { s.Serve(ctx); close(ended) }()
	got := ask(t, path, fmt.Sprintf("@%x/unit/no-such-unit.service/A", time.Now().UnixNano()))
	cancel()
	<-ended
	if len(got) != maxValue+1 {
		t.Errorf("got %d bytes", len(got))
	}
	want := "doesn't run in this unit"
	if uid := os.Getuid(); uid != 0 {
		want = fmt.Sprintf("uid %d isn't systemd", uid)
	}
	if !strings.Contains(log.String(), want) || !strings.Contains(log.String(), fmt.Sprintf(`"pid":%d`, os.Getpid())) {
		t.Errorf("log: %s", log.String())
	}
}
