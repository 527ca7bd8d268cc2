// Command demo shows what miosa-env does, with the real programs: it puts a secret in a vault, bound to a sandbox, runs a
// command that has it in its environment, and rotates it, which restarts the command with the new value. Then a command uses a
// secret that it doesn't have, through a broker. It cleans up, and exits with 1 if a step fails.
//
// Its argument is the folder with the programs. `make demo` runs it.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/devvault"
)

const (
	limit      = 30 * time.Second // for everything
	variable   = "GH_TOKEN"
	first      = "ghp_example_of_today"
	second     = "ghp_example_of_tomorrow"
	bold       = "1" // codes of colours
	cyan       = "36"
	green      = "32"
	terminated = 128 + int(syscall.SIGTERM)
	app        = `echo "$$ $` + variable + `"; exec sleep 60`
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case len(os.Args) == 2:
		err = run(ctx, os.Args[1], os.Stdout)
	case len(os.Args) == 3 && os.Args[1] == "client":
		err = client(ctx, os.Args[2], os.Stdout)
	default:
		fmt.Fprintln(os.Stderr, "usage: demo FOLDER-OF-BINARIES")
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo: error:", err)
		os.Exit(1)
	}
}

// screen is where the demo is shown.
type screen struct {
	io.Writer
	coloured bool
}

func newScreen(out io.Writer) screen {
	f, ok := out.(*os.File)
	return screen{out, cli.Colours(ok && term.IsTerminal(int(f.Fd())), os.Getenv)}
}

func (s screen) colour(code, text string) string {
	if !s.coloured {
		return text
	}
	return "\033[" + code + "m" + text + "\033[0m"
}

// say prints a line.
func (s screen) say(format string, args ...any) { fmt.Fprintf(s, "     "+format+"\n", args...) }

// step prints the title of a step.
func (s screen) step(format string, args ...any) {
	fmt.Fprintf(s, "\n%s\n\n", s.colour(bold, fmt.Sprintf(format, args...)))
}

func run(ctx context.Context, bin string, out io.Writer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done within %s", limit))
	defer cancel()
	s := newScreen(out)

	s.step("1. A vault starts, on loopback, empty.")
	s.say("%s", s.colour(cyan, fmt.Sprintf("$ miosa-vault dev --resource %s", devvault.Sandbox)))
	vault, err := devvault.Start(ctx, os.Stderr, filepath.Join(bin, "miosa-vault"))
	if err != nil {
		return err
	}
	defer func() { _ = vault.Stop(0) }()
	tenant, err := vault.Tenant()
	if err != nil {
		return err
	}
	defer tenant.Close()

	s.step("2. A developer puts a secret in it, bound to %s as %s.", devvault.Sandbox, variable)
	secret, _, err := tenant.PutSecret(ctx, api.NewSecret{
		Name: "github", Value: api.NewValue([]byte(first)), Resource: devvault.Sandbox, ExposeAsEnv: variable,
	})
	if err != nil {
		return err
	}
	s.say("%s, version %d: %s (a made-up one; the vault never shows it again)", secret.Name, secret.Version, s.colour(green, first))

	s.step("3. In the sandbox, a command runs. It knows nothing of the vault.")
	s.say("%s", s.colour(cyan, "$ miosa-env run --on-change restart -- sh -c '"+app+"'"))
	nowhere, err := os.MkdirTemp("", "demo") // without a socket, so that an agent on this machine isn't used
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(nowhere) }()
	env := append(vault.Environ("MIOSA_BASE_URL", "MIOSA_API_KEY", "MIOSA_SANDBOX_ID"), "MIOSA_SOCKET="+filepath.Join(nowhere, "agent.sock"))
	command, err := devvault.Run(ctx, env, os.Stderr, filepath.Join(bin, "miosa-env"), "run", "--on-change", "restart", "--", "sh", "-c", app)
	if err != nil {
		return err
	}
	defer func() { _ = command.Stop(terminated) }()
	before, err := prints(ctx, command, first)
	if err != nil {
		return err
	}
	s.say("pid %-7s %s", before, s.colour(green, variable+"="+first))

	s.step("4. The developer rotates the secret. Nobody touches the sandbox.")
	asked := time.Now()
	if secret, err = tenant.RotateSecret(ctx, secret.ID, fetch.Rotation{Value: api.NewValue([]byte(second))}); err != nil {
		return err
	}
	after, err := prints(ctx, command, second)
	if err != nil {
		return err
	}
	took := time.Since(asked)
	if after == before {
		return fmt.Errorf("process %s was not restarted", before)
	}
	s.say("pid %-7s %s", after, s.colour(green, variable+"="+second))
	s.say("restarted with version %d after %d ms, of which it waited 100 for further changes (--settle)", secret.Version, took.Milliseconds())

	if err := command.Stop(terminated); err != nil {
		return err
	}
	s.step("5. Another command uses a secret that it doesn't have: its requests go through a broker.")
	if err := showBroker(ctx, s, bin, vault, tenant, nowhere); err != nil {
		return err
	}

	s.step("6. The broker is stopped, then the vault.")
	if err := vault.Stop(0); err != nil {
		return err
	}
	s.say("0 and 0. Nothing is left behind.\n")
	return nil
}

// prints waits for the command's line, which must have the value want, and returns the process id in it.
func prints(ctx context.Context, command *devvault.Program, want string) (pid string, err error) {
	line, err := command.Line(ctx)
	if err != nil {
		return "", err
	}
	pid, value, _ := strings.Cut(line, " ")
	if value != want {
		return "", fmt.Errorf("the command has %q in %s, not %q", value, variable, want)
	}
	return pid, nil
}
