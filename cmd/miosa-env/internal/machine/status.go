package machine

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// watchEvery is how often status --watch looks.
const watchEvery = time.Second

// Status returns the command status.
func Status(p *program.Program) *cobra.Command {
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
			if err := p.Begin(c); err != nil {
				return err
			}
			if watch {
				return watchStatus(c.Context(), p, asJSON)
			}
			status, err := AskStatus(c.Context(), p)
			if err != nil {
				return err
			}
			if !well(status) {
				p.Code = 1
			}
			named, err := p.Settings.NamedVault()
			if err == nil {
				err = OtherVault(status, named)
			}
			if err != nil {
				p.Log.Warn().Err(err).Msg("run does not use this agent")
			}
			return showStatus(p, status, asJSON)
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

// watchStatus prints the status again each time that more of it than ages has changed. That there is no
// agent, or none any more, is told and waited out.
func watchStatus(ctx context.Context, p *program.Program, asJSON bool) error {
	var last agent.Status
	trouble := ""
	for first := true; ; first = false {
		status, err := AskStatus(ctx, p)
		switch {
		case err != nil && err.Error() != trouble:
			trouble, last = err.Error(), agent.Status{}
			cli.Report(p.Stderr, "miosa-env", err)
		case err == nil && !reflect.DeepEqual(timeless(status), last):
			trouble, last = "", timeless(status)
			if !first && !asJSON {
				fmt.Fprintln(p.Stdout)
			}
			if asJSON {
				err = statusLine(p, status)
			} else {
				err = showStatus(p, status, false)
			}
			if err != nil {
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

func statusLine(p *program.Program, s agent.Status) error {
	line, err := json.Marshal(s)
	if err == nil {
		_, err = p.Stdout.Write(append(line, '\n'))
	}
	return err
}

func showStatus(p *program.Program, s agent.Status, asJSON bool) error {
	if asJSON {
		return program.PrintJSON(p.Stdout, s)
	}
	return printStatus(p.Stdout, s, time.Now())
}

// printStatus prints a status for people.
func printStatus(w io.Writer, s agent.Status, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "state\t%s\n", program.Cell(string(s.State)))
	fmt.Fprintf(t, "since\t%s\n", program.Ago(now.Sub(s.Since), s.Since))
	fmt.Fprintf(t, "resource\t%s %s\n", program.Cell(s.Type), program.Cell(s.ID))
	if s.State == agent.Fresh || s.State == agent.Stale {
		what := program.Counted(s.Bindings, "binding")
		if s.Placeholders {
			what += ", listed without their values"
		}
		if s.Origin == agent.FromCache {
			what += ", from the cache"
		}
		fmt.Fprintf(t, "set\t%s, confirmed %s\n", what, program.Ago(time.Duration(s.Age*float64(time.Second)), s.ConfirmedAt))
	}
	if len(s.Expired) > 0 {
		fmt.Fprintf(t, "expired\t%s: not served until the vault has newer values\n", program.Cell(strings.Join(s.Expired, ", ")))
	}
	vault := s.Vault
	if s.RoundTrip > 0 {
		vault = strings.TrimPrefix(vault+", answers in "+strconv.FormatFloat(s.RoundTrip, 'f', 1, 64)+" ms", ", ")
	}
	if vault != "" {
		fmt.Fprintf(t, "vault\t%s\n", program.Cell(vault))
	}
	if s.LastError != "" {
		fmt.Fprintf(t, "last error\t%s: %s\n", program.Ago(now.Sub(s.LastErrorAt), s.LastErrorAt), program.Cell(api.RedactKeys(s.LastError)))
		if s.LastHint != "" {
			fmt.Fprintf(t, "  hint\t%s\n", program.Cell(api.RedactKeys(s.LastHint)))
		}
	}
	fmt.Fprintf(t, "socket\t%s\n", program.Cell(s.Socket))
	fmt.Fprintf(t, "agent\tprocess %d, version %s, started %s\n", s.PID, program.Cell(s.Version), program.Ago(now.Sub(s.StartedAt), s.StartedAt))
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
			written = program.Ago(now.Sub(o.WrittenAt), o.WrittenAt)
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\n", program.Cell(o.Name), program.Cell(string(o.State)), o.Bindings, written,
			withFailures(o.Writes, o.Failures), withFailures(o.Hooks-o.HookFailures, o.HookFailures))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, o := range s.Outputs {
		if o.Error != "" {
			fmt.Fprintf(w, "%s: %s\n", program.Cell(o.Name), cli.OneLine(api.RedactKeys(o.Error)))
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
