package machine

import (
	"context"
	"io"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/broker"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// brokerStatus is what status says of the broker.
type brokerStatus struct {
	Address     string    `json:"address"`
	Resource    string    `json:"resource,omitempty"`      // TYPE:ID
	ValidUntil  time.Time `json:"ca_valid_until,omitzero"` // the certificate authority
	SameMachine bool      `json:"same_machine"`
	Problem     string    `json:"problem,omitempty"` // empty: it answers for this resource and has values

	text string
}

// checkBroker returns an error of the command line if --egress isn't a broker's URL, or --egress-ca is given without a broker.
func checkBroker(p *program.Program, inv *cli.Invocation) error {
	_, err := broker.Of(&p.Settings)
	if err != nil && (inv.Flags.Changed("egress") || p.Settings.Egress == "" && inv.Flags.Changed("egress-ca")) {
		return inv.UsageError(err)
	}
	return nil // askBroker and run return the error of a variable
}

// askBroker asks the broker that the settings name, nil if they name none. agent is the resource that the agent serves, if there is one.
// Errors: those of broker.Of.
func askBroker(ctx context.Context, p *program.Program, agent api.Resource) (*brokerStatus, error) {
	b, err := broker.Of(&p.Settings)
	if b == nil {
		return nil, err
	}
	s := &brokerStatus{Address: b.Address()}
	found, err := b.Ask(ctx)
	s.SameMachine = found.SameMachine
	if err != nil {
		s.Problem = err.Error()
		return s, nil //nolint:nilerr // a problem is a part of the status
	}
	s.Resource, s.ValidUntil, s.text = found.Resource(), found.Authority.NotAfter, found.Describe(b)
	own := agent
	if named, err := p.Settings.Resource(); err == nil {
		own = named
	}
	if err := found.CheckResource(b, resourceText(own)); err != nil {
		s.Problem = err.Error()
	} else if found.NoSet {
		s.Problem = "the broker at " + b.Address() + " has no values: it refuses every request"
	}
	return s, nil
}

// resourceText returns TYPE:ID, or "" for no resource.
func resourceText(r api.Resource) string {
	if r == (api.Resource{}) {
		return ""
	}
	return r.String()
}

// add adds the rows of the broker, if there is one.
func (s *brokerStatus) add(t *program.Table) {
	if s == nil {
		return
	}
	if s.Problem != "" {
		t.Add("broker", s.Problem)
	} else {
		t.Add("broker", s.text)
	}
	if s.SameMachine {
		t.Add("  note", broker.Cooperative)
	}
}

// printBroker prints what is known of the broker, if there is no agent.
func printBroker(w io.Writer, s *brokerStatus, asJSON bool) error {
	if asJSON {
		return cli.PrintJSON(w, map[string]*brokerStatus{"broker": s})
	}
	t := program.Table{}
	s.add(&t)
	return t.Write(w)
}
