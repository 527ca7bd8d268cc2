// Package doctor is the command doctor: it checks everything that run needs.
package doctor

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/machine"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// What is worth a warning.
const (
	skewWarned   = 30 * time.Second
	expiryWarned = 14 * 24 * time.Hour
)

// Command returns the command doctor.
func Command(p *program.Program) *cli.Command {
	var asJSON bool
	return &cli.Command{
		Use:   "doctor [FLAG...]",
		Short: "Check everything that run needs, and suggest fixes",
		Long: `Checks configuration, key, connection, clock, TLS, vault, bindings, agent, the broker
of --egress and this machine.

The first line is the verdict: whether run would work, and if not, why. Then come each problem (fail)
and each warning (warn) with its fix, checks that were skipped because of a problem (skip), and
successful checks (ok).

It requests the values, as run does, to check that they arrive and would be accepted, but prints
none of them. The exit code is 0, or 1 if there is a problem.`,
		Example: `  miosa-env doctor
  miosa-env doctor --json | jq '.[] | select(.level != "ok")'`,
		Flags: func(f *pflag.FlagSet) {
			f.BoolVar(&asJSON, "json", false, "print a JSON list: level (fail, warn, skip or ok), subject, found, fix")
			p.AddFlags(f, "doctor")
		},
		Run: func(ctx context.Context, inv *cli.Invocation) error {
			d := &doctor{Program: p}
			if err := errors.Join(p.Complete(inv.Flags), p.CompleteFor(inv.Flags, "run")); err != nil {
				d.failed("configuration", err, "correct it, or leave it out")
			}
			if !inv.Flags.Changed("log-level") && p.Environ.Get("MIOSA_LOG_LEVEL") == "" {
				p.Log = zerolog.Nop() // the findings say it
			}
			d.examine(ctx)
			if d.count(levelFail) > 0 {
				p.Code = 1
			}
			if asJSON {
				return cli.PrintJSON(p.Stdout, d.sorted())
			}
			works := "run would work"
			if d.source != "" {
				works = "values come from " + d.source
			}
			return d.write(p.Stdout, works, p.Colours(p.Stdout))
		},
	}
}

// doctor is one run of all checks.
type doctor struct {
	*program.Program
	findings
	local   localAgent
	source  string // where values come from; empty: nowhere
	visited *visit // of the vault; nil: it wasn't asked
}

// examine checks what run needs, in the order in which run needs it.
func (d *doctor) examine(ctx context.Context) {
	d.local.Status, d.local.err = machine.AskStatus(ctx, d.Program)
	if d.local.meant(&d.Settings) && d.local.hasValues() {
		d.fromAgent(ctx)
	} else {
		d.fromVault(ctx)
	}
	d.agent()
	d.broker(ctx)
	d.machine(d.Environ)
}
