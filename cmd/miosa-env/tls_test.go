package main

import (
	"encoding/json"
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// expect checks that the output matches each of lines, which are patterns.
func expect(t *testing.T, printed string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !regexp.MustCompile("(?m)^" + line + "$").MatchString(printed) {
			t.Errorf("no line %q in\n%s", line, printed)
		}
	}
}

func TestTLS(t *testing.T) {
	c, ca, _ := vaulttest.Certificate(t)
	s := vaulttest.Start(t, vaulttest.WithTLS(c))
	s.Put(t, "token", "the-value", sandbox, "TOKEN")
	trusting := configured(s.BaseURL, s.ResourceKey(t, sandbox)).with("MIOSA_CA_FILE", ca).with("MIOSA_TIMEOUT", "")

	stdout, stderr, code := trusting.running("--", "sh", "-c", "echo $TOKEN").start(t, t.TempDir())
	if stdout != "the-value\n" || stderr != "" || code != 0 {
		t.Errorf("run: exit code %d\n%s%s", code, stdout, stderr)
	}

	trusting.args = []string{"doctor"}
	stdout, _, code = trusting.start(t, t.TempDir())
	expect(t, stdout,
		`warn  tls: the vault's certificate ends soon: TLS 1\.3, certificate by vault under test until \d{4}-\d\d-\d\d`,
		`        fix: renew the vault's certificate`,
		`ok    vault: it answers, and its values open`,
	)
	if code != 0 {
		t.Errorf("doctor: exit code %d", code)
	}

	stdout, _, code = trusting.with("MIOSA_CA_FILE", "").start(t, t.TempDir())
	expect(t, stdout,
		`fail  tls: the certificate of the vault at 127\.0\.0\.1:\d+ is signed by an authority this machine doesn't trust`,
		`        fix: for a private authority give --ca-file; else install the ca-certificates package`,
		`skip  clock, vault, bindings: not checked, because the vault gave no values`,
		`ok    limits: an environment of \d+ variables and \d+ bytes fits, without any values`,
	)
	if code != 1 {
		t.Errorf("doctor, unknown CA: exit code %d", code)
	}
}

func TestDoctorClock(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ahead time.Duration // of the vault's clock
		want  string
	}{
		{"behind", 90 * time.Minute, `warn  clock: this machine's clock is 1h(30m0|29m\d+)s behind the vault's`},
		{"ahead", -90 * time.Minute, `warn  clock: this machine's clock is 1h30m\d+s ahead of the vault's`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var ask api.RevealRequest
				if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
					t.Error(err)
				}
				a, err := api.Seal(ask.Resource, ask.Recipient, nil)
				if err != nil {
					t.Error(err)
				}
				w.Header().Set("Date", time.Now().Add(tt.ahead).UTC().Format(http.TimeFormat))
				w.Header().Set("Content-Type", "application/json")
				_ = json.NewEncoder(w).Encode(a)
			}))
			a := configured(url, aKey())
			a.args = []string{"doctor"}
			stdout, _, _ := a.start(t, t.TempDir())
			expect(t, stdout, tt.want, `warn  bindings: nothing is bound to sandbox:sb_1`)
		})
	}
}
