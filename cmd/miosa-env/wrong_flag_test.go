package main

import (
	"bytes"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// malformed are values that no flag of a type accepts. Flags of other types, such as string and path, accept any text, except those of
// malformedFlags.
var malformed = map[string]string{
	"bool": "maybe", "change": "sometimes", "choice": "other", "duration": "soon", "int": "many", "length": "1", "list": "A,,B", "mode": "rw",
	"moment": "sometime", "resource": "room:1", "signal": "NOPE", "targets": "sandbox:sb_1",
}

// malformedFlags are other values, by the flag, with a part of the error.
var malformedFlags = map[string]struct{ value, message string }{
	"base-url": {"ftp://vault.example", "error: base URL ftp://vault.example: want https"},
	"proxy":    {"socks5://proxy", "error: the proxy isn't a URL"},
	"sandbox":  {"../x", "error: sandbox id: want 1 to 128 letters"},
	"computer": {"../x", "error: computer id: want 1 to 128 letters"},
	"egress":   {"https://broker", "error: the URL of --egress or MIOSA_EGRESS isn't http://HOST:PORT"},
	"prefix":   {"1", `error: --prefix "1": want letters`},

	"only":         {"[", `error: --only "[": want names, or patterns`},
	"require-only": {"[", `error: --require-only "[": want names, or patterns`},
}

// arguments are those that a command needs.
var arguments = map[string]string{
	"run": "-- true", "get": "TOKEN", "import": "file.env", "oauth connect": "github",
	"secrets set": "name", "secrets get": "name", "secrets rotate": "name", "secrets egress": "name", "secrets delete": "name",
	"bindings create": "name sandbox:sb_1=A", "bindings delete": "bnd_x",
	"keys create": "tenant", "keys replace": "key_x", "keys revoke": "key_x",
	"network set": "default --mode enforce", "network unset": "default", "network allow": "example.com", "network deny": "example.com", "network delete": "rul_x",
}

// A malformed value of a flag is wrong usage in every command: the exit code is 2, and nothing is asked or started. Only doctor
// reports some as problems of the configuration.
func TestMalformedFlags(t *testing.T) {
	p := program.New("", nil, nil, nil, nil, nil)
	root := newApp(p).Root
	shared := pflag.NewFlagSet("", pflag.ContinueOnError)
	root.Flags(shared)
	tested := 0
	var walk func(commands []*cli.Command, above string)
	walk = func(commands []*cli.Command, above string) {
		for _, c := range commands {
			name, _, _ := strings.Cut(c.Use, " ")
			path := strings.TrimSpace(above + " " + name)
			if c.Run == nil {
				walk(c.Commands, path)
				continue
			}
			flags := pflag.NewFlagSet("", pflag.ContinueOnError)
			if c.Flags != nil {
				c.Flags(flags)
			}
			flags.AddFlagSet(shared)
			flags.VisitAll(func(f *pflag.Flag) {
				value, message := malformed[f.Value.Type()], "error: --"+f.Name+" "
				if f.Value.Type() == "targets" || path == "import" && f.Name == "bind" {
					message = "error: --" + f.Name + ": " // the value isn't repeated
				}
				if special, ok := malformedFlags[f.Name]; ok {
					if path == "doctor" {
						return
					}
					value, message = special.value, special.message
				}
				if value == "" {
					return
				}
				tested++
				args := append(strings.Fields(path), "--"+f.Name+"="+value)
				checkWrongUsage(t, append(args, strings.Fields(arguments[path])...), message)
			})
		}
	}
	walk(root.Commands, "")
	if tested < 200 {
		t.Errorf("%d flags tested", tested)
	}
}

func checkWrongUsage(t *testing.T, args []string, message string) {
	t.Helper()
	var stderr bytes.Buffer
	command := exec.Command(filepath.Join(built, "miosa-env"), args...)
	command.Env = environ(map[string]string{
		"MIOSA_BASE_URL": "https://127.0.0.1:1", "MIOSA_API_KEY": aKey().Reveal(), "MIOSA_SANDBOX_ID": "sb_1", "MIOSA_TIMEOUT": "1ms",
		"MIOSA_TENANT_KEY": "msk_u_0123456789abcdef",
	})
	command.Stderr = &stderr
	err := command.Run()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != 2 || !strings.Contains(stderr.String(), message) || !strings.Contains(stderr.String(), "hint: ") {
		t.Errorf("%q: %v, want exit code 2 and a hint; standard error:\n%s", args, err, stderr.String())
	}
}
