package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// canaries are values that must not appear in unrelated output.
var canaries = []string{
	"canary-value-7f3a9c", "canary rotated \"quotes\" & 100%\nline two", "canary-env-file-51d0", "canary-short",
}

// forms returns a text and its encodings.
func forms(text string) []string {
	quoted, _ := json.Marshal(text)
	all := append(strings.Split(text, "\n"),
		hex.EncodeToString([]byte(text)), strings.ToUpper(hex.EncodeToString([]byte(text))),
		url.QueryEscape(text), url.PathEscape(text), strings.Trim(string(quoted), `"`),
	)
	// Base64 of a longer text that contains it: three alignments, without the edge characters, which depend on the
	// neighboring bytes.
	for shift := range 3 {
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			encoded := encoding.EncodeToString([]byte(strings.Repeat("x", shift) + text))
			all = append(all, encoded[(shift*8+5)/6:len(encoded)-1])
		}
	}
	return all
}

// leaked returns the index of the first secret found in a text, never the secret itself.
func leaked(text string, secrets ...string) (found int, yes bool) {
	for i, s := range secrets {
		for _, form := range forms(s) {
			if len(form) >= 8 && strings.Contains(text, form) {
				return i, true
			}
		}
	}
	return 0, false
}

func TestLeakedFindsEveryForm(t *testing.T) {
	for _, s := range canaries {
		for _, form := range forms(s) {
			if _, yes := leaked("before "+form+" after", s); len(form) >= 8 && !yes {
				t.Errorf("%q is not found", form)
			}
		}
		for before := range 3 {
			for after := range 3 {
				text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("-", before) + s + strings.Repeat("-", after)))
				if _, yes := leaked(text, s); !yes {
					t.Errorf("base64 with %d bytes before and %d after is not found", before, after)
				}
			}
		}
	}
}

// Every command at trace level, in success and failure: what it prints contains nothing of a value or a key,
// unless that is its purpose.
func TestNothingLeaks(t *testing.T) {
	s := vaulttest.Start(t)
	id := s.Put(t, "one", canaries[0], sandbox, "ONE")
	s.Put(t, "two", canaries[1], sandbox, "TWO")
	s.Put(t, "short", canaries[3], sandbox, "SHORT")
	key, keyID := s.MintResourceKey(t, sandbox)
	secrets := append([]string{key.Reveal(), s.TenantKey.Reveal()}, canaries...)
	dir := t.TempDir()
	write(t, dir, "good.env", "FILED="+canaries[2]+"\n", 0o600)
	write(t, dir, "bad.env", "FILED='"+canaries[2]+"\nX", 0o600)
	write(t, dir, "bad.key", key.Reveal()+" "+canaries[0], 0o600)
	write(t, dir, "value", canaries[1], 0o600)
	write(t, dir, "binary", canaries[0]+"\xff", 0o600)
	write(t, dir, "refused.env", "LD_PRELOAD="+canaries[2]+"\nONE="+canaries[0]+"\n", 0o600)
	write(t, dir, "app", "#!/bin/sh\nwhile :; do sleep 0.05; done\n", 0o755)

	for _, tt := range []struct {
		name  string
		args  []string
		asked bool // standard output is expected to contain values
	}{
		{"run", []string{"run", "--env-file", "good.env", "--", "true"}, false},
		{"run, masked", []string{"run", "--mask", "--", "sh", "-c", "echo $ONE; env >&2"}, false},
		{"run, supervised", []string{"run", "--on-change", "restart", "--keep-key", "--", "true"}, false},
		{"run, hook", []string{"run", "--on-change", "hook=true", "--", "true"}, false},
		{"run, refused prefix", []string{"run", "--prefix", "LD_", "--", "true"}, false},
		{"run, no name", []string{"run", "--prefix", "1", "--", "true"}, false},
		{"run, missing", []string{"run", "--require", "NONE", "--", "true"}, false},
		{"run, broken file", []string{"run", "--env-file", "bad.env", "--", "true"}, false},
		{"run, no command", []string{"run", "--", "no-such-command"}, false},
		{"run, key as argument", []string{"run", "--", "true", key.Reveal()}, false},
		{"run, key as flag", []string{"run", "--api-key", key.Reveal(), "true"}, false},
		{"run, key as a flag's value", []string{"run", "--on-change", key.Reveal(), "true"}, false},
		{"key as command", []string{key.Reveal()}, false},
		{"key as file", []string{"list", "--key-file", key.Reveal()}, false},
		{"key as id", []string{"list", "--sandbox", key.Reveal()}, false},
		{"key as URL", []string{"list", "--base-url", "https://" + key.Reveal() + "@localhost/"}, false},
		{"bad key file", []string{"list", "--key-file", "bad.key"}, false},
		{"export", []string{"export"}, true},
		{"export dotenv", []string{"export", "--format", "dotenv"}, true},
		{"export json", []string{"export", "--format", "json"}, true},
		{"get", []string{"get", "ONE"}, true},
		{"get nothing", []string{"get", "NONE"}, false},
		{"get a key", []string{"get", key.Reveal()}, false},
		{"list", []string{"list"}, false},
		{"list json", []string{"list", "--json"}, false},
		{"doctor", []string{"doctor"}, false},
		{"doctor json", []string{"doctor", "--json"}, false},
		{"doctor, bad key", []string{"doctor", "--key-file", "bad.key"}, false},
		{"agent, key as file", []string{"agent", "--config", key.Reveal()}, false},
		{"agent, key as a setting", []string{"agent", "--check", "--socket", key.Reveal(), "--cache-max-age", key.Reveal()}, false},
		{"agent, check", []string{"agent", "--check", "--config", "bad.key"}, false},
		{"status, key as socket", []string{"status", "--socket", key.Reveal()}, false},
		{"refresh", []string{"refresh"}, false},
		{"completion", []string{"__complete", "get", ""}, false},
		{"version", []string{"version"}, false},
		{"secrets set", []string{"secrets", "set", "three", "--value-file", "value", "--bind", "sandbox:sb_1=THREE", "--bind", "sandbox:sb_1=ONE"}, false},
		{"secrets set json", []string{"secrets", "set", "three", "--value-file", "value", "--resource", "sandbox:sb_1", "--json"}, false},
		{"secrets set, not text", []string{"secrets", "set", "three", "--value-file", "binary"}, false},
		{"secrets set, value as argument", []string{"secrets", "set", "three", canaries[0]}, false},
		{"secrets set, value as name", []string{"secrets", "set", "three=" + canaries[0]}, false},
		{"secrets set, value as flag", []string{"secrets", "set", "three", "--value", canaries[0]}, false},
		{"secrets set, value as a flag's value", []string{"secrets", "set", "three", "--bind", "THREE=" + canaries[0]}, false},
		{"secrets set, value as metadata", []string{"secrets", "set", "three", "--metadata", "value"}, false},
		{"secrets rotate", []string{"secrets", "rotate", "two", "--value-file", "value"}, false},
		{"secrets rotate, value as argument", []string{"secrets", "rotate", "two", canaries[0]}, false},
		{"secrets list", []string{"secrets", "list"}, false},
		{"secrets list json", []string{"secrets", "list", "--json"}, false},
		{"secrets get", []string{"secrets", "get", "two"}, false},
		{"secrets get json", []string{"secrets", "get", "two", "--json"}, false},
		{"secrets get a key", []string{"secrets", "get", key.Reveal()}, false},
		{"secrets delete", []string{"secrets", "delete", "short"}, false},
		{"secrets, tenant key as file", []string{"secrets", "list", "--key-file", s.TenantKey.Reveal()}, false},
		{"bindings create", []string{"bindings", "create", "two", "sandbox:sb_1=ONE"}, false},
		{"bindings create, a value", []string{"bindings", "create", "two", "TWO=" + canaries[0]}, false},
		{"bindings list", []string{"bindings", "list", "--json"}, false},
		{"bindings delete", []string{"bindings", "delete", key.Reveal(), "--yes"}, false},
		{"keys list", []string{"keys", "list", "--json"}, false},
		{"keys revoke", []string{"keys", "revoke", key.Reveal()}, false},
		{"audit", []string{"audit", "--json"}, false},
		{"import", []string{"import", "good.env", "--bind", "sandbox:sb_1", "--yes"}, false},
		{"import json", []string{"import", "good.env", "--bind", "sandbox:sb_1", "--yes", "--json"}, false},
		{"import, broken file", []string{"import", "bad.env", "--bind", "sandbox:sb_1", "--yes"}, false},
		{"import, refused names", []string{"import", "refused.env", "--bind", "sandbox:sb_1", "--yes"}, false},
		{"oauth", []string{"oauth", "connect", "github"}, false},
		{"completion of secrets", []string{"__complete", "secrets", "set", ""}, false},
	} {
		for _, format := range []string{"text", "json"} {
			t.Run(tt.name+", "+format, func(t *testing.T) {
				a := configured(s.BaseURL, key).with("MIOSA_LOG_LEVEL", "trace").with("MIOSA_LOG_FORMAT", format).with("MIOSA_TENANT_KEY", s.TenantKey.Reveal())
				a.args = tt.args
				stdout, stderr, _ := a.start(t, dir)
				if i, yes := leaked(stderr, secrets...); yes {
					t.Errorf("secret %d is on standard error", i)
				}
				if i, yes := leaked(stdout, secrets...); yes && (!tt.asked || i < 2) {
					t.Errorf("secret %d is on standard output", i)
				}
			})
		}
	}

	t.Run("over a long run", func(t *testing.T) {
		a := configured(s.BaseURL, key).with("MIOSA_LOG_LEVEL", "trace")
		command := exec.Command(filepath.Join(built, "miosa-env"), "run", "--on-change", "restart", "--env-file", "good.env", "--", "./app")
		command.Dir = dir
		command.Env = environ(a.env)
		logged, err := os.Create(filepath.Join(dir, "log"))
		if err != nil {
			t.Fatal(err)
		}
		command.Stderr = logged
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = command.Process.Kill() }()
		says := func(text string) {
			t.Helper()
			if !poll.Within(time.Minute, func() bool { b, _ := os.ReadFile(logged.Name()); return strings.Contains(string(b), text) }) {
				t.Fatalf("the log does not contain %q", text)
			}
		}
		says("command started")
		s.Rotate(t, id, canaries[1])
		says("restarting command")
		refused := s.Put(t, "refused", canaries[0], sandbox, "LD_AUDIT")
		says("set rejected")
		s.Delete(t, refused)
		s.Stop(t)
		says("keeping the last set")
		s.Restart(t)
		s.Revoke(t, keyID)
		says("gets no changes")
		if err := command.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		_ = command.Wait() // the command is killed by TERM
		b, err := os.ReadFile(logged.Name())
		if err != nil {
			t.Fatal(err)
		}
		if i, yes := leaked(string(b), secrets...); yes {
			t.Errorf("secret %d is in the log", i)
		}
	})
}
