package machine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/delay"
)

// watchEvery is the interval of status --watch.
const watchEvery = time.Second

// Status returns the command status.
func Status(p *program.Program) *cli.Command {
	var asJSON, watch bool
	return &cli.Command{
		Use:   "status [FLAG...]",
		Short: "Show the state of the agent on this machine",
		Long: `Shows the state of the agent on this machine, the age of its values, its outputs and its last error.
Shows no value.

  starting  it has no values yet
  fresh     the vault confirmed the values, and reports each change
  stale     the vault does not answer: the last good values are served
  refused   the key was revoked or the resource was deleted: nothing is served

With --egress it also checks that the broker answers, serves this resource and has values, even
without an agent.

The exit code is 0 if the agent is fresh and every output is written, 125 if there is no agent,
and otherwise 1, also if the broker does not answer, has no values or serves another resource.`,
		Example: `  miosa-env status
  miosa-env status --watch
  miosa-env status --json | jq -r .state`,
		Flags: func(f *pflag.FlagSet) {
			f.BoolVar(&asJSON, "json", false, "print a JSON object; with --watch, one per line")
			f.BoolVar(&watch, "watch", false, "keep running, and print again when something changes; does not check the broker")
			p.AddFlags(f, "status")
		},
		Run: func(ctx context.Context, inv *cli.Invocation) error {
			if err := p.Begin(inv.Flags); err != nil {
				return err
			}
			if err := checkBroker(p, inv); err != nil {
				return err
			}
			if watch {
				return watchStatus(ctx, p, asJSON)
			}
			status, problem := AskStatus(ctx, p)
			of, err := askBroker(ctx, p, status.Resource)
			switch {
			case problem != nil && of != nil:
				return errors.Join(printBroker(p.Stdout, of, asJSON), problem)
			case problem != nil:
				return problem
			case err != nil:
				return err
			}
			if !isFresh(status) || of != nil && of.Problem != "" {
				p.Code = 1
			}
			named, err := p.Settings.NamedVault()
			if err == nil {
				err = OtherVault(status, named)
			}
			if err != nil {
				p.Log.Warn().Err(err).Msg("run does not use this agent")
			}
			if asJSON {
				return cli.PrintJSON(p.Stdout, struct {
					agent.Status
					Broker *brokerStatus `json:"broker,omitempty"`
				}{status, of})
			}
			return printStatus(p.Stdout, status, of)
		},
	}
}

// isFresh reports whether the agent is fresh and all its outputs are written.
func isFresh(s agent.Status) bool {
	return s.State == agent.Fresh && !slices.ContainsFunc(s.Outputs, func(o agent.OutputStatus) bool { return o.State != agent.Written })
}

// watchStatus prints the status whenever something other than a time or a counter has changed. While there is no agent, it
// waits for one.
func watchStatus(ctx context.Context, p *program.Program, asJSON bool) error {
	var last agent.Status
	problem, separator := "", ""
	for {
		status, err := AskStatus(ctx, p)
		switch {
		case err != nil && err.Error() != problem:
			problem, last = err.Error(), agent.Status{}
			cli.Report(p.Stderr, "miosa-env", err)
		case err == nil && !reflect.DeepEqual(lasting(status), last):
			problem, last = "", lasting(status)
			if asJSON {
				err = json.NewEncoder(p.Stdout).Encode(status)
			} else {
				_, _ = io.WriteString(p.Stdout, separator)
				err = printStatus(p.Stdout, status, nil)
			}
			if err != nil {
				return err
			}
		}
		separator = "\n"
		if delay.Sleep(ctx, watchEvery) != nil {
			return nil //nolint:nilerr // an interrupted watch has succeeded
		}
	}
}

// lasting returns a status without what changes continuously.
func lasting(s agent.Status) agent.Status {
	s.Age, s.ConfirmedAt, s.LastErrorAt, s.RoundTrip, s.Counts = 0, time.Time{}, time.Time{}, 0, agent.Counts{}
	s.Outputs = slices.Clone(s.Outputs)
	for i := range s.Outputs {
		s.Outputs[i].Failures = 0 // grows with each attempt
	}
	return s
}

// printStatus prints a status for users.
func printStatus(w io.Writer, s agent.Status, b *brokerStatus) error {
	ago := func(at time.Time) string { return program.Ago(time.Since(at), at) }
	t := program.Table{}
	t.Add("state", string(s.State))
	t.Add("since", ago(s.Since))
	t.Add("resource", s.Type+" "+s.ID)
	if s.State == agent.Fresh || s.State == agent.Stale {
		set := program.Counted(s.Bindings, "binding")
		if s.Placeholders {
			set += ", listed without their values"
		}
		if s.Origin == agent.FromCache {
			set += ", from the cache"
		}
		t.Add("set", set+", confirmed "+program.Ago(time.Duration(s.Age*float64(time.Second)), s.ConfirmedAt))
	}
	if len(s.Expired) > 0 {
		t.Add("expired", strings.Join(s.Expired, ", ")+": not served until the vault has newer values")
	}
	vault := s.Vault
	if s.RoundTrip > 0 {
		vault = strings.TrimPrefix(vault+", answers in "+strconv.FormatFloat(s.RoundTrip, 'f', 1, 64)+" ms", ", ")
	}
	if vault != "" {
		t.Add("vault", vault)
	}
	if s.LastError != "" {
		t.Add("last error", ago(s.LastErrorAt)+": "+s.LastError)
		if s.LastHint != "" {
			t.Add("  hint", s.LastHint)
		}
	}
	t.Add("socket", s.Socket)
	t.Add("agent", fmt.Sprintf("process %d, version %s, started %s", s.PID, cmp.Or(s.Version, "-"), ago(s.StartedAt)))
	b.add(&t)
	if err := t.Write(w); err != nil || len(s.Outputs) == 0 {
		return err
	}
	fmt.Fprintln(w)
	t = program.Table{Head: []string{"OUTPUT", "STATE", "VARIABLES", "WRITTEN", "WRITES", "HOOKS"}}
	for _, o := range s.Outputs {
		written := "-"
		if !o.WrittenAt.IsZero() {
			written = ago(o.WrittenAt)
		}
		t.Add(o.Name, string(o.State), strconv.Itoa(o.Bindings), written,
			withFailures(o.Writes, o.Failures), withFailures(o.Hooks-o.HookFailures, o.HookFailures))
	}
	if err := t.Write(w); err != nil {
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

// withFailures returns how often something succeeded and, if it ever did, failed.
func withFailures(done, failed int64) string {
	text := strconv.FormatInt(done, 10)
	if failed > 0 {
		text += ", " + strconv.FormatInt(failed, 10) + " failed"
	}
	return text
}
