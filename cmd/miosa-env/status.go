package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// watchEvery is how often status --watch looks.
const watchEvery = time.Second

func (p *program) statusCommand() *cobra.Command {
	var asJSON, watch bool
	c := &cobra.Command{
		Use:   "status [FLAG...]",
		Short: "Show how the agent on this machine is doing",
		Long: `Asks the agent on this machine how it is doing: whether the vault confirms what it serves,
how old that is, how its outputs are, and what went wrong last. Shows no value.

  starting  it has no values yet
  fresh     the vault confirmed the values, and reports each change
  stale     the vault doesn't answer: the last good values are served
  refused   the key was revoked or the resource is gone: nothing is served

The exit code is 0 if the agent is fresh and every output is written, 1 if not, and 125 if
there is no agent to ask.`,
		Example: `  miosa-env status
  miosa-env status --watch
  miosa-env status --json | jq -r .state`,
		Args: cli.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := p.begin(c); err != nil {
				return err
			}
			if watch {
				return p.watchStatus(c.Context(), asJSON)
			}
			status, err := p.status(c.Context())
			if err != nil {
				return err
			}
			if !well(status) {
				p.code = 1
			}
			named, err := p.settings.namedVault()
			if err == nil {
				err = otherVault(status, named)
			}
			if err != nil {
				p.log.Warn().Err(err).Msg("run doesn't take this agent's values")
			}
			return p.showStatus(status, asJSON)
		},
	}
	c.Flags().SortFlags = false
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object; with --watch, one per line")
	c.Flags().BoolVar(&watch, "watch", false, "go on, and print again when something changes")
	return c
}

// well tells whether nothing needs anybody's attention.
func well(s agent.Status) bool {
	for _, o := range s.Outputs {
		if o.State != agent.Written {
			return false
		}
	}
	return s.State == agent.Fresh
}

// askAgent connects to the agent, which must be there.
func (p *program) askAgent() (*agent.Client, error) {
	client, err := p.dialAgent()
	return client, unasked(err)
}

// dialAgent connects to the agent. That no agent can listen on a path is an error where the path was named,
// else there is none.
func (p *program) dialAgent() (*agent.Client, error) {
	client, err := agent.Dial(p.sockets()...)
	if !errors.Is(err, agent.ErrNotSocket) {
		return client, err
	}
	if p.settings.socket == "" {
		return nil, agent.ErrNoAgent
	}
	setting := "--socket"
	if p.environ.setting("MIOSA_SOCKET") == p.settings.socket {
		setting = "MIOSA_SOCKET"
	}
	return nil, cli.WithHint(fmt.Errorf("%s: %w", setting, err), "name the agent's socket, or leave "+setting+" out")
}

// What to do about an agent that isn't to be asked.
const (
	haveAllowed = "have this user allowed with allow_users or allow_groups in the agent's configuration"
	onlyTrusted = "only an agent of root's or of this user's own is believed"
)

// unasked adds to an error of an agent's what to do about it.
func unasked(err error) error {
	switch {
	case errors.Is(err, agent.ErrNoAgent):
		return cli.WithHint(err, "start one with miosa-env agent, or name its socket with --socket FILE")
	case errors.Is(err, agent.ErrUntrusted):
		return cli.WithHint(err, onlyTrusted+": name its socket with --socket FILE")
	case errors.Is(err, api.ErrDenied):
		return cli.WithHint(err, haveAllowed)
	}
	return err
}

// sockets are where an agent may be listening.
func (p *program) sockets() []string {
	if p.settings.socket != "" {
		return []string{p.settings.socket}
	}
	return agent.SocketPaths(os.Geteuid(), p.environ.get("XDG_RUNTIME_DIR"))
}

func (p *program) status(ctx context.Context) (agent.Status, error) {
	client, err := p.askAgent()
	if err != nil {
		return agent.Status{}, err
	}
	defer client.Close()
	s, err := client.Status(ctx)
	return s, unasked(err)
}

// watchStatus prints the status again each time that more of it than ages has changed. That there is no
// agent, or none any more, is told and waited out.
func (p *program) watchStatus(ctx context.Context, asJSON bool) error {
	var last agent.Status
	trouble := ""
	for first := true; ; first = false {
		status, err := p.status(ctx)
		switch {
		case err != nil && err.Error() != trouble:
			trouble, last = err.Error(), agent.Status{}
			cli.Report(p.stderr, "miosa-env", err)
		case err == nil && !reflect.DeepEqual(timeless(status), last):
			trouble, last = "", timeless(status)
			if !first && !asJSON {
				fmt.Fprintln(p.stdout)
			}
			show := p.showStatus
			if asJSON {
				show = p.statusLine
			}
			if err := show(status, asJSON); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchEvery):
		}
	}
}

// timeless is a status without what changes by itself.
func timeless(s agent.Status) agent.Status {
	s.Age, s.ConfirmedAt, s.LastErrorAt, s.RoundTrip, s.Counts = 0, time.Time{}, time.Time{}, 0, agent.Counts{}
	s.Outputs = slices.Clone(s.Outputs)
	for i := range s.Outputs {
		s.Outputs[i].Failures = 0 // of attempts that go on
	}
	return s
}

func (p *program) statusLine(s agent.Status, _ bool) error {
	line, err := json.Marshal(s)
	if err == nil {
		_, err = p.stdout.Write(append(line, '\n'))
	}
	return err
}

func (p *program) showStatus(s agent.Status, asJSON bool) error {
	if asJSON {
		return printJSON(p.stdout, s)
	}
	return printStatus(p.stdout, s, time.Now())
}

// printStatus prints a status for people.
func printStatus(w io.Writer, s agent.Status, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "state\t%s\n", cell(string(s.State)))
	fmt.Fprintf(t, "since\t%s\n", ago(now.Sub(s.Since), s.Since))
	fmt.Fprintf(t, "resource\t%s %s\n", cell(s.Type), cell(s.ID))
	if s.State == agent.Fresh || s.State == agent.Stale {
		what := counted(s.Bindings, "binding")
		if s.Placeholders {
			what += ", listed without their values"
		}
		if s.Origin == agent.FromCache {
			what += ", from the cache"
		}
		fmt.Fprintf(t, "set\t%s, confirmed %s\n", what, ago(time.Duration(s.Age*float64(time.Second)), s.ConfirmedAt))
	}
	if len(s.Expired) > 0 {
		fmt.Fprintf(t, "expired\t%s: not served until the vault has newer values\n", cell(strings.Join(s.Expired, ", ")))
	}
	vault := s.Vault
	if s.RoundTrip > 0 {
		vault = strings.TrimPrefix(vault+", answers in "+strconv.FormatFloat(s.RoundTrip, 'f', 1, 64)+" ms", ", ")
	}
	if vault != "" {
		fmt.Fprintf(t, "vault\t%s\n", cell(vault))
	}
	if s.LastError != "" {
		fmt.Fprintf(t, "last error\t%s: %s\n", ago(now.Sub(s.LastErrorAt), s.LastErrorAt), cell(api.RedactKeys(s.LastError)))
		if s.LastHint != "" {
			fmt.Fprintf(t, "  hint\t%s\n", cell(api.RedactKeys(s.LastHint)))
		}
	}
	fmt.Fprintf(t, "socket\t%s\n", cell(s.Socket))
	fmt.Fprintf(t, "agent\tprocess %d, version %s, started %s\n", s.PID, cell(s.Version), ago(now.Sub(s.StartedAt), s.StartedAt))
	if err := t.Flush(); err != nil {
		return err
	}
	if len(s.Outputs) == 0 {
		return nil
	}
	fmt.Fprintln(t, "\nOUTPUT\tSTATE\tVARIABLES\tWRITTEN\tWRITES\tHOOKS")
	for _, o := range s.Outputs {
		written := "-"
		if !o.WrittenAt.IsZero() {
			written = ago(now.Sub(o.WrittenAt), o.WrittenAt)
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\n", cell(o.Name), cell(string(o.State)), o.Bindings, written,
			withFailures(o.Writes, o.Failures), withFailures(o.Hooks-o.HookFailures, o.HookFailures))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, o := range s.Outputs {
		if o.Error != "" {
			fmt.Fprintf(w, "%s: %s\n", cell(o.Name), cli.OneLine(api.RedactKeys(o.Error)))
			if o.Hint != "" {
				fmt.Fprintf(w, "  hint: %s\n", cli.OneLine(api.RedactKeys(o.Hint)))
			}
		}
	}
	return nil
}

// withFailures says how often something was done, and how often it failed if it did.
func withFailures(done, failed int64) string {
	text := strconv.FormatInt(done, 10)
	if failed > 0 {
		text += ", " + strconv.FormatInt(failed, 10) + " failed"
	}
	return text
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
