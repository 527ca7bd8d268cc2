package main

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// A vault verifies the certificate of its database as the URL says, and finds the password where libpq does.
func TestDatabaseTLS(t *testing.T) {
	server := postgrestest.New(t)
	_, cert, key := vaulttest.Certificate(t)
	_, otherCert, _ := vaulttest.Certificate(t)
	if err := server.TLS(t.Context(), cert, key); err != nil {
		t.Fatal(err)
	}
	withPassword, err := url.Parse(server.URL(server.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	password, _ := withPassword.User.Password()
	host, port, err := net.SplitHostPort(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	rootKey := filepath.Join(dir, "root.key")
	succeed(t, "keys", "root", "--out", rootKey)
	home := filepath.Join(dir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	pass := func(path, password string) string {
		t.Helper()
		if err := os.WriteFile(path, fmt.Appendf(nil, "%s:%s:*:vault:%s\n", host, port, password), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file, wrong := pass(filepath.Join(dir, "pass"), password), pass(filepath.Join(dir, "wrong"), "CANARY")
	pass(filepath.Join(home, ".pgpass"), password)
	for _, tt := range []struct {
		name, options string
		env           []string
		want          string // "": it succeeds
	}{
		{"password file in the URL", "sslmode=verify-full&sslrootcert=" + cert + "&passfile=" + file, nil, ""},
		{"password file in the environment", "sslmode=verify-full&sslrootcert=" + cert, []string{"PGPASSFILE=" + file}, ""},
		{"password file in the home", "sslmode=verify-full&sslrootcert=" + cert, nil, ""},
		{"password in the environment", "sslmode=verify-full&sslrootcert=" + cert + "&passfile=" + wrong, []string{"PGPASSWORD=" + password}, ""},
		{"another authority", "sslmode=verify-full&sslrootcert=" + otherCert + "&passfile=" + file, nil, "certificate"},
		{"the system's authorities", "sslmode=verify-full&passfile=" + file, nil, "certificate"},
		{"wrong password", "sslmode=verify-full&sslrootcert=" + cert + "&passfile=" + wrong, nil, "password authentication failed"},
		{"settings in the environment", "passfile=" + file, []string{"PGSSLMODE=verify-full", "PGSSLROOTCERT=" + otherCert}, "certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := exec.CommandContext(t.Context(), "miosa-vault", "keys", "create", "--tenant", "acme", "--data-dir", filepath.Join(dir, "data"), "--root-key-file", rootKey,
				"--database", "postgres://vault@"+server.Addr()+"/postgres?"+tt.options)
			c.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + home}, tt.env...)
			out, err := c.CombinedOutput()
			if (err == nil) != (tt.want == "") || !strings.Contains(string(out), tt.want) {
				t.Errorf("%v: %s", err, out)
			}
			if strings.Contains(string(out), password) || strings.Contains(string(out), "CANARY") {
				t.Error("the output contains a password")
			}
		})
	}
}

// The URL and the password of the database aren't in the environment of a running vault, as root sees it; other variables are.
func TestDatabaseIsNotInTheEnvironment(t *testing.T) {
	server := postgrestest.New(t)
	withPassword, err := url.Parse(server.URL(server.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	password, _ := withPassword.User.Password()
	dir := t.TempDir()
	rootKey := filepath.Join(dir, "root.key")
	succeed(t, "keys", "root", "--out", rootKey)
	path, err := exec.LookPath("miosa-vault")
	if err != nil {
		t.Fatal(err)
	}
	inFile := filepath.Join(dir, "url")
	if err := os.WriteFile(inFile, []byte(withPassword.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name      string
		args, env []string
	}{
		{"URL", nil, []string{databaseEnv + "=" + withPassword.String()}},
		{"unused URL", []string{"--database-file", inFile}, []string{databaseEnv + "=" + withPassword.String()}},
		{"password", nil, []string{databaseEnv + "=postgres://vault@" + server.Addr() + "/postgres?sslmode=disable", "PGPASSWORD=" + password}},
		{"password of a client's key", []string{"--database-file", inFile}, []string{"PGSSLPASSWORD=" + password}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &process{Cmd: exec.Command(path, append([]string{"serve", "--data-dir", filepath.Join(dir, "data"), "--root-key-file", rootKey, "--addr", "127.0.0.1:0",
				"--log-format", "json"}, tt.args...)...)}
			p.Env = append(append([]string{"BEFORE=bystander"}, tt.env...), "AFTER=bystander")
			if err := p.start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.kill)
			p.serves(t)
			environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.Process.Pid))
			if err != nil {
				needs.Root(t, "to read the environment of a process that can't be traced")
				t.Fatal(err)
			}
			if strings.Contains(string(environ), password) || strings.Contains(string(environ), "vault@") {
				t.Error("the environment contains the database's URL or password")
			}
			for _, want := range []string{"BEFORE=bystander", "AFTER=bystander"} {
				if !strings.Contains(string(environ), want) {
					t.Errorf("the environment lacks %s", want)
				}
			}
		})
	}
}
