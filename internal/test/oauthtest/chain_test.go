package oauthtest_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/test/authserver"
	"github.com/Miosa-osa/miosa-env/internal/test/browser"
)

// build builds miosa-env as released and returns its path.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "miosa-env")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", path, "./cmd/miosa-env")
	c.Dir = "../../.."
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// hashed returns the hash by which the command prints its token.
func hashed(value string) string {
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:])
}

// run starts a command under miosa-env and returns a channel of its output lines.
func (s *fixture) run(t *testing.T, program, script string, flags ...string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	args := append(append([]string{"run"}, flags...), "--", "sh", "-c", script)
	c := exec.CommandContext(ctx, program, args...)
	c.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "MIOSA_BASE_URL=" + s.vault.BaseURL, "MIOSA_SANDBOX_ID=" + sandbox.ID,
		"MIOSA_API_KEY=" + s.vault.ResourceKey(t, sandbox).Reveal(), "MIOSA_SOCKET=" + filepath.Join(t.TempDir(), "none"),
	}
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = 10 * time.Second
	var problems bytes.Buffer
	c.Stderr = &problems
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines, read := make(chan string, 1000), make(chan struct{})
	go func() {
		defer close(read)
		for in := bufio.NewScanner(stdout); in.Scan(); {
			lines <- in.Text()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-read
		_ = c.Wait() // it was stopped
		if t.Failed() {
			t.Logf("miosa-env wrote:\n%s", problems.String())
		}
	})
	return lines
}

// From connect to command: a command runs without a token. A user connects an account in a browser, and the
// command restarts with the token. The token expires repeatedly, the vault refreshes it, and the command restarts
// with each new one, without user interaction.
func TestChain(t *testing.T) {
	t.Parallel()
	program := build(t)
	s := newFixture(t, authserver.Start(t, authserver.Config{TokenLife: 6 * time.Second}))
	s.vault.Put(t, "other", "o", sandbox, "OTHER")
	lines := s.run(t, program,
		`printf %s "$ACME_TOKEN" | sha256sum; exec sleep 600`, "--on-change", "restart")
	next := func() (hash string) {
		t.Helper()
		select {
		case line := <-lines:
			return strings.Fields(line)[0]
		case <-time.After(30 * time.Second):
			t.Fatal("the command isn't started again")
			return ""
		}
	}
	if next() != hashed("") {
		t.Fatal("the command has a token before anybody has connected")
	}

	begun := s.start(t, "acme", "ACME_TOKEN")
	page := visit(t, browser.Start(t), begun.AuthorizeURL, authserver.SignIn("ada"), authserver.Allow())
	page.wantText(t, 200, "Acme is connected")

	seen := map[string]bool{hashed(""): true}
	for starts, good := 1, 0; good < 3; starts++ {
		hash := next()
		if hash == hashed("") && starts > 1 && starts <= 10 {
			continue // on a slow machine, the token expired before it was refreshed
		}
		if seen[hash] || starts > 10 {
			t.Fatalf("start %d has what an earlier one had: %v", starts, seen[hash])
		}
		seen[hash] = true
		value, _, _ := s.revealed(t, "ACME_TOKEN")
		if hashed(value) != hash {
			continue // it was refreshed in between; the next start has it
		}
		s.worksFor(t, "ACME_TOKEN", value, "ada")
		good++
	}
	if n := s.provider.Requests(t, "refresh_token"); n < 2 {
		t.Errorf("%d refreshes, want 2 or more", n)
	}
}
