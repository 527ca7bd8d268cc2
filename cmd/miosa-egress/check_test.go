package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/ca"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
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

// A listener can't have the socket that the commands status and ca ask.
func TestCheckOwnSocket(t *testing.T) {
	folder := t.TempDir()
	key, conf, socket := filepath.Join(folder, "broker.key"), filepath.Join(folder, "egress.toml"), filepath.Join(folder, "egress.sock")
	for name, text := range map[string]string{
		key:  api.NewKey(api.BrokerKeyPrefix).Reveal(),
		conf: fmt.Sprintf("base_url = 'http://127.0.0.1:9'\nkey_file = %q\n[[listener]]\naddress = %q\nsandbox_id = 'sb_1'\n", key, "unix:"+socket),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{"check", "--config", conf, "--socket", socket}, &stdout, &stderr)
	if want := "line 4: address: status and ca ask the broker at this socket\n"; code != exitFailed || !strings.Contains(stderr.String(), want) {
		t.Errorf("exit code %d: %s%s", code, &stdout, &stderr)
	}
}

// A certificate isn't written over a file that the broker reads, nor over that of another resource.
func TestCheckWrittenFiles(t *testing.T) {
	folder := t.TempDir()
	in := func(name string) string { return filepath.Join(folder, name) }
	key := api.NewKey(api.BrokerKeyPrefix).Reveal()
	for _, tt := range []struct{ name, first, second, want string }{
		{"the CA's key", "ca_file = '@/a'\nca_key_file = '@/a'", "", "line 6: ca_file: @/a is a ca_key_file too, which the certificate would replace\n"},
		{"another's key", "ca_file = '@/b'", "ca_key_file = '@/b'", "line 6: ca_file: @/b is a ca_key_file too, which the certificate would replace\n"},
		{"the broker key", "ca_file = '@/broker.key'", "", "line 6: ca_file: @/broker.key is the broker key too, which the certificate would replace\n"},
		{"the configuration", "ca_file = '@/egress.toml'", "", "line 6: ca_file: @/egress.toml is the configuration too, which the certificate would replace\n"},
		{"a certificate", "ca_file = '@/a.pem'", "ca_file = '@/a.pem'", "line 10: ca_file: @/a.pem is that of sandbox:sb_1 too\n"},
		{"a key", "ca_key_file = '@/a'", "ca_key_file = '@/a'", "line 10: ca_key_file: @/a is that of sandbox:sb_1 too\n"},
	} {
		text := fmt.Sprintf("base_url = 'http://127.0.0.1:9'\nkey_file = %q\n[[listener]]\naddress = '127.0.0.1:1'\nsandbox_id = 'sb_1'\n%s\n", in("broker.key"), tt.first)
		if tt.second != "" {
			text += "[[listener]]\naddress = '127.0.0.1:2'\nsandbox_id = 'sb_2'\n" + tt.second + "\n"
		}
		text, want := strings.ReplaceAll(text, "@", folder), strings.ReplaceAll(tt.want, "@", folder)
		for name, text := range map[string]string{"broker.key": key, "egress.toml": text} {
			if err := os.WriteFile(in(name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), []string{"check", "--config", in("egress.toml"), "--socket", in("egress.sock")}, &stdout, &stderr)
		if code != exitFailed || !strings.Contains(stderr.String(), want) || strings.Count(stderr.String(), "error:") != 1 {
			t.Errorf("%s: exit code %d: %s%s", tt.name, code, &stdout, &stderr)
		}
	}
}

// A broker key that others can read is one warning, of check and of serve, which reads the file again when it has written others next to it.
func TestExposedKey(t *testing.T) {
	folder := t.TempDir()
	in := func(name string) string { return filepath.Join(folder, name) }
	for name, text := range map[string]string{
		"broker.key": api.NewKey(api.BrokerKeyPrefix).Reveal(),
		"egress.toml": fmt.Sprintf("base_url = 'http://127.0.0.1:9'\nkey_file = %q\nsocket = %q\n[[listener]]\naddress = '127.0.0.1:0'\nsandbox_id = 'sb_1'\nca_file = %q\n",
			in("broker.key"), in("egress.sock"), in("ca.pem")),
	} {
		if err := os.WriteFile(in(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(in("broker.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	const warning = "key file is accessible to other users: chmod 600 it"
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"check", "--config", in("egress.toml")}, &stdout, &stderr); code != 0 || strings.Count(stderr.String(), warning) != 1 {
		t.Errorf("check: exit code %d: %s%s", code, &stdout, &stderr)
	}
	command := exec.CommandContext(t.Context(), filepath.Join(built, "miosa-egress"), "serve", "--config", in("egress.toml"))
	log, err := os.Create(in("log"))
	if err != nil {
		t.Fatal(err)
	}
	command.Stderr = log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	text := func() string {
		text, err := os.ReadFile(in("log"))
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}
	poll.Until(t, patience, "it has started", func() bool { return strings.Contains(text(), "broker started") })
	if err := command.Process.Signal(syscall.SIGHUP); err != nil { // after all that is known by then
		t.Fatal(err)
	}
	poll.Until(t, patience, "it has reloaded", func() bool { return strings.Contains(text(), "configuration reloaded") })
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil || strings.Count(text(), warning) != 1 {
		t.Errorf("%v: %s", err, text())
	}
}

// Neither check nor serve takes a key that another user can change, or put another in its place of.
func TestKeysOfOthers(t *testing.T) {
	const other = 65533
	authority, err := ca.New(sandbox.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := authority.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	const open, unsafe = 0o777, "another user could change it or put another in its place\n"
	for _, tt := range []struct {
		name string
		make func(in func(string) string) error
		root bool
		want []string // of standard error, IN is the folder; none: check is content
	}{
		{"safe", func(func(string) string) error { return nil }, false, nil},
		{"the key's folder", func(in func(string) string) error { return os.Chmod(in("key"), open) }, false,
			[]string{"egress.toml line 2: key file IN/key/broker.key: " + unsafe + "miosa-egress: hint: chmod go-w IN/key\n"}},
		{"the key", func(in func(string) string) error { return os.Chown(in("key/broker.key"), other, -1) }, true,
			[]string{"egress.toml line 2: key file IN/key/broker.key: " + unsafe + "miosa-egress: hint: chown 0 IN/key/broker.key, or run this as the user that the broker runs as\n"}},
		{"the CA's folder", func(in func(string) string) error { return os.Chmod(in("ca"), open) }, false,
			[]string{"egress.toml line 7: ca_key_file: IN/ca/ca.key: " + unsafe + "miosa-egress: hint: chmod go-w IN/ca\n"}},
		{"the folder of a new CA", func(in func(string) string) error {
			return errors.Join(os.Remove(in("ca/ca.key")), os.Chmod(in("ca"), open))
		}, false, []string{"egress.toml line 7: ca_key_file: IN/ca/ca.key: " + unsafe + "miosa-egress: hint: chmod go-w IN/ca\n"}},
		{"the CA", func(in func(string) string) error { return os.Chown(in("ca/ca.key"), other, -1) }, true,
			[]string{"egress.toml line 7: ca_key_file: IN/ca/ca.key: " + unsafe + "miosa-egress: hint: chown 0 IN/ca/ca.key, or run this as"}},
		{"both folders", func(in func(string) string) error {
			return errors.Join(os.Chmod(in("key"), open), os.Chmod(in("ca"), open))
		}, false, []string{"line 2: key file IN/key/broker.key: ", "line 7: ca_key_file: IN/ca/ca.key: "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.root {
				needs.Root(t, "to give files away")
			}
			folder := t.TempDir()
			in := func(name string) string { return filepath.Join(folder, name) }
			err := errors.Join(os.Mkdir(in("key"), 0o700), os.Mkdir(in("ca"), 0o700))
			for name, text := range map[string]string{
				"key/broker.key": api.NewKey(api.BrokerKeyPrefix).Reveal(), "ca/ca.key": string(kept),
				"egress.toml": fmt.Sprintf("base_url = 'http://127.0.0.1:9'\nkey_file = %q\nsocket = %q\n[[listener]]\naddress = '127.0.0.1:0'\nsandbox_id = 'sb_1'\nca_key_file = %q\n",
					in("key/broker.key"), in("egress.sock"), in("ca/ca.key")),
			} {
				err = errors.Join(err, os.WriteFile(in(name), []byte(text), 0o600))
			}
			if err := errors.Join(err, tt.make(in)); err != nil {
				t.Fatal(err)
			}
			for _, command := range []string{"check", "serve"} {
				if tt.want == nil && command == "serve" {
					continue // it would serve
				}
				var stdout, stderr bytes.Buffer
				ctx, stop := context.WithTimeout(t.Context(), 2*time.Second)
				code := run(ctx, []string{command, "--config", in("egress.toml")}, &stdout, &stderr)
				stop()
				if (code != 0) != (tt.want != nil) {
					t.Errorf("%s: exit code %d: %s%s", command, code, &stdout, &stderr)
				}
				for _, want := range tt.want {
					if !strings.Contains(stderr.String(), strings.ReplaceAll(want, "IN", folder)) {
						t.Errorf("%s: got %swant %s", command, &stderr, want)
					}
				}
			}
		})
	}
}

// Brokers that are started at the same time share the new CA: those that didn't write the file read it.
func TestSharedNewAuthority(t *testing.T) {
	for range 20 {
		c := spec{resource: sandbox, keyFile: filepath.Join(t.TempDir(), "ca.key")}
		var made [8]*ca.Authority
		var failed [len(made)]error
		var all sync.WaitGroup
		for i := range made {
			all.Go(func() { made[i], failed[i] = openAuthority(c) })
		}
		all.Wait()
		if err := errors.Join(failed[:]...); err != nil {
			t.Fatal(err)
		}
		for _, a := range made {
			if !bytes.Equal(a.PEM(), made[0].PEM()) {
				t.Fatal("they have different CAs")
			}
		}
	}
}

// A start whose address is in use names the line and the fix.
func TestAddressInUse(t *testing.T) {
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for _, tt := range []struct{ name, metrics, address, want string }{
		{"listener", "127.0.0.1:0", taken.Addr().String(), "egress.toml line 7: address: listen tcp " + taken.Addr().String() + ": bind: address already in use\n" +
			"miosa-egress: hint: ss -ltnp shows what listens there: end it, or use another port\n"},
		{"metrics", taken.Addr().String(), "127.0.0.1:0", "egress.toml line 4: metrics_addr: listen tcp " + taken.Addr().String() + ": bind: address already in use\n" +
			"miosa-egress: hint: ss -ltnp shows what listens there: end it, or use another port\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			folder := t.TempDir()
			in := func(name string) string { return filepath.Join(folder, name) }
			for name, text := range map[string]string{
				"broker.key": api.NewKey(api.BrokerKeyPrefix).Reveal(),
				"egress.toml": fmt.Sprintf("base_url = 'http://127.0.0.1:9'\nkey_file = %q\nsocket = %q\nmetrics_addr = %q\n\n[[listener]]\naddress = %q\nsandbox_id = 'sb_1'\n",
					in("broker.key"), in("egress.sock"), tt.metrics, tt.address),
			} {
				if err := os.WriteFile(in(name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var stdout, stderr bytes.Buffer
			if code := run(t.Context(), []string{"serve", "--config", in("egress.toml")}, &stdout, &stderr); code != exitFailed || !strings.Contains(stderr.String(), tt.want) {
				t.Errorf("exit code %d: %s%s", code, &stdout, &stderr)
			}
		})
	}
}
