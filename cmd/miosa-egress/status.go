package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// closedError is the error of status if a resource has no set, or the broker has no resources yet.
type closedError struct{ error }

func (closedError) ExitCode() int { return exitClosed }

func (p *program) status() *cli.Command {
	var asJSON bool
	return &cli.Command{
		Use:   "status [--json]",
		Short: "Show the resources of the broker on this machine, without values",
		Flags: func(f *pflag.FlagSet) { f.BoolVar(&asJSON, "json", false, "print JSON") },
		Run: func(ctx context.Context, inv *cli.Invocation) error {
			_, text, err := p.ask(ctx, inv.Flags, "/status")
			if err != nil {
				return err
			}
			var s brokerStatus
			if err := json.Unmarshal(text, &s); err != nil {
				return fmt.Errorf("status of the broker: %w", err)
			}
			if asJSON {
				err = cli.PrintJSON(p.stdout, s)
			} else {
				err = p.printStatus(s)
			}
			if err != nil {
				return err
			}
			if len(s.Resources) == 0 { // each configuration has some
				return closedError{errors.New("the broker is starting: all requests are refused")}
			}
			for _, r := range s.Resources {
				if r.Refusing != "" {
					return closedError{fmt.Errorf("all requests of %s are refused: %s", r.Resource, r.Refusing)}
				}
			}
			return nil
		},
	}
}

// ask asks the broker on this machine.
func (p *program) ask(ctx context.Context, f *pflag.FlagSet, path string) (int, []byte, error) {
	if err := p.begin(f); err != nil {
		return 0, nil, err
	}
	socket := p.given.Socket
	if socket == "" {
		var err error
		if socket, err = defaultSocket(p.getenv); err != nil {
			return 0, nil, err
		}
	}
	return askBroker(ctx, socket, path)
}

func (p *program) printStatus(s brokerStatus) error {
	fmt.Fprintf(p.stdout, "miosa-egress %s, process %d, vault %s\n", s.Version, s.PID, s.Vault)
	if s.Reports.LastError != "" {
		fmt.Fprintf(p.stdout, "%d requests wait for the vault's audit: %s\n", s.Reports.Waiting, cli.OneLine(s.Reports.LastError))
	}
	for _, r := range s.Resources {
		line := fmt.Sprintf("\n%s: %s", r.Resource, r.State)
		if !r.ConfirmedAt.IsZero() {
			line += ", confirmed " + r.ConfirmedAt.Format(time.RFC3339)
		}
		if r.Etag != "" {
			line += ", etag " + cli.OneLine(r.Etag)
		}
		fmt.Fprintf(p.stdout, "%s\n  connections %d, requests %d, swapped %d, refused %d\n", line, r.Connections, r.Requests, r.Swapped, r.Refused)
		if r.Lost > 0 {
			fmt.Fprintf(p.stdout, "  %d requests are not in the vault's audit: it refused their events, or too many waited\n", r.Lost)
		}
		if r.LastError != "" && r.State != agent.Fresh {
			fmt.Fprintf(p.stdout, "  %s\n", cli.OneLine(r.LastError))
		}
		w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		for _, b := range r.Bindings {
			fmt.Fprintf(w, "  %s\t%s version %d\t%s\n", cli.OneLine(b.Name), cli.OneLine(b.Secret), b.Version, cli.OneLine(b.where()))
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if len(r.Expired) > 0 {
			fmt.Fprintf(p.stdout, "  expired: %s\n", cli.OneLine(strings.Join(r.Expired, ", ")))
		}
	}
	return nil
}

// where returns in a line where the value may be sent.
func (b *bindingStatus) where() string {
	if len(b.Hosts) == 0 {
		return "no rule: nothing is swapped"
	}
	text := strings.Join(b.Hosts, " ")
	if len(b.Ports) > 0 && !slices.Equal(b.Ports, []int{443}) {
		text += "; ports " + strings.Trim(fmt.Sprint(b.Ports), "[]")
	}
	if len(b.Methods) > 0 {
		text += "; methods " + strings.Join(b.Methods, " ")
	}
	if len(b.Paths) > 0 {
		text += "; paths " + strings.Join(b.Paths, " ")
	}
	return text
}

func (p *program) ca() *cli.Command {
	return &cli.Command{
		Use:   "ca RESOURCE",
		Short: "Print the CA certificate that a resource's clients must trust, as PEM",
		Args: func(args []string) error {
			if len(args) == 0 {
				return errors.New("the resource is missing: want sandbox:ID or computer:ID")
			}
			return cli.NoArguments(args[1:])
		},
		Run: func(ctx context.Context, inv *cli.Invocation) error {
			r, err := cli.ParseResource(inv.Args[0])
			if err != nil {
				return cli.Usage(err, "miosa-egress status shows the resources")
			}
			status, text, err := p.ask(ctx, inv.Flags, "/ca/"+url.PathEscape(r.String()))
			if err != nil {
				return err
			}
			if status != http.StatusOK {
				return cli.WithHint(fmt.Errorf("the broker doesn't serve %s", r), "miosa-egress status shows the resources")
			}
			_, err = p.stdout.Write(text)
			return err
		},
	}
}
