// Command demo shows what miosa-env does, with the real programs: it puts a secret in a vault, bound to a sandbox, runs a
// command that has it in its environment, and rotates it, which restarts the command with the new value. It cleans up, and
// exits with 1 if a step fails.
//
// Its argument is the folder with the two programs. `make demo` runs it.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

const (
	limit    = 30 * time.Second // for everything
	variable = "GH_TOKEN"
	first    = "ghp_example_of_today"
	second   = "ghp_example_of_tomorrow"
	bold     = "1" // codes of colours
	cyan     = "36"
	green    = "32"
	app      = `echo "$$ $` + variable + `"; exec sleep 60`
)

var sandbox = api.Resource{Type: api.Sandbox, ID: "sb_1"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: demo FOLDER-OF-BINARIES")
		os.Exit(2)
	}
	if err := run(ctx, os.Args[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "demo: error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bin string, out io.Writer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done within %s", limit))
	defer cancel()
	f, ok := out.(*os.File)
	coloured := cli.Colours(ok && term.IsTerminal(int(f.Fd())), os.Getenv)
	colour := func(code, text string) string {
		if !coloured {
			return text
		}
		return "\033[" + code + "m" + text + "\033[0m"
	}
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	step := func(format string, args ...any) { say("\n%s\n", colour(bold, fmt.Sprintf(format, args...))) }

	step("1. A vault starts, on loopback, empty.")
	say("     %s", colour(cyan, fmt.Sprintf("$ miosa-vault dev --resource %s", sandbox)))
	vault, err := start(ctx, nil, filepath.Join(bin, "miosa-vault"), "dev", "--resource", sandbox.String())
	if err != nil {
		return err
	}
	defer vault.stop()
	settings, err := exports(ctx, vault)
	if err != nil {
		return err
	}
	tenant, err := client(settings)
	if err != nil {
		return err
	}
	defer tenant.Close()

	step("2. A developer puts a secret in it, bound to %s as %s.", sandbox, variable)
	secret, _, err := tenant.PutSecret(ctx, api.NewSecret{
		Name: "github", Value: api.NewValue([]byte(first)), Resource: sandbox, ExposeAsEnv: variable,
	})
	if err != nil {
		return err
	}
	say("     %s, version %d: %s (a made-up one; the vault never shows it again)", secret.Name, secret.Version, colour(green, first))

	step("3. In the sandbox, a command runs. It knows nothing of the vault.")
	say("     %s", colour(cyan, "$ miosa-env run --on-change restart -- sh -c '"+app+"'"))
	nowhere, err := os.MkdirTemp("", "demo") // without a socket, so that an agent on this machine isn't used
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(nowhere) }()
	command, err := start(ctx, append(sandboxOnly(settings), "MIOSA_SOCKET="+filepath.Join(nowhere, "agent.sock")), filepath.Join(bin, "miosa-env"), "run", "--on-change", "restart", "--", "sh", "-c", app)
	if err != nil {
		return err
	}
	defer command.stop()
	before, err := command.prints(ctx, first)
	if err != nil {
		return err
	}
	say("     pid %-7s %s", before, colour(green, variable+"="+first))

	step("4. The developer rotates the secret. Nobody touches the sandbox.")
	asked := time.Now()
	if secret, err = tenant.RotateSecret(ctx, secret.ID, fetch.Rotation{Value: api.NewValue([]byte(second))}); err != nil {
		return err
	}
	after, err := command.prints(ctx, second)
	if err != nil {
		return err
	}
	took := time.Since(asked)
	if after == before {
		return fmt.Errorf("process %s was not restarted", before)
	}
	say("     pid %-7s %s", after, colour(green, variable+"="+second))
	say("     restarted with version %d after %d ms, of which it waited 100 for further changes (--settle)", secret.Version, took.Milliseconds())

	step("5. The command is stopped, then the vault.")
	if code := command.stop(); code != 128+int(syscall.SIGTERM) {
		return fmt.Errorf("miosa-env ended with %d, not with 143 as a command ended by TERM does", code)
	}
	if code := vault.stop(); code != 0 {
		return fmt.Errorf("miosa-vault ended with %d, not with 0", code)
	}
	say("     143 (TERM) and 0. Nothing is left behind.\n")
	return nil
}

// exports returns the variables that `miosa-vault dev` prints until it is ready.
func exports(ctx context.Context, vault *process) (map[string]string, error) {
	settings := map[string]string{}
	for {
		line, err := vault.line(ctx)
		if err != nil {
			return nil, err
		}
		if line == "# ready" {
			return settings, nil
		}
		if assignment, ok := strings.CutPrefix(line, "export "); ok {
			name, value, _ := strings.Cut(assignment, "=")
			settings[name] = strings.Trim(value, `'"`)
		}
	}
}

// client returns a client with the tenant key.
func client(settings map[string]string) (*fetch.Client, error) {
	key, err := api.ParseKey(settings["MIOSA_TENANT_KEY"])
	if err != nil {
		return nil, fmt.Errorf("tenant key of miosa-vault dev: %w", err)
	}
	return fetch.New(fetch.Config{BaseURL: settings["MIOSA_BASE_URL"], Key: key})
}

// sandboxOnly returns the environment of the sandbox, as the platform sets it: without the tenant key.
func sandboxOnly(settings map[string]string) []string {
	env := []string{"PATH=" + os.Getenv("PATH")}
	for _, name := range []string{"MIOSA_BASE_URL", "MIOSA_API_KEY", "MIOSA_SANDBOX_ID"} {
		env = append(env, name+"="+settings[name])
	}
	return env
}

// process is a running program and the lines it prints.
type process struct {
	name  string
	cmd   *exec.Cmd
	lines chan string
}

// start starts a program. When ctx ends, it gets TERM, and KILL five seconds later. env nil is our own.
func start(ctx context.Context, env []string, path string, args ...string) (*process, error) {
	p := &process{name: filepath.Base(path), cmd: exec.CommandContext(ctx, path, args...), lines: make(chan string)}
	p.cmd.Env = env
	p.cmd.Stderr = os.Stderr
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = 5 * time.Second
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	return p, nil
}

// line returns the next line that the program prints.
func (p *process) line(ctx context.Context) (string, error) {
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case line, ok := <-p.lines:
		if !ok {
			return "", fmt.Errorf("%s ended early with %d", p.name, p.stop())
		}
		return line, nil
	}
}

// prints waits for the command's line, which must have the value want, and returns the process id in it.
func (p *process) prints(ctx context.Context, want string) (pid string, err error) {
	line, err := p.line(ctx)
	if err != nil {
		return "", err
	}
	pid, value, _ := strings.Cut(line, " ")
	if value != want {
		return "", fmt.Errorf("the command has %q in %s, not %q", value, variable, want)
	}
	return pid, nil
}

// stop stops the program if it is running, and returns its exit code.
func (p *process) stop() int {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended
		for range p.lines {                       // read its output to the end before Wait
		}
		var exit *exec.ExitError
		if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
			fmt.Fprintln(os.Stderr, "demo:", p.name+":", err)
		}
	}
	return p.cmd.ProcessState.ExitCode()
}
