package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/ca"
)

// check refuses a certificate authority that has expired, as a start does.
func TestCheckExpiredAuthority(t *testing.T) {
	var text []byte
	synctest.Test(t, func(t *testing.T) { // in a bubble it is the year 2000
		a, err := ca.New(sandbox.String(), nil)
		if err == nil {
			text, err = a.Marshal()
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	folder := t.TempDir()
	in := func(name string) string { return filepath.Join(folder, name) }
	for name, text := range map[string]string{
		"broker.key": api.NewKey(api.BrokerKeyPrefix).Reveal(), "ca.key": string(text),
		"egress.toml": fmt.Sprintf("base_url = 'http://127.0.0.1:9'\nkey_file = %q\nsocket = %q\n[[listener]]\naddress = '127.0.0.1:0'\nsandbox_id = 'sb_1'\nca_key_file = %q\n",
			in("broker.key"), in("egress.sock"), in("ca.key")),
	} {
		if err := os.WriteFile(in(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, command := range []string{"check", "serve"} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), []string{command, "--config", in("egress.toml")}, &stdout, &stderr)
		if want := "line 7: ca_key_file: " + in("ca.key") + ": the certificate authority has expired\n"; code != exitFailed || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: exit code %d: %s%s", command, code, &stdout, &stderr)
		}
	}
}
