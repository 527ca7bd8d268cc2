package main

import (
	"errors"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// resets forwards connections and can reset all of them.
type resets struct {
	net.Listener
	mu   sync.Mutex // guards open
	open []*net.TCPConn
}

func resettable(t *testing.T, to string) *resets {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &resets{Listener: l}
	t.Cleanup(func() { _ = l.Close(); r.reset() })
	go func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", to)
			if err != nil {
				_ = a.Close()
				continue
			}
			r.mu.Lock()
			r.open = append(r.open, a.(*net.TCPConn))
			r.mu.Unlock()
			go func() { _, _ = io.Copy(b, a); _ = b.Close() }()
			go func() { _, _ = io.Copy(a, b); _ = a.Close() }()
		}
	}()
	return r
}

// reset returns how many connections it ended.
func (r *resets) reset() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.open)
	for _, c := range r.open {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
	r.open = nil
	return n
}

// A connection to the vault is reset while a command runs, under TLS, whose close_notify then fails. The command
// runs on, gets the next value, and its exit code is returned.
func TestConnectionResets(t *testing.T) {
	c, ca, _ := vaulttest.Certificate(t)
	s := vaulttest.Start(t, vaulttest.WithTLS(c))
	secret := s.Put(t, "token", "first", sandbox, "TOKEN")
	r := resettable(t, s.Addr())
	a := configured("https://"+r.Addr().String()+"/api/v1", s.ResourceKey(t, sandbox)).with("MIOSA_CA_FILE", ca)
	marks := filepath.Join(t.TempDir(), "marks")
	// The second start ends by itself, with 5 if nothing ended the first.
	command := exec.Command(filepath.Join(built, "miosa-env"), "run", "--on-change", "restart", "--settle", "0s", "--", "sh", "-c",
		`echo "$TOKEN" >> "$0"; [ "$TOKEN" = first ] || exit 5; sleep 100`, marks)
	command.Env = environ(a.env)
	var said strings.Builder
	command.Stderr = &said
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	const route = "POST /egress/bindings/reveal"
	for i := range 5 {
		if !poll.Within(time.Minute, func() bool { return s.Requests(route) > i+1 }) { // the next wait has begun
			t.Fatalf("no request after %d resets", i)
		}
		if !poll.Within(time.Minute, func() bool { return r.reset() > 0 }) {
			t.Fatal("no open connection")
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.Rotate(t, secret, "second")
	var exit *exec.ExitError
	if err := command.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 5 {
		t.Errorf("it ended with %v, want exit status 5\n%s", err, said.String())
	}
}
